//! Following etcd: answers that look newer than all that is known and are not to be believed, and how old what is
//! believed is.

#![allow(clippy::expect_used, reason = "a test that cannot go on ends there")]

mod follow_bench;

use std::time::Duration;

use follow_bench::{Bench, STORE, header, leader, of_store};
use trunkline_core::cluster::KeyValue;
use trunkline_core::follow::{Follow, Header, Outcome};
use trunkline_core::keys::Prefix;
use trunkline_core::memory::Memory;
use trunkline_core::{ClusterId, Moment, RaftTerm, Revision, SystemId};

#[test]
fn another_store_is_not_believed_because_it_has_come_further() {
    let mut bench = Bench::following(3);
    bench.wait(1_000);
    bench.read(
        of_store(STORE + 1, 9, 5_000),
        Some(leader("stranger", 4_999)),
    );
    assert_eq!(bench.leader().as_deref(), Some("pg-1 since revision 5"));
    assert_eq!(bench.endpoint(), 1, "who answered so is left");
}

#[test]
fn what_was_listed_is_as_old_as_the_question() {
    let mut bench = Bench::following(3);
    bench.wait(10_000);
    let asked = bench.now;
    let wants = bench.wants();
    bench.wait(800);
    assert_eq!(bench.wants(), wants, "the listing is under way");
    bench.list(header(20), vec![leader("pg-1", 5)]);
    assert_eq!(bench.follow.view().asked(), Some(asked));
}

#[test]
fn the_system_identifier_of_the_last_run_stays_known_until_etcd_has_another() {
    let prefix = Prefix::new("service", &"demo".into());
    let initialize = KeyValue {
        key: b"/service/demo/initialize".to_vec(),
        value: b"7710532611349547367".to_vec(),
        created: Revision(1),
        modified: Revision(1),
        lease: None,
    };
    let remembered = Memory::of(&prefix, [&initialize]).view(&prefix);
    let now = Moment::from_boot(Duration::from_secs(100));
    let mut follow = Follow::new(prefix, 1, now).remembering(remembered, now);
    let (ask, _) = follow.wants(now).list.expect("a listing is due");
    let empty = Header {
        cluster: ClusterId(7),
        revision: Revision(1),
        term: RaftTerm(2),
    };
    follow.take(ask, Outcome::Listed(empty, Vec::new()), now, 0.5);
    let view = follow.view().value().expect("it was listed");
    assert_eq!(view.system_id, SystemId::parse("7710532611349547367"));
}
