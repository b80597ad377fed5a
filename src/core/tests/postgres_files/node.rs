//! The node whose files were captured, and others like it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Map;
use trunkline_core::config::agent::{
    Agent, Credentials, Log, Rest, ServerTokens, Settings, Watchdog,
};
use trunkline_core::config::router::{Etcd, Secret};

/// One of the nodes of the captures: 2 or 3.
pub(crate) fn node(number: u8) -> Agent {
    let host = format!("127.0.0.{number}");
    let user = |name: &str| Credentials {
        username: Some(name.to_owned()),
        password: Some(Secret::new("secret".to_owned())),
        options: BTreeMap::new(),
    };
    Agent {
        name: format!("pg-{number}").into(),
        scope: "demo".into(),
        namespace: "/service".to_owned(),
        etcd: Etcd::default(),
        rest: Rest {
            listen: (host.clone(), 8008),
            connect: (host.clone(), 8008),
            authentication: None,
            allowlist: None,
            allowlist_include_members: false,
            extra_headers: Vec::new(),
            server_tokens: ServerTokens::default(),
            honest_primary: false,
        },
        bootstrap: None,
        data_dir: format!("/srv/demo/data/pg{number}").into(),
        config_dir: format!("/srv/demo/data/pg{number}").into(),
        config_base_name: "postgresql".to_owned(),
        bin_dir: Some("/usr/lib/postgresql/15/bin".into()),
        bin_name: BTreeMap::new(),
        listen_addresses: host.clone(),
        port: 20_430 + u16::from(number),
        connect: (host, 20_430 + u16::from(number)),
        proxy: None,
        database: "postgres".to_owned(),
        pgpass: format!("/srv/demo/pgpass{number}").into(),
        superuser: user("postgres"),
        replication: user("replicator"),
        rewind: None,
        tags: trunkline_core::wire::member::Tags::default(),
        watchdog: Watchdog::Off,
        log: Log::default(),
        postgresql: Map::new(),
    }
}

/// Settings with these parameters.
pub(crate) fn settings(parameters: &[(&str, &str)]) -> Settings {
    Settings {
        parameters: text(parameters),
        pg_hba: None,
        pg_ident: None,
        recovery: BTreeMap::new(),
        custom_conf: None,
        use_slots: true,
        use_pg_rewind: true,
        wipe_on_rewind_failure: false,
        wipe_on_divergence: false,
        start_timeout: Duration::from_secs(60),
        use_unix_socket: false,
        use_unix_socket_repl: false,
        basebackup: Vec::new(),
        replica_methods: Vec::new(),
        callbacks: BTreeMap::new(),
        pre_promote: None,
        before_stop: None,
        primary_start_timeout: Duration::from_secs(300),
        member_slots_ttl: Duration::from_secs(1800),
        max_timelines_history: 0,
        check_timeline: false,
    }
}

/// A map of text.
pub(crate) fn text(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
