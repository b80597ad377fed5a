//! What was understood, for the eyes of the person who wrote it: `trunkline --check`.
//!
//! Every value in effect is shown, written or not. Passwords are not.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use super::{Bind, Cluster, Etcd, Listener, RestApi, Router, To};

/// The configuration in effect, several lines of text, the last one with its line break.
#[must_use]
pub fn describe(router: &Router) -> String {
    let mut page = Page::default();
    for described in &router.clusters {
        page.heading(&format!("cluster {}", described.name));
        cluster(&mut page, described);
        for described in &described.listeners {
            page.heading(&format!("listener {}", described.name));
            listener(&mut page, described);
        }
    }
    page.heading("router");
    let stats = match binds(&router.stats.bind) {
        none if none.is_empty() => "off".to_owned(),
        binds => binds,
    };
    page.line("stats page", stats);
    let state = router.state.as_ref();
    page.line(
        "what is known is kept in",
        state.map_or_else(|| "nowhere".to_owned(), |path| path.display().to_string()),
    );
    page.line("SIGTERM drains", at_most(router.drain));
    let threads = router.threads.map(|threads| threads.to_string());
    page.line(
        "threads for sessions",
        threads.unwrap_or_else(|| "one a processor".to_owned()),
    );
    page.line(
        "log",
        format!("{}, as {}", router.log.level, router.log.format),
    );
    page.0
}

fn cluster(page: &mut Page, cluster: &Cluster) {
    let Etcd { endpoints, .. } = &cluster.etcd;
    page.line(
        "prefix in etcd",
        format!("{}/{}/", cluster.namespace, cluster.scope),
    );
    page.line("etcd", joined(endpoints));
    if cluster.etcd.version2_section {
        let why = "written under etcd:, which is version 2 to Patroni; version 3 is asked";
        page.line("", why);
    }
    etcd_access(page, &cluster.etcd);
    rest_access(page, &cluster.restapi);
    let probe = &cluster.probe;
    page.line(
        "members are asked",
        format!(
            "every {}, for {}; up after {} good answers, down after {} bad",
            time(probe.interval),
            at_most(probe.timeout),
            probe.rise,
            probe.fall,
        ),
    );
    let address = if cluster.use_proxy_url {
        "proxy_url"
    } else {
        "conn_url"
    };
    page.line("members' address", address);
    page.line(
        "lag unknown",
        format!("tolerated for {}", time(cluster.lag_grace)),
    );
    page.line("writers unproven", cluster.when_unproven);
}

fn etcd_access(page: &mut Page, etcd: &Etcd) {
    if let Some(user) = &etcd.username {
        page.line("etcd user", format!("{user}, with a password"));
    }
    page.file("etcd CA", etcd.cacert.as_ref());
    page.file("etcd certificate", etcd.cert.as_ref());
    page.file("etcd key", etcd.key.as_ref());
}

fn rest_access(page: &mut Page, restapi: &RestApi) {
    page.file("REST CA", restapi.cacert.as_ref());
    page.file("REST certificate", restapi.cert.as_ref());
    page.file("REST key", restapi.key.as_ref());
    if restapi.insecure {
        page.line("REST", "any certificate of a member is taken");
    }
}

fn listener(page: &mut Page, listener: &Listener) {
    page.line("listens on", binds(&listener.bind));
    let fallback = listener.fallback.map(|to| format!(", else {to}"));
    page.line(
        "routes to",
        format!("{}{}", listener.to, fallback.unwrap_or_default()),
    );
    page.map("only with tags", &listener.tags);
    if !matches!(listener.to, To::Primary | To::StandbyLeader) {
        choice(page, listener);
    }
    let hold = match listener.hold.time {
        Duration::ZERO => "no".to_owned(),
        time => format!("{}, {} clients", at_most(time), listener.hold.number),
    };
    page.line("holds clients", hold);
    page.line("sessions", limit(listener.maxconn));
    page.line("sessions a member", limit(listener.server_maxconn));
    if listener.server_maxconn.is_some() {
        page.line("queue", at_most(listener.queue_timeout));
    }
    page.line("when a member leaves", listener.on_leave);
    page.line(
        "connects within",
        format!(
            "{}, retries {}",
            time(listener.connect_timeout),
            listener.retries
        ),
    );
    if !listener.source.is_empty() {
        page.line("connects from", joined(&listener.source));
    }
    let idle = listener
        .client_idle
        .map_or_else(|| "no limit".to_owned(), time);
    page.line("idle session", idle);
    let alive = &listener.keepalive;
    let (after, between) = (time(alive.idle), time(alive.interval));
    let probes = match listener.user_timeout {
        None => format!("{} probes {between} apart", alive.probes),
        Some(timeout) => format!("probes {between} apart until {}", time(timeout)),
    };
    page.line("keepalive", format!("after {after}, {probes}"));
    let unacknowledged = listener
        .user_timeout
        .map_or_else(|| "as the system has it".to_owned(), at_most);
    page.line("unacknowledged data", unacknowledged);
}

/// What decides between several members; one that holds the lock is not chosen.
fn choice(page: &mut Page, listener: &Listener) {
    page.line("balance", listener.balance);
    page.line(
        "max lag",
        listener
            .max_lag
            .map_or_else(|| "no limit".to_owned(), bytes),
    );
    page.map("first with tags", &listener.prefer);
    page.map("weights", &listener.weights);
    if !listener.backup.is_empty() {
        page.line("backup", joined(&listener.backup));
    }
}

/// Lines of a name and a value, the values in one column.
#[derive(Default)]
struct Page(String);

impl Page {
    fn heading(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn line(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!("  {name:<22}{value}"));
        self.0.push('\n');
    }

    fn file(&mut self, name: &str, path: Option<&PathBuf>) {
        if let Some(path) = path {
            self.line(name, path.display());
        }
    }

    fn map(&mut self, name: &str, map: &BTreeMap<impl Display, impl Display>) {
        if !map.is_empty() {
            let pairs = map.iter().map(|(key, value)| format!("{key}: {value}"));
            self.line(name, joined(pairs));
        }
    }
}

fn binds(binds: &[Bind]) -> String {
    joined(binds)
}

fn joined(items: impl IntoIterator<Item = impl Display>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

fn limit(number: Option<u32>) -> String {
    number.map_or_else(
        || "no limit".to_owned(),
        |number| format!("at most {number}"),
    )
}

fn at_most(duration: Duration) -> String {
    format!("at most {}", time(duration))
}

/// A duration as it may be written: `250ms`, `30s`, `15min`.
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let whole = |unit: u64| (seconds > 0 && seconds.is_multiple_of(unit)).then(|| seconds / unit);
    if duration.subsec_nanos() > 0 {
        return format!("{duration:?}");
    }
    match (whole(3600), whole(60)) {
        (Some(hours), _) => format!("{hours}h"),
        (None, Some(minutes)) => format!("{minutes}min"),
        (None, None) => format!("{seconds}s"),
    }
}

/// A size as it may be written, in the largest unit that needs no fraction.
fn bytes(size: u64) -> String {
    let units = [("TB", 40), ("GB", 30), ("MB", 20), ("kB", 10)];
    let fits = |shift: u32| size > 0 && size.trailing_zeros() >= shift;
    let unit = units.into_iter().find(|(_, shift)| fits(*shift));
    unit.map_or_else(
        || format!("{size} bytes"),
        |(name, shift)| format!("{}{name}", size >> shift),
    )
}
