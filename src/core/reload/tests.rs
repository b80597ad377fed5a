//! What a new configuration changes, case by case.

use super::*;
use crate::config::router::{LogFormat, LogLevel, To, from_flags};

fn router() -> Router {
    from_flags(&["a:2379".into()], "demo", None).unwrap().0
}

fn said(running: &Router, wanted: &Router) -> Vec<String> {
    let plan = plan(running, &[], wanted, &[]).unwrap();
    plan.steps.iter().map(ToString::to_string).collect()
}

fn refused(running: &Router, wanted: &Router) -> Vec<Key> {
    let refusals = plan(running, &[], wanted, &[]).unwrap_err();
    refusals.into_iter().map(|refusal| refusal.key).collect()
}

fn of(listener: &str) -> Owner {
    Owner::Listener {
        cluster: "demo".into(),
        listener: listener.into(),
    }
}

fn passed(name: &str, address: &str) -> Passed {
    let tcp = address.parse::<std::net::SocketAddr>();
    let unix = || Address::Unix(std::path::Path::new(address).into());
    Passed {
        name: name.into(),
        address: Some(tcp.map_or_else(|_| unix(), Address::from)),
    }
}

fn sources(ports: &[Port], owner: &Owner) -> Vec<Source> {
    let own = ports.iter().filter(|port| port.owner == *owner);
    own.map(|port| port.source.clone()).collect()
}

#[test]
fn the_same_file_changes_nothing() {
    assert_eq!(said(&router(), &router()), Vec::<String>::new());
}

#[test]
fn listeners_that_come_go_and_change_are_told_of_by_name_and_key() {
    let mut wanted = router();
    let listeners = &mut wanted.clusters[0].listeners;
    listeners[0].maxconn = Some(7);
    listeners[0].to = To::Any;
    listeners[0].source = vec!["10.0.0.1".parse().unwrap()];
    listeners[1].name = "report".into();
    assert_eq!(
        said(&router(), &wanted),
        [
            "listener demo/write: to, maxconn, source",
            "listener demo/report is new",
            "listener demo/read is gone",
        ]
    );
}

#[test]
fn etcd_and_settings_of_the_whole_change_in_place() {
    let mut wanted = router();
    wanted.clusters[0].etcd.username = Some("trunkline".into());
    wanted.clusters[0].probe.rise = 9;
    wanted.stats.bind.clear();
    wanted.log.level = LogLevel::Debug;
    assert_eq!(
        said(&router(), &wanted),
        ["cluster demo: etcd3, probe", "stats", "log.level"]
    );
}

#[test]
fn another_namespace_under_the_same_name_takes_a_restart() {
    let mut wanted = router();
    wanted.clusters[0].namespace = "/elsewhere".into();
    let key = Key::Cluster("demo".into(), "namespace");
    assert_eq!(refused(&router(), &wanted), [key]);
}

#[test]
fn a_name_is_not_given_to_another_cluster_while_the_old_one_has_sessions() {
    let old = router();
    let mut wanted = from_flags(&["a:2379".into()], "other", None).unwrap().0;
    wanted.clusters[0].name = "demo".into();
    let mut without = router();
    without.clusters.clear();
    let refusals = plan(&without, &[&old.clusters[0]], &wanted, &[]).unwrap_err();
    assert_eq!(refusals[0].key, Key::Cluster("demo".into(), "scope"));
    assert!(plan(&without, &[], &wanted, &[]).is_ok());
}

#[test]
fn another_scope_with_its_own_name_is_one_cluster_less_and_one_more() {
    let wanted = from_flags(&["a:2379".into()], "other", None).unwrap().0;
    assert_eq!(
        said(&router(), &wanted),
        ["cluster other is new", "cluster demo is gone"]
    );
}

#[test]
fn what_takes_a_restart_is_refused_by_name_and_all_at_once() {
    let mut wanted = router();
    wanted.state = Some("/elsewhere".into());
    wanted.threads = Some(3);
    wanted.log.format = LogFormat::Json;
    assert_eq!(
        refused(&router(), &wanted),
        [
            Key::Whole("state"),
            Key::Whole("threads"),
            Key::Whole("log.format")
        ]
    );
}

#[test]
fn a_passed_socket_with_a_listeners_name_takes_the_place_of_its_bind() {
    let sockets = [
        passed("read", "127.0.0.1:9001"),
        passed("demo/sync", "127.0.0.1:9002"),
        passed("stats", "127.0.0.1:9003"),
    ];
    let ports = ports(&router(), &sockets);
    assert_eq!(sources(&ports, &of("read")), [Source::Passed(0)]);
    assert_eq!(sources(&ports, &of("sync")), [Source::Passed(1)]);
    assert_eq!(sources(&ports, &Owner::Stats), [Source::Passed(2)]);
    let write = sources(&ports, &of("write"));
    assert!(matches!(write.as_slice(), [Source::Bind(_)]), "{write:?}");
    assert_eq!(unused(&ports, &sockets), Vec::<usize>::new());
}

#[test]
fn a_passed_socket_with_another_name_serves_the_bind_with_its_address() {
    let sockets = [
        passed("trunkline.socket", "[::]:5001"),
        passed("trunkline.socket", "127.0.0.1:5000"),
        passed("trunkline.socket", "[::]:7777"),
    ];
    let ports = ports(&router(), &sockets);
    assert_eq!(sources(&ports, &of("read")), [Source::Passed(0)]);
    // One address of many is not every address.
    let write = sources(&ports, &of("write"));
    assert!(matches!(write.as_slice(), [Source::Bind(_)]), "{write:?}");
    assert_eq!(unused(&ports, &sockets), [1, 2]);
}

#[test]
fn a_passed_unix_socket_serves_the_bind_with_its_very_path() {
    let mut router = router();
    let bind = vec![Bind::Unix("/run/w".into()), Bind::any(5000)];
    router.clusters[0].listeners[0].bind = bind;
    let owner = of(&router.clusters[0].listeners[0].name.clone());
    let sockets = [passed("x", "/run/other"), passed("x", "/run/w")];
    let ports = ports(&router, &sockets);
    let [first, second] = &sources(&ports, &owner)[..] else {
        panic!("{ports:?}")
    };
    assert_eq!(*first, Source::Passed(1));
    assert_eq!(*second, Source::Bind(Bind::any(5000)));
    assert_eq!(unused(&ports, &sockets), [0]);
}

#[test]
fn a_name_that_two_clusters_use_means_neither() {
    let mut two = router();
    let mut second = two.clusters[0].clone();
    second.name = "second".into();
    two.clusters.push(second);
    let sockets = [passed("write", "127.0.0.1:1")];
    assert_eq!(unused(&ports(&two, &sockets), &sockets), [0]);
    let sockets = [passed("second/write", "127.0.0.1:1")];
    assert_eq!(
        unused(&ports(&two, &sockets), &sockets),
        Vec::<usize>::new()
    );
}
