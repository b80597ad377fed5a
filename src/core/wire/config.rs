//! The `config` key: the dynamic configuration of the whole cluster (Patroni 4.1, dynamic configuration).

use std::time::Duration;

use serde_json::{Map, Value};

use super::number::{self, Unit};
use super::object::{self, Object};
use super::{Invalid, Why, json};

const WHAT: &str = "dynamic configuration";

/// The dynamic configuration, as meant.
///
/// What it does not say has Patroni's default, which is also what [`DynamicConfig::default`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicConfig {
    /// How long the lock outlives its holder's last sign of life.
    pub ttl: Duration,
    /// How long a member waits between two looks.
    pub loop_wait: Duration,
    /// How long a request to etcd or PostgreSQL is tried again.
    pub retry_timeout: Duration,
    /// Whether the cluster is to be left alone.
    pub pause: bool,
    /// Whether commits wait for standbys; never in a standby cluster.
    pub synchronous_mode: SynchronousMode,
    /// Whether a leader may go on without etcd as long as it reaches all members.
    pub failsafe_mode: bool,
    /// How far behind, in bytes, a candidate may be.
    pub maximum_lag_on_failover: u64,
    /// Whom the cluster follows as a whole, if it is a standby cluster.
    pub standby_cluster: Option<Map<String, Value>>,
    /// All of it, as written.
    pub raw: Map<String, Value>,
}

/// Whether commits wait for standbys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SynchronousMode {
    /// They do not.
    #[default]
    Off,
    /// For those that are named.
    On,
    /// For any so many of those that are named.
    Quorum,
}

impl Default for DynamicConfig {
    fn default() -> Self {
        let timing = Timing::DEFAULT;
        Self {
            ttl: Duration::from_secs(timing.ttl),
            loop_wait: Duration::from_secs(timing.loop_wait),
            retry_timeout: Duration::from_secs(timing.retry_timeout),
            pause: false,
            synchronous_mode: SynchronousMode::Off,
            failsafe_mode: false,
            maximum_lag_on_failover: MAXIMUM_LAG,
            standby_cluster: None,
            raw: Map::new(),
        }
    }
}

/// The default of `maximum_lag_on_failover`.
const MAXIMUM_LAG: u64 = 1024 * 1024;

impl DynamicConfig {
    /// Reads the value. Only the three timeouts must make sense where they are given; any other field that does not
    /// is as if it were absent.
    ///
    /// # Errors
    ///
    /// If it is no JSON object or a timeout is no number. Readers then keep the last one they could read.
    pub fn parse(value: &[u8]) -> Result<Self, Invalid> {
        let raw = Object::parse(WHAT, value)?.rest();
        let timing = Timing::read(&raw)?.adjusted();
        let standby_cluster = raw.get("standby_cluster").and_then(valid_standby_cluster);
        let switch = |field: &str| raw.get(field).and_then(number::switch).unwrap_or(false);
        Ok(Self {
            ttl: Duration::from_secs(timing.ttl),
            loop_wait: Duration::from_secs(timing.loop_wait),
            retry_timeout: Duration::from_secs(timing.retry_timeout),
            pause: switch("pause"),
            synchronous_mode: match standby_cluster {
                Some(_) => SynchronousMode::Off,
                None => raw
                    .get("synchronous_mode")
                    .map(SynchronousMode::read)
                    .unwrap_or_default(),
            },
            failsafe_mode: switch("failsafe_mode"),
            maximum_lag_on_failover: raw
                .get("maximum_lag_on_failover")
                .and_then(|value| number::in_unit(value, Unit::Bytes))
                .and_then(|bytes| u64::try_from(bytes).ok())
                .unwrap_or(MAXIMUM_LAG),
            standby_cluster: standby_cluster.cloned(),
            raw,
        })
    }

    /// The value as Patroni would write it: what was given, and no defaults.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::compact(&Value::Object(self.raw.clone()))
    }

    /// The same in Python's own spacing: as it stands in `patroni.dynamic.json` and in the REST API's answers.
    #[must_use]
    pub fn to_spaced(&self) -> String {
        json::spaced(&Value::Object(self.raw.clone()))
    }

    /// Whether the whole cluster follows another one.
    #[must_use]
    pub const fn is_standby_cluster(&self) -> bool {
        self.standby_cluster.is_some()
    }
}

/// What is to be said of timeouts that are too short or do not fit into each other: which are used instead. Nothing
/// where all are used as given; those that are no numbers are somebody else's to refuse.
#[must_use]
pub fn adjusted_timeouts(fields: &Map<String, Value>) -> Option<String> {
    let used = Timing::read(fields).ok()?.adjusted();
    let asked = |field: &str, default: u64| match fields.get(field) {
        None => i64::try_from(default).ok(),
        Some(value) => number::in_unit(value, Unit::Seconds),
    };
    let all = [
        ("ttl", Timing::DEFAULT.ttl, used.ttl),
        ("loop_wait", Timing::DEFAULT.loop_wait, used.loop_wait),
        (
            "retry_timeout",
            Timing::DEFAULT.retry_timeout,
            used.retry_timeout,
        ),
    ];
    let changed: Vec<String> = all
        .into_iter()
        .filter(|(field, default, used)| asked(field, *default) != i64::try_from(*used).ok())
        .map(|(field, _, used)| format!("{field} {used}"))
        .collect();
    (!changed.is_empty()).then(|| changed.join(" and "))
}

impl SynchronousMode {
    fn read(value: &Value) -> Self {
        if value
            .as_str()
            .is_some_and(|text| text.eq_ignore_ascii_case("quorum"))
        {
            return Self::Quorum;
        }
        match number::switch(value) {
            Some(true) => Self::On,
            Some(false) | None => Self::Off,
        }
    }
}

/// A standby cluster must be told whom to follow in at least one way.
fn valid_standby_cluster(value: &Value) -> Option<&Map<String, Value>> {
    value.as_object().filter(|section| {
        ["host", "port", "restore_command"]
            .into_iter()
            .filter_map(|field| section.get(field))
            .any(object::is_truthy)
    })
}

/// The three numbers that keep a leader from outliving its lock, in seconds.
#[derive(Clone, Copy)]
struct Timing {
    ttl: u64,
    loop_wait: u64,
    retry_timeout: u64,
}

impl Timing {
    const DEFAULT: Self = Self {
        ttl: 30,
        loop_wait: 10,
        retry_timeout: 10,
    };

    /// The least that leaves room for one wait and two rounds of retries. Patroni's own least is 20 (and 3 for
    /// `retry_timeout`): a cluster of ours may be told less, and who reads this must not think a lock to be held for
    /// longer than its holder does.
    const SHORTEST_TTL: u64 = 3;

    /// Beyond a year nothing is meant, and sums stay far from their limits.
    const LONGEST: u64 = 365 * 86_400;

    fn read(fields: &Map<String, Value>) -> Result<Self, Invalid> {
        let seconds = |field, least: u64, default| match fields.get(field) {
            None => Ok(default),
            Some(value) => number::in_unit(value, Unit::Seconds)
                .map(|seconds| u64::try_from(seconds).unwrap_or(0))
                .map(|seconds| seconds.clamp(least, Self::LONGEST))
                .ok_or_else(|| {
                    Why::WrongType {
                        field,
                        expected: "a number of seconds",
                        found: object::kind(value),
                    }
                    .of(WHAT)
                }),
        };
        Ok(Self {
            ttl: seconds("ttl", Self::SHORTEST_TTL, Self::DEFAULT.ttl)?,
            loop_wait: seconds("loop_wait", 1, Self::DEFAULT.loop_wait)?,
            retry_timeout: seconds("retry_timeout", 1, Self::DEFAULT.retry_timeout)?,
        })
    }

    /// The same so that one wait and two rounds of retries fit into the time to live (Patroni 4.1, loading rules).
    const fn adjusted(self) -> Self {
        let retries = 2 * self.retry_timeout;
        if 1 + retries > self.ttl {
            Self {
                loop_wait: 1,
                retry_timeout: (self.ttl - 1) / 2,
                ..self
            }
        } else if self.loop_wait + retries > self.ttl {
            Self {
                loop_wait: self.ttl - retries,
                ..self
            }
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> DynamicConfig {
        DynamicConfig::parse(text.as_bytes()).unwrap()
    }

    fn timing(text: &str) -> (u64, u64, u64) {
        let config = parse(text);
        (
            config.ttl.as_secs(),
            config.loop_wait.as_secs(),
            config.retry_timeout.as_secs(),
        )
    }

    #[test]
    fn an_empty_one_is_the_default() {
        assert_eq!(parse("{}"), DynamicConfig::default());
        assert_eq!(timing("{}"), (30, 10, 10));
    }

    #[test]
    fn timeouts_are_raised_to_their_least_and_made_to_fit() {
        for (text, expected) in [
            (
                r#"{"ttl":60,"loop_wait":"5","retry_timeout":"10s"}"#,
                (60, 5, 10),
            ),
            (r#"{"ttl":1,"loop_wait":0,"retry_timeout":-1}"#, (3, 1, 1)),
            (r#"{"ttl":5,"loop_wait":1,"retry_timeout":1}"#, (5, 1, 1)),
            (r#"{"ttl":5,"loop_wait":10,"retry_timeout":10}"#, (5, 1, 2)),
            (r#"{"ttl":3,"loop_wait":10,"retry_timeout":1}"#, (3, 1, 1)),
            (r#"{"ttl":20,"loop_wait":10,"retry_timeout":8}"#, (20, 4, 8)),
            (
                r#"{"ttl":20,"loop_wait":10,"retry_timeout":30}"#,
                (20, 1, 9),
            ),
            (r#"{"ttl":9223372036854775807}"#, (31_536_000, 10, 10)),
        ] {
            assert_eq!(timing(text), expected, "{text}");
        }
    }

    #[test]
    fn timeouts_that_are_not_used_as_given_are_told() {
        for (text, told) in [
            ("{}", None),
            (r#"{"ttl":5,"loop_wait":1,"retry_timeout":"2s"}"#, None),
            (r#"{"ttl":20}"#, Some("loop_wait 1 and retry_timeout 9")),
            (
                r#"{"ttl":2,"loop_wait":1,"retry_timeout":1}"#,
                Some("ttl 3"),
            ),
            (r#"{"ttl":"soon"}"#, None),
        ] {
            let fields = parse_fields(text);
            assert_eq!(adjusted_timeouts(&fields).as_deref(), told, "{text}");
        }
    }

    fn parse_fields(text: &str) -> Map<String, Value> {
        Object::parse(WHAT, text.as_bytes()).unwrap().rest()
    }

    #[test]
    fn switches_and_sizes_are_read_in_every_form() {
        let config = parse(
            r#"{"pause":"on","failsafe_mode":1,"synchronous_mode":"Quorum","maximum_lag_on_failover":"2MB"}"#,
        );
        assert!(config.pause && config.failsafe_mode);
        assert_eq!(config.synchronous_mode, SynchronousMode::Quorum);
        assert_eq!(config.maximum_lag_on_failover, 2 << 20);
        for (text, mode) in [
            (r#"{"synchronous_mode":true}"#, SynchronousMode::On),
            (r#"{"synchronous_mode":"yes"}"#, SynchronousMode::On),
            (r#"{"synchronous_mode":"strict"}"#, SynchronousMode::Off),
            (r#"{"synchronous_mode":null}"#, SynchronousMode::Off),
        ] {
            assert_eq!(parse(text).synchronous_mode, mode, "{text}");
        }
    }

    #[test]
    fn a_standby_cluster_must_say_whom_it_follows_and_is_never_synchronous() {
        for (section, valid) in [
            (r#"{"host":"a"}"#, true),
            (r#"{"port":5432}"#, true),
            (r#"{"restore_command":"false"}"#, true),
            (r#"{"host":"","port":0}"#, false),
            (r#"{"primary_slot_name":"x"}"#, false),
            ("{}", false),
            ("[]", false),
            ("null", false),
        ] {
            let config = parse(&format!(
                r#"{{"standby_cluster":{section},"synchronous_mode":true}}"#
            ));
            assert_eq!(config.is_standby_cluster(), valid, "{section}");
            let is_off = config.synchronous_mode == SynchronousMode::Off;
            assert_eq!(is_off, valid, "{section}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_as_if_absent_but_for_the_timeouts() {
        let config = parse(r#"{"pause":[],"maximum_lag_on_failover":"a lot","slots":7,"x":null}"#);
        assert!(!config.pause);
        assert_eq!(config.maximum_lag_on_failover, MAXIMUM_LAG);
        for bad in [
            b"".as_slice(),
            b"null",
            b"[]",
            b"{",
            b"\xff",
            br#"{"ttl":null}"#,
            br#"{"loop_wait":"soon"}"#,
            br#"{"retry_timeout":true}"#,
        ] {
            assert!(DynamicConfig::parse(bad).is_err(), "{bad:?}");
        }
    }
}
