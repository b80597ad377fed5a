//! The commands of a script: one line, one thing that happens. `agent_scenarios/README.md` lists them for people.

use std::time::Duration;

use serde_json::{Map, Value, json};
use trunkline_core::ha::JobOutcome;
use trunkline_core::postgres::{
    ControlState, DataDirectory, Postmaster, Silence, Upstream, WalSender,
};
use trunkline_core::wire::rest::StatusDocument;
use trunkline_core::{LeaseId, Lsn, MemberName, Observed, SystemId, Timeline};

use crate::agent_world::World;
use crate::agent_world::etcd::Mood;

type Done = Result<(), String>;

/// Carries out one line.
pub(crate) fn carry_out(line: &str, world: &mut World) -> Done {
    let words: Vec<&str> = line.split_whitespace().collect();
    let rest = |after: &str| {
        line.split_once(after)
            .map_or("", |(_, rest)| rest)
            .trim()
            .to_owned()
    };
    match words[..] {
        [] => {}
        [first, ..] if first.starts_with('#') => {}
        ["cluster", ref names @ ..] => world.found(names),
        ["etcd", "put", key, ..] => world.etcd.put(key, &rest(key), None),
        ["etcd", "delete", key] => world.etcd.delete(key),
        ["etcd", "silent"] => world.etcd.mood = Mood::Silent,
        ["etcd", "answers"] => world.etcd.mood = Mood::Answers,
        ["etcd", "lags"] => world.etcd.mood = Mood::Lags,
        ["etcd", "loses", "answers"] => world.etcd.mood = Mood::LosesAnswers,
        ["lock", "gone"] => world.etcd.delete("leader"),
        ["lock", holder] => world.lock(holder),
        ["config", ref settings @ ..] => configure(settings, world)?,
        ["me", ref what @ ..] => me(what, world)?,
        ["member", name, role, state, ref more @ ..] => {
            let more: String = more.iter().map(|field| format!(",{field}")).collect();
            world.publish(name, &state.replace('_', " "), role, &more);
        }
        ["member", name, "gone"] => world.etcd.delete(&format!("members/{name}")),
        ["postgres", ref what @ ..] => postgres(what, world)?,
        ["job", ..] if world.job.is_none() => return Err("no job is in flight".to_owned()),
        ["job", "done"] => world.job_done(),
        ["job", "fails"] => world.job_ends(JobOutcome::Failed("it failed".to_owned())),
        ["job", "cancelled"] => world.job_ends(JobOutcome::Cancelled),
        ["job", "says", "rewind"] => world.job_ends(JobOutcome::RewindNeeded(true)),
        ["agent", "restarts"] => restart(world),
        ["agent", "is", "told", "to", "end"] => world.ending = true,
        ["configuration", "changes"] => world.reload_due = true,
        ["pinged", "by", name] => world.memory.pinged = Some((name.into(), world.now)),
        ["wait", time] => world.wait(duration(time)?),
        [name, "silent"] => drop(world.peers.remove(&MemberName::from(name))),
        [name, "says", role, ref facts @ ..] => {
            let document = says(name, role, facts)?;
            world.peers.insert(name.into(), document);
        }
        [name, "streams"] => streams(name, world),
        [..] => return Err("no such command".to_owned()),
    }
    Ok(())
}

/// `config pause=true ttl=5`: fields of the dynamic configuration.
fn configure(settings: &[&str], world: &mut World) -> Done {
    let text = world.etcd.text("config").unwrap_or_else(|| "{}".to_owned());
    let mut config: Map<String, Value> = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    for setting in settings {
        let (name, value) = pair(setting)?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        config.insert(name.to_owned(), value);
    }
    world
        .etcd
        .put("config", &Value::Object(config).to_string(), None);
    Ok(())
}

/// What the local configuration says.
fn me(what: &[&str], world: &mut World) -> Done {
    let me = &mut world.me;
    match *what {
        ["tag", tag] => {
            let (name, value) = pair(tag)?;
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            me.tags.0.insert(name.to_owned(), value);
        }
        ["can", "bootstrap"] => me.may_bootstrap = true,
        ["cannot", "bootstrap"] => me.may_bootstrap = false,
        ["cannot", "rewind"] => me.may_rewind = false,
        ["wipes"] => (me.wipe_on_divergence, me.wipe_on_rewind_failure) = (true, true),
        ["checks", "timelines"] => me.check_timeline = true,
        ["begins", "with", config] => me.initial_config = config.to_owned(),
        ["requires", "watchdog"] => me.watchdog_required = true,
        ["fails", "over", "at", "once"] => me.primary_start_timeout = Duration::ZERO,
        ["waits", "for", "restart", name] => {
            me.pending_restart
                .insert(name.to_owned(), ("1".to_owned(), "2".to_owned()));
        }
        _ => return Err("nothing that can be configured".to_owned()),
    }
    Ok(())
}

/// What PostgreSQL here is.
fn postgres(what: &[&str], world: &mut World) -> Done {
    let (now, node) = (world.now, &mut world.node);
    match *what {
        ["primary" | "standby", ref facts @ ..] => {
            for fact in facts {
                let (name, value) = pair(fact)?;
                let number: u64 = value.parse().map_err(|_| "a number".to_owned())?;
                match name {
                    "at" => node.at = Lsn(number),
                    "timeline" => {
                        node.timeline = Timeline(u32::try_from(number).map_err(|e| e.to_string())?)
                    }
                    _ => return Err("at or timeline".to_owned()),
                }
            }
            if !matches!(node.data, DataDirectory::Present { .. }) {
                node.has_data(what[0] == "standby");
            }
            node.runs(what[0] == "primary", now);
        }
        ["follows", name] => {
            let host = format!("10.0.0.{}", name.bytes().last().unwrap_or(0));
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
        ["down", ref state @ ..] => {
            let state = control(&state.join(" "))?;
            if !matches!(node.data, DataDirectory::Present { .. }) {
                node.has_data(state == ControlState::InArchiveRecovery);
            }
            node.is_down(state, now);
        }
        ["shut", "down", "but", "for", "its", "archiver"] => {
            node.state = ControlState::ShutDown;
            node.checkpoint = node.at;
        }
        ["has", "few", "connections"] => node.replay_pauses(50),
        ["is", "paused", "by", "hand"] => node.replay_pauses(100),
        ["goes", "on", "replaying"] => node.replay_goes_on(),
        ["crashes"] => world.crash(),
        ["starting"] => {
            node.postmaster = Postmaster::Up {
                pid: 4711,
                since: now,
            };
            node.is_silent(Silence::Starting, now);
        }
        ["hangs"] => node.is_silent(Silence::TimedOut, now),
        ["stopping"] => node.is_silent(Silence::ShuttingDown, now),
        ["unreadable"] => {
            node.data = DataDirectory::Unusable("/data: permission denied".to_owned())
        }
        ["marked", "as", "a", "standby"] => node.has_data(true),
        ["wiped"] => node.data = DataDirectory::Empty,
        ["foreign"] => node.system_id = SystemId::parse("1234567890123"),
        ["without", "identifier"] => node.system_id = None,
        ["writes", bytes] => {
            node.at = Lsn(node.at.0 + bytes.parse::<u64>().map_err(|e| e.to_string())?);
            node.runs(true, now);
        }
        _ => return Err("nothing that PostgreSQL is".to_owned()),
    }
    Ok(())
}

fn control(words: &str) -> Result<ControlState, String> {
    Ok(match words {
        "in production" => ControlState::InProduction,
        "shut down" => ControlState::ShutDown,
        "shut down in recovery" => ControlState::ShutDownInRecovery,
        "in archive recovery" => ControlState::InArchiveRecovery,
        "in crash recovery" => ControlState::InCrashRecovery,
        _ => return Err("no state of a control file".to_owned()),
    })
}

/// A member streams from here.
fn streams(name: &str, world: &mut World) {
    if let Observed::Fresh { value, .. } = &mut world.node.database {
        value.standbys.push(WalSender {
            application: name.to_owned(),
            state: "streaming".to_owned(),
            ..WalSender::default()
        });
    }
}

/// What a member's REST API answers: its role, and where it is.
fn says(name: &str, role: &str, facts: &[&str]) -> Result<StatusDocument, String> {
    let (mut at, mut timeline, mut extra) = (1000_u64, 1_u64, Map::new());
    for fact in facts {
        match pair(fact)? {
            ("at", value) => at = value.parse().map_err(|_| "a number".to_owned())?,
            ("timeline", value) => timeline = value.parse().map_err(|_| "a number".to_owned())?,
            ("priority", value) => {
                let priority: u64 = value.parse().map_err(|_| "a number".to_owned())?;
                drop(extra.insert("tags".to_owned(), json!({ "failover_priority": priority })));
            }
            ("replication", value) => {
                drop(extra.insert("replication_state".to_owned(), value.into()))
            }
            _ => return Err("at, timeline, priority or replication".to_owned()),
        }
    }
    let xlog = if role == "primary" {
        json!({ "location": at })
    } else {
        json!({ "received_location": at, "replayed_location": at })
    };
    let mut document = json!({
        "state": "running", "role": role, "server_version": 150_020, "xlog": xlog,
        "timeline": timeline, "patroni": { "version": "4.1.5", "scope": "demo", "name": name },
    });
    document.as_object_mut().expect("an object").extend(extra);
    StatusDocument::parse(document.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// The agent is another process: it knows nothing, and its old lease goes on until it ends.
fn restart(world: &mut World) {
    world.memory = trunkline_core::ha::Memory::default();
    world.held = None;
    world.lease = None;
    world.job = None;
    if let Some(name) = world
        .etcd
        .text("leader")
        .filter(|name| name == world.me.name.as_str())
    {
        let old = LeaseId(1);
        world.etcd.delete("leader");
        world.etcd.put("leader", &name, Some(old));
    }
}

fn pair(text: &str) -> Result<(&str, &str), String> {
    text.split_once('=')
        .ok_or_else(|| format!("{text}: something=value"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(char::is_alphabetic).unwrap_or(text.len()));
    let number: u64 = number
        .parse()
        .map_err(|_| "a number with s or ms".to_owned())?;
    match unit {
        "s" => Ok(Duration::from_secs(number)),
        "ms" => Ok(Duration::from_millis(number)),
        _ => Err("a number with s or ms".to_owned()),
    }
}
