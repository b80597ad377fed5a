//! A cluster as the router would see it, made of the bytes etcd and the members would send, and decided on by the
//! real decision.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use trunkline_core::admission::Budget;
use trunkline_core::cluster::{ClusterView, KeyValue};
use trunkline_core::config::router::{Cluster, Etcd};
use trunkline_core::follow::{EndpointId, Trouble};
use trunkline_core::keys::Prefix;
use trunkline_core::probe::{NoAnswer, Probe, judge};
use trunkline_core::proof::{LeaseLeft, Reading};
use trunkline_core::route::{self, Address, Ledger};
use trunkline_core::wire::config::DynamicConfig;
use trunkline_core::{LeaseId, MemberName, Moment, Observed, Revision, StoreNumber};
use trunkline_io::clock;
use trunkline_io::metrics::Recorder;
use trunkline_io::shutdown::Tasks;

use crate::admin::stats::Stats;
use crate::admin::{Admin, Configuration, Shown};
use crate::admission::Admission;
use crate::control::Running;
use crate::door::Door;
use crate::published::{Board, Seats, Snapshot};

/// There is one recorder a process, whatever the number of tests.
static RECORDER: LazyLock<Recorder> = LazyLock::new(|| Recorder::install().unwrap());

/// A cluster to look at: what its members published, and what they say when asked.
pub(super) struct Stand {
    pub(super) cluster: Cluster,
    pub(super) leader: Option<&'static str>,
    pub(super) members: Vec<Member>,
    /// Further keys, as Patroni writes them.
    pub(super) keys: Vec<(&'static str, Value)>,
    pub(super) tasks: Tasks,
}

/// A member of it.
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) published: Value,
    /// The REST answer, or why there is none.
    pub(super) says: Result<(u16, Value), NoAnswer>,
}

impl Member {
    pub(super) fn primary(name: &'static str, number: u8) -> Self {
        Self::of(name, number, "primary", 200, &json!({"location": 9000}))
    }

    /// A replica that is `lag` bytes behind a [`Member::primary`].
    pub(super) fn replica(name: &'static str, number: u8, lag: u64) -> Self {
        let xlog = json!({"received_location": 9000, "replayed_location": 9000 - lag});
        Self::of(name, number, "replica", 503, &xlog)
    }

    fn of(name: &'static str, number: u8, role: &str, code: u16, xlog: &Value) -> Self {
        Self {
            name,
            published: json!({
                "conn_url": format!("postgres://10.0.0.{number}:5432/postgres"),
                "api_url": format!("http://10.0.0.{number}:8008/patroni"),
                "state": "running",
                "role": role,
                "timeline": 3,
            }),
            says: Ok((
                code,
                json!({
                    "state": "running",
                    "role": role,
                    "timeline": 3,
                    "xlog": xlog,
                    "patroni": {"version": "4.1.5", "scope": "demo", "name": name},
                }),
            )),
        }
    }
}

impl Stand {
    /// Three members, `a` leads, `b` follows closely and synchronously, `c` lags; known as `name` to the router.
    pub(super) fn new(name: &str) -> Self {
        let mut cluster = Cluster::new("demo".into(), Etcd::default());
        name.clone_into(&mut cluster.name);
        cluster.probe.rise = 1;
        cluster.listeners[1].max_lag = Some(1000);
        Self {
            cluster,
            leader: Some("a"),
            members: vec![
                Member::primary("a", 1),
                Member::replica("b", 2, 10),
                Member::replica("c", 3, 5000),
            ],
            keys: vec![(
                "sync",
                json!({"leader": "a", "sync_standby": "b", "quorum": 0}),
            )],
            tasks: Tasks::new(),
        }
    }

    /// The stats port of a router that sees this.
    pub(super) fn admin(&self) -> Arc<Admin> {
        Self::admin_of(&[self])
    }

    /// The same of a router with several clusters.
    pub(super) fn admin_of(stands: &[&Self]) -> Arc<Admin> {
        let tasks = stands[0].tasks.clone();
        let admission = Arc::new(Admission::new(Budget::of(1024, 2)));
        let running: Vec<Running> = stands.iter().map(|stand| stand.running()).collect();
        let doors = running.iter().flat_map(|running| {
            let listeners = running.cluster.listeners.iter();
            listeners
                .map(|listener| Arc::new(Door::new(running, listener.clone(), &admission, &tasks)))
        });
        let doors: Vec<Arc<Door>> = doors.collect();
        let counts = doors.iter().map(|door| {
            let whose = (door.cluster.clone(), door.config.name.clone());
            (whose, Arc::clone(&door.count))
        });
        let shown = Shown {
            counts: counts.collect(),
            doors,
            clusters: running,
            configuration: Configuration::none(clock::now()),
        };
        let shown = Arc::new(ArcSwap::from_pointee(shown));
        Arc::new(Admin::new(shown, RECORDER.clone(), tasks))
    }

    /// `/stats.json`, read back.
    pub(super) fn stats(&self) -> Value {
        serde_json::to_value(Stats::of(&self.admin())).unwrap()
    }

    fn running(&self) -> Running {
        let board = Arc::new(Board::new(self.look()));
        Running::deaf(Arc::new(self.cluster.clone()), board)
    }

    /// Looks twice, as control does: a second ago with nothing but etcd's word, and now with the answers.
    fn look(&self) -> Snapshot {
        let now = clock::now();
        let asked = now.before(Duration::from_millis(500));
        let before = now.before(Duration::from_secs(1));
        let (view, reading) = (self.view(asked), self.reading(asked));
        let addresses = self.addresses();
        let probes = self.probes(asked, now);
        let nothing = BTreeMap::new();
        let mut ledger = Ledger::default();
        let mut table = None;
        for (at, probes) in [(before, &nothing), (now, &probes)] {
            let situation = route::Snapshot {
                cluster: &self.cluster,
                view: &view,
                reading: &reading,
                probes,
                addresses: &addresses,
                now: at,
                wall: clock::wall(),
            };
            table = Some(route::look(&mut ledger, &situation));
        }
        let table = table.unwrap();
        Snapshot {
            at: now,
            lanes: Seats::default().lanes(&table),
            table,
            view,
            endpoint: "http://10.0.0.9:2379".to_owned(),
            proof: ledger.lock().map(|lock| (lock.asked, lock.deadline)),
            members: ledger.members().clone(),
            probes,
        }
    }

    fn view(&self, asked: Moment) -> Observed<ClusterView, Trouble> {
        let prefix = Prefix::new("/service/", &self.cluster.scope);
        let members = self.members.iter().map(|member| {
            let key = format!("members/{}", member.name);
            key_value(&prefix, &key, member.published.to_string())
        });
        let others = self
            .keys
            .iter()
            .map(|(key, value)| key_value(&prefix, key, value.to_string()));
        let leader = self
            .leader
            .map(|name| key_value(&prefix, "leader", name.to_owned()));
        let keys: Vec<KeyValue> = members.chain(others).chain(leader).collect();
        if keys.is_empty() {
            return Observed::Unknown {
                since: asked,
                cause: Trouble::TimedOut,
            };
        }
        let value = ClusterView::parse(
            &prefix,
            StoreNumber::FIRST,
            &keys,
            &DynamicConfig::default(),
        );
        Observed::Fresh { value, asked }
    }

    fn reading(&self, asked: Moment) -> Observed<Reading, Trouble> {
        let prefix = Prefix::new("/service/", &self.cluster.scope);
        let value = Reading {
            asked,
            endpoint: EndpointId(0),
            store: StoreNumber::FIRST,
            leader: self
                .leader
                .map(|name| key_value(&prefix, "leader", name.to_owned())),
            lease: Some(LeaseLeft {
                lease: LeaseId(7),
                left: 20,
                granted: 30,
            }),
        };
        Observed::Fresh { value, asked }
    }

    fn probes(&self, asked: Moment, now: Moment) -> BTreeMap<MemberName, Probe> {
        let probe = |member: &Member| {
            let name = MemberName::from(member.name);
            let answer = member.says.clone().and_then(|(code, body)| {
                let body = body.to_string();
                judge(code, body.as_bytes(), &name, &self.cluster.scope, None)
            });
            let mut probe = Probe::new(asked);
            probe.looked = Some(now);
            probe.rest = match answer {
                Ok(value) => Observed::Fresh { value, asked },
                Err(cause) => Observed::Unknown {
                    since: asked,
                    cause,
                },
            };
            (name, probe)
        };
        self.members.iter().map(probe).collect()
    }

    fn addresses(&self) -> BTreeMap<MemberName, Address> {
        let numbered = self.members.iter().zip(1_u8..);
        numbered
            .map(|(member, number)| {
                let address = SocketAddr::from(([10, 0, 0, number], 5432));
                (member.name.into(), address.into())
            })
            .collect()
    }
}

fn key_value(prefix: &Prefix, key: &str, value: String) -> KeyValue {
    KeyValue {
        key: format!("{}{key}", prefix.as_str()).into_bytes(),
        value: value.into_bytes(),
        created: Revision(5),
        modified: Revision(5),
        lease: Some(LeaseId(7)),
    }
}
