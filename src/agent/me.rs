//! What the configuration says of this member, in the words of the decision.

use std::collections::BTreeMap;

use trunkline_core::config::agent::{Agent, Settings, Watchdog};
use trunkline_core::ha::Me;
use trunkline_core::wire::config::DynamicConfig;
use trunkline_core::wire::member::{ApiUrl, ConnUrl, Host};

/// This member. `initial` is the dynamic configuration for a cluster without one.
pub(crate) fn from(
    agent: &Agent,
    settings: &Settings,
    initial: &DynamicConfig,
    pending_restart: BTreeMap<String, (String, String)>,
) -> Me {
    let postgres = |(host, port): &(String, u16)| ConnUrl {
        host: Host::of(host),
        port: *port,
        database: Some(agent.database.clone()),
    };
    Me {
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
