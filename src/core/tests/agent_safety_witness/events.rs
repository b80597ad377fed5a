//! What may happen to an agent's world, in any order.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use trunkline_core::ha::JobOutcome;
use trunkline_core::postgres::{
    ControlState, DataDirectory, Postmaster, Silence, Upstream, WalSender,
};
use trunkline_core::wire::rest::StatusDocument;
use trunkline_core::{Lsn, MemberName, Observed, SystemId, Timeline};

use crate::agent_world::World;
use crate::agent_world::etcd::Mood;

pub(crate) const OTHERS: [&str; 2] = ["pg-2", "pg-3"];

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Wait(u64),
    Found,
    Lock(usize),
    LockGone,
    Garbage,
    Mood(u8),
    Config(usize),
    Request(usize),
    ClearRequest,
    MemberSays {
        who: usize,
        primary: bool,
        at: u64,
        streams: bool,
    },
    MemberSilent(usize),
    MemberKey {
        who: usize,
        role: usize,
        timeline: u32,
    },
    MemberGone(usize),
    Streams(usize),
    JobDone,
    JobFails,
    JobSays(bool),
    Primary,
    Standby,
    Down(usize),
    Starting,
    Hangs,
    Crash,
    ShutDownButForArchiver,
    Writes(u64),
    Follows(usize),
    Wiped,
    Unreadable,
    Foreign,
    Unidentified,
    Own,
    History(u32),
    Tag(usize),
    MayWipe(bool),
    StartTimeout(u64),
    Pinged,
    ConfigurationChanges,
    AgentRestarts,
    Ends,
}

/// Things that happen often are named more than once.
pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => prop_oneof![Just(20_u64), Just(500), Just(1000), Just(5000), Just(10_000), Just(26_000), Just(31_000), 0..40_000_u64]
            .prop_map(Event::Wait),
        12 => Just(Event::JobDone),
        4 => Just(Event::Found),
        4 => (0..3_usize).prop_map(Event::Lock),
        4 => Just(Event::Primary),
        4 => Just(Event::Standby),
        6 => prop_oneof![
            Just(Event::LockGone), Just(Event::Garbage), Just(Event::ClearRequest), Just(Event::JobFails),
            Just(Event::Starting), Just(Event::Hangs), Just(Event::Crash), Just(Event::ShutDownButForArchiver),
            Just(Event::Pinged), Just(Event::ConfigurationChanges),
        ],
        3 => prop_oneof![
            Just(Event::Wiped), Just(Event::Unreadable), Just(Event::Foreign), Just(Event::Unidentified),
            Just(Event::Own), Just(Event::AgentRestarts),
        ],
        1 => Just(Event::Ends),
        4 => (0..6_u8).prop_map(Event::Mood),
        2 => (0..CONFIGS.len()).prop_map(Event::Config),
        4 => (0..REQUESTS.len()).prop_map(Event::Request),
        6 => (0..2_usize, prop::bool::weighted(0.1), 900..1300_u64, any::<bool>())
            .prop_map(|(who, primary, at, streams)| Event::MemberSays { who, primary, at, streams }),
        2 => (0..2_usize).prop_map(Event::MemberSilent),
        4 => (0..2_usize, 0..3_usize, 1..4_u32)
            .prop_map(|(who, role, timeline)| Event::MemberKey { who, role, timeline }),
        1 => (0..2_usize).prop_map(Event::MemberGone),
        4 => (0..2_usize).prop_map(Event::Streams),
        2 => any::<bool>().prop_map(Event::JobSays),
        2 => (0..5_usize).prop_map(Event::Down),
        2 => (1..100_u64).prop_map(Event::Writes),
        2 => (0..2_usize).prop_map(Event::Follows),
        1 => (1..3_u32).prop_map(Event::History),
        1 => (0..TAGS.len()).prop_map(Event::Tag),
        1 => any::<bool>().prop_map(Event::MayWipe),
        1 => prop_oneof![Just(0_u64), Just(300)].prop_map(Event::StartTimeout),
    ]
}

const CONFIGS: [&str; 7] = [
    r#"{"ttl":30,"loop_wait":10,"retry_timeout":10}"#,
    r#"{"ttl":20,"loop_wait":1,"retry_timeout":3}"#,
    r#"{"ttl":30,"pause":true}"#,
    r#"{"ttl":30,"synchronous_mode":true}"#,
    r#"{"ttl":30,"standby_cluster":{"host":"a"}}"#,
    r#"{"ttl":30,"failsafe_mode":true}"#,
    "[]",
];
const REQUESTS: [&str; 7] = [
    r#"{"leader":"pg-1","member":"pg-2"}"#,
    r#"{"leader":"pg-1"}"#,
    r#"{"member":"pg-3"}"#,
    r#"{"leader":"pg-2","member":"pg-1"}"#,
    r#"{"leader":"pg-2"}"#,
    r#"{"leader":"pg-1","member":"pg-2","scheduled_at":"2026-11-21T08:00:40+00:00"}"#,
    r#"{"leader":"pg-1","member":"pg-9"}"#,
];
const TAGS: [&str; 3] = ["nofailover", "nostream", "nosync"];
const STATES: [ControlState; 5] = [
    ControlState::InProduction,
    ControlState::ShutDown,
    ControlState::ShutDownInRecovery,
    ControlState::InArchiveRecovery,
    ControlState::InCrashRecovery,
];

/// It happens.
#[expect(
    clippy::too_many_lines,
    reason = "one line and a bit for each of many things"
)]
pub(crate) fn happen(event: &Event, world: &mut World) {
    let now = world.now;
    match event {
        Event::Wait(millis) => world.wait(Duration::from_millis(*millis)),
        Event::Found => world.found(&["pg-1", "pg-2", "pg-3"]),
        Event::Lock(0) => {
            world.lock("pg-1");
            // Only who was found by etcd to hold it knows of it.
            if world.etcd.mood != Mood::Answers {
                world.held = None;
            }
        }
        Event::Lock(other) => take_lock(OTHERS[other - 1], world),
        Event::LockGone => world.etcd.delete("leader"),
        Event::Garbage => world.etcd.put("leader", "a/b", None),
        Event::Mood(mood) => {
            world.etcd.mood = match mood {
                0..=2 => Mood::Answers,
                3 => Mood::Silent,
                4 => Mood::LosesAnswers,
                _ => Mood::Lags,
            }
        }
        Event::Config(number) => world.etcd.put("config", CONFIGS[*number], None),
        Event::Request(number) => world.etcd.put("failover", REQUESTS[*number], None),
        Event::ClearRequest => world.etcd.put("failover", "{}", None),
        Event::MemberSays {
            who,
            primary,
            at,
            streams,
        } => {
            let document = says(OTHERS[*who], *primary, *at, *streams);
            world.peers.insert(OTHERS[*who].into(), document);
        }
        Event::MemberSilent(who) => drop(world.peers.remove(&MemberName::from(OTHERS[*who]))),
        Event::MemberKey {
            who,
            role,
            timeline,
        } => {
            let role = ["primary", "replica", "demoted"][*role];
            world.publish(
                OTHERS[*who],
                "running",
                role,
                &format!(r#","timeline":{timeline}"#),
            );
        }
        Event::MemberGone(who) => world.etcd.delete(&format!("members/{}", OTHERS[*who])),
        Event::Streams(who) => streams(OTHERS[*who], world),
        Event::JobDone if world.job.is_some() => world.job_done(),
        Event::JobFails if world.job.is_some() => {
            let cancelled = world.job.as_ref().is_some_and(|flight| flight.cancelled);
            let failed = JobOutcome::Failed("it failed".to_owned());
            world.job_ends(if cancelled {
                JobOutcome::Cancelled
            } else {
                failed
            });
        }
        Event::JobSays(needed) if world.job.is_some() => {
            world.job_ends(JobOutcome::RewindNeeded(*needed));
        }
        Event::JobDone | Event::JobFails | Event::JobSays(_) => {}
        Event::AgentRestarts => restart(world),
        Event::Ends => world.ending = true,
        Event::Tag(number) => {
            let on = world.me.tags.0.get(TAGS[*number]).is_none();
            world.me.tags.0.insert(TAGS[*number].to_owned(), on.into());
        }
        Event::MayWipe(may) => {
            (world.me.wipe_on_divergence, world.me.wipe_on_rewind_failure) = (*may, *may);
            world.me.may_rewind = !may;
        }
        Event::StartTimeout(seconds) => {
            world.me.primary_start_timeout = Duration::from_secs(*seconds)
        }
        Event::Pinged => world.memory.pinged = Some(("pg-2".into(), now)),
        Event::ConfigurationChanges => world.reload_due = true,
        Event::History(last) => {
            let line = format!(r#"[[{last},1000,"r","2026-11-21T08:00:00+00:00","pg-2"]]"#);
            world.etcd.put("history", &line, None);
        }
        Event::Primary
        | Event::Standby
        | Event::Down(_)
        | Event::Starting
        | Event::Hangs
        | Event::Crash
        | Event::ShutDownButForArchiver
        | Event::Writes(_)
        | Event::Follows(_)
        | Event::Wiped
        | Event::Unreadable
        | Event::Foreign
        | Event::Unidentified
        | Event::Own => postgres(event, world),
    }
}

/// What happens to PostgreSQL beside what jobs do.
fn postgres(event: &Event, world: &mut World) {
    let (now, node) = (world.now, &mut world.node);
    let there = matches!(node.data, DataDirectory::Present { .. });
    match event {
        Event::Primary | Event::Standby => {
            let primary = matches!(event, Event::Primary);
            if !there {
                node.has_data(!primary);
            }
            node.runs(primary, now);
        }
        Event::Down(state) if there => node.is_down(STATES[*state], now),
        Event::Starting if there => {
            node.postmaster = Postmaster::Up {
                pid: 4711,
                since: now,
            };
            node.is_silent(Silence::Starting, now);
        }
        Event::Hangs if node.postmaster.is_up() => node.is_silent(Silence::TimedOut, now),
        Event::Crash if node.postmaster.is_up() => world.crash(),
        Event::ShutDownButForArchiver if world.job.is_some() => {
            node.state = ControlState::ShutDown;
            node.checkpoint = node.at;
        }
        Event::Writes(bytes) => {
            if let Observed::Fresh { value, .. } = &node.database
                && !value.in_recovery
            {
                node.at = Lsn(node.at.0 + bytes);
                node.runs(true, now);
            }
        }
        Event::Follows(who) => {
            let host = format!("10.0.0.{}", OTHERS[*who].bytes().last().unwrap_or(0));
            let upstream = Upstream {
                name: None,
                host,
                port: 5432,
                slot: Some("pg_1".to_owned()),
            };
            if let DataDirectory::Present { follows, .. } = &mut node.data {
                *follows = Some(upstream);
            }
        }
        Event::Wiped if !node.postmaster.is_up() => {
            node.data = DataDirectory::Empty;
            node.system_id = None;
        }
        Event::Unreadable if !node.postmaster.is_up() => {
            node.data = DataDirectory::Unusable("/data: permission denied".to_owned());
        }
        Event::Foreign if there => node.system_id = SystemId::parse("1234567890123"),
        Event::Unidentified if there => node.system_id = None,
        Event::Own if there => {
            node.system_id = SystemId::parse(crate::agent_world::SYSTEM_ID);
            node.timeline = Timeline(node.timeline.0.clamp(1, 3));
        }
        _ => {}
    }
}

/// Another takes the lock, as it can: only where nobody has it, or by hand.
fn take_lock(name: &str, world: &mut World) {
    let held = world.held;
    world.lock(name);
    // What this agent proved before stays what it believes.
    world.held = held;
}

fn streams(name: &str, world: &mut World) {
    if let Observed::Fresh { value, .. } = &mut world.node.database {
        value.standbys.push(WalSender {
            application: name.to_owned(),
            state: "streaming".to_owned(),
            ..WalSender::default()
        });
    }
}

fn says(name: &str, primary: bool, at: u64, streams: bool) -> StatusDocument {
    let xlog = match primary {
        true => json!({ "location": at }),
        false => json!({ "received_location": at, "replayed_location": at }),
    };
    let mut document = json!({
        "state": "running", "role": if primary { "primary" } else { "replica" },
        "server_version": 150_020, "xlog": xlog, "timeline": 1,
        "patroni": { "version": "4.1.5", "scope": "demo", "name": name },
    });
    if streams {
        document["replication_state"] = "streaming".into();
    }
    StatusDocument::parse(document.to_string().as_bytes()).expect("a status document")
}

/// The agent is another process.
fn restart(world: &mut World) {
    world.memory = trunkline_core::ha::Memory::default();
    world.held = None;
    world.lease = None;
    world.job = None;
    world.ending = false;
}
