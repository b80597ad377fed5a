//! What may be handed over to whom: Patroni's checks in Patroni's order, and the one that is ours.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use trunkline_core::cluster::{ClusterView, Lock, Tenure};
use trunkline_core::ha::PeerWord;
use trunkline_core::keys::Key;
use trunkline_core::rest::handover::{Before, Feasible, Handover, What};
use trunkline_core::rest::{Reply, Told, status};
use trunkline_core::wire::config::SynchronousMode;
use trunkline_core::wire::member::State;
use trunkline_core::wire::rest::Xlog;
use trunkline_core::{MemberName, Revision, StoreNumber};

use crate::captures::{NOW, primary, replica, view};

const WALL: &str = "2026-11-21T20:00:00Z";

#[expect(clippy::needless_pass_by_value, reason = "so the tables below read")]
fn read_by(told: &Told, what: What, body: Value) -> Result<Handover, Reply> {
    let wall: Timestamp = WALL.parse().unwrap();
    Handover::read(what, body.as_object().unwrap(), told, wall)
}

fn read(what: What, body: Value) -> Result<Handover, Reply> {
    read_by(&primary().0, what, body)
}

fn refused(code: u16, text: &str) -> Result<Handover, Reply> {
    Err(Reply::sentence(code, text))
}

/// The captured cluster of pg-1 to pg-3 under pg-2, in this mode.
fn cluster(mode: SynchronousMode) -> ClusterView {
    let mut view = view(include_str!("../fixtures/etcd-synchronous.txt"));
    view.config.synchronous_mode = mode;
    view
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_request_that_makes_no_sense_is_refused_in_patronis_order_and_words() {
    use What::{Failover, Switchover};
    let past = "2026-11-21T19:59:59+00:00";
    let unparsable =
        "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601";
    for (what, body, code, text) in [
        (
            Failover,
            json!({"x": 1}),
            400,
            "Failover could be performed only to a specific candidate",
        ),
        (
            Failover,
            json!({"scheduled_at": past}),
            400,
            "Failover could be performed only to a specific candidate",
        ),
        (
            Failover,
            json!({"candidate": "a", "scheduled_at": past}),
            400,
            "Failover can't be scheduled",
        ),
        (
            Switchover,
            json!({"candidate": "a"}),
            400,
            "Switchover could be performed only from a specific leader",
        ),
        (
            Switchover,
            json!({"leader": "", "candidate": "a"}),
            400,
            "Switchover could be performed only from a specific leader",
        ),
        (
            Switchover,
            json!({"leader": "a", "scheduled_at": past}),
            422,
            "Cannot schedule switchover in the past",
        ),
        (
            Switchover,
            json!({"leader": "a", "scheduled_at": "2126-11-21T19:59:59"}),
            400,
            "Timezone information is mandatory for the scheduled switchover",
        ),
        (
            Switchover,
            json!({"leader": "a", "scheduled_at": "soon"}),
            422,
            unparsable,
        ),
        (
            Switchover,
            json!({"leader": "a", "scheduled_at": 7}),
            422,
            unparsable,
        ),
        (
            Switchover,
            json!({"leader": "a", "candidate": "a"}),
            400,
            "Switchover target and source are the same",
        ),
        (
            Failover,
            json!({"leader": "a", "candidate": "a"}),
            400,
            "Switchover target and source are the same",
        ),
    ] {
        assert_eq!(read(what, body.clone()), refused(code, text), "{body}");
    }
    for body in [
        json!({"leader": 7}),
        json!({"leader": "a/b"}),
        json!({"leader": "a", "member": []}),
    ] {
        assert_eq!(
            read(Switchover, body.clone()),
            Err(Reply::page(400)),
            "{body}"
        );
    }
}

#[test]
fn a_paused_cluster_hands_over_to_somebody_named_and_at_once() {
    let (mut told, _) = primary();
    told.config.pause = true;
    let scheduled =
        json!({"leader": "a", "candidate": "b", "scheduled_at": "2126-11-21T20:00:00Z"});
    let text = "Can't schedule switchover in the paused state";
    assert_eq!(
        read_by(&told, What::Switchover, scheduled),
        refused(400, text)
    );
    let anybody = read_by(&told, What::Switchover, json!({"leader": "a"}));
    let text = "Switchover is possible only to a specific candidate in a paused state";
    assert_eq!(anybody, refused(400, text));
    assert!(
        read_by(
            &told,
            What::Switchover,
            json!({"leader": "a", "member": "b"})
        )
        .is_ok()
    );
}

#[test]
fn what_is_asked_for_stands_in_etcd_as_patroni_writes_it() {
    for (what, body, key) in [
        (
            What::Switchover,
            json!({"leader": "a"}),
            r#"{"leader":"a"}"#,
        ),
        (
            What::Switchover,
            json!({"leader": "a", "member": "b"}),
            r#"{"leader":"a","member":"b"}"#,
        ),
        (
            What::Failover,
            json!({"candidate": "b"}),
            r#"{"member":"b"}"#,
        ),
        (
            What::Failover,
            json!({"leader": "a", "candidate": "b"}),
            r#"{"leader":"a","member":"b"}"#,
        ),
        (
            What::Switchover,
            json!({"leader": "a", "scheduled_at": "2126-11-21 22:00+02:00"}),
            r#"{"leader":"a","scheduled_at":"2126-11-21T20:00:00+00:00"}"#,
        ),
    ] {
        assert_eq!(read(what, body.clone()).unwrap().key(), key, "{body}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn who_may_take_over_depends_on_the_mode_and_on_who_leads() {
    use SynchronousMode::{Off, On, Quorum};
    let names = |mode, what, body: Value| {
        let handover = read(what, body).unwrap();
        let found = handover.candidates(&cluster(mode))?;
        Ok::<_, Reply>(
            found
                .into_keys()
                .map(|name| name.to_string())
                .collect::<Vec<_>>(),
        )
    };
    let refused = |text: &str| Err(Reply::sentence(412, text));
    let listed = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect());
    for (mode, what, body, expected) in [
        (
            Off,
            What::Switchover,
            json!({"leader": "pg-2"}),
            listed(&["pg-1", "pg-3"]),
        ),
        (
            On,
            What::Switchover,
            json!({"leader": "pg-2"}),
            listed(&["pg-1"]),
        ),
        (
            Quorum,
            What::Switchover,
            json!({"leader": "pg-2"}),
            listed(&["pg-1"]),
        ),
        (
            Off,
            What::Switchover,
            json!({"leader": "pg-1"}),
            refused("leader name does not match"),
        ),
        (
            Off,
            What::Switchover,
            json!({"leader": "pg-2", "member": "pg-3"}),
            listed(&["pg-3"]),
        ),
        (
            On,
            What::Switchover,
            json!({"leader": "pg-2", "member": "pg-3"}),
            refused("candidate name does not match with sync_standby"),
        ),
        (
            Quorum,
            What::Switchover,
            json!({"leader": "pg-2", "member": "pg-3"}),
            listed(&["pg-3"]),
        ),
        (
            On,
            What::Failover,
            json!({"candidate": "pg-3"}),
            listed(&["pg-3"]),
        ),
        (
            Off,
            What::Failover,
            json!({"candidate": "pg-9"}),
            refused("candidate does not exists"),
        ),
        (
            Off,
            What::Failover,
            json!({"candidate": "pg-2"}),
            listed(&["pg-2"]),
        ),
    ] {
        assert_eq!(names(mode, what, body.clone()), expected, "{mode:?} {body}");
    }
    let anybody = read(What::Switchover, json!({"leader": "pg-2"})).unwrap();
    let mut alone = cluster(Off);
    alone.members.retain(|name, _| name.as_str() == "pg-2");
    let text = "switchover is not possible: cluster does not have members except leader";
    assert_eq!(anybody.candidates(&alone), Err(Reply::sentence(412, text)));
    let mut nobody = cluster(On);
    nobody.sync = None;
    let text = "switchover is not possible: can not find sync_standby";
    assert_eq!(anybody.candidates(&nobody), Err(Reply::sentence(412, text)));
    alone.lock = Lock::Vacant;
    let text = "leader name does not match";
    assert_eq!(anybody.candidates(&alone), Err(Reply::sentence(412, text)));
}

#[test]
fn a_switchover_needs_a_candidate_that_streams_a_failover_one_that_runs() {
    let (told, database) = replica();
    let streams = status::document(&told, &database, NOW);
    let mut runs = streams.clone();
    runs.replication_state = None;
    let mut archive = streams.clone();
    archive.replication_state = Some("in archive recovery".to_owned());
    let mut copied = streams.clone();
    copied.xlog = Xlog::default();
    copied.state = State::CreatingReplica;
    let mut stopped = copied.clone();
    stopped.state = State::Stopped;
    let mut forbidden = streams.clone();
    forbidden
        .tags
        .0
        .insert("nofailover".to_owned(), true.into());
    let mut undogged = streams.clone();
    undogged.watchdog_failed = true;
    let switchover = read(What::Switchover, json!({"leader": "pg-2"})).unwrap();
    let failover = read(What::Failover, json!({"candidate": "x"})).unwrap();
    let wait = |why: &str| {
        Feasible::NotYet(Reply::sentence(
            412,
            format!("switchover is not possible: {why}"),
        ))
    };
    let none = |what: &str| {
        let text = format!("{what} is not possible: no good candidates have been found");
        Feasible::No(Reply::sentence(412, text))
    };
    for (documents, switched, failed) in [
        (vec![&streams], Feasible::Yes, Feasible::Yes),
        (
            vec![&stopped, &runs, &streams],
            Feasible::Yes,
            Feasible::Yes,
        ),
        (
            vec![&runs],
            wait("m0 does not stream from the leader"),
            Feasible::Yes,
        ),
        (
            vec![&archive, &runs],
            wait("m0, m1 do not stream from the leader"),
            Feasible::Yes,
        ),
        (vec![&copied], wait("m0 does not run yet"), none("failover")),
        (vec![&stopped], none("switchover"), none("failover")),
        (
            vec![&forbidden, &undogged],
            none("switchover"),
            none("failover"),
        ),
        (vec![], none("switchover"), none("failover")),
    ] {
        let mut answers: BTreeMap<MemberName, PeerWord> = documents
            .into_iter()
            .enumerate()
            .map(|(at, document)| {
                let says = PeerWord::Says(Box::new(document.clone()));
                (format!("m{at}").into(), says)
            })
            .collect();
        answers.insert("silent".into(), PeerWord::Silent("timeout".to_owned()));
        assert_eq!(switchover.feasible(&answers), switched, "{answers:?}");
        assert_eq!(failover.feasible(&answers), failed, "{answers:?}");
    }
}

#[test]
fn what_came_of_it_is_known_once_somebody_else_leads_or_the_request_is_gone() {
    let before_all = cluster(SynchronousMode::Off);
    let before = Before::of(&before_all);
    let led = |name: &str, requested: i64, pending: bool| {
        let mut view = before_all.clone();
        view.lock = Lock::Held {
            tenure: Tenure {
                holder: name.into(),
                store: StoreNumber::FIRST,
                began: Revision(60),
            },
            lease: None,
        };
        let key = view.written.get_mut(&Key::Failover).unwrap();
        key.modified = Revision(requested);
        view.failover = read(What::Failover, json!({"candidate": "pg-1"}))
            .ok()
            .map(|handover| {
                trunkline_core::wire::failover::Failover::parse(handover.key().as_bytes()).unwrap()
            })
            .filter(|_| pending);
        view
    };
    let named = read(
        What::Switchover,
        json!({"leader": "pg-2", "candidate": "pg-1"}),
    )
    .unwrap();
    let anybody = read(What::Switchover, json!({"leader": "pg-2"})).unwrap();
    let says = |code, text: &str| Some(Reply::sentence(code, text));
    // Not seen yet, seen, and the leader on its way out.
    assert_eq!(named.outcome(&before, &before_all), None);
    assert_eq!(named.outcome(&before, &led("pg-2", 50, true)), None);
    let mut vacant = led("pg-2", 51, false);
    vacant.lock = Lock::Vacant;
    assert_eq!(named.outcome(&before, &vacant), None);
    // Given up: the leader cleared it, or took the lead back.
    assert_eq!(
        named.outcome(&before, &led("pg-2", 51, false)),
        says(503, "Switchover failed")
    );
    assert_eq!(
        named.outcome(&before, &led("pg-1", 50, true)),
        says(200, r#"Successfully switched over to "pg-1""#)
    );
    assert_eq!(
        named.outcome(&before, &led("pg-3", 51, false)),
        says(200, r#"Switched over to "pg-3" instead of "pg-1""#)
    );
    assert_eq!(
        anybody.outcome(&before, &led("pg-3", 51, false)),
        says(200, r#"Successfully switched over to "pg-3""#)
    );
    assert_eq!(
        named.unknown(),
        Reply::sentence(503, "Switchover status unknown")
    );
}
