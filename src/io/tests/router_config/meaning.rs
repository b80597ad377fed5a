//! What is written means what a person would take it to mean.

use std::time::Duration;

use trunkline_core::Scope;
use trunkline_core::config::router::{
    Balance, Bind, BindAddr, Cluster, Etcd, Hold, OnLeave, Router, To, describe,
};

use crate::{MINIMAL, good, listener, plain, said, said_of};

#[test]
fn the_example_shows_the_defaults_and_nothing_else() {
    let example = good(include_str!("../../../../config/router.yml"));
    let etcd = plain(&["10.1.0.10", "10.2.0.10", "10.3.0.10"]);
    let default = Router::new(vec![Cluster::new(Scope::from("pg_cluster"), etcd)]);
    assert_eq!(example, default);
}

#[test]
fn what_the_example_comments_out_is_understood_when_it_is_written() {
    let example = include_str!("../../../../config/router.yml");
    let (alone, several) = example.split_once("# Several clusters").unwrap();
    let (_, rest) = several.split_once("\n\n").unwrap();
    let word = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let is_key = |text: &str| text.split_once(": ").is_some_and(|(key, _)| word(key));
    let written: Vec<String> = format!("{alone}{rest}")
        .lines()
        .map(|line| match line.split_once("    # ") {
            Some((indent, key)) if indent.trim().is_empty() && is_key(key) => {
                format!("{indent}    {key}")
            }
            _ => line.to_owned(),
        })
        .collect();
    let written = written
        .join("\n")
        .replace("protocol: http ", "protocol: https ");
    let router = good(&written);
    let cluster = &router.clusters[0];
    let [write, read, _] = cluster.listeners.as_slice() else {
        panic!("{:?}", cluster.listeners);
    };
    assert!(cluster.etcd.endpoints.iter().all(|endpoint| endpoint.tls));
    assert_eq!(cluster.etcd.username.as_deref(), Some("trunkline"));
    assert!(cluster.restapi.cert.is_some() && cluster.etcd.key.is_some());
    assert_eq!(
        (write.maxconn, write.server_maxconn),
        (Some(5000), Some(500))
    );
    assert_eq!(
        (read.max_lag, read.fallback),
        (Some(16 << 20), Some(To::Primary))
    );
    assert_eq!(
        (read.tags.len(), read.prefer.len(), read.weights.len()),
        (1, 1, 1)
    );
    assert_eq!(read.backup.len(), 1);
}

#[test]
fn five_lines_are_enough_and_three_even_more_so() {
    let router = good(MINIMAL);
    let mut cluster = Cluster::new(Scope::from("pg_cluster"), plain(&["10.1.0.10"]));
    assert_eq!(
        good(&MINIMAL[..MINIMAL.find("listeners").unwrap()]).clusters[0],
        cluster
    );
    cluster.listeners.truncate(1);
    assert_eq!(router, Router::new(vec![cluster]));
}

#[test]
fn defaults_follow_what_a_listener_routes_to() {
    let seconds = Duration::from_secs;
    let cases = [
        ("primary", seconds(30), OnLeave::Kill),
        ("standby-leader", seconds(30), OnLeave::Kill),
        ("replicas", seconds(5), OnLeave::Keep),
        ("sync", seconds(5), OnLeave::Keep),
        ("any", seconds(5), OnLeave::Keep),
    ];
    for (to, hold, on_leave) in cases {
        let listener = listener(&format!("to: {to}"));
        assert_eq!(listener.to.as_str(), to);
        assert_eq!(
            (listener.hold.time, listener.on_leave),
            (hold, on_leave),
            "{to}"
        );
        assert_eq!((listener.hold.number, listener.retries), (10_000, 2));
        assert_eq!(listener.connect_timeout, seconds(4));
        assert_eq!(listener.user_timeout, None);
    }
}

/// Linux ends an idle connection to a dead peer by the user timeout, where there is one, and by keepalive's probes only
/// where there is none.
#[test]
fn keepalive_counts_its_probes_unless_a_user_timeout_is_asked_for() {
    let cases = [
        ("user_timeout: off", None),
        ("user_timeout: 0", None),
        ("user_timeout: 45s", Some(Duration::from_secs(45))),
    ];
    for (written, meant) in cases {
        let listener = listener(&format!("to: primary, {written}"));
        assert_eq!(listener.user_timeout, meant, "{written}");
    }
}

#[test]
fn values_may_be_spelled_as_people_spell_them() {
    let holds = [
        ("90", 90_000),
        ("1.5", 1500),
        ("250ms", 250),
        ("30 s", 30_000),
        ("5min", 300_000),
        ("1h", 3_600_000),
        ("1:30", 90_000),
        ("off", 0),
        ("{time: 2s, number: 7}", 2000),
    ];
    for (text, milliseconds) in holds {
        let hold = listener(&format!("hold: {text}")).hold;
        assert_eq!(hold.time, Duration::from_millis(milliseconds), "{text}");
    }
    assert_eq!(
        listener("hold: {number: 7}").hold,
        Hold {
            time: Duration::from_secs(5),
            number: 7
        }
    );
    let lags = [
        ("1024", 1024),
        ("16MB", 16 << 20),
        ("16 mb", 16 << 20),
        ("1.5GB", 3 << 29),
        ("64kB", 65_536),
        ("1TB", 1 << 40),
        ("8B", 8),
    ];
    for (text, bytes) in lags {
        assert_eq!(
            listener(&format!("max_lag: {text}")).max_lag,
            Some(bytes),
            "{text}"
        );
    }
    assert_eq!(listener("balance: source").balance, Balance::Source);
    assert_eq!(listener("client_idle: off").client_idle, None);
    assert_eq!(
        listener("client_idle: 1h").client_idle,
        Some(Duration::from_secs(3600))
    );
    let tags = listener("tags: {dc: seoul, fast: on, rack: 7}").tags;
    let tags: Vec<_> = tags
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(tags, ["dc=seoul", "fast=true", "rack=7"]);
}

#[test]
fn a_listener_listens_where_it_is_told() {
    let tcp = |addr, port| Bind::Tcp { addr, port };
    let ip = |text: &str| BindAddr::Ip(text.parse().unwrap());
    let cases = [
        ("\"*:5000\"", Bind::any(5000)),
        ("\":5000\"", Bind::any(5000)),
        ("0.0.0.0:5000", tcp(ip("0.0.0.0"), 5000)),
        ("127.0.0.1:5000", tcp(ip("127.0.0.1"), 5000)),
        ("\"[::]:5000\"", tcp(ip("::"), 5000)),
        ("\"[fe80::1]:65535\"", tcp(ip("fe80::1"), 65_535)),
        (
            "vip.example:5000",
            tcp(BindAddr::Name("vip.example".to_owned()), 5000),
        ),
        (
            "/run/trunkline/write.sock",
            Bind::Unix("/run/trunkline/write.sock".into()),
        ),
        ("\"unix:/run/w.sock\"", Bind::Unix("/run/w.sock".into())),
    ];
    for (text, bind) in cases {
        assert_eq!(listener(&format!("bind: {text}")).bind, [bind], "{text}");
    }
    let both = listener("bind: [\"127.0.0.1:5001\", /run/r.sock]").bind;
    let both: Vec<String> = both.iter().map(ToString::to_string).collect();
    assert_eq!(both, ["127.0.0.1:5001", "/run/r.sock"]);
    for bad in [
        "5001",
        "\"*\"",
        "\"*:0\"",
        "\"*:65536\"",
        "\"*:+80\"",
        "\"::1:5000\"",
        "host",
        "\"[x]:1\"",
        "\"systemd:w\"",
        "\"a b:1\"",
    ] {
        let said = said_of("read", &format!("bind: {bad}"));
        assert!(
            said.starts_with("router.yml:5: listeners.read.bind: "),
            "{bad}: {said}"
        );
        assert!(
            said.ends_with("or the path of a unix socket"),
            "{bad}: {said}"
        );
    }
}

#[test]
fn members_are_connected_to_from_one_address_or_several_or_wherever() {
    let sources = |keys: &str| {
        let listener = listener(keys);
        let sources: Vec<String> = listener.source.iter().map(ToString::to_string).collect();
        sources.join(" ")
    };
    assert_eq!(sources(""), "");
    assert_eq!(sources("source: 10.0.0.1"), "10.0.0.1");
    assert_eq!(
        sources("source: [10.0.0.1, \"fd00::1\"]"),
        "10.0.0.1 fd00::1"
    );
    let text = MINIMAL.replace("write: {}", "write: {source: [10.0.0.1, \"fd00::1\"]}");
    let shown = describe(&good(&text));
    assert!(
        shown.contains("connects from         10.0.0.1, fd00::1\n"),
        "{shown}"
    );
    assert!(!describe(&good(MINIMAL)).contains("connects from"));
}

#[test]
fn etcd_is_found_by_the_keys_of_patroni() {
    let etcd = |keys: &str| {
        let text = MINIMAL.replace("{hosts: 10.1.0.10}", &format!("{{{keys}}}"));
        good(&text).clusters.remove(0).etcd
    };
    let shown = |etcd: &Etcd| {
        let all: Vec<String> = etcd.endpoints.iter().map(ToString::to_string).collect();
        all.join(" ")
    };
    let cases = [
        ("host: a", "http://a:2379"),
        ("host: a, port: 2380", "http://a:2380"),
        ("host: \"[::1]:2381\"", "http://[::1]:2381"),
        (
            "hosts: \"a:1, b:2,c\"",
            "http://a:1 http://b:2 http://c:2379",
        ),
        (
            "hosts: [a, 10.0.0.1:2380], protocol: https",
            "https://a:2379 https://10.0.0.1:2380",
        ),
        (
            "url: \"https://a:4001/v3\", protocol: http",
            "https://a:4001",
        ),
        ("proxy: \"http://a\", use_proxies: on", "http://a:2379"),
    ];
    for (keys, endpoints) in cases {
        assert_eq!(shown(&etcd(keys)), endpoints, "{keys}");
    }
    let with_user = etcd("url: \"https://me:p%40ss@a:1\"");
    assert_eq!(with_user.username.as_deref(), Some("me"));
    assert_eq!(
        with_user.password.as_ref().map(|secret| secret.reveal()),
        Some("p@ss")
    );
    let version2 = good(&MINIMAL.replace("etcd3", "etcd"));
    assert!(version2.clusters[0].etcd.version2_section);
}

#[test]
fn several_clusters_have_listeners_of_their_own() {
    let text = "
clusters:
  orders:
    scope: pg
    namespace: //db//
    etcd3: {hosts: a}
    when_unproven: keep
    listeners: {w: {bind: '*:1', to: primary}}
  stock:
    scope: pg
    etcd3: {hosts: b}
    listeners: {w: {bind: '*:2', to: primary}}
stats: off
";
    let router = good(text);
    let seen: Vec<_> = router
        .clusters
        .iter()
        .map(|one| {
            (
                one.name.as_str(),
                one.namespace.as_str(),
                one.listeners.len(),
            )
        })
        .collect();
    assert_eq!(seen, [("orders", "/db", 1), ("stock", "/service", 1)]);
    assert!(router.stats.bind.is_empty());
    assert_eq!(
        said(&text.replace("*:2", "10.0.0.1:1")),
        "router.yml:12: clusters.stock.listeners.w.bind: 10.0.0.1:1 is taken by \
         clusters.orders.listeners.w.bind (*:1); write another address or port"
    );
}

#[test]
fn sessions_run_on_as_many_threads_as_are_asked_for_or_one_a_processor() {
    assert_eq!(good(MINIMAL).threads, None);
    let router = good(&format!("{MINIMAL}\nthreads: 3\n"));
    assert_eq!(router.threads, Some(3));
    let shown = |router: &Router| describe(router).contains("threads for sessions  3\n");
    assert!(shown(&router), "{}", describe(&router));
    assert!(!shown(&good(MINIMAL)));
}
