//! The pools of readers.

use super::{Mutant, Tests};

const READERS: &str = "src/core/route/readers.rs";
const SCENARIOS: Tests = Tests::Core(&["scenarios"]);

const fn pool(says: &'static str, edits: &'static [(&'static str, &'static str)]) -> Mutant {
    Mutant {
        says,
        file: READERS,
        edits,
        tests: SCENARIOS,
    }
}

pub(super) const MUTANTS: &[Mutant] = &[
    pool(
        "sends readers to a replica that lags too far behind",
        &[(
            "Some(lag) if lag > limit =>",
            "Some(lag) if lag > limit && false =>",
        )],
    ),
    pool(
        "leaves out a replica as soon as its lag is unknown",
        &[(
            "s.now.since(since) >= s.cluster.lag_grace",
            "s.now.since(since) >= s.cluster.lag_grace.min(std::time::Duration::ZERO)",
        )],
    ),
    pool(
        "never tires of a replica whose lag is unknown",
        &[(
            "s.now.since(since) >= s.cluster.lag_grace",
            "s.now.since(since) >= s.cluster.lag_grace && false",
        )],
    ),
    pool(
        "sends readers to a replica tagged noloadbalance",
        &[(
            "if known.published.tags.noloadbalance() {",
            "if known.published.tags.noloadbalance() && false {",
        )],
    ),
    pool(
        "sends readers to a replica without the tags asked for",
        &[(
            "if !tags_match(known, &listener.tags) {",
            "if !tags_match(known, &listener.tags) && false {",
        )],
    ),
    pool(
        "sends readers of the sync pool to any replica",
        &[(
            "if listener.to == To::Sync && !is_sync(name, s) {",
            "if listener.to == To::Sync && !is_sync(name, s) && false {",
        )],
    ),
    pool(
        "believes a /sync that another leader wrote",
        &[(
            "leads && sync.names(name)",
            "(leads || true) && sync.names(name)",
        )],
    ),
    pool(
        "empties the sync pool while the leader key is gone for a moment",
        &[("(Some(_), None) => true,", "(Some(_), None) => false,")],
    ),
    pool(
        "compares the leader's name in /sync with case",
        &[(
            "tenure.holder.is_case_insensitively(leader.as_str())",
            "tenure.holder.as_str() == leader.as_str()",
        )],
    ),
    pool(
        "sends readers to a stray primary",
        &[("Err(Out::StrayPrimary)", "Ok(probe)")],
    ),
    pool(
        "sends readers to a member whose probe is failing",
        &[(
            "(State::Running, _) if known.health.is_up() => Ok(probe),",
            "(State::Running, _) if known.health.is_up() || true => Ok(probe),",
        )],
    ),
    pool(
        "sends readers to a member that is not running",
        &[("(_, _) => Err(Out::NotRunning),", "(_, _) => Ok(probe),")],
    ),
    pool(
        "gives the address of two members to the wrong one",
        &[(
            "    primary.member.as_ref() != Some(name)\n        && s.addresses",
            "    primary.member.as_ref() == Some(name)\n        && s.addresses",
        )],
    ),
    pool(
        "keeps the sessions at an address that two members share",
        &[(
            "Some(Place::Out(Out::SharedAddress | Out::Dead)) => Residence::End,",
            "Some(Place::Out(Out::Dead)) => Residence::End,",
        )],
    ),
    pool(
        "keeps the sessions of a replica found dead",
        &[(
            "Some(Place::Out(Out::SharedAddress | Out::Dead)) => Residence::End,",
            "Some(Place::Out(Out::SharedAddress)) => Residence::End,",
        )],
    ),
    pool(
        "empties a pool in which nobody answers",
        &[("*place = Place::Kept;", "")],
    ),
    pool(
        "keeps a silent member that never answered",
        &[("&& known.was_up", "")],
    ),
    pool(
        "keeps a silent member without a key",
        &[("&& known.keyless.is_none()", "")],
    ),
    pool(
        "serves from the backups while others are there",
        &[(
            "Some(Out::Backup) if *best < 2 =>",
            "Some(Out::Backup) if *best < 2 && false =>",
        )],
    ),
    pool(
        "serves from members that are not preferred while preferred ones are there",
        &[(
            "Some(Out::NotPreferred) if *best < 1 =>",
            "Some(Out::NotPreferred) if *best < 1 && false =>",
        )],
    ),
    pool(
        "keeps readers on a member that became primary",
        &[(
            "Some(Place::Out(Out::IsLeader | Out::StrayPrimary)) if !welcome_primary => {\n                    Residence::End",
            "Some(Place::Out(Out::IsLeader | Out::StrayPrimary)) if !welcome_primary => {\n                    Residence::Stay",
        )],
    ),
    pool(
        "ends readers whose member left the pool, though nobody asked for that",
        &[(
            "if listener.on_leave == OnLeave::Kill =>",
            "if listener.on_leave == OnLeave::Kill || true =>",
        )],
    ),
    pool(
        "keeps readers where leaving was to end them",
        &[(
            "if listener.on_leave == OnLeave::Kill =>",
            "if listener.on_leave == OnLeave::Kill && false =>",
        )],
    ),
    pool(
        "routes readers by a table of any age",
        &[(
            "let mut valid_until = s.now.after(VALID);",
            "let mut valid_until = crate::Moment::NEVER;",
        )],
    ),
    pool(
        "falls back on a primary for longer than it is proven",
        &[("valid_until = valid_until.min(instead.valid_until);", "")],
    ),
];
