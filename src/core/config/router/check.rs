//! What concerns several sections at once: no two of them may listen on the same address.

use std::net::IpAddr;

use super::key::{Key, line_of};
use super::{Bind, BindAddr, Router};
use crate::config::node::Node;
use crate::config::problem::{Problem, Problems, Severity};

/// Reports every address that two sections, or one twice, would have to share.
pub(super) fn binds(file: &Node, router: &Router, problems: &mut Problems) {
    let mut taken: Vec<(Vec<String>, &Bind)> = Vec::new();
    for (owner, bind) in owners(router) {
        let owner = owner.path(Some(file));
        let other = taken.iter().find(|(_, known)| collide(known, bind));
        if let Some((other, known)) = other {
            problems.push(Problem {
                severity: Severity::Error,
                place: None,
                line: line_of(file, &owner),
                key: owner.join("."),
                what: format!("{bind} is taken by {} ({known})", other.join(".")),
                expected: "write another address or port".to_owned(),
            });
        }
        taken.push((owner, bind));
    }
}

/// Every address with the key it stands under, or would if it were written.
fn owners(router: &Router) -> Vec<(Key, &Bind)> {
    let mut owners = Vec::new();
    for cluster in &router.clusters {
        for listener in &cluster.listeners {
            let key = Key::Listener(cluster.name.clone(), listener.name.clone(), "bind");
            owners.extend(listener.bind.iter().map(|bind| (key.clone(), bind)));
        }
    }
    let stats = router.stats.bind.iter();
    owners.extend(stats.map(|bind| (Key::Whole("stats.bind"), bind)));
    owners
}

/// Whether the kernel would refuse the second of two addresses.
fn collide(one: &Bind, other: &Bind) -> bool {
    match (one, other) {
        (
            Bind::Tcp { addr, port },
            Bind::Tcp {
                addr: other,
                port: other_port,
            },
        ) => port == other_port && overlap(addr, other),
        (Bind::Unix(path), Bind::Unix(other)) => path == other,
        (Bind::Tcp { .. }, Bind::Unix(_)) | (Bind::Unix(_), Bind::Tcp { .. }) => false,
    }
}

fn overlap(one: &BindAddr, other: &BindAddr) -> bool {
    match (one, other) {
        (BindAddr::Any, _) | (_, BindAddr::Any) => true,
        (BindAddr::Ip(one), BindAddr::Ip(other)) => {
            let same_family = one.is_ipv4() == other.is_ipv4();
            one == other || (same_family && (one.is_unspecified() || other.is_unspecified()))
        }
        (BindAddr::Name(one), BindAddr::Name(other)) => one.eq_ignore_ascii_case(other),
        // What a name resolves to is not known here; every address of a family includes it.
        (BindAddr::Name(_), BindAddr::Ip(ip)) | (BindAddr::Ip(ip), BindAddr::Name(_)) => {
            matches!(ip, IpAddr::V4(ip) if ip.is_unspecified())
        }
    }
}
