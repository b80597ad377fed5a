//! The page for people.

use std::sync::Arc;

use serde_json::json;

use super::stand::{Member, Stand};
use crate::admin::page;
use crate::admin::stats::Stats;
use crate::traffic::Traffic;

fn page_of(stand: &Stand) -> String {
    page::draw(&Stats::of(&stand.admin())).unwrap()
}

#[test]
fn nothing_that_comes_from_etcd_or_a_member_is_markup_on_the_page() {
    let mut stand = Stand::new("<h3>cluster");
    let mut hostile = Member::replica("<script>alert(1)", 4, 0);
    hostile.published["tags"] = json!({"<em>": "\"><script>alert(2)</script>"});
    let mut foreign = Member::replica("d", 5, 0);
    foreign.says = Ok((
        200,
        json!({"state": "<i>", "role": "replica", "patroni": {"scope": "<script>alert(3)"}}),
    ));
    let mut odd = Member::replica("e", 6, 0);
    odd.says = Ok((
        200,
        json!({"state": "<u>odd</u>", "role": "<s>", "patroni": {"name": "e"}}),
    ));
    stand.members.extend([hostile, foreign, odd]);
    let page = page_of(&stand);
    for markup in ["<script>", "<em>", "<i>", "<u>", "<s>", "<h3>"] {
        assert!(!page.contains(markup), "{markup} in {page}");
    }
    for shown in ["&#60;script&#62;alert(1)", "&#60;u&#62;odd", "alert(3)"] {
        assert!(page.contains(shown), "no {shown} in {page}");
    }
}

#[test]
fn a_replica_is_where_it_belongs_and_a_lagging_one_is_not() {
    let page = page_of(&Stand::new("colours"));
    assert!(page.contains(r#"<td class="why expected">out: is not the leader</td>"#));
    assert!(page.contains(r#"<td class="why serves">in: the proven primary</td>"#));
    assert!(page.contains(r#"<td class="why waiting">out: lags more than max_lag</td>"#));
    assert!(page.contains(r#"<section class="listener serves">"#));
    assert!(!page.contains(r#"class="note"#), "no alarm: {page}");
}

#[test]
fn holding_and_alarms_are_seen_at_once() {
    let mut stand = Stand::new("trouble");
    stand.leader = Some("nobody we know");
    let page = page_of(&stand);
    let alarm = "Alarm: the leader key names no member of the cluster";
    assert!(page.contains(alarm), "{page}");
    assert!(page.contains(r#"<span class="word waiting">holding</span>"#));
}

#[test]
fn bytes_are_written_for_people_and_to_the_last_one_in_the_title() {
    let admin = Stand::new("bytes").admin();
    let traffic = Arc::new(Traffic::default());
    traffic.down(3_000_000);
    let account = admin.shown().doors[0].count.bytes.of(&"a".into());
    let _runs = account.enter(&traffic);
    let page = page::draw(&Stats::of(&admin)).unwrap();
    assert!(page.contains(r#"<span title="3000000 bytes">from servers <b>2.9 MB</b></span>"#));
    assert!(page.contains(r#"data-is="from server" title="3000000 bytes">2.9 MB</td>"#));
    assert!(page.contains(r#"data-is="from clients" title="0 bytes">0 B</td>"#));
}

#[test]
fn numbers_are_written_for_people() {
    let spans = [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (59.0, "59 s"),
        (61.0, "1 min 1 s"),
        (3_660.0, "1 h 1 min"),
        (90_000.0, "1 d 1 h"),
    ];
    for (seconds, text) in spans {
        assert_eq!(page::span(&seconds), text);
    }
    let sizes = [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 kB"),
        (16 << 20, "16 MB"),
        (5 << 40, "5.0 TB"),
        (3 << 50, "3.0 PB"),
    ];
    for (bytes, text) in sizes {
        assert_eq!(page::size(&bytes), text);
    }
}
