//! Where the cluster keeps its state: `etcd3`, and nothing else.

use super::super::read::Section;
use super::super::router::{Etcd, etcd_section};

/// The stores that Patroni knows besides etcd's version 3, in the order in which it takes the first one written.
const BEFORE: [&str; 2] = ["consul", "etcd"];
const BEHIND: [&str; 4] = ["exhibitor", "kubernetes", "raft", "zookeeper"];

/// Reads `etcd3`. Any other store that Patroni would take with the same file is refused: beside Patroni's nodes an
/// agent that looks elsewhere would find no cluster there, and make a new one.
pub(super) fn store(root: &mut Section<'_, '_>) -> Option<Etcd> {
    let here = root.has("etcd3");
    let first = BEFORE.into_iter().find(|store| root.has(store));
    let elsewhere = BEHIND.into_iter().find(|store| !here && root.has(store));
    for store in BEFORE.into_iter().chain(BEHIND) {
        let written = root.take(store).is_some();
        if written && here && first.is_none() {
            root.warn(store, "has no effect: etcd3 is used", "leave it out");
        }
    }
    let Some(store) = first.or(elsewhere) else {
        return etcd_section(
            root,
            "write etcd3: with hosts: and every etcd member (host:port)",
        );
    };
    root.take("etcd3");
    if store == "etcd" {
        let what = "means etcd's v2 API, which Patroni too keeps apart from v3: whoever looks into the \
                    other one finds no cluster; the agent speaks only v3";
        let expected = if here {
            "leave etcd: out (Patroni takes it before etcd3:)"
        } else {
            "write etcd3: in its place, with the same keys, once the cluster itself was moved to it"
        };
        root.refuse("etcd", what, expected);
    } else {
        let what = "is where Patroni would keep this cluster, and the agent speaks only to etcd";
        root.refuse(store, what, "write etcd3: with hosts: in its place");
    }
    None
}
