//! The agent's configuration as meant: patroni.yml and the cluster's dynamic configuration together.
//!
//! [`Agent`] is what this node was told for good; [`Settings`] what is in force now, and changes with the dynamic
//! configuration. Nothing here knows how either was written.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::router::{Etcd, LogLevel, RestApi, Secret};
use crate::wire::member::Tags;
use crate::{MemberName, Scope};

mod bootstrap;
mod log;
mod options;
mod parameters;
mod postgresql;
mod rest;
mod settings;
mod shared;
mod store;
mod understand;
mod values;
pub mod variables;

pub use parameters::ENFORCED;
pub use understand::understand;

/// Everything the agent was told at its start and keeps until its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    /// The member's name.
    pub name: MemberName,
    /// The cluster.
    pub scope: Scope,
    /// Where clusters are kept in etcd, slashes normalised: `/service`.
    pub namespace: String,
    /// The etcd that keeps the cluster.
    pub etcd: Etcd,
    /// The REST API.
    pub rest: Rest,
    /// How other members' REST APIs are asked, where they speak TLS.
    pub peers: RestApi,
    /// What a new cluster is made of; `None`: this member never makes one.
    pub bootstrap: Option<Bootstrap>,
    /// `postgresql.data_dir`.
    pub data_dir: PathBuf,
    /// `postgresql.config_dir`, or the data directory.
    pub config_dir: PathBuf,
    /// `postgresql.config_base_name`.
    pub config_base_name: String,
    /// `postgresql.bin_dir`; from PATH if `None`.
    pub bin_dir: Option<PathBuf>,
    /// `postgresql.bin_name`: other names of the programs, by their usual one.
    pub bin_name: BTreeMap<String, String>,
    /// `postgresql.listen`: the addresses, as PostgreSQL's `listen_addresses` takes them.
    pub listen_addresses: String,
    /// The port of `postgresql.listen`.
    pub port: u16,
    /// `postgresql.connect_address`: host and port.
    pub connect: (String, u16),
    /// `postgresql.proxy_address`.
    pub proxy: Option<(String, u16)>,
    /// `postgresql.database`: what maintenance connections use.
    pub database: String,
    /// `postgresql.pgpass`.
    pub pgpass: PathBuf,
    /// `postgresql.authentication.superuser`.
    pub superuser: Credentials,
    /// `postgresql.authentication.replication`.
    pub replication: Credentials,
    /// `postgresql.authentication.rewind`; the superuser if `None`.
    pub rewind: Option<Credentials>,
    /// `tags`.
    pub tags: Tags,
    /// `watchdog.mode`.
    pub watchdog: Watchdog,
    /// The log.
    pub log: Log,
    /// The `postgresql` section as written here, without logins: laid over the dynamic one in [`Settings`].
    pub postgresql: Map<String, Value>,
}

/// Who logs in, with libpq's options (`sslmode`, `sslcert` …) by name.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// The user; libpq's default if `None`.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// Other options of libpq, as written.
    pub options: BTreeMap<String, String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<&String> = self.options.keys().collect();
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &self.password)
            .field("options", &options)
            .finish()
    }
}

/// The REST API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// `restapi.listen`: the host as written (may be a name or `*`) and the port.
    pub listen: (String, u16),
    /// `restapi.connect_address`, or what it listens on.
    pub connect: (String, u16),
    /// `restapi.authentication`: for requests that change something.
    pub authentication: Option<(String, Secret)>,
    /// `restapi.allowlist`: addresses and names whose requests may change something; anybody if `None`.
    pub allowlist: Option<Vec<String>>,
    /// `restapi.allowlist_include_members`.
    pub allowlist_include_members: bool,
    /// `restapi.request_queue_size`: connections that may wait to be accepted.
    pub backlog: u32,
    /// `restapi.http_extra_headers`.
    pub extra_headers: Vec<(String, String)>,
    /// `restapi.server_tokens`.
    pub server_tokens: ServerTokens,
    /// `restapi.honest_primary` (ours): `/primary` is 200 only while PostgreSQL accepts writes.
    pub honest_primary: bool,
}

/// What the REST API calls itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ServerTokens {
    /// What Patroni's own server says.
    #[default]
    Original,
    /// `Patroni/4.1.5`.
    Minimal,
    /// `Patroni`.
    ProductOnly,
}

/// What a new cluster is made of.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Bootstrap {
    /// `bootstrap.dcs`: the first dynamic configuration.
    pub dcs: Map<String, Value>,
    /// `bootstrap.initdb`, as arguments: `--data-checksums`, `--encoding=UTF8`.
    pub initdb: Vec<String>,
    /// `bootstrap.method` other than initdb: the command and its further arguments.
    pub method: Option<CustomBootstrap>,
    /// `bootstrap.pg_hba`: lines to append to what initdb wrote.
    pub pg_hba: Vec<String>,
    /// `bootstrap.post_bootstrap`, or `post_init`: a command that gets a connection string.
    pub post_init: Option<String>,
}

/// A way of the operator's own to make the first data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomBootstrap {
    /// Its name: the section it stands in.
    pub name: String,
    /// The command, to be split like a shell would.
    pub command: String,
    /// Whether it goes without `--scope` and `--datadir`.
    pub no_params: bool,
    /// Further `--key=value`, in the order of the file.
    pub arguments: Vec<(String, String)>,
    /// `recovery_conf`.
    pub recovery: BTreeMap<String, String>,
    /// `keep_existing_recovery_conf`.
    pub keep_recovery: bool,
}

/// `watchdog.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Watchdog {
    /// None.
    Off,
    /// Where there is one.
    #[default]
    Automatic,
    /// Without one no leader.
    Required,
}

/// The `log` section: its level and format; where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Log {
    /// `DEBUG`, `INFO`, `WARNING`, `ERROR`, as our own words for them.
    pub level: LogLevel,
    /// `json` instead of lines.
    pub json: bool,
    /// `deduplicate_heartbeat_logs`: what a cycle says is said again only when it says something else.
    pub deduplicate: bool,
}

/// What is in force now: the dynamic configuration with this node's own laid over it (contract 3.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `postgresql.parameters`, the ones that are Patroni's to set (contract 3.4) included; values as text. Two names
    /// that differ in case alone do not occur.
    pub parameters: BTreeMap<String, String>,
    /// `postgresql.pg_hba`, replacing the file; `None`: left alone.
    pub pg_hba: Option<Vec<String>>,
    /// `postgresql.pg_ident`, the same.
    pub pg_ident: Option<Vec<String>>,
    /// `postgresql.recovery_conf`, without what is the agent's to set.
    pub recovery: BTreeMap<String, String>,
    /// `postgresql.krbsrvname`.
    pub krbsrvname: Option<String>,
    /// `postgresql.custom_conf`.
    pub custom_conf: Option<PathBuf>,
    /// `postgresql.use_slots` (dynamic only).
    pub use_slots: bool,
    /// `postgresql.use_pg_rewind`.
    pub use_pg_rewind: bool,
    /// `postgresql.remove_data_directory_on_rewind_failure`.
    pub wipe_on_rewind_failure: bool,
    /// `postgresql.remove_data_directory_on_diverged_timelines`.
    pub wipe_on_divergence: bool,
    /// `postgresql.pg_ctl_timeout`.
    pub start_timeout: Duration,
    /// `postgresql.use_unix_socket`.
    pub use_unix_socket: bool,
    /// `postgresql.use_unix_socket_repl`.
    pub use_unix_socket_repl: bool,
    /// `postgresql.basebackup`, as arguments.
    pub basebackup: Vec<String>,
    /// `postgresql.create_replica_methods`: `basebackup` and others of the operator's, in order.
    pub replica_methods: Vec<ReplicaMethod>,
    /// `postgresql.callbacks`, by event.
    pub callbacks: BTreeMap<String, String>,
    /// `postgresql.pre_promote`.
    pub pre_promote: Option<String>,
    /// `postgresql.before_stop`.
    pub before_stop: Option<String>,
    /// `primary_start_timeout`, or `master_start_timeout`.
    pub primary_start_timeout: Duration,
    /// `member_slots_ttl`.
    pub member_slots_ttl: Duration,
    /// `max_timelines_history`; all of them if zero.
    pub max_timelines_history: usize,
    /// `check_timeline`.
    pub check_timeline: bool,
}

/// One way to make a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicaMethod {
    /// pg_basebackup.
    BaseBackup,
    /// The operator's own.
    Command {
        /// Its name.
        name: String,
        /// The command, to be split like a shell would.
        command: String,
        /// Whether it goes without the standard four arguments.
        no_params: bool,
        /// Whether the data directory is left as it is before it.
        keep_data: bool,
        /// Whether it can do without a running member to copy from.
        no_leader: bool,
        /// Further `--key=value`.
        arguments: Vec<(String, String)>,
    },
}
