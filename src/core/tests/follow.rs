//! Following etcd: what is asked of whom, and what the answers add up to, whatever order they come in.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends there")]

mod follow_bench;

use std::time::Duration;

use follow_bench::{
    Bench, STORE, header, in_term, key, leader, leader_gone, of_store, read, refused,
};
use trunkline_core::follow::{Change, EndpointId, Notice, Outcome, Trouble};
use trunkline_core::proof::LockProof;
use trunkline_core::{Moment, Observed, Revision, StoreNumber, SystemId};

#[test]
fn it_lists_and_reads_first_and_watches_from_the_revision_after_the_listing() {
    let mut bench = Bench::new(3);
    let wants = bench.wants();
    assert!(wants.list.is_some() && wants.read.is_some() && wants.watch.is_none());
    bench.list(header(10), vec![leader("pg-1", 5)]);
    let (_, endpoint, from) = bench.wants().watch.expect("a watch");
    assert_eq!((endpoint, from), (EndpointId(0), Revision(11)));
    assert_eq!(bench.leader().as_deref(), Some("pg-1 since revision 5"));
}

#[test]
fn the_same_questions_are_named_until_they_are_answered() {
    let mut bench = Bench::new(3);
    let wants = bench.wants();
    bench.wait(700);
    assert_eq!(bench.wants(), wants);
}

#[test]
fn the_lock_is_read_every_second_and_all_is_listed_every_ten() {
    let mut bench = Bench::following(3);
    bench.wait(999);
    assert!(bench.wants().read.is_none());
    assert_eq!(
        bench.wants().wake,
        bench.now.after(Duration::from_millis(1))
    );
    bench.wait(1);
    assert!(bench.wants().read.is_some());
    bench.wait(8_999);
    assert!(bench.wants().list.is_none());
    bench.wait(1);
    assert!(bench.wants().list.is_some());
}

#[test]
fn jitter_spreads_listings_by_a_tenth_either_way() {
    for (jitter, due) in [(0.0, 9_000), (0.5, 10_000), (1.0, 11_000), (7.0, 11_000)] {
        let mut bench = Bench::new(1);
        let (ask, _) = bench.wants().list.expect("a listing");
        bench
            .follow
            .take(ask, Outcome::Listed(header(10), vec![]), bench.now, jitter);
        bench.wait(due - 1);
        assert!(bench.wants().list.is_none(), "{jitter}");
        bench.wait(1);
        assert!(bench.wants().list.is_some(), "{jitter}");
    }
}

#[test]
fn an_event_is_believed_at_once_and_has_the_lock_read_at_once() {
    let mut bench = Bench::following(3);
    bench.wait(100);
    assert!(bench.wants().read.is_none());
    bench.event(vec![leader_gone(11), Change::Put(leader("pg-2", 12))]);
    assert_eq!(bench.leader().as_deref(), Some("pg-2 since revision 12"));
    assert!(bench.wants().read.is_some());
}

#[test]
fn an_event_no_newer_than_what_is_known_of_its_key_is_ignored() {
    let mut bench = Bench::following(3);
    // Watches replay: older than the listing, then older than a newer event.
    bench.event(vec![leader_gone(4), Change::Put(leader("pg-3", 10))]);
    assert_eq!(bench.leader().as_deref(), Some("pg-1 since revision 5"));
    bench.event(vec![Change::Put(leader("pg-2", 14))]);
    bench.event(vec![Change::Put(leader("pg-1", 12)), leader_gone(13)]);
    assert_eq!(bench.leader().as_deref(), Some("pg-2 since revision 14"));
}

#[test]
fn a_key_deleted_and_created_again_is_a_new_tenure_of_the_same_member() {
    let mut bench = Bench::following(3);
    bench.event(vec![leader_gone(11)]);
    assert_eq!(bench.leader(), None);
    bench.event(vec![Change::Put(leader("pg-1", 12))]);
    assert_eq!(bench.leader().as_deref(), Some("pg-1 since revision 12"));
    // The event of the deletion once more, late.
    bench.event(vec![leader_gone(11)]);
    assert_eq!(bench.leader().as_deref(), Some("pg-1 since revision 12"));
}

#[test]
fn an_event_that_was_lost_is_made_good_by_the_next_listing() {
    let mut bench = Bench::following(3);
    bench.wait(10_000);
    bench.list(
        header(20),
        vec![leader("pg-2", 18), key("config", r#"{"ttl":20}"#, 19)],
    );
    assert_eq!(bench.leader().as_deref(), Some("pg-2 since revision 18"));
    let (_, _, from) = bench.wants().watch.expect("a watch");
    assert_eq!(
        from,
        Revision(21),
        "the watch begins anew behind the listing"
    );
}

#[test]
fn a_deletion_that_was_lost_is_made_good_by_the_next_listing() {
    let mut bench = Bench::following(3);
    bench.wait(10_000);
    bench.list(header(20), vec![]);
    assert_eq!(bench.leader(), None);
    // What was so before the listing is not believed any more.
    bench.event(vec![Change::Put(leader("pg-1", 19))]);
    assert_eq!(bench.leader(), None);
}

#[test]
fn a_listing_answered_before_an_event_does_not_undo_it() {
    let mut bench = Bench::following(3);
    bench.wait(10_000);
    let (ask, _) = bench.wants().list.expect("a listing");
    bench.event(vec![leader_gone(21), Change::Put(leader("pg-2", 22))]);
    bench.take(ask, Outcome::Listed(header(20), vec![leader("pg-1", 5)]));
    assert_eq!(bench.leader().as_deref(), Some("pg-2 since revision 22"));
}

#[test]
fn events_never_make_a_proof_younger() {
    let mut bench = Bench::following(3);
    let asked = bench.proof();
    bench.wait(500);
    let mut again = leader("pg-1", 5);
    again.modified = Revision(11);
    bench.event(vec![Change::Put(again)]);
    assert_eq!(bench.proof(), asked);
    assert_eq!(bench.follow.view().asked(), asked, "nor the view");
}

#[test]
fn a_proof_counts_from_when_it_was_asked_for_not_from_when_it_came() {
    let mut bench = Bench::following(3);
    bench.wait(1_000);
    let (ask, _) = bench.wants().read.expect("a proof read");
    let sent = bench.now;
    bench.wait(800);
    bench.take(ask, read(header(10), Some(leader("pg-1", 5))));
    assert_eq!(bench.proof(), Some(sent));
    let (reading, _) = bench.follow.reading().fresh().expect("a reading");
    let proof = LockProof::of(reading).expect("a proof");
    assert_eq!(
        proof.deadline,
        sent.after(Duration::from_millis(20_000 - 1_200))
    );
    // The next one is due a second after this one was sent.
    bench.wait(199);
    assert!(bench.wants().read.is_none());
    bench.wait(1);
    assert!(bench.wants().read.is_some());
}

#[test]
fn a_proof_read_from_before_the_last_event_does_not_count() {
    let mut bench = Bench::following(3);
    let asked = bench.proof();
    bench.wait(1_000);
    let (ask, _) = bench.wants().read.expect("a proof read");
    bench.event(vec![leader_gone(11), Change::Put(leader("pg-2", 12))]);
    bench.take(ask, read(header(10), Some(leader("pg-1", 5))));
    assert_eq!(bench.leader().as_deref(), Some("pg-2 since revision 12"));
    assert_eq!(bench.proof(), asked);
    assert!(bench.wants().read.is_some(), "it is read again at once");
}

#[test]
fn a_proof_read_that_knows_more_than_the_watch_is_believed() {
    let mut bench = Bench::following(3);
    bench.wait(1_000);
    bench.read(header(12), Some(leader("pg-2", 12)));
    assert_eq!(bench.leader().as_deref(), Some("pg-2 since revision 12"));
    // The events of it, late.
    bench.event(vec![leader_gone(11)]);
    assert_eq!(bench.leader().as_deref(), Some("pg-2 since revision 12"));
    bench.wait(1_000);
    bench.read(header(15), None);
    assert_eq!(bench.leader(), None);
}

#[test]
fn an_endpoint_in_an_older_raft_term_is_left_and_not_believed() {
    let mut bench = Bench::following(3);
    bench.wait(1_000);
    bench.read(in_term(2, 10), None);
    assert_eq!(bench.leader().as_deref(), Some("pg-1 since revision 5"));
    assert_eq!(bench.endpoint(), 1);
    let left = Notice::Left(EndpointId(0), Trouble::FellBehind);
    assert_eq!(bench.follow.notices(), [left]);
    assert_eq!(bench.follow.notices(), []);
}

#[test]
fn a_failure_is_ignorance_with_a_cause_and_moves_on() {
    let mut bench = Bench::following(3);
    bench.wait(1_000);
    bench.fail(&Trouble::TimedOut);
    assert_eq!(bench.leader().as_deref(), Some("pg-1 since revision 5"));
    let stale = matches!(
        bench.follow.reading(),
        Observed::Stale {
            cause: Trouble::TimedOut,
            ..
        }
    );
    assert!(stale, "{:?}", bench.follow.reading());
    let wants = bench.wants();
    assert_eq!(
        wants.list.map(|(_, endpoint)| endpoint),
        Some(EndpointId(1))
    );
    assert_eq!(
        wants.read.map(|(_, endpoint)| endpoint),
        Some(EndpointId(1))
    );
    assert_eq!(wants.watch, None, "it begins behind the next listing");
}

#[test]
fn when_every_endpoint_has_failed_nobody_is_asked_for_half_a_second() {
    let mut bench = Bench::new(3);
    for endpoint in 0..3 {
        assert_eq!(bench.endpoint(), endpoint);
        bench.fail(&refused());
    }
    let wants = bench.wants();
    assert_eq!((wants.list, wants.read), (None, None));
    assert_eq!(wants.wake, bench.now.after(Duration::from_millis(500)));
    bench.now = wants.wake;
    let wants = bench.wants();
    assert_eq!(
        wants.list.map(|(_, endpoint)| endpoint),
        Some(EndpointId(0))
    );
}

#[test]
fn a_single_endpoint_that_refuses_is_not_asked_in_a_frenzy() {
    let mut bench = Bench::following(1);
    let mut asked = 0;
    let end = bench.now.after(Duration::from_secs(10));
    while bench.now < end {
        let wants = bench.wants();
        match wants.list.or(wants.read) {
            Some((ask, _)) => {
                asked += 1;
                bench.take(ask, Outcome::Failed(refused()));
            }
            None => bench.now = wants.wake,
        }
    }
    assert!(
        (10..=25).contains(&asked),
        "{asked} questions in ten seconds"
    );
}

#[test]
fn the_outcome_of_a_question_that_was_given_up_is_dropped() {
    let mut bench = Bench::following(3);
    bench.wait(10_000);
    let old = bench.wants();
    let ((list, _), (read_ask, _)) = (old.list.expect("a listing"), old.read.expect("a read"));
    let (watch, _, _) = old.watch.expect("a watch");
    bench.take(read_ask, Outcome::Failed(refused()));
    assert_eq!(bench.endpoint(), 1);
    bench.take(list, Outcome::Listed(header(30), vec![]));
    bench.take(read_ask, read(header(30), None));
    bench.take(watch, Outcome::Changed(vec![leader_gone(30)]));
    bench.take(watch, Outcome::Failed(refused()));
    assert_eq!(bench.leader().as_deref(), Some("pg-1 since revision 5"));
    assert_eq!(
        bench.endpoint(),
        1,
        "nor does its failure move on once more"
    );
}

#[test]
fn a_watch_that_ends_or_was_compacted_away_is_begun_anew_from_a_listing() {
    let mut bench = Bench::following(3);
    let (watch, _, _) = bench.wants().watch.expect("a watch");
    let trouble = Trouble::WatchEnded("required revision has been compacted".into());
    bench.take(watch, Outcome::Failed(trouble));
    assert_eq!(bench.wants().watch, None);
    bench.list(header(500), vec![leader("pg-3", 400)]);
    let (again, _, from) = bench.wants().watch.expect("a watch");
    assert!(again != watch && from == Revision(501));
    assert_eq!(bench.leader().as_deref(), Some("pg-3 since revision 400"));
}

#[test]
fn doubt_reads_the_lock_at_once_from_another_endpoint() {
    let mut bench = Bench::following(3);
    bench.wait(100);
    bench.follow.doubt(bench.now);
    let (_, endpoint) = bench.wants().read.expect("a read");
    assert_eq!(endpoint, EndpointId(1));
    assert_eq!(bench.endpoint(), 0, "which does not leave the present one");
    bench.read(header(10), Some(leader("pg-1", 5)));
    assert_eq!(bench.proof(), Some(bench.now));
    bench.wait(1_000);
    let (_, endpoint) = bench.wants().read.expect("a read");
    assert_eq!(endpoint, EndpointId(0), "the next is asked as ever");
}

#[test]
fn doubt_while_a_read_is_under_way_reads_once_more_elsewhere() {
    let mut bench = Bench::following(3);
    bench.wait(1_000);
    let (ask, endpoint) = bench.wants().read.expect("a read");
    assert_eq!(endpoint, EndpointId(0));
    bench.wait(10);
    bench.follow.doubt(bench.now);
    bench.take(ask, read(header(10), Some(leader("pg-1", 5))));
    let (again, endpoint) = bench.wants().read.expect("another read");
    assert!(again != ask);
    assert_eq!(endpoint, EndpointId(1));
}

#[test]
fn doubt_that_finds_the_other_endpoint_dead_asks_the_present_one() {
    let mut bench = Bench::following(2);
    bench.follow.doubt(bench.now);
    let (ask, _) = bench.wants().read.expect("a read");
    bench.take(ask, Outcome::Failed(refused()));
    let wants = bench.wants();
    assert_eq!(
        wants.read.map(|(_, endpoint)| endpoint),
        Some(EndpointId(0))
    );
    assert!(
        wants.watch.is_some(),
        "the watch at the present one goes on"
    );
    bench.read(header(10), Some(leader("pg-1", 5)));
    assert!(bench.proof().is_some());
}

#[test]
fn doubt_that_is_raised_again_and_again_does_not_wait_for_a_dead_endpoint() {
    let mut bench = Bench::following(3);
    let mut asked = Vec::new();
    // The router looks after every outcome, and the contradiction stands until a read is answered.
    for _ in 0..3 {
        bench.follow.doubt(bench.now);
        let (ask, endpoint) = bench.wants().read.expect("a read");
        asked.push(endpoint.0);
        if endpoint.0 != 0 {
            bench.take(ask, Outcome::Failed(refused()));
        }
    }
    assert_eq!(asked, [1, 2, 0]);
}

#[test]
fn another_store_at_one_endpoint_alone_is_not_believed() {
    let mut bench = Bench::following(2);
    bench.wait(1_000);
    bench.read(of_store(0xbeef, 9, 3), Some(leader("pg-9", 3)));
    assert_eq!(bench.leader().as_deref(), Some("pg-1 since revision 5"));
    assert_eq!(bench.endpoint(), 1);
    bench.list(header(12), vec![leader("pg-1", 5)]);
    assert_eq!(bench.leader().as_deref(), Some("pg-1 since revision 5"));
    assert!(!bench.follow.notices().contains(&Notice::Rebuilt));
}

#[test]
fn a_store_that_is_another_at_every_endpoint_was_rebuilt() {
    let mut bench = Bench::following(2);
    bench.wait(1_000);
    for _ in 0..2 {
        bench.read(of_store(0xbeef, 2, 3), Some(leader("pg-2", 3)));
    }
    assert!(bench.follow.notices().contains(&Notice::Rebuilt));
    bench.list(of_store(0xbeef, 2, 4), vec![leader("pg-2", 3)]);
    assert_eq!(bench.leader().as_deref(), Some("pg-2 since revision 3"));
    bench.event(vec![leader_gone(5)]);
    assert_eq!(bench.leader(), None);
}

#[test]
fn a_store_that_is_older_at_every_endpoint_was_put_back() {
    let mut bench = Bench::following(2);
    bench.wait(1_000);
    bench.read(header(7), Some(leader("pg-1", 5)));
    assert_eq!(bench.endpoint(), 1, "one endpoint alone has fallen behind");
    bench.read(header(7), Some(leader("pg-1", 5)));
    assert!(bench.follow.notices().contains(&Notice::Rebuilt));
    bench.list(header(8), vec![leader("pg-3", 8)]);
    assert_eq!(bench.leader().as_deref(), Some("pg-3 since revision 8"));
}

#[test]
fn an_event_shows_how_far_the_store_had_come_before_it_was_put_back() {
    let mut bench = Bench::following(1);
    bench.event(vec![Change::Put(key("status", "{}", 12))]);
    bench.wait(1_000);
    bench.read(header(11), Some(leader("pg-1", 5)));
    assert!(bench.follow.notices().contains(&Notice::Rebuilt));
}

#[test]
fn a_store_put_back_under_a_new_election_was_rebuilt_though_its_revision_is_not_lower() {
    // etcdutl snapshot restore --bump-revision: the same cluster id, terms counted from one again.
    let mut bench = Bench::following(2);
    bench.wait(1_000);
    for _ in 0..2 {
        bench.read(of_store(STORE, 1, 1_000_010), Some(leader("pg-1", 5)));
    }
    assert!(bench.follow.notices().contains(&Notice::Rebuilt));
    assert_eq!(bench.leader(), None, "the old store's key proves nothing");
    bench.list(of_store(STORE, 1, 1_000_010), vec![leader("pg-1", 5)]);
    let view = bench.follow.view().value().expect("a view");
    let tenure = view.lock.tenure().expect("a tenure");
    assert_eq!(
        tenure.store,
        StoreNumber::FIRST.next(),
        "a tenure of its own"
    );
    bench.read(of_store(STORE, 1, 1_000_010), Some(leader("pg-1", 5)));
    assert_eq!(bench.proof(), Some(bench.now));
}

#[test]
fn an_answer_from_before_an_election_is_late_and_not_another_store() {
    let mut bench = Bench::following(1);
    bench.wait(10_000);
    let (list, _) = bench.wants().list.expect("a listing");
    bench.read(in_term(4, 20), Some(leader("pg-1", 5)));
    bench.take(
        list,
        Outcome::Listed(in_term(3, 19), vec![leader("pg-1", 5)]),
    );
    assert!(!bench.follow.notices().contains(&Notice::Rebuilt));
}

#[test]
fn a_garbled_config_leaves_the_last_one_in_force() {
    let mut bench = Bench::new(1);
    bench.list(
        header(10),
        vec![key("config", r#"{"ttl":30,"pause":true}"#, 9)],
    );
    bench.event(vec![Change::Put(key("config", "[]", 11))]);
    let view = bench.follow.view().value().expect("a view");
    assert!(view.config.pause);
    assert_eq!(view.invalid.len(), 1);
}

#[test]
fn a_wiped_store_leaves_the_system_identifier_known_until_there_is_another() {
    let mut bench = Bench::new(1);
    let initialize = |id, at| key("initialize", id, at);
    let id = |bench: &Bench| bench.follow.view().value()?.system_id.clone();
    bench.list(header(10), vec![initialize("7710532611349547367", 9)]);
    bench.wait(1_000);
    bench.read(of_store(0xbeef, 2, 1), None);
    bench.list(of_store(0xbeef, 2, 1), vec![]);
    assert_eq!(id(&bench), SystemId::parse("7710532611349547367"));
    bench.event(vec![Change::Put(initialize("7710532611349547999", 2))]);
    assert_eq!(id(&bench), SystemId::parse("7710532611349547999"));
}

#[test]
fn nothing_is_known_before_the_first_answer() {
    let bench = Bench::new(3);
    assert_eq!(bench.follow.view().value(), None);
    assert_eq!(bench.proof(), None);
    assert_eq!(bench.follow.view().age(Moment::NEVER), None);
}

#[test]
fn an_endpoint_that_stays_dead_is_told_of_once() {
    let mut bench = Bench::following(1);
    for _ in 0..4 {
        bench.wait(1_000);
        bench.fail(&Trouble::TimedOut);
    }
    let left = Notice::Left(EndpointId(0), Trouble::TimedOut);
    assert_eq!(bench.follow.notices(), [left]);
}
