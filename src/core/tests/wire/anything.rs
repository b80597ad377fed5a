//! Whatever bytes etcd or a peer holds, reading them ends in a value or a reason, and a value once written stays
//! the same when read and written again.

use proptest::prelude::*;
use serde_json::{Map, Value};
use trunkline_core::Scope;
use trunkline_core::keys::{Key, Prefix};
use trunkline_core::wire::config::DynamicConfig;
use trunkline_core::wire::failover::Failover;
use trunkline_core::wire::failsafe::Failsafe;
use trunkline_core::wire::history::History;
use trunkline_core::wire::member::{ApiUrl, ConnUrl, Member};
use trunkline_core::wire::rest::StatusDocument;
use trunkline_core::wire::status::Status;
use trunkline_core::wire::sync::Sync;
use trunkline_core::wire::{Invalid, initialize, leader};

type Rewrite = fn(&[u8]) -> Result<String, Invalid>;

/// Every parser, with its writer behind it.
const REWRITES: [(&str, Rewrite); 10] = [
    ("leader", |bytes| Ok(leader::parse(bytes)?.to_string())),
    ("initialize", |bytes| {
        let id = initialize::parse(bytes)?;
        Ok(id.map(|id| id.to_string()).unwrap_or_default())
    }),
    ("member", |bytes| Ok(Member::parse(bytes)?.to_json())),
    ("config", |bytes| Ok(DynamicConfig::parse(bytes)?.to_json())),
    ("status", |bytes| Ok(Status::parse(bytes)?.to_json())),
    ("sync", |bytes| Ok(Sync::parse(bytes)?.to_json())),
    ("failover", |bytes| Ok(Failover::parse(bytes)?.to_json())),
    ("history", |bytes| Ok(History::parse(bytes)?.to_json())),
    ("failsafe", |bytes| Ok(Failsafe::parse(bytes)?.to_json())),
    ("rest", |bytes| Ok(StatusDocument::parse(bytes)?.to_json())),
];

/// The fields that mean something somewhere.
const FIELDS: &[&str] = &[
    "api_url",
    "conn_url",
    "database_system_identifier",
    "failover_priority",
    "host",
    "leader",
    "leader_until_ms",
    "location",
    "loop_wait",
    "maximum_lag_on_failover",
    "member",
    "nofailover",
    "optime",
    "patroni",
    "pause",
    "pending_restart_reason",
    "quorum",
    "received_location",
    "replication",
    "retain_slots",
    "retry_timeout",
    "role",
    "scheduled_at",
    "server_version",
    "slots",
    "standby_cluster",
    "state",
    "sync_standby",
    "synchronous_mode",
    "tags",
    "timeline",
    "ttl",
    "version",
    "wal",
    "xlog",
    "xlog_location",
];

/// Texts that mean something somewhere.
const TEXTS: &[&str] = &[
    "",
    "0x1F",
    "10MB",
    "1e3",
    "2026-11-21T08:18:58+00:00",
    "7710532611349547367",
    "[1,2]",
    "http://[::1]:8008/patroni",
    "master",
    "on",
    "pg-1,pg-2",
    "postgres://u:p@%2Ftmp:5432/db",
    "quorum",
    "running",
    "{\"a\":1}",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(TEXTS).prop_map(str::to_owned),
        any::<String>(),
    ]
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => proptest::sample::select(FIELDS).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0_u8..40).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            3 => proptest::collection::vec((field(), inner), 0..10)
                .prop_map(|fields| Value::from(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Reads with every parser and holds each to its own word.
fn try_all(bytes: &[u8]) -> Result<(), TestCaseError> {
    for (name, rewrite) in REWRITES {
        let Ok(once) = rewrite(bytes) else { continue };
        let twice = rewrite(once.as_bytes());
        prop_assert_eq!(twice.as_ref(), Ok(&once), "{}", name);
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        try_all(&bytes)?;
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in any::<String>()) {
        try_all(text.as_bytes())?;
    }

    #[test]
    fn no_json_makes_a_parser_panic(value in json()) {
        try_all(value.to_string().as_bytes())?;
    }

    #[test]
    fn a_cut_off_value_makes_no_parser_panic(value in json(), end in any::<prop::sample::Index>()) {
        let text = value.to_string();
        try_all(&text.as_bytes()[..end.index(text.len())])?;
    }

    #[test]
    fn an_address_once_written_stays_the_same(rest in "[a-z0-9%:/@.\\[\\]?#é ]{0,30}") {
        if let Ok(url) = ConnUrl::parse(&format!("postgres://{rest}")) {
            prop_assert_eq!(ConnUrl::parse(&url.to_string()), Ok(url));
        }
        if let Ok(url) = ApiUrl::parse(&format!("https://{rest}")) {
            prop_assert_eq!(ApiUrl::parse(&url.to_string()), Ok(url));
        }
    }

    #[test]
    fn any_key_is_for_something(bytes in proptest::collection::vec(any::<u8>(), 0..40), name in "[^/]+") {
        let prefix = Prefix::new("service", &Scope::from("demo"));
        prop_assert!(!matches!(prefix.parse(&bytes), Key::Member(name) if name.as_str().contains('/')));
        let key = Key::Member(name.as_str().into());
        prop_assert_eq!(prefix.parse(prefix.key(&key).as_bytes()), key);
    }
}
