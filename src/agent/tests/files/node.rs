//! A node with a directory of its own, and with a cluster of files in it where a test needs one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Map;
use tempfile::TempDir;
use trunkline_agent::postgres::files::Files;
use trunkline_core::config::agent::{
    Agent, Credentials, Log, Rest, ServerTokens, Settings, Watchdog,
};
use trunkline_core::config::router::{Etcd, Secret};
use trunkline_core::postgres::{MajorVersion, Upstream};
use trunkline_support::parts::Parts;

/// A node on this machine.
pub(crate) struct Node {
    pub(crate) agent: Agent,
    pub(crate) parts: Parts,
    _home: TempDir,
}

impl Node {
    /// One without a data directory.
    pub(crate) fn new() -> Self {
        let parts = Parts::find().unwrap();
        let home = TempDir::new().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = home.path().join("node");
        fs::create_dir(&place).unwrap();
        let agent = agent(&place, &parts);
        let node = Self {
            agent,
            parts,
            _home: home,
        };
        node.give_to_postgres();
        node
    }

    /// One with what initdb makes: a copy of what it made once.
    pub(crate) fn with_data() -> Self {
        static MADE: OnceLock<Node> = OnceLock::new();
        let made = MADE.get_or_init(|| {
            let node = Self::new();
            let data = node.data();
            node.succeed(
                "initdb",
                &["-D", data.to_str().unwrap(), "--no-sync", "-U", "postgres"],
            );
            node
        });
        let node = Self::new();
        let copied = Command::new("cp")
            .arg("-a")
            .args([made.data(), node.data()])
            .status()
            .unwrap();
        assert!(copied.success());
        node
    }

    fn succeed(&self, program: &str, arguments: &[&str]) {
        let output = self.run(program, arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.agent.data_dir.clone()
    }

    /// Its files, as the agent sees them.
    pub(crate) fn files(&self) -> Files {
        Files::new(Arc::new(self.agent.clone()))
    }

    /// A file in the data directory.
    pub(crate) fn text(&self, name: &str) -> String {
        let path = self.data().join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A program of PostgreSQL's, as a user that it accepts.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Command {
        let home = self.agent.data_dir.parent().unwrap();
        let mut command = self.parts.command(&self.parts.postgresql(program), home);
        command.args(arguments);
        if let Some(account) = &self.parts.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    /// Makes everything there the property of the user PostgreSQL runs as: the agent of a real node is that user.
    pub(crate) fn give_to_postgres(&self) {
        if let Some(account) = &self.parts.account {
            let mut left = vec![self.agent.data_dir.parent().unwrap().to_owned()];
            while let Some(path) = left.pop() {
                chown(&path, Some(account.uid), Some(account.gid)).unwrap();
                if path.is_dir() {
                    left.extend(
                        fs::read_dir(&path)
                            .unwrap()
                            .map(|entry| entry.unwrap().path()),
                    );
                }
            }
        }
    }

    pub(crate) fn version(&self) -> MajorVersion {
        MajorVersion::of_data(&self.text("PG_VERSION")).unwrap()
    }
}

fn agent(place: &Path, parts: &Parts) -> Agent {
    let user = |name: &str| Credentials {
        username: Some(name.to_owned()),
        password: Some(Secret::new("se:cret".to_owned())),
        options: BTreeMap::new(),
    };
    Agent {
        name: "pg-1".into(),
        scope: "demo".into(),
        namespace: "/service".to_owned(),
        etcd: Etcd::default(),
        rest: Rest {
            listen: ("127.0.0.1".to_owned(), 8008),
            connect: ("127.0.0.1".to_owned(), 8008),
            authentication: None,
            allowlist: None,
            allowlist_include_members: false,
            extra_headers: Vec::new(),
            server_tokens: ServerTokens::default(),
            honest_primary: false,
        },
        bootstrap: None,
        data_dir: place.join("data"),
        config_dir: place.join("data"),
        config_base_name: "postgresql".to_owned(),
        bin_dir: Some(parts.postgresql_bin.clone()),
        bin_name: BTreeMap::new(),
        listen_addresses: "127.0.0.1".to_owned(),
        port: 20_999,
        connect: ("127.0.0.1".to_owned(), 20_999),
        proxy: None,
        database: "postgres".to_owned(),
        pgpass: place.join("pgpass"),
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
        parameters: parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
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

/// Somebody to follow.
pub(crate) fn leader() -> Upstream {
    Upstream {
        name: Some("pg-2".into()),
        host: "127.0.0.2".to_owned(),
        port: 20_432,
        slot: Some("pg_1".to_owned()),
    }
}
