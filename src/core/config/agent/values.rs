//! Reading values of patroni.yml as Patroni does: numbers, times and switches in every form it accepts.

use std::time::Duration;

use super::super::node::{Node, Value, quoted};
use super::super::router::Secret;
use super::super::value::Wrong;
use crate::wire::number::{self, Unit};

/// A switch, in any spelling Patroni knows.
pub(super) fn switch(node: &Node) -> Result<bool, Wrong> {
    number::switch(&node.to_json())
        .ok_or_else(|| Wrong::no("yes or no", node, "write true or false"))
}

/// A whole number of at least `least`.
pub(super) fn at_least(least: i64) -> impl Fn(&Node) -> Result<i64, Wrong> {
    move |node| {
        number::whole(&node.to_json())
            .filter(|number| *number >= least)
            .ok_or_else(|| {
                let expected = format!("write a whole number, {least} or more");
                Wrong::no("such number", node, &expected)
            })
    }
}

/// A time of whole seconds, at least `least`, a year at most.
pub(super) fn seconds(least: u64) -> impl Fn(&Node) -> Result<Duration, Wrong> {
    const YEAR: u64 = 365 * 86_400;
    move |node| {
        number::in_unit(&node.to_json(), Unit::Seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|seconds| (least..=YEAR).contains(seconds))
            .map(Duration::from_secs)
            .ok_or_else(|| {
                let expected = format!("write seconds, {least} or more (30, 5min)");
                Wrong::no("such time", node, &expected)
            })
    }
}

/// A size in bytes, at least `least`.
pub(super) fn bytes(least: i64) -> impl Fn(&Node) -> Result<i64, Wrong> {
    move |node| {
        number::in_unit(&node.to_json(), Unit::Bytes)
            .filter(|bytes| *bytes >= least)
            .ok_or_else(|| {
                let expected = format!("write bytes, {least} or more (1048576, 16MB)");
                Wrong::no("such size", node, &expected)
            })
    }
}

/// Any scalar as the text that PostgreSQL and its programs get.
pub(super) fn scalar(node: &Node) -> Result<String, Wrong> {
    match &node.value {
        Value::Bool(value) => Ok(if *value { "on" } else { "off" }.to_owned()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Text(text) => Ok(text.clone()),
        Value::Null | Value::List(_) | Value::Map(_) => {
            Err(Wrong::no("single value", node, "write a text or a number"))
        }
    }
}

/// A password. A bare number is one of its digits, as to Patroni; it is never quoted in a message.
pub(super) fn secret(node: &Node) -> Result<Secret, Wrong> {
    match &node.value {
        Value::Text(text) => Ok(Secret::new(text.clone())),
        Value::Int(number) => Ok(Secret::new(number.to_string())),
        Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => Err(
            Wrong::because("is no text to YAML", "put the password in quotation marks"),
        ),
    }
}

/// `host:port`, the port optional, an IPv6 address with or without brackets.
pub(super) fn address(default_port: u16) -> impl Fn(&Node) -> Result<(String, u16), Wrong> {
    move |node| {
        let (hosts, port) = addresses(default_port)(node)?;
        if hosts.contains(',') {
            return Err(Wrong::no("single address", node, "write one host:port"));
        }
        Ok((hosts, port))
    }
}

/// `host,host:port`, the port optional; brackets around IPv6 addresses are taken off.
pub(super) fn addresses(default_port: u16) -> impl Fn(&Node) -> Result<(String, u16), Wrong> {
    move |node| {
        let expected = "write host:port (10.0.0.1:5432, [::1]:5432)";
        let written = match &node.value {
            Value::Text(text) => text.trim().to_owned(),
            Value::Int(_) => {
                let what = format!("{} is a number, not an address", node.shown());
                return Err(Wrong::because(
                    &what,
                    &format!("{expected}; in quotation marks if YAML takes it for a number"),
                ));
            }
            Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => {
                return Err(Wrong::no("address", node, expected));
            }
        };
        let wrong = |why: &str| Wrong::because(&format!("{} {why}", quoted(&written)), expected);
        let (hosts, port) = split_port(&written);
        let port = match port {
            Some(port) => {
                let digits = port.bytes().all(|byte| byte.is_ascii_digit());
                let port = port.parse::<u16>().ok().filter(|port| digits && *port > 0);
                port.ok_or_else(|| wrong("has no port from 1 to 65535"))?
            }
            None => default_port,
        };
        let hosts: Vec<&str> = hosts.split(',').map(str::trim).map(bare).collect();
        if hosts.iter().any(|host| host.is_empty()) {
            return Err(wrong("has no host"));
        }
        let odd = |c: char| c.is_whitespace() || c.is_control() || "/@?#[]".contains(c);
        if hosts.iter().any(|host| host.contains(odd)) {
            return Err(wrong("is no host and port"));
        }
        Ok((hosts.join(","), port))
    }
}

/// What stands behind the last colon, unless that is part of an IPv6 address alone.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((_, after)) if after.ends_with(']') => (text, None),
        Some(_) if text.parse::<std::net::Ipv6Addr>().is_ok() => (text, None),
        Some((hosts, port)) => (hosts, Some(port)),
        None => (text, None),
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// Whether others cannot reach it: every address of this machine, or one that is only its own.
pub(super) fn is_wildcard(host: &str) -> bool {
    ["*", "0.0.0.0", "::"].contains(&host)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_has_one_port_behind_its_hosts() {
        for (written, hosts, port) in [
            ("127.0.0.1:5433", "127.0.0.1", 5433),
            ("*:5432", "*", 5432),
            ("10.0.0.1, 10.0.0.2:5432", "10.0.0.1,10.0.0.2", 5432),
            ("127.0.0.1,[::1]:6000", "127.0.0.1,::1", 6000),
            ("[::1]", "::1", 1),
            ("fe80::1", "fe80::1", 1),
            ("db", "db", 1),
        ] {
            let read = addresses(1)(&Node::from(&json!(written)));
            assert_eq!(read, Ok((hosts.to_owned(), port)), "{written}");
        }
        for wrong in [
            "", ":5432", "a:", "a:0", "a:99999", "a:b:c", "a b:1", "a,,b:1", "[::1:5",
        ] {
            let read = addresses(1)(&Node::from(&json!(wrong)));
            assert!(read.is_err(), "{wrong}: {read:?}");
        }
        assert!(address(1)(&Node::from(&json!("a,b:1"))).is_err());
    }

    #[test]
    fn numbers_and_times_are_read_in_every_form_within_their_bounds() {
        let node = |value| Node::from(&value);
        assert_eq!(at_least(3)(&node(json!("0x10"))), Ok(16));
        assert!(at_least(3)(&node(json!(2))).is_err());
        assert_eq!(
            seconds(0)(&node(json!("5min"))),
            Ok(Duration::from_secs(300))
        );
        assert!(seconds(1)(&node(json!(0))).is_err());
        assert_eq!(bytes(0)(&node(json!("1MB"))), Ok(1 << 20));
        assert_eq!(scalar(&node(json!(true))), Ok("on".to_owned()));
        assert_eq!(scalar(&node(json!(0.9))), Ok("0.9".to_owned()));
        assert!(scalar(&node(json!([]))).is_err());
    }
}
