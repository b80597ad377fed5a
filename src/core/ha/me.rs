//! What the configuration says of this member, in the words of the decision.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::agent::{Agent, Settings, Watchdog};
use crate::wire::config::DynamicConfig;
use crate::wire::member::{ApiUrl, ConnUrl, Host, Tags};
use crate::{MemberName, Scope};

/// What the local configuration says of this member.
#[derive(Clone, Debug, PartialEq)]
pub struct Me {
    /// Its name.
    pub name: MemberName,
    /// The cluster.
    pub scope: Scope,
    /// Where PostgreSQL is reached by others; what goes into its key.
    pub conn: ConnUrl,
    /// Where its REST API is reached; what goes into its key.
    pub api: ApiUrl,
    /// `proxy_url`, where there is one.
    pub proxy: Option<ConnUrl>,
    /// The tags as configured.
    pub tags: Tags,
    /// Whether the configuration has what a new cluster is made of (a `bootstrap` section).
    pub may_bootstrap: bool,
    /// Whether that is made by a method of the operator's own (`bootstrap.method`).
    pub restores: bool,
    /// The dynamic configuration a new cluster begins with, or one is repaired with: compact JSON.
    pub initial_config: String,
    /// Whether `postgresql.use_pg_rewind` is on and the program is there.
    pub may_rewind: bool,
    /// `remove_data_directory_on_rewind_failure`.
    pub wipe_on_rewind_failure: bool,
    /// `remove_data_directory_on_diverged_timelines`.
    pub wipe_on_divergence: bool,
    /// Whether slots are used (`postgresql.use_slots`, dynamic).
    pub use_slots: bool,
    /// `primary_start_timeout`: how long a primary may take to start before somebody else is to take over.
    pub primary_start_timeout: Duration,
    /// `postgresql.pg_ctl_timeout`: how long a start is waited for before it counts as still going on.
    pub start_timeout: Duration,
    /// `check_timeline`.
    pub check_timeline: bool,
    /// `max_timelines_history`; all of them if zero.
    pub max_timelines_history: usize,
    /// `member_slots_ttl`; member slots only where they are used if zero.
    pub member_slots_ttl: Duration,
    /// Whether `watchdog.mode` is `required`, which this release cannot do.
    pub watchdog_required: bool,
    /// Names of parameters that wait for a restart, with the old and the new value as text.
    pub pending_restart: BTreeMap<String, (String, String)>,
}

impl Me {
    /// What the two say; `initial` is the dynamic configuration for a cluster without one.
    #[must_use]
    pub fn of(
        agent: &Agent,
        settings: &Settings,
        initial: &DynamicConfig,
        pending_restart: BTreeMap<String, (String, String)>,
    ) -> Self {
        let postgres = |(host, port): &(String, u16)| ConnUrl {
            host: Host::of(host),
            port: *port,
            database: Some(agent.database.clone()),
        };
        Self {
            name: agent.name.clone(),
            scope: agent.scope.clone(),
            conn: postgres(&agent.connect),
            api: ApiUrl {
                tls: false,
                host: Host::of(&agent.rest.connect.0),
                port: agent.rest.connect.1,
                path: "/patroni".to_owned(),
            },
            proxy: agent.proxy.as_ref().map(postgres),
            tags: agent.tags.clone(),
            may_bootstrap: agent.bootstrap.is_some(),
            restores: agent
                .bootstrap
                .as_ref()
                .is_some_and(|bootstrap| bootstrap.method.is_some()),
            initial_config: initial.to_json(),
            may_rewind: settings.use_pg_rewind,
            wipe_on_rewind_failure: settings.wipe_on_rewind_failure,
            wipe_on_divergence: settings.wipe_on_divergence,
            use_slots: settings.use_slots,
            primary_start_timeout: settings.primary_start_timeout,
            start_timeout: settings.start_timeout,
            check_timeline: settings.check_timeline,
            max_timelines_history: settings.max_timelines_history,
            member_slots_ttl: settings.member_slots_ttl,
            watchdog_required: agent.watchdog == Watchdog::Required,
            pending_restart,
        }
    }
}
