//! The commands of a script: one line, one thing that happens. `scenarios/README.md` lists them for people.

use std::time::Duration;

use serde_json::Value;
use trunkline_core::MemberName;
use trunkline_core::config::router::{Bind, Listener, OnLeave, To, WhenUnproven};
use trunkline_core::probe::{Accepts, NoAnswer};

use super::report::Shown;
use crate::world::node::Document;
use crate::world::{SYSTEM_ID, World};

type Outcome = Result<(), String>;

/// Carries out one line.
pub(crate) fn carry_out(line: &str, world: &mut World, shown: &mut Shown) -> Outcome {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [] => {}
        [first, ..] if first.starts_with('#') => {}
        ["members", ref names @ ..] => found(names, world),
        ["listener", name, "to", to, ref settings @ ..] => {
            let listener = listener(name, to, settings)?;
            world.cluster.listeners.push(listener);
        }
        ["router", "when_unproven", "keep"] => world.cluster.when_unproven = WhenUnproven::Keep,
        ["router", "etcd_section"] => world.cluster.etcd.version2_section = true,
        ["router", "restarts"] => world.restart(),
        ["show", "times"] => shown.times = true,
        ["etcd", "put", key, _, ..] => {
            let value = line.split_once(key).expect("the key is in the line").1;
            world.etcd.put(key, value.trim());
        }
        ["etcd", "delete", key] => world.etcd.delete(key),
        ["etcd", "silent"] => world.etcd.answers = false,
        ["etcd", "answers"] => world.etcd.answers = true,
        ["etcd", "wiped"] => world.etcd.rebuild(|_| false),
        ["etcd", "restored"] => world.etcd.rebuild(|_| true),
        ["lock", "gone"] => world.etcd.delete("leader"),
        ["lock", holder] => world.lock(holder),
        ["lease", "renewed"] => world.etcd.lease_ends = None,
        ["lease", "gone"] => world.etcd.lease_ends = Some(world.now),
        ["lease", "none"] => world.etcd.unlease_leader(),
        ["lease", time, "left"] => {
            world.etcd.lease_ends = Some(world.now.after(duration(time)?));
        }
        ["wait", time] => world.wait(duration(time)?),
        ["run", time] => world.run(duration(time)?),
        ["prove"] => world.prove(),
        ["ask", ref names @ ..] => {
            for name in names {
                world.ask(name);
            }
        }
        [member, ref what @ ..] if world.nodes.contains_key(&MemberName::from(member)) => {
            behave(member, what, world)?;
        }
        [..] => return Err("no such command".to_owned()),
    }
    Ok(())
}

/// A cluster is founded: what Patroni writes at its bootstrap, and its members.
fn found(names: &[&str], world: &mut World) {
    world.etcd.put("initialize", SYSTEM_ID);
    world
        .etcd
        .put("config", r#"{"ttl":30,"loop_wait":10,"retry_timeout":10}"#);
    world.etcd.put("status", r#"{"optime":1000}"#);
    for name in names {
        world.add_member(name);
    }
}

/// What a member does, or begins to answer. It is asked at once, so that the router knows.
fn behave(name: &str, what: &[&str], world: &mut World) -> Outcome {
    match *what {
        ["says", code, role, state, ref details @ ..] => {
            let code = code.parse().map_err(|_| "not a status code")?;
            let document = Document::new(name, code, role, &state.replace('_', " "));
            world.node(name).rest = Ok(detailed(document, details)?);
        }
        ["answers", "as", kind, identity] => {
            let mut document = Document::new(name, 200, "primary", "running");
            let identity = identity.to_owned();
            match kind {
                "member" => document.name = identity,
                "scope" => document.scope = identity,
                "database" => document.system_id = identity,
                _ => return Err("answers as member, scope or database".to_owned()),
            }
            world.node(name).rest = Ok(document);
        }
        ["answers", "garbage"] => {
            let garbage =
                trunkline_core::probe::judge(200, b"<html>", &name.into(), &"".into(), None);
            world.node(name).rest = Err(garbage.err().ok_or("garbage was understood")?);
        }
        ["silent"] => world.node(name).rest = Err(NoAnswer::TimedOut),
        ["refuses"] => world.node(name).rest = Err(NoAnswer::Refused),
        ["postgres", "accepts"] => world.node(name).accepts = Ok(Accepts::Yes),
        ["postgres", "starting"] => world.node(name).accepts = Ok(Accepts::NotNow),
        ["postgres", "silent"] => world.node(name).accepts = Err(NoAnswer::TimedOut),
        ["postgres", "refuses"] => world.node(name).accepts = Err(NoAnswer::Refused),
        ["postgres", ..] => return Err("postgres accepts, starting, silent or refuses".to_owned()),
        ["address", "unknown"] => return forget_address(name, world),
        ["address", address] => {
            let address: std::net::SocketAddr = address.parse().map_err(|_| "not an address")?;
            world.addresses.insert(name.into(), address.into());
            return Ok(());
        }
        ["key", "vanishes"] => {
            world.etcd.delete(&format!("members/{name}"));
            return Ok(());
        }
        ["key", "returns"] => {
            world.publish(name);
            return Ok(());
        }
        ["tags", ref tags @ ..] | ["publishes", ref tags @ ..] => {
            for tag in tags {
                let (key, value) = pair(tag)?;
                let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
                let node = world.node(name);
                let fields = if what[0] == "tags" {
                    &mut node.tags
                } else {
                    &mut node.publishes
                };
                fields.insert(key.to_owned(), value);
            }
            world.publish(name);
            return Ok(());
        }
        _ => return Err("a member does no such thing".to_owned()),
    }
    world.ask(name);
    Ok(())
}

fn forget_address(name: &str, world: &mut World) -> Outcome {
    world.addresses.remove(&MemberName::from(name));
    Ok(())
}

fn detailed(mut document: Document, details: &[&str]) -> Result<Document, String> {
    for detail in details {
        match pair(detail)? {
            ("at", "unknown") => document.at = None,
            ("at", bytes) => document.at = Some(bytes.parse().map_err(|_| "not a position")?),
            ("timeline", number) => {
                document.timeline = number.parse().map_err(|_| "not a timeline")?;
            }
            ("until", millis) => {
                document.until = Some(millis.parse().map_err(|_| "not milliseconds")?);
            }
            _ => return Err(format!("no such detail: {detail}")),
        }
    }
    Ok(document)
}

fn listener(name: &str, to: &str, settings: &[&str]) -> Result<Listener, String> {
    let to = target(to)?;
    let mut listener = Listener::new(name, vec![Bind::any(5000)], to);
    for setting in settings {
        match pair(setting)? {
            ("max_lag", bytes) => {
                listener.max_lag = Some(bytes.parse().map_err(|_| "not a number of bytes")?);
            }
            ("fallback", to) => listener.fallback = Some(target(to)?),
            ("tags", tag) => drop(listener.tags.insert(tag_of(tag)?.0, tag_of(tag)?.1)),
            ("prefer", tag) => drop(listener.prefer.insert(tag_of(tag)?.0, tag_of(tag)?.1)),
            ("backup", member) => drop(listener.backup.insert(member.into())),
            ("on_leave", "kill") => listener.on_leave = OnLeave::Kill,
            ("on_leave", "drain") => listener.on_leave = OnLeave::Drain,
            _ => return Err(format!("no such setting: {setting}")),
        }
    }
    Ok(listener)
}

fn target(text: &str) -> Result<To, String> {
    match text {
        "primary" => Ok(To::Primary),
        "replicas" => Ok(To::Replicas),
        "sync" => Ok(To::Sync),
        "any" => Ok(To::Any),
        "standby-leader" => Ok(To::StandbyLeader),
        _ => Err(format!("nobody routes to {text}")),
    }
}

fn tag_of(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once(':').ok_or("a tag is written key:value")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn pair(text: &str) -> Result<(&str, &str), String> {
    text.split_once('=')
        .ok_or_else(|| format!("{text} is not written key=value"))
}

/// Reads `2s` or `250ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) =
        text.split_at(text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len()));
    let number: u64 = digits.parse().map_err(|_| format!("{text} is no time"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        _ => Err(format!("{text} is no time: write 2s or 250ms")),
    }
}
