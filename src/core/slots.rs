//! The physical replication slots of members: their names, which ones a node keeps, and what has to change.
//!
//! Conservative where Patroni is not: a slot that was never published as one of the cluster's is left alone,
//! whoever made it. Permanent and logical slots are not made yet, and never dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Map, Value};

use crate::cluster::ClusterView;
use crate::postgres::Slot;
use crate::wire::member::Member;
use crate::wire::status::Status;
use crate::{Lsn, MemberName};

/// The longest name PostgreSQL keeps.
const LONGEST: usize = 63;

/// One change of the physical slots of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotChange {
    /// Create it, reserving WAL at once.
    Create(String),
    /// Drop it.
    Drop(String),
    /// Move it forward.
    Advance(String, Lsn),
}

/// What the slots of a node are decided from.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    /// Its name.
    pub me: &'a MemberName,
    /// What etcd says.
    pub view: &'a ClusterView,
    /// Its slots.
    pub slots: &'a [Slot],
    /// How far its log reaches: a slot cannot be moved beyond.
    pub position: Lsn,
    /// Whether it leads.
    pub leads: bool,
    /// Whether members have slots on every node (`member_slots_ttl` is not zero).
    pub everywhere: bool,
    /// Whether this node is never to lead: then it keeps slots only for those who stream from it.
    pub nofailover: bool,
    /// Slots of members whose keys were seen less than `member_slots_ttl` ago.
    pub remembered: &'a BTreeSet<String>,
    /// Slots of members whose keys were ever seen.
    pub known: &'a BTreeSet<String>,
}

/// The name of a member's slot (contract 5.11).
#[must_use]
pub fn name_of(member: &MemberName) -> String {
    let mut name = String::new();
    for letter in member.as_str().to_lowercase().chars() {
        match letter {
            'a'..='z' | '0'..='9' | '_' => name.push(letter),
            '-' | '.' => name.push('_'),
            // Writing to a string cannot fail.
            other => drop(write!(name, "u{:04}", u32::from(other))),
        }
    }
    name.truncate(LONGEST);
    name
}

/// What has to change.
#[must_use]
pub fn changes(node: &Node<'_>) -> Vec<SlotChange> {
    let wanted = wanted(node);
    let present: BTreeMap<&str, &Slot> = node
        .slots
        .iter()
        .map(|slot| (slot.name.as_str(), slot))
        .collect();
    let mut changes = Vec::new();
    for slot in node.slots {
        if is_to_go(node, &wanted, slot) {
            changes.push(SlotChange::Drop(slot.name.clone()));
        }
    }
    for (name, want) in &wanted {
        match present.get(name.as_str()) {
            None => changes.push(SlotChange::Create(name.clone())),
            Some(slot) if !slot.active && !want.active && !slot.lost => {
                let target = want.position.map(|position| position.min(node.position));
                if let (Some(target), Some(restart)) = (target, slot.restart)
                    && target > restart
                    && !slot.logical
                {
                    changes.push(SlotChange::Advance(name.clone(), target));
                }
            }
            Some(_) => {}
        }
    }
    changes
}

/// What is wanted of a member's slot.
struct Want {
    /// Whether its member is expected to stream from here.
    active: bool,
    /// How far it may be moved.
    position: Option<Lsn>,
}

fn wanted(node: &Node<'_>) -> BTreeMap<String, Want> {
    let own = name_of(node.me);
    let mut wanted = BTreeMap::new();
    for (name, member) in &node.view.members {
        if name == node.me || member.tags.nostream() {
            continue;
        }
        let active = streams_from(node, member);
        if active || (node.everywhere && !node.nofailover) {
            let slot = name_of(name);
            let published = node.view.status.slots.get(&slot).copied();
            let cascades = member.tags.get("replicatefrom").is_some();
            let position = if cascades {
                published.max(member.xlog_location)
            } else {
                published
            };
            wanted.insert(slot, Want { active, position });
        }
    }
    if node.everywhere && !node.nofailover {
        for slot in node
            .view
            .status
            .retain_slots
            .iter()
            .filter(|slot| is_name(slot))
        {
            let position = node.view.status.slots.get(slot).copied();
            wanted.entry(slot.clone()).or_insert(Want {
                active: false,
                position,
            });
        }
    }
    wanted.retain(|name, _| *name != own);
    wanted
}

/// Whether a member is expected to stream from this node.
fn streams_from(node: &Node<'_>, member: &Member) -> bool {
    let named = member
        .tags
        .get("replicatefrom")
        .map(|name| MemberName::from(&*name));
    match named {
        Some(name) if name == *node.me => true,
        Some(name) => node.leads && !node.view.members.contains_key(&name),
        None => node.leads,
    }
}

fn is_to_go(node: &Node<'_>, wanted: &BTreeMap<String, Want>, slot: &Slot) -> bool {
    if slot.active || slot.logical || is_permanent(&node.view.config.raw, slot) {
        return false;
    }
    match wanted.get(&slot.name) {
        Some(want) => slot.lost || (slot.xmin && !want.active && !node.leads),
        None => {
            let published = node.view.status.slots.contains_key(&slot.name);
            let kept = node.everywhere && node.remembered.contains(&slot.name);
            (published || node.known.contains(&slot.name)) && !kept
        }
    }
}

/// Whether the operator keeps a slot of this name, or wants it left alone.
fn is_permanent(config: &Map<String, Value>, slot: &Slot) -> bool {
    let named = |key: &str| {
        let slots = config.get(key).and_then(Value::as_object);
        slots.is_some_and(|slots| slots.contains_key(&slot.name))
    };
    let ignored = config.get("ignore_slots").and_then(Value::as_array);
    let matches = |matcher: &Value| {
        let wanted =
            |key: &str, is: Option<&str>| matcher.get(key).is_none_or(|value| value.as_str() == is);
        let kind = if slot.logical { "logical" } else { "physical" };
        matcher.is_object()
            && wanted("name", Some(&slot.name))
            && wanted("type", Some(kind))
            && wanted("plugin", slot.plugin.as_deref())
            && wanted("database", slot.database.as_deref())
    };
    ["slots", "permanent_slots", "permanent_replication_slots"]
        .into_iter()
        .any(named)
        || ignored.is_some_and(|matchers| matchers.iter().any(matches))
}

fn is_name(slot: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    !slot.is_empty() && slot.len() <= LONGEST && slot.bytes().all(plain)
}

/// What the leader publishes: its position, the slots of members with how far each is, its own among them, and
/// those to keep for members whose keys are gone.
#[must_use]
pub fn status(node: &Node<'_>) -> Status {
    let mut slots: BTreeMap<String, Lsn> = node
        .slots
        .iter()
        .filter(|slot| !slot.logical)
        .filter(|slot| node.remembered.contains(&slot.name))
        .filter_map(|slot| Some((slot.name.clone(), slot.restart?)))
        .collect();
    slots.insert(name_of(node.me), node.position);
    let retained = node.remembered.iter().filter(|slot| {
        let permanent = Slot {
            name: (*slot).clone(),
            ..Slot::default()
        };
        !is_permanent(&node.view.config.raw, &permanent)
    });
    Status {
        optime: Some(node.position),
        slots: if node.everywhere {
            slots
        } else {
            BTreeMap::new()
        },
        retain_slots: if node.everywhere {
            retained.cloned().collect()
        } else {
            Vec::new()
        },
    }
}
