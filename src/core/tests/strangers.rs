//! Following etcd: answers that look newer than all that is known and are not to be believed, and how old what is
//! believed is.

#![allow(clippy::expect_used, reason = "a test that cannot go on ends there")]

mod follow_bench;

use follow_bench::{Bench, STORE, header, leader, of_store};

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
