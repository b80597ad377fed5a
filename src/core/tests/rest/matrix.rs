//! The status of every path on every node, in five states of a cluster.

use trunkline_core::cluster::ClusterView;
use trunkline_core::rest::health::Health;
use trunkline_core::rest::{Request, status};
use trunkline_core::wire::rest::StatusDocument;

use crate::captures::{NOW, as_patroni, database, told, view};

/// A state: the capture, the configuration in force, who holds the lock by its own account, and whether etcd
/// answers.
struct Situation {
    capture: &'static str,
    config: &'static str,
    holder: Option<&'static str>,
    etcd: bool,
}

const SITUATIONS: [Situation; 5] = [
    Situation {
        capture: include_str!("../fixtures/rest/paused-replica-killed.txt"),
        config: r#"{"synchronous_mode":true,"pause":true}"#,
        holder: Some("pg-3"),
        etcd: true,
    },
    Situation {
        capture: include_str!("../fixtures/rest/failsafe-active.txt"),
        config: r#"{"synchronous_mode":true,"failsafe_mode":true}"#,
        holder: Some("pg-3"),
        etcd: true,
    },
    Situation {
        capture: include_str!("../fixtures/rest/etcd-down.txt"),
        config: r#"{"synchronous_mode":true}"#,
        holder: None,
        etcd: false,
    },
    Situation {
        capture: include_str!("../fixtures/rest/standby-cluster.txt"),
        config: r#"{"standby_cluster":{"restore_command":"false"}}"#,
        holder: Some("pg-2"),
        etcd: true,
    },
    Situation {
        capture: include_str!("../fixtures/rest/quorum-noloadbalance.txt"),
        config: r#"{"synchronous_mode":"quorum"}"#,
        holder: Some("pg-2"),
        etcd: true,
    },
];

impl Situation {
    fn documents(&self) -> Vec<(&'static str, StatusDocument)> {
        let bodies = self.capture.lines().filter(|line| line.starts_with('{'));
        bodies
            .map(|body| (body, StatusDocument::parse(body.as_bytes()).unwrap()))
            .collect()
    }

    /// Paths, with the status on each node.
    fn codes(&self) -> Vec<(&'static str, Vec<u16>)> {
        let rows = self.capture.lines().take_while(|line| !line.is_empty());
        let rows = rows.filter_map(|line| {
            let mut words = line.split_whitespace();
            let path = words.next().filter(|path| path.starts_with('/'))?;
            Some((path, words.map(|code| code.parse().unwrap()).collect()))
        });
        rows.collect()
    }

    fn view(&self) -> ClusterView {
        let documents = self.documents();
        let listed: Vec<&str> = documents
            .iter()
            .filter(|(_, document)| document.sync_standby || document.quorum_standby)
            .map(|(_, document)| document.patroni.name.as_deref().unwrap())
            .collect();
        let optime = documents
            .iter()
            .find_map(|(_, document)| document.xlog.location);
        let leader = self.holder.unwrap_or("pg-3");
        view(&format!(
            "/service/demo/leader\n{leader}\n/service/demo/config\n{}\n/service/demo/status\n{{\"optime\":{}}}\n\
             /service/demo/sync\n{{\"leader\":\"{leader}\",\"sync_standby\":\"{}\"}}\n",
            self.config,
            optime.unwrap_or_default().0,
            listed.join(",")
        ))
    }
}

#[test]
fn every_path_has_patronis_status_on_every_node() {
    let mut compared = 0;
    for situation in SITUATIONS {
        for (node, (body, captured)) in situation.documents().into_iter().enumerate() {
            let name = captured.patroni.name.as_deref();
            let mut told = told(&captured, situation.view(), situation.holder == name);
            if !situation.etcd {
                told.etcd_answered = Some(NOW.before(told.config.ttl));
            }
            let database = database(&captured);
            let document = status::document(&told, &database, NOW);
            assert_eq!(as_patroni(document.clone()).to_json(), body);
            let health = Health {
                told: &told,
                database: &database,
                document: &document,
                honest_primary: false,
                now: NOW,
            };
            for (path, codes) in situation.codes() {
                let request = Request::new("GET", path);
                let code = match path {
                    "/liveness" => Health::liveness(&told, NOW),
                    "/readiness" => health.readiness(&request),
                    _ => health.check(&request),
                };
                assert_eq!(code, codes[node], "{path} on {name:?}: {body}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 5 * 3 * 14);
}

#[test]
fn the_cluster_is_not_shown_as_it_was_once_etcd_has_been_silent_for_longer_than_it_is_asked() {
    let (mut told, _) = crate::captures::replica();
    let at = |seconds| trunkline_core::Moment::from_boot(std::time::Duration::from_secs(seconds));
    assert!(told.shown(at(5_000)).is_some());
    let since = at(5_000);
    told.view = told
        .view
        .unanswered(trunkline_core::follow::Trouble::TimedOut, since);
    let patience = told.config.retry_timeout;
    assert!(told.shown(since).is_some());
    assert!(told.shown(since.after(patience)).is_none());
}
