//! Reading single values: a text, a number, a duration, a size, one of a few words.
//!
//! Each reader takes a node and says either what it means, or what is wrong with it and what to write.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::node::{Node, Value, quoted};
use super::read::{choice, nearest};

/// Why a value cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong: `"16 bananas" is no size`.
    pub what: String,
    /// What to write: `write bytes or …`.
    pub expected: String,
}

impl Wrong {
    /// What stands at the node is no such `thing`.
    #[must_use]
    pub fn no(thing: &str, node: &Node, expected: &str) -> Self {
        Self::because(&format!("{} is no {thing}", node.shown()), expected)
    }

    /// What is wrong and what to write, in words of one's own.
    #[must_use]
    pub fn because(what: &str, expected: &str) -> Self {
        Self {
            what: what.to_owned(),
            expected: expected.to_owned(),
        }
    }
}

/// A choice among a few words.
pub trait Word: Copy + 'static {
    /// Every choice beside the word for it, in the order in which people are told of them.
    const WORDS: &'static [(&'static str, Self)];
}

/// A text that is not empty. A number counts as the text of its digits; a bare word like `on` does not, since
/// nobody can tell whether it was meant as one.
///
/// # Errors
///
/// If it is anything else.
pub fn text(node: &Node) -> Result<String, Wrong> {
    match &node.value {
        Value::Text(text) if text.trim().is_empty() => {
            Err(Wrong::because("is empty", "write a text"))
        }
        Value::Text(text) => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Bool(_) => Err(Wrong::because(
            "YAML takes the bare word for true or false",
            "put it in quotation marks if it is meant as a text",
        )),
        Value::Null | Value::Float(_) | Value::List(_) | Value::Map(_) => {
            Err(Wrong::no("text", node, "write a text, in quotation marks"))
        }
    }
}

/// A password. It is never quoted in a message; a bare number is refused, because its leading zeros are lost.
///
/// # Errors
///
/// If it is no text.
pub fn password(node: &Node) -> Result<String, Wrong> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::List(_)
        | Value::Map(_) => Err(Wrong::because(
            "is no text to YAML",
            "put the password in quotation marks",
        )),
    }
}

/// The value of a tag: any scalar, as the text that it has in a member's JSON.
///
/// # Errors
///
/// If it is a list or a section.
pub fn tag(node: &Node) -> Result<String, Wrong> {
    match &node.value {
        Value::Bool(value) => Ok(value.to_string()),
        Value::Float(value) => Ok(value.to_string()),
        Value::Null | Value::Int(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => text(node),
    }
}

/// The path of a file.
///
/// # Errors
///
/// If it is no text.
pub fn path(node: &Node) -> Result<PathBuf, Wrong> {
    match &node.value {
        Value::Text(text) if !text.is_empty() => Ok(text.into()),
        Value::Text(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::List(_)
        | Value::Map(_) => Err(Wrong::no("path", node, "write the path of a file")),
    }
}

/// Yes or no, in any spelling Patroni knows.
///
/// # Errors
///
/// If it is neither.
pub fn boolean(node: &Node) -> Result<bool, Wrong> {
    let wrong = || Wrong::no("yes or no", node, "write true or false");
    match &node.value {
        Value::Bool(value) => Ok(*value),
        Value::Int(0) => Ok(false),
        Value::Int(1) => Ok(true),
        Value::Text(text) => match text.to_lowercase().as_str() {
            "on" | "true" | "yes" | "1" => Ok(true),
            "off" | "false" | "no" | "0" => Ok(false),
            _ => Err(wrong()),
        },
        Value::Null | Value::Int(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => {
            Err(wrong())
        }
    }
}

/// A whole number within bounds.
pub fn whole(bounds: RangeInclusive<u32>) -> impl Fn(&Node) -> Result<u32, Wrong> {
    move |node| {
        let number = match &node.value {
            Value::Int(number) => u32::try_from(*number).ok(),
            Value::Text(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => None,
        };
        number
            .filter(|number| bounds.contains(number))
            .ok_or_else(|| {
                let (least, most) = (bounds.start(), bounds.end());
                Wrong::because(
                    &format!("{} is no such number", node.shown()),
                    &format!("write a whole number from {least} to {most}"),
                )
            })
    }
}

/// One of a few words.
///
/// # Errors
///
/// If it is none of them.
pub fn word<T: Word>(node: &Node) -> Result<T, Wrong> {
    let known: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
    let found = match &node.value {
        Value::Text(text) => T::WORDS.iter().find(|(word, _)| word == text),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::List(_)
        | Value::Map(_) => None,
    };
    found.map(|(_, meant)| *meant).ok_or_else(|| {
        let meant = match &node.value {
            Value::Text(text) => nearest(text, &known),
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::List(_)
            | Value::Map(_) => None,
        };
        let hint = meant.map_or_else(String::new, |meant| format!(" (did you mean {meant:?}?)"));
        Wrong::because(
            &format!("{} is not known here", node.shown()),
            &format!("write {}{hint}", choice(&known)),
        )
    })
}

const DURATIONS: &str = "write seconds or a number with ms, s, min, h, d (30s, 250ms, 5min)";

/// The longest duration that may be written: a year.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// A duration: a bare number is seconds.
///
/// # Errors
///
/// If it is none, negative, or longer than a year.
pub fn duration(node: &Node) -> Result<Duration, Wrong> {
    const UNITS: [(&str, f64); 6] = [
        ("us", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("min", 60.0),
        ("h", 3600.0),
        ("d", 86_400.0),
    ];
    let seconds = match &node.value {
        Value::Int(number) => number.to_string().parse().ok(),
        Value::Float(number) => Some(*number),
        Value::Text(text) => with_unit(text, 1.0, |unit| {
            UNITS
                .iter()
                .find_map(|(name, size)| (*name == unit).then_some(*size))
        }),
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => None,
    };
    seconds
        .and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| Wrong::no("duration", node, DURATIONS))
}

/// A duration within bounds.
pub fn duration_within(
    bounds: RangeInclusive<Duration>,
) -> impl Fn(&Node) -> Result<Duration, Wrong> {
    move |node| {
        let duration = duration(node)?;
        if bounds.contains(&duration) {
            return Ok(duration);
        }
        Err(Wrong::because(
            &format!("{} is out of bounds", node.shown()),
            &format!("write {:?} to {:?}", bounds.start(), bounds.end()),
        ))
    }
}

/// A size in bytes, in PostgreSQL's units.
///
/// # Errors
///
/// If it is none.
pub fn size(node: &Node) -> Result<u64, Wrong> {
    const UNITS: [(&str, u64); 5] = [
        ("b", 1),
        ("kb", 1 << 10),
        ("mb", 1 << 20),
        ("gb", 1 << 30),
        ("tb", 1 << 40),
    ];
    let bytes = match &node.value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::Text(text) => with_unit(text, 1.0, |unit| {
            let (_, size) = UNITS
                .iter()
                .find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
            size.to_string().parse().ok()
        })
        .and_then(|bytes: f64| format!("{:.0}", bytes.round()).parse().ok()),
        Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => None,
    };
    bytes.ok_or_else(|| {
        let expected = "write bytes or a number with kB, MB, GB, TB (16MB)";
        Wrong::no("size", node, expected)
    })
}

/// A number and its unit, multiplied; `bare` is the unit of a number without one.
fn with_unit(text: &str, bare: f64, unit: impl FnOnce(&str) -> Option<f64>) -> Option<f64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, name) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let size = match name.trim() {
        "" => bare,
        name => unit(name)?,
    };
    Some(number * size)
}

/// Splits `host:port`, `[v6]:port`, or a host alone; the host is without brackets.
///
/// # Errors
///
/// If there is no host, or the port is none.
pub fn host_and_port(text: &str) -> Result<(String, Option<u16>), Wrong> {
    let wrong = |why: &str| {
        let expected = "write host:port; an IPv6 address in brackets ([::1]:2379)";
        Wrong::because(&format!("{} {why}", quoted(text)), expected)
    };
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest
            .split_once(']')
            .ok_or_else(|| wrong("has a bracket that does not close"))?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(wrong("has no IPv6 address in its brackets"));
        }
        match after {
            "" => (host, None),
            after => {
                let port = after.strip_prefix(':');
                (
                    host,
                    Some(port.ok_or_else(|| wrong("has something behind its bracket"))?),
                )
            }
        }
    } else {
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(wrong("has too many colons")),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return Err(wrong("has no host"));
    }
    if host.contains(|c: char| c.is_whitespace() || c.is_control() || "/@,?#".contains(c)) {
        return Err(wrong("is no host and port"));
    }
    let port = port
        .map(|port| {
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            let number = port.parse::<u16>().ok().filter(|port| digits && *port > 0);
            number.ok_or_else(|| wrong("has no port from 1 to 65535"))
        })
        .transpose()?;
    Ok((host.to_owned(), port))
}
