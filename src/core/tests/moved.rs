//! etcd is to be asked elsewhere, by a new configuration: what is known stays, and the answers show whose store it is.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends there")]

mod follow_bench;

use follow_bench::{Bench, header, leader, of_store};
use trunkline_core::follow::{EndpointId, Notice, Outcome};

#[test]
fn other_endpoints_are_asked_at_once_and_what_is_known_stays_known() {
    let mut bench = Bench::following(3);
    bench.wait(100);
    bench.follow.moved(2, bench.now);
    let wants = bench.wants();
    assert_eq!(wants.list.expect("a listing").1, EndpointId(0));
    assert_eq!(wants.read.expect("a proof read").1, EndpointId(0));
    assert!(wants.watch.is_none());
    assert_eq!(bench.leader().as_deref(), Some("pg-1 since revision 5"));
    bench.list(header(12), vec![leader("pg-1", 5)]);
    assert!(bench.wants().watch.is_some());
    assert_eq!(bench.follow.notices(), []);
}

#[test]
fn what_the_old_endpoints_answer_after_the_move_is_not_taken() {
    let mut bench = Bench::following(3);
    bench.wait(1_000);
    let (ask, _) = bench.wants().read.expect("a proof read");
    let (watch, ..) = bench.wants().watch.expect("a watch");
    bench.follow.moved(1, bench.now);
    let before = bench.proof();
    let read = follow_bench::read(header(13), Some(leader("pg-9", 13)));
    bench.take(ask, read);
    bench.take(watch, Outcome::Failed(follow_bench::refused()));
    assert_eq!(bench.proof(), before);
    assert_eq!(bench.endpoint(), 0);
    assert_eq!(bench.leader().as_deref(), Some("pg-1 since revision 5"));
}

#[test]
fn other_endpoints_with_another_store_mean_that_it_was_rebuilt() {
    let mut bench = Bench::following(3);
    bench.wait(100);
    bench.follow.moved(2, bench.now);
    for _ in 0..2 {
        bench.read(of_store(0xbeef, 2, 3), Some(leader("pg-2", 3)));
    }
    assert!(bench.follow.notices().contains(&Notice::Rebuilt));
}
