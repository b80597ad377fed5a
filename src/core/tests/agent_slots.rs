//! The slots of members: their names, and what is made, moved and dropped of them (contract 5.11).

use std::collections::BTreeSet;

use trunkline_core::cluster::ClusterView;
use trunkline_core::postgres::Slot;
use trunkline_core::slots::{self, Node, SlotChange};
use trunkline_core::wire::config::DynamicConfig;
use trunkline_core::wire::member::Member;
use trunkline_core::wire::status::Status;
use trunkline_core::{Lsn, MemberName};

/// A node of which a test changes what it is about.
struct Stand {
    view: ClusterView,
    slots: Vec<Slot>,
    leads: bool,
    everywhere: bool,
    remembered: BTreeSet<String>,
    known: BTreeSet<String>,
}

impl Stand {
    fn new(members: &[(&str, &str)]) -> Self {
        let mut view = ClusterView::default();
        for (name, tags) in members {
            let value = format!(r#"{{"state":"running","tags":{tags}}}"#);
            let member = Member::parse(value.as_bytes()).unwrap_or_default();
            view.members.insert((*name).into(), member);
        }
        Self {
            view,
            slots: Vec::new(),
            leads: true,
            everywhere: true,
            remembered: BTreeSet::new(),
            known: BTreeSet::new(),
        }
    }

    fn slot(&mut self, name: &str, change: impl FnOnce(&mut Slot)) {
        let mut slot = Slot {
            name: name.to_owned(),
            restart: Some(Lsn(100)),
            ..Slot::default()
        };
        change(&mut slot);
        self.slots.push(slot);
    }

    fn published(&mut self, slots: &[(&str, u64)]) {
        let slots = slots
            .iter()
            .map(|(name, lsn)| ((*name).to_owned(), Lsn(*lsn)));
        self.view.status = Status {
            slots: slots.collect(),
            ..Status::default()
        };
    }

    fn changes(&self) -> Vec<SlotChange> {
        let me = MemberName::from("pg-1");
        slots::changes(&Node {
            me: &me,
            view: &self.view,
            slots: &self.slots,
            position: Lsn(500),
            leads: self.leads,
            everywhere: self.everywhere,
            nofailover: false,
            remembered: &self.remembered,
            known: &self.known,
        })
    }
}

fn create(name: &str) -> SlotChange {
    SlotChange::Create(name.to_owned())
}

#[test]
fn a_slots_name_is_its_members_in_letters_postgresql_takes() {
    for (member, slot) in [
        ("pg-1", "pg_1"),
        ("Node.A", "node_a"),
        ("a b", "au0032b"),
        ("größe", "gru0246u0223e"),
        ("ヤ", "u12516"),
    ] {
        assert_eq!(slots::name_of(&member.into()), slot);
    }
    let long = "x".repeat(70);
    assert_eq!(slots::name_of(&long.as_str().into()).len(), 63);
}

#[test]
fn every_other_member_has_a_slot_but_for_who_streams_from_nobody() {
    let stand = Stand::new(&[
        ("pg-1", "{}"),
        ("pg-2", "{}"),
        ("pg-3", r#"{"nostream":true}"#),
    ]);
    assert_eq!(stand.changes(), [create("pg_2")]);
}

#[test]
fn with_no_time_to_live_only_who_streams_from_here_has_a_slot() {
    let mut stand = Stand::new(&[("pg-2", "{}"), ("pg-3", r#"{"replicatefrom":"pg-1"}"#)]);
    stand.everywhere = false;
    assert_eq!(stand.changes(), [create("pg_2"), create("pg_3")]);
    stand.leads = false;
    assert_eq!(stand.changes(), [create("pg_3")]);
}

#[test]
fn who_replicates_from_a_member_that_is_gone_streams_from_the_leader() {
    let mut stand = Stand::new(&[("pg-2", r#"{"replicatefrom":"pg-9"}"#)]);
    stand.everywhere = false;
    assert_eq!(stand.changes(), [create("pg_2")]);
    stand.leads = false;
    assert_eq!(stand.changes(), []);
}

#[test]
fn a_standbys_slots_follow_what_the_leader_published_as_far_as_its_own_log_goes() {
    let mut stand = Stand::new(&[("pg-2", "{}"), ("pg-3", "{}"), ("pg-4", "{}")]);
    stand.leads = false;
    stand.published(&[("pg_2", 300), ("pg_3", 900), ("pg_4", 50)]);
    for name in ["pg_2", "pg_3", "pg_4"] {
        stand.slot(name, |_| {});
    }
    let advance = |name: &str, lsn| SlotChange::Advance(name.to_owned(), Lsn(lsn));
    assert_eq!(
        stand.changes(),
        [advance("pg_2", 300), advance("pg_3", 500)]
    );
}

#[test]
fn a_slot_that_is_in_use_is_neither_moved_nor_dropped() {
    let mut stand = Stand::new(&[("pg-2", "{}")]);
    stand.leads = false;
    stand.published(&[("pg_2", 300), ("pg_9", 300)]);
    stand.slot("pg_2", |slot| slot.active = true);
    stand.slot("pg_9", |slot| slot.active = true);
    assert_eq!(stand.changes(), []);
}

#[test]
fn only_slots_that_were_members_are_dropped() {
    let mut stand = Stand::new(&[]);
    stand.published(&[("pg_2", 300)]);
    stand.known = ["pg_3".to_owned()].into();
    for name in ["pg_2", "pg_3", "backup_tool"] {
        stand.slot(name, |_| {});
    }
    stand.slot("pg_4", |slot| (slot.logical, slot.lost) = (true, true));
    let dropped = |name: &str| SlotChange::Drop(name.to_owned());
    assert_eq!(stand.changes(), [dropped("pg_2"), dropped("pg_3")]);
    stand.remembered = ["pg_2".to_owned(), "pg_3".to_owned()].into();
    assert_eq!(stand.changes(), [], "their members were seen not long ago");
}

#[test]
fn a_slot_the_operator_keeps_or_wants_left_alone_is_not_dropped() {
    for config in [
        r#"{"slots":{"pg_2":{"type":"physical"}}}"#,
        r#"{"permanent_slots":{"pg_2":null}}"#,
        r#"{"ignore_slots":[{"name":"pg_2"}]}"#,
        r#"{"ignore_slots":[{"type":"physical"}]}"#,
    ] {
        let mut stand = Stand::new(&[]);
        stand.published(&[("pg_2", 300)]);
        stand.slot("pg_2", |_| {});
        stand.view.config = DynamicConfig::parse(config.as_bytes()).unwrap_or_default();
        assert_eq!(stand.changes(), [], "{config}");
    }
    let mut stand = Stand::new(&[]);
    stand.published(&[("pg_2", 300)]);
    stand.slot("pg_2", |_| {});
    let other = r#"{"ignore_slots":[{"name":"pg_2","type":"logical"}]}"#;
    stand.view.config = DynamicConfig::parse(other.as_bytes()).unwrap_or_default();
    assert_eq!(stand.changes(), [SlotChange::Drop("pg_2".to_owned())]);
}

#[test]
fn a_members_slot_whose_log_is_gone_is_made_anew() {
    let mut stand = Stand::new(&[("pg-2", "{}")]);
    stand.slot("pg_2", |slot| slot.lost = true);
    assert_eq!(stand.changes(), [SlotChange::Drop("pg_2".to_owned())]);
}

#[test]
fn the_slots_of_members_whose_keys_are_gone_are_kept_where_the_leader_says_so() {
    let mut stand = Stand::new(&[]);
    stand.leads = false;
    stand.view.status.retain_slots = vec!["pg_1".into(), "pg_7".into(), "no slot!".into()];
    assert_eq!(stand.changes(), [create("pg_7")]);
}
