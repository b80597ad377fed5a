//! Where Patroni keeps what in etcd: the names of the keys below a cluster's prefix.
//!
//! Knows nothing of what the keys hold (that is `wire`) nor of how etcd is asked.

use std::fmt;

use crate::{MemberName, Scope};

/// Below this, one level deep, every member keeps a key of its own.
const MEMBERS: &str = "members/";

/// What all keys of one cluster begin with: `/service/demo/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(String);

/// What a key below the prefix is for (Patroni 4.1, key space).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The lock: whose name it holds is the leader.
    Leader,
    /// What a member says of itself.
    Member(MemberName),
    /// The database system identifier, or empty while somebody bootstraps.
    Initialize,
    /// The dynamic configuration.
    Config,
    /// The leader's position in the log, and its slots.
    Status,
    /// The leader's position alone, as versions before 2.1 keep it.
    OptimeLeader,
    /// Who may take over without losing a commit.
    Sync,
    /// A switchover or failover somebody asked for.
    Failover,
    /// When which timeline ended.
    History,
    /// Whom a leader must reach to go on without etcd.
    Failsafe,
    /// None of Patroni's, or one of a Citus group: not ours to read.
    Other,
}

impl Prefix {
    /// The prefix of a cluster; the namespace may be written with or without its slashes.
    #[must_use]
    pub fn new(namespace: &str, scope: &Scope) -> Self {
        let parts = namespace.split('/').chain(scope.as_str().split('/'));
        let mut prefix = String::from("/");
        for part in parts.filter(|part| !part.is_empty()) {
            prefix.push_str(part);
            prefix.push('/');
        }
        Self(prefix)
    }

    /// The prefix as text, a slash at both ends.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first key that sorts after all keys of the cluster: the end of the range etcd is asked for.
    #[must_use]
    pub fn range_end(&self) -> Vec<u8> {
        let mut end = self.0.clone().into_bytes();
        // A prefix ends in a slash, which is not the greatest byte there is.
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        end
    }

    /// The key of the lock.
    #[must_use]
    pub fn leader(&self) -> String {
        self.key(&Key::Leader)
    }

    /// A key in full. [`Key::Other`] names none: it gives the prefix itself, where nothing is kept.
    #[must_use]
    pub fn key(&self, key: &Key) -> String {
        format!("{}{key}", self.0)
    }

    /// What a key in full is for.
    #[must_use]
    pub fn parse(&self, full: &[u8]) -> Key {
        std::str::from_utf8(full)
            .ok()
            .and_then(|full| full.strip_prefix(&self.0))
            .map_or(Key::Other, Key::below_the_prefix)
    }
}

impl Key {
    fn below_the_prefix(relative: &str) -> Self {
        match relative {
            "leader" => Self::Leader,
            "initialize" => Self::Initialize,
            "config" => Self::Config,
            "status" => Self::Status,
            "optime/leader" => Self::OptimeLeader,
            "sync" => Self::Sync,
            "failover" => Self::Failover,
            "history" => Self::History,
            "failsafe" => Self::Failsafe,
            _ => match relative.strip_prefix(MEMBERS) {
                Some(name)
                    if !name.is_empty()
                        && !name.contains('/')
                        && name.len() <= MemberName::LONGEST =>
                {
                    Self::Member(MemberName::from(name))
                }
                Some(_) | None => Self::Other,
            },
        }
    }
}

impl fmt::Display for Key {
    /// The key relative to its prefix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => f.write_str("leader"),
            Self::Member(name) => write!(f, "{MEMBERS}{name}"),
            Self::Initialize => f.write_str("initialize"),
            Self::Config => f.write_str("config"),
            Self::Status => f.write_str("status"),
            Self::OptimeLeader => f.write_str("optime/leader"),
            Self::Sync => f.write_str("sync"),
            Self::Failover => f.write_str("failover"),
            Self::History => f.write_str("history"),
            Self::Failsafe => f.write_str("failsafe"),
            Self::Other => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> Prefix {
        Prefix::new("service", &Scope::from("demo"))
    }

    #[test]
    fn slashes_around_the_namespace_make_no_difference() {
        for namespace in ["service", "/service", "/service/", "//service", "service//"] {
            let prefix = Prefix::new(namespace, &Scope::from("demo"));
            assert_eq!(prefix.as_str(), "/service/demo/", "{namespace:?}");
        }
        let deep = Prefix::new("//a///b/", &Scope::from("demo"));
        assert_eq!(deep.as_str(), "/a/b/demo/");
        assert_eq!(Prefix::new("", &Scope::from("demo")).as_str(), "/demo/");
    }

    #[test]
    fn the_range_ends_right_after_the_last_possible_key() {
        assert_eq!(demo().range_end(), b"/service/demo0");
    }

    #[test]
    fn every_key_is_written_and_read_the_same() {
        for (key, text) in [
            (Key::Leader, "/service/demo/leader"),
            (Key::Member("pg-1".into()), "/service/demo/members/pg-1"),
            (Key::Initialize, "/service/demo/initialize"),
            (Key::Config, "/service/demo/config"),
            (Key::Status, "/service/demo/status"),
            (Key::OptimeLeader, "/service/demo/optime/leader"),
            (Key::Sync, "/service/demo/sync"),
            (Key::Failover, "/service/demo/failover"),
            (Key::History, "/service/demo/history"),
            (Key::Failsafe, "/service/demo/failsafe"),
        ] {
            assert_eq!(demo().key(&key), text);
            assert_eq!(demo().parse(text.as_bytes()), key);
        }
        assert_eq!(demo().leader(), "/service/demo/leader");
    }

    #[test]
    fn a_key_that_is_not_patronis_is_read_as_other() {
        for foreign in [
            b"/service/demo/".as_slice(),
            b"/service/demo",
            b"/service/demo/members/",
            b"/service/demo/members/a/b",
            b"/service/demo/0/leader",
            b"/service/demo/1/members/pg-1",
            b"/service/demo/optime",
            b"/service/demo2/leader",
            b"/service/demo/leader/",
            b"/service/demo/members/\xff",
            b"",
        ] {
            assert_eq!(demo().parse(foreign), Key::Other, "{foreign:?}");
        }
        let longest = "a".repeat(MemberName::LONGEST);
        let key = demo().key(&Key::Member(longest.as_str().into()));
        assert_eq!(demo().parse(key.as_bytes()), Key::Member(longest.into()));
        assert_eq!(demo().parse(format!("{key}a").as_bytes()), Key::Other);
    }
}
