//! What an agent of ours sees: PostgreSQL, its files, etcd; and what it tells its REST API.

use std::collections::BTreeMap;
use std::time::Duration;

use trunkline_core::ha::{Decision, Job, Me, Snapshot};
use trunkline_core::postgres::{
    ControlData, ControlState, DataDirectory, Database, HistoryFile, Postmaster, Silence, Slot,
    Upstream, WalReceiver, WalSender,
};
use trunkline_core::rest::health::Health;
use trunkline_core::rest::request::Request;
use trunkline_core::rest::status;
use trunkline_core::rest::told::Told;
use trunkline_core::slots;
use trunkline_core::wire::member::{ApiUrl, ConnUrl, Tags};
use trunkline_core::wire::rest::StatusDocument;
use trunkline_core::{Lsn, MemberName, Moment, Scope, SystemId, Timeline};

use super::Ours;
use crate::node::postgres::{Postgres, State};
use crate::node::{Node, SCOPE, SYSTEM_ID};
use crate::router::control::wall;
use crate::world::World;

impl Ours {
    /// What `GET /primary` answers.
    pub(crate) fn says(
        &self,
        database: &Result<Database, Silence>,
        now: Moment,
    ) -> Option<(u16, StatusDocument)> {
        let told = self.told.as_ref()?;
        let document = status::document(told, database, now);
        let health = Health {
            told,
            database,
            document: &document,
            honest_primary: false,
            now,
        };
        let code = health.check(&Request::new("GET", "/primary"));
        Some((code, document))
    }
}

impl World {
    /// What the local configuration says.
    pub(super) fn me(&self, number: usize) -> Me {
        let node = &self.nodes[number];
        let mut tags = Tags::default();
        if node.nofailover {
            tags.0.insert("nofailover".to_owned(), true.into());
        }
        let host = node.address.ip();
        let conn = ConnUrl::parse(&format!("postgres://{}/postgres", node.address));
        let api = ApiUrl::parse(&format!("http://{host}:8008/patroni"));
        Me {
            name: MemberName::from(&*node.name),
            scope: Scope::from(SCOPE),
            conn: conn.expect("a node's address"),
            api: api.expect("a node's address"),
            proxy: None,
            tags,
            may_bootstrap: true,
            restores: false,
            initial_config: self.configuration.clone(),
            may_rewind: self.rules.may_rewind,
            wipe_on_rewind_failure: true,
            wipe_on_divergence: true,
            use_slots: self.rules.use_slots,
            primary_start_timeout: self.rules.primary_start_timeout,
            start_timeout: Duration::from_secs(60),
            check_timeline: self.rules.check_timeline,
            max_timelines_history: 0,
            member_slots_ttl: Duration::from_secs(1_800),
            watchdog_required: false,
            pending_restart: BTreeMap::new(),
        }
    }

    /// How long a look takes: PostgreSQL is asked once a cycle, and again after a job.
    pub(super) fn looking_takes(&mut self, number: usize) -> Duration {
        let now = self.now;
        let quick = self.chance.mostly_short(1, 12) + Duration::from_micros(200);
        let frozen = self.nodes[number].postgres.stands_still();
        let fresh = self.fresh_since(number);
        let ours = self.ours(number);
        let known = ours
            .database
            .fresh()
            .is_some_and(|(_, asked)| asked >= fresh);
        if frozen && !known {
            return quick + ours.patience(now);
        }
        quick
    }

    fn fresh_since(&mut self, number: usize) -> Moment {
        let ours = self.ours(number);
        let began = ours
            .round
            .as_ref()
            .map_or(Moment::BOOT, |round| round.began);
        let ended = ours.memory.ended.as_ref().map(|end| end.ended);
        ended.map_or(began, |ended| ended.max(began))
    }

    /// What ended, and what PostgreSQL says now: the decision comes a little later.
    pub(super) fn look_around(&mut self, number: usize) {
        for end in std::mem::take(&mut self.ours(number).ends) {
            self.ours(number).memory.ended(end);
        }
        self.look_at_postgres(number);
    }

    /// Everything that was seen.
    pub(super) fn snapshot(&self, number: usize) -> Snapshot {
        let now = self.now;
        let node = &self.nodes[number];
        let ours = node.ours.as_ref().expect("an agent of ours decides");
        let round = ours.round.as_ref().expect("a cycle is under way");
        let postgres = &node.postgres;
        Snapshot {
            now,
            wall: wall(now),
            me: ours.me.clone(),
            view: node.feed.follow.view().clone(),
            lease: ours.lease,
            held: ours.held,
            renewal: round.renewal.clone(),
            refused: round.refused.clone(),
            data: if postgres.empty {
                DataDirectory::Empty
            } else {
                DataDirectory::Present {
                    signal: postgres.signal,
                    backup_label: postgres.backup_label,
                    follows: postgres.follows.clone(),
                }
            },
            system_id: (!postgres.empty)
                .then(|| SystemId::parse(SYSTEM_ID))
                .flatten(),
            history_file: history(postgres, ours.database.value()),
            reload_due: ours.reload_due,
            control: ours.control.clone(),
            postmaster: match ours.process {
                (Some(life), since) => Postmaster::Up {
                    pid: u32::try_from(life % 30_000).unwrap_or(1),
                    since,
                },
                (None, since) => Postmaster::Down { since },
            },
            database: ours.database.clone(),
            job: ours.flight(),
            peers: round.peers.clone(),
            ending: ours.ending,
            memory: ours.memory.clone(),
        }
    }

    fn look_at_postgres(&mut self, number: usize) {
        let now = self.now;
        let fresh = self.fresh_since(number);
        let answer = self.database_of(number);
        let Node { postgres, ours, .. } = &mut self.nodes[number];
        let ours = ours.as_mut().expect("an agent of ours looks");
        let life = postgres.is_up().then_some(postgres.life);
        if ours.process.0 != life {
            ours.process = (life, now);
        }
        let since = ours.process.1;
        let known = ours
            .database
            .fresh()
            .is_some_and(|(_, asked)| asked >= fresh && asked >= since && life.is_some());
        if !known {
            match answer {
                Ok(database) => ours.database.answered(database, now),
                Err(cause) => {
                    let had = ours.database.clone().unanswered(cause, now);
                    ours.database = had;
                }
            }
        }
        let changes = matches!(ours.in_flight(), Some(Job::Stop(_) | Job::Promote));
        if !postgres.empty && (ours.database.fresh().is_none() || changes) {
            ours.control.answered(control(postgres), now);
        }
    }

    /// What PostgreSQL says when it is asked.
    pub(crate) fn database_of(&self, number: usize) -> Result<Database, Silence> {
        let postgres = &self.nodes[number].postgres;
        match postgres.state {
            State::Stopped | State::Crashed => return Err(Silence::NotAsked),
            State::Running | State::Starting | State::Stopping if postgres.stands_still() => {
                return Err(Silence::TimedOut);
            }
            State::Starting => return Err(Silence::Starting),
            State::Stopping => return Err(Silence::ShuttingDown),
            State::Running => {}
        }
        let (log, standby) = (&postgres.log, !postgres.primary);
        let end = Some(Lsn(log.end));
        let receiver = postgres.streams.map(|_| WalReceiver {
            status: "streaming".to_owned(),
            latest_end: end,
            timeline: Some(Timeline(log.timeline())),
            ..WalReceiver::default()
        });
        Ok(Database {
            version: 150_020,
            started: "2026-11-21 08:00:00+00".to_owned(),
            in_recovery: standby,
            timeline: Some(Timeline(log.timeline())),
            checkpoint_timeline: Some(Timeline(postgres.checkpoint_timeline)),
            flushed: end.filter(|_| !standby),
            received: end.filter(|_| standby),
            replayed: end.filter(|_| standby),
            receiver,
            standbys: self.standbys_of(number),
            slots: self.slots_of(number),
            ..Database::default()
        })
    }

    fn standbys_of(&self, number: usize) -> Vec<WalSender> {
        let streams = |node: &&Node| node.postgres.streams == Some(number);
        let sender = |node: &Node| WalSender {
            application: node.name.clone(),
            state: "streaming".to_owned(),
            sync_state: "async".to_owned(),
            flushed: Some(Lsn(node.postgres.log.end)),
            ..WalSender::default()
        };
        self.nodes.iter().filter(streams).map(sender).collect()
    }

    fn slots_of(&self, number: usize) -> Vec<Slot> {
        let slots = self.nodes[number].postgres.slots.iter();
        let slot = |(name, at): (&String, &u64)| Slot {
            name: name.clone(),
            active: self.nodes.iter().any(|node| {
                node.postgres.streams == Some(number)
                    && slots::name_of(&MemberName::from(&*node.name)) == *name
            }),
            restart: Some(Lsn(*at)),
            ..Slot::default()
        };
        slots.map(slot).collect()
    }

    /// The node that an address is of.
    pub(crate) fn node_of(&self, upstream: &Upstream) -> Option<usize> {
        let is = |node: &Node| node.address.port() == upstream.port && node.host == upstream.host;
        self.nodes.iter().position(is)
    }

    /// What the cycle tells the REST API after it has decided.
    pub(super) fn tells_api(&mut self, number: usize, s: &Snapshot, decision: &Decision) {
        let told = Told {
            me: s.me.name.clone(),
            scope: s.me.scope.clone(),
            view: s.view.clone(),
            etcd_answered: s.view.asked().filter(|_| s.view.fresh().is_some()),
            dcs_last_seen: 0,
            config: s.config(),
            held: s.held,
            role: s.role(),
            state: s.state(),
            postmaster_up: s.postmaster.is_up(),
            system_id: s.system_id.clone(),
            configured_tags: s.me.tags.clone(),
            tags: s.tags(),
            pending_restart: BTreeMap::new(),
            scheduled_restart: None,
            failsafe_until: None,
            watchdog_failed: false,
            next_run: decision.look_again,
            only_follows: None,
        };
        let seen = &mut self.nodes[number].agent.seen;
        (seen.pause, seen.standby) = (told.config.pause, told.config.is_standby_cluster());
        self.ours(number).told = Some(told);
    }
}

fn history(postgres: &Postgres, known: Option<&Database>) -> Option<HistoryFile> {
    let timeline = known.filter(|known| !known.in_recovery)?.timeline?;
    let fits = timeline.0 > 1 && postgres.log.timeline() == timeline.0;
    fits.then(|| HistoryFile {
        timeline,
        lines: postgres.log.history(),
    })
}

fn control(postgres: &Postgres) -> ControlData {
    ControlData {
        system_id: SystemId::parse(SYSTEM_ID).expect("a system identifier"),
        state: match postgres.state {
            State::Running if postgres.primary => ControlState::InProduction,
            State::Running
            | State::Starting
            | State::Stopping
            | State::Stopped
            | State::Crashed => postgres.control,
        },
        checkpoint: Lsn(postgres.checkpoint),
        timeline: Timeline(postgres.checkpoint_timeline),
        minimum_recovery_end: Lsn(0),
        minimum_recovery_timeline: Timeline(0),
        checksums: true,
        wal_log_hints: false,
        max_connections: 100,
        max_worker_processes: 8,
        max_wal_senders: 10,
        max_prepared_transactions: 0,
        max_locks_per_transaction: 64,
    }
}
