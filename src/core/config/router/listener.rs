//! A listener's section, and the addresses it may listen on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::defaults::WELL_KNOWN;
use super::{Bind, BindAddr, Hold, Keepalive, Listener, OnLeave, To};
use crate::MemberName;
use crate::config::node::{Node, Value};
use crate::config::read::{Section, choice};
use crate::config::value::{
    Word, Wrong, duration, duration_within, host_and_port, size, tag, text, whole, word,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Reads a listener; `None` where it cannot be told where it listens or what it routes to.
pub(super) fn understand(name: &str, mut section: Section<'_, '_>) -> Option<Listener> {
    let (bind, to) = bind_and_to(name, &mut section);
    let complete = bind.is_some() && to.is_some();
    // A stand-in where something is missing: the rest of the section is to be read all the same.
    let mut listener = Listener::new(name, bind.unwrap_or_default(), to.unwrap_or(To::Primary));
    choose(&mut section, &mut listener);
    bound(&mut section, &mut listener);
    connect(&mut section, &mut listener);
    let instead = "leave it out; clients are known by the address they connect from";
    section.not_built("proxy_protocol", instead);
    if to.is_some() {
        consistent(&mut section, &listener);
    }
    section.finish();
    complete.then_some(listener)
}

/// Where it listens and what it routes to: some names say it by themselves.
fn bind_and_to(name: &str, section: &mut Section<'_, '_>) -> (Option<Vec<Bind>>, Option<To>) {
    let usual = WELL_KNOWN.iter().find(|(known, ..)| *known == name);
    let bind = match (section.has("bind"), usual) {
        (false, Some((_, port, _))) => Some(vec![Bind::any(*port)]),
        (false, None) => {
            section.missing("bind", BIND);
            None
        }
        (true, _) => section.list("bind", bind),
    };
    let empty = Value::List(Vec::new());
    if section.take("bind").is_some_and(|node| node.value == empty) {
        section.refuse("bind", "is an empty list", BIND);
    }
    let to = match (section.has("to"), usual) {
        (false, Some((.., to))) => Some(*to),
        (false, None) => {
            let words = To::WORDS.iter().map(|(word, _)| *word).collect::<Vec<_>>();
            section.missing("to", &format!("write {}", choice(&words)));
            None
        }
        (true, _) => section.value("to", word),
    };
    (bind, to)
}

/// Which member a session gets.
fn choose(section: &mut Section<'_, '_>, listener: &mut Listener) {
    section.set("balance", &mut listener.balance, word);
    listener.max_lag = section.value("max_lag", size);
    listener.fallback = section.value("fallback", word);
    listener.tags = tags(section, "tags");
    listener.prefer = tags(section, "prefer");
    for (member, node) in section.names("weights").unwrap_or_default() {
        let path = format!("weights.{}", member.text);
        if let Some(weight) = section.understood(&path, node, whole(1..=256)) {
            let member = MemberName::from(member.text.as_str());
            listener.weights.insert(member, weight);
        }
    }
    let backup = section.list("backup", text).unwrap_or_default();
    listener.backup = backup.into_iter().map(MemberName::from).collect();
}

fn tags(section: &mut Section<'_, '_>, key: &'static str) -> BTreeMap<String, String> {
    let written = section.names(key).unwrap_or_default();
    written
        .iter()
        .filter_map(|(name, node)| {
            let value = section.understood(&format!("{key}.{}", name.text), node, tag)?;
            Some((name.text.clone(), value))
        })
        .collect()
}

/// How many sessions there may be, how long they wait, and when they end.
fn bound(section: &mut Section<'_, '_>, listener: &mut Listener) {
    if let Some(node) = section.take("hold") {
        hold(section, node, &mut listener.hold);
    }
    listener.maxconn = section.value("maxconn", whole(1..=u32::MAX));
    listener.server_maxconn = section.value("server_maxconn", whole(1..=u32::MAX));
    listener.queue_timeout = section
        .value("queue_timeout", duration)
        .unwrap_or(listener.hold.time);
    section.set("on_leave", &mut listener.on_leave, word);
    listener.client_idle = section.value("client_idle", or_off).flatten();
}

/// `hold: 30s`, `hold: off`, or both bounds: `hold: {time: 30s, number: 10000}`.
fn hold(section: &mut Section<'_, '_>, node: &Node, hold: &mut Hold) {
    if matches!(node.value, Value::Map(_)) {
        if let Some(mut both) = section.section("hold") {
            both.set("time", &mut hold.time, duration);
            both.set("number", &mut hold.number, whole(0..=1_000_000));
            both.finish();
        }
    } else if let Some(time) = section.understood("hold", node, or_off) {
        hold.time = time.unwrap_or_default();
    }
}

/// A duration; `None` for `off` and for zero.
fn or_off(node: &Node) -> Result<Option<Duration>, Wrong> {
    if node.value == Value::Bool(false) {
        return Ok(None);
    }
    duration(node).map(|time| Some(time).filter(|time| !time.is_zero()))
}

/// How members are connected to, and how a dead peer is found.
fn connect(section: &mut Section<'_, '_>, listener: &mut Listener) {
    let timeout = duration_within(MILLISECOND..=HOUR);
    section.set("connect_timeout", &mut listener.connect_timeout, timeout);
    section.set("retries", &mut listener.retries, whole(0..=100));
    listener.source = sources(section);
    let timeout = |node: &Node| match or_off(node)? {
        None => Ok(None),
        Some(_) => duration_within(Duration::from_secs(1)..=24 * HOUR)(node).map(Some),
    };
    section.set("user_timeout", &mut listener.user_timeout, timeout);
    if let Some(section) = section.section("keepalive") {
        listener.keepalive = keepalive(section);
    }
}

/// The addresses to connect from; each is one of this machine's, which only the machine can tell.
fn sources(section: &mut Section<'_, '_>) -> Vec<IpAddr> {
    let sources = section.list("source", source).unwrap_or_default();
    let named_before = |(at, ip): (usize, &IpAddr)| sources.iter().take(at).any(|it| it == ip);
    if sources.iter().enumerate().any(named_before) {
        section.refuse("source", "names an address twice", "name each one once");
    }
    sources
}

fn source(node: &Node) -> Result<IpAddr, Wrong> {
    let expected = "write an address of this machine (10.0.0.1), without a port, or leave it out";
    let wrong = || Wrong::no("address to connect from", node, expected);
    let Value::Text(text) = &node.value else {
        return Err(wrong());
    };
    let ip: IpAddr = text.parse().map_err(|_| wrong())?;
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(wrong());
    }
    Ok(ip)
}

fn keepalive(mut section: Section<'_, '_>) -> Keepalive {
    // The kernel counts whole seconds, and probes in a byte.
    let seconds = |node: &Node| {
        let duration = duration_within(Duration::from_secs(1)..=HOUR)(node)?;
        if duration.subsec_nanos() == 0 {
            return Ok(duration);
        }
        let expected = "write whole seconds: the kernel counts no others";
        Err(Wrong::no("whole number of seconds", node, expected))
    };
    let mut keepalive = Keepalive::default();
    section.set("idle", &mut keepalive.idle, seconds);
    section.set("interval", &mut keepalive.interval, seconds);
    section.set("probes", &mut keepalive.probes, whole(1..=127));
    section.finish();
    keepalive
}

/// What does not fit together, though each value by itself is fine.
fn consistent(section: &mut Section<'_, '_>, listener: &Listener) {
    let follows_lock = matches!(listener.to, To::Primary | To::StandbyLeader);
    if listener.fallback == Some(listener.to) {
        let what = format!("is what the listener routes to anyway ({})", listener.to);
        section.refuse("fallback", &what, "write another word, or leave it out");
    } else if listener.fallback.is_some() && listener.to == To::Primary {
        let what = "would send writers to members that are not the primary";
        section.refuse("fallback", what, "leave it out; clients are held meanwhile");
    }
    if listener.on_leave == OnLeave::Keep && listener.to == To::Primary {
        let what = "\"keep\" would leave writers on a member that lost the lock";
        section.refuse("on_leave", what, "write \"kill\" or leave it out");
    }
    if follows_lock {
        for key in ["max_lag", "balance", "prefer", "weights", "backup"] {
            if section.has(key) {
                let what = format!("has no effect: {} is one member", listener.to);
                section.warn(key, &what, "leave it out");
            }
        }
    }
    if listener.server_maxconn.is_none() && section.has("queue_timeout") {
        let what = "has no effect: without server_maxconn nobody queues";
        section.warn(
            "queue_timeout",
            what,
            "write server_maxconn: or leave it out",
        );
    }
}

const BIND: &str =
    "write \"*:5000\", \"10.0.0.1:5000\", \"[::1]:5000\" or the path of a unix socket";

/// An address to listen on.
pub(super) fn bind(node: &Node) -> Result<Bind, Wrong> {
    let Value::Text(text) = &node.value else {
        return Err(Wrong::no("address to listen on", node, BIND));
    };
    if text.starts_with("systemd:") || text.starts_with("fd@") {
        let what = "an inherited socket takes the place of the bind with its address, or of the listener it is \
                    named after";
        return Err(Wrong::because(what, BIND));
    }
    if let Some(path) = text
        .strip_prefix("unix:")
        .or_else(|| text.starts_with('/').then_some(text))
    {
        // The kernel's limit for the path of a socket, its closing zero included, is 108 bytes.
        if path.len() > 107 || !Path::new(path).is_absolute() {
            let expected = "write an absolute path of at most 107 bytes";
            return Err(Wrong::no("path of a socket", node, expected));
        }
        return Ok(Bind::Unix(path.into()));
    }
    if let Some(port) = text.strip_prefix("*:").or_else(|| text.strip_prefix(':')) {
        let (_, port) = host_and_port(&format!("any:{port}")).map_err(|_| no_port(node))?;
        return port.map(Bind::any).ok_or_else(|| no_port(node));
    }
    let (host, port) = host_and_port(text).map_err(|wrong| Wrong::because(&wrong.what, BIND))?;
    let port = port.ok_or_else(|| no_port(node))?;
    let addr = host
        .parse()
        .map_or_else(|_| BindAddr::Name(host), BindAddr::Ip);
    Ok(Bind::Tcp { addr, port })
}

fn no_port(node: &Node) -> Wrong {
    Wrong::because(
        &format!("{} has no port from 1 to 65535", node.shown()),
        BIND,
    )
}
