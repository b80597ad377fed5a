//! Who may take a free lock: the comparison with everybody that can be reached (contract 5.5).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::collections::BTreeMap;

use serde_json::json;
use trunkline_core::cluster::ClusterView;
use trunkline_core::election::{self, Contest, Obstacle, PeerWord, Verdict};
use trunkline_core::wire::failsafe::Failsafe;
use trunkline_core::wire::member::Member;
use trunkline_core::wire::rest::StatusDocument;
use trunkline_core::{Lsn, MemberName, Timeline};

fn member(more: &str) -> Member {
    let value = format!(r#"{{"api_url":"http://10.0.0.2:8008/patroni","state":"running"{more}}}"#);
    Member::parse(value.as_bytes()).unwrap()
}

fn document(value: &serde_json::Value) -> PeerWord {
    let mut all = json!({ "state": "running", "role": "replica" });
    all.as_object_mut()
        .unwrap()
        .extend(value.as_object().unwrap().clone());
    PeerWord::Says(Box::new(
        StatusDocument::parse(all.to_string().as_bytes()).unwrap(),
    ))
}

fn at(position: u64) -> PeerWord {
    document(&json!({ "xlog": { "received_location": position, "replayed_location": 5 } }))
}

/// A member at 1000 on timeline 2 beside one other, and what comes of that other's word.
fn judged(
    other: &Member,
    word: Option<PeerWord>,
    change: impl FnOnce(&mut Contest<'_>),
) -> Verdict {
    let me = MemberName::from("pg-1");
    let peers: BTreeMap<MemberName, PeerWord> =
        word.into_iter().map(|word| ("pg-2".into(), word)).collect();
    let mut contest = Contest {
        me: &me,
        position: Lsn(1000),
        timeline: Some(Timeline(2)),
        priority: 1,
        others: [("pg-1".into(), member("")), ("pg-2".into(), other.clone())].into(),
        peers: &peers,
        limit: None,
        least_timeline: None,
        former: None,
    };
    change(&mut contest);
    election::judge(&contest)
}

#[test]
fn everybody_who_could_want_the_lock_is_asked_and_nobody_else() {
    assert_eq!(
        judged(&member(""), None, |_| {}),
        Verdict::Ask(["pg-2".into()].into())
    );
    assert_eq!(
        judged(&member(r#","tags":{"nofailover":true}"#), None, |_| {}),
        Verdict::Stands
    );
    assert_eq!(judged(&Member::default(), None, |_| {}), Verdict::Stands);
}

#[test]
fn whoever_has_more_of_the_log_goes_first() {
    let ahead = Verdict::Defers(Obstacle::Ahead("pg-2".into()));
    assert_eq!(judged(&member(""), Some(at(1001)), |_| {}), ahead);
    assert_eq!(judged(&member(""), Some(at(1000)), |_| {}), Verdict::Stands);
}

#[test]
fn a_primary_that_answers_blocks_everybody_whatever_its_position() {
    let alive = Verdict::Defers(Obstacle::PrimaryAlive("pg-2".into()));
    for word in [
        json!({ "xlog": { "location": 1 } }),
        json!({ "role": "master", "xlog": { "received_location": 1, "replayed_location": 1 } }),
    ] {
        assert_eq!(judged(&member(""), Some(document(&word)), |_| {}), alive);
    }
}

#[test]
fn who_could_not_be_promoted_is_as_if_it_were_not_there() {
    let standby = json!({ "received_location": 9999, "replayed_location": 9999 });
    for word in [
        json!({}),
        json!({ "xlog": standby, "tags": { "nofailover": true } }),
        json!({ "xlog": standby, "watchdog_failed": true }),
    ] {
        assert_eq!(
            judged(&member(""), Some(document(&word)), |_| {}),
            Verdict::Stands,
            "{word}"
        );
    }
    let silent = PeerWord::Silent("refused".to_owned());
    assert_eq!(judged(&member(""), Some(silent), |_| {}), Verdict::Stands);
}

#[test]
fn of_equals_the_preferred_one_goes_first_unless_it_led() {
    let word = json!({
        "xlog": { "received_location": 1000, "replayed_location": 1000 },
        "tags": { "failover_priority": 2 },
    });
    let verdict = judged(&member(""), Some(document(&word)), |_| {});
    let Verdict::Defers(obstacle) = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(
        obstacle.to_string(),
        "pg-2 has equally tolerable WAL position and priority 2, while this node has priority 1"
    );
    let led = |contest: &mut Contest<'_>| contest.former = Some("pg-2".into());
    assert_eq!(
        judged(&member(""), Some(document(&word)), led),
        Verdict::Stands
    );
}

#[test]
fn a_lag_of_exactly_the_limit_is_tolerated() {
    let limit =
        |limit, last| move |contest: &mut Contest<'_>| contest.limit = Some((limit, Lsn(last)));
    let silent = || Some(PeerWord::Silent("refused".to_owned()));
    assert_eq!(
        judged(&member(""), silent(), limit(10, 1010)),
        Verdict::Stands
    );
    let behind = Verdict::Defers(Obstacle::TooFarBehind);
    assert_eq!(judged(&member(""), None, limit(10, 1011)), behind);
}

#[test]
fn where_timelines_are_checked_nobody_waits_for_a_member_on_an_old_one() {
    let at_most = |timeline: u32, replayed: u64| {
        let xlog = json!({ "received_location": 1001, "replayed_location": replayed });
        document(&json!({ "timeline": timeline, "xlog": xlog }))
    };
    let ahead_on = |timeline: u32| at_most(timeline, 1001);
    let checked = |contest: &mut Contest<'_>| contest.least_timeline = Some(Timeline(2));
    let ahead = Verdict::Defers(Obstacle::Ahead("pg-2".into()));
    assert_eq!(
        judged(&member(""), Some(ahead_on(1)), checked),
        Verdict::Stands
    );
    assert_eq!(judged(&member(""), Some(ahead_on(2)), checked), ahead);
    assert_eq!(judged(&member(""), Some(at(1001)), checked), ahead);
    // What it received may be of the newest one.
    assert_eq!(judged(&member(""), Some(at_most(1, 1000)), checked), ahead);
    assert_eq!(judged(&member(""), Some(ahead_on(1)), |_| {}), ahead);
    let primary = document(&json!({ "timeline": 1, "xlog": { "location": 1 } }));
    let alive = Verdict::Defers(Obstacle::PrimaryAlive("pg-2".into()));
    assert_eq!(judged(&member(""), Some(primary), checked), alive);
}

#[test]
fn where_timelines_are_checked_an_old_or_unknown_one_does_not_lead() {
    let silent = || Some(PeerWord::Silent("refused".to_owned()));
    let old = Verdict::Defers(Obstacle::OldTimeline);
    for (least, mine, verdict) in [
        (2, Some(2), Verdict::Stands),
        (3, Some(2), old.clone()),
        (1, None, old),
    ] {
        let judged = judged(&member(""), silent(), |contest| {
            contest.least_timeline = Some(Timeline(least));
            contest.timeline = mine.map(Timeline);
        });
        assert_eq!(judged, verdict, "{least} {mine:?}");
    }
}

#[test]
fn the_electorate_is_whom_any_source_names() {
    let mut view = ClusterView::default();
    view.members.insert("pg-2".into(), member(""));
    let urls = [("pg-4".into(), "http://10.0.0.4:8008/patroni".to_owned())];
    view.failsafe = Some(Failsafe(urls.into()));
    let remembered = [("pg-3".into(), member(""))].into();
    let names = |view: &ClusterView| -> Vec<String> {
        let all = election::electorate(&remembered, view);
        all.iter()
            .filter(|(_, it)| it.api.is_some())
            .map(|(name, _)| name.to_string())
            .collect()
    };
    assert_eq!(names(&view), ["pg-2", "pg-3"]);
    view.config.failsafe_mode = true;
    assert_eq!(names(&view), ["pg-2", "pg-3", "pg-4"]);
}
