//! A node with a directory of its own, and with a cluster of files in it where a test needs one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use trunkline_agent::postgres::files::Files;
use trunkline_core::config::agent::{Agent, Settings, understand};
use trunkline_core::config::layers::Layer;
use trunkline_core::config::{Node, Problems};
use trunkline_core::postgres::{MajorVersion, Upstream};
use trunkline_support::parts::Parts;

/// A node on this machine.
pub(crate) struct Place {
    pub(crate) agent: Agent,
    pub(crate) parts: Parts,
    _home: TempDir,
    // What initdb made goes with the last place that has a copy of it.
    _made: Option<Arc<Self>>,
}

impl Place {
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
            _made: None,
        };
        node.give_to_postgres();
        node
    }

    /// One with what initdb makes: a copy of what it made once.
    pub(crate) fn with_data() -> Self {
        static MADE: Mutex<Weak<Place>> = Mutex::new(Weak::new());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let template = made.upgrade().unwrap_or_else(|| {
            let place = Self::new();
            let data = place.data();
            place.succeed(
                "initdb",
                &["-D", data.to_str().unwrap(), "--no-sync", "-U", "postgres"],
            );
            Arc::new(place)
        });
        *made = Arc::downgrade(&template);
        drop(made);
        let mut place = Self::new();
        let copied = Command::new("cp")
            .arg("-a")
            .args([template.data(), place.data()])
            .status()
            .unwrap();
        assert!(copied.success());
        place._made = Some(template);
        place
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

    /// What is in force where the dynamic configuration has these parameters.
    pub(crate) fn settings(&self, parameters: &[(&str, &str)]) -> Settings {
        let parameters: Map<String, Value> = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
            .collect();
        let dynamic = json!({"postgresql": {"parameters": parameters}});
        let understood = Settings::effective(&self.agent, dynamic.as_object().unwrap());
        understood.unwrap().0
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
    let user = |name: &str| json!({"username": name, "password": "se:cret"});
    let written = json!({
        "name": "pg-1",
        "scope": "demo",
        "etcd3": {"hosts": "127.0.0.1:2379"},
        "restapi": {"listen": "127.0.0.1:8008"},
        "postgresql": {
            "listen": "127.0.0.1:20999",
            "connect_address": "127.0.0.1:20999",
            "data_dir": place.join("data"),
            "bin_dir": parts.postgresql_bin,
            "pgpass": place.join("pgpass"),
            "authentication": {"superuser": user("postgres"), "replication": user("replicator")},
        },
    });
    let file = "patroni.yml".to_owned();
    let layer = Layer {
        tree: Node::from(&written),
        file: file.clone(),
    };
    let understood = understand(&[layer], &BTreeMap::new(), &|_| None, Problems::of(&file));
    understood.unwrap().0
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
