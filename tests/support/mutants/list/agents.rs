//! Agents: the lease and what ends with it, who takes a vacant lock, and what a switchover waits for.

use super::{Mutant, Tests};

const LEASE: &str = "src/core/lease.rs";
const ELECTION: &str = "src/core/election.rs";
const STANDING: &str = "src/core/ha/standing.rs";
const LOST: &str = "src/core/ha/lost.rs";
const DCS_LOST: &str = "src/core/ha/dcs_lost.rs";
const CRASH: &str = "src/core/ha/crash.rs";
const ENDING: &str = "src/core/ha/ending.rs";
const UPKEEP: &str = "src/core/ha/upkeep.rs";
const RACE: &str = "src/core/ha/race.rs";
const HANDOVER: &str = "src/core/ha/handover.rs";
const SWITCHOVER: &str = "src/core/ha/switchover.rs";
const DIVERGED: &str = "src/core/ha/diverged.rs";
const STARVED: &str = "src/core/ha/starved.rs";
const IDENTITY: &str = "src/core/ha/identity.rs";
const POSTMASTER: &str = "src/agent/postgres/postmaster.rs";
const ENCRYPTION: &str = "src/core/postgres/encryption.rs";

const STARTED: Tests = Tests::Core(&["agent_scenarios"]);
const FOUND: Tests = Tests::Agent("postgres::postmaster::");
const BY: Tests = Tests::Core(&["agent_safety", "agent_scenarios", "simulation"]);

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        says: "begins to stop PostgreSQL when the lease ends, not before",
        file: LEASE,
        edits: &[(
            "self.ends().before(stop_budget(self.granted))",
            "self.ends()",
        )],
        tests: BY,
    },
    Mutant {
        says: "holds a lock that its lease no longer proves",
        file: STANDING,
        edits: &[(
            "self.held.filter(|held| self.now < held.ends())",
            "self.held",
        )],
        tests: BY,
    },
    Mutant {
        says: "goes on without etcd to the end of the lease",
        file: DCS_LOST,
        edits: &[(
            "Some(held) => (s.now >= held.demote_at()).then(|| s.stopped_by()),",
            "Some(_) => None,",
        )],
        tests: BY,
    },
    Mutant {
        says: "gives a stop without etcd no deadline",
        file: DCS_LOST,
        edits: &[(
            "        deadline: Some(deadline),",
            "        deadline: None,",
        )],
        tests: BY,
    },
    Mutant {
        says: "starts a primary after the moment to demote",
        file: CRASH,
        edits: &[(
            "    if s.certain().is_some_and(|held| s.now >= held.demote_at()) {",
            "    if s.certain().is_some_and(|held| s.now >= held.ends()) {",
        )],
        tests: BY,
    },
    Mutant {
        says: "does not stop a primary whose lease ended while it slept",
        file: LOST,
        edits: &[(
            "    if s.held.is_some() && s.certain().is_none() {",
            "    if s.held.is_none() && s.certain().is_some() {",
        )],
        tests: BY,
    },
    Mutant {
        says: "does not stop a primary whose lock another holds",
        file: LOST,
        edits: &[(
            "        Holder::Other(_) | Holder::Garbled => true,",
            "        Holder::Other(_) | Holder::Garbled => false,",
        )],
        tests: BY,
    },
    Mutant {
        says: "takes no notice of a renewal that was refused",
        file: LOST,
        edits: &[(
            "        Holder::Nobody => matches!(s.renewal, Some(Renewal::Lost { .. })),",
            "        Holder::Nobody => false,",
        )],
        tests: BY,
    },
    Mutant {
        says: "does not believe in a lock that it won again in the same cycle",
        file: STANDING,
        edits: &[(
            "self.renewal.as_ref().filter(|_| self.certain().is_none());",
            "self.renewal.as_ref();",
        )],
        tests: BY,
    },
    Mutant {
        says: "renews the lock only when a third of the lease is left",
        file: UPKEEP,
        edits: &[(
            "    let due = s.now.since(held.confirmed) >= s.pace() ||",
            "    let due = s.now.since(held.confirmed) >= held.granted / 3 * 2 ||",
        )],
        tests: BY,
    },
    Mutant {
        says: "takes the lock while another has more of the log",
        file: ELECTION,
        edits: &[(
            "    if theirs.position > contest.position {",
            "    if theirs.position > contest.position && contest.limit.is_none() {",
        )],
        tests: BY,
    },
    Mutant {
        says: "takes the lock while a primary runs",
        file: ELECTION,
        edits: &[(
            "    if theirs.is_primary {",
            "    if theirs.is_primary && false {",
        )],
        tests: BY,
    },
    Mutant {
        says: "ends beside a request for somebody who lacks the end of the log",
        file: ENDING,
        edits: &[(
            "    let heir = BTreeSet::from([s.request()?.candidate.clone()?]);",
            "    let heir = BTreeSet::from([s.request().filter(|_| false)?.candidate.clone()?]);",
        )],
        tests: BY,
    },
    Mutant {
        says: "starts without etcd by the usual times, not the cluster's",
        file: STANDING,
        edits: &[(
            "None => DynamicConfig::parse(self.me.initial_config.as_bytes()).unwrap_or_default(),",
            "None => DynamicConfig::default(),",
        )],
        tests: BY,
    },
    Mutant {
        says: "takes the lock however far it is behind",
        file: ELECTION,
        edits: &[(
            "        && last.ahead_of(contest.position) > most",
            "        && last.ahead_of(contest.position) > most.saturating_mul(1_000)",
        )],
        tests: BY,
    },
    Mutant {
        says: "takes the lock although it is never to lead",
        file: RACE,
        edits: &[(
            "    if s.me.tags.nofailover() {",
            "    if s.me.tags.nofailover() && s.is_paused() {",
        )],
        tests: BY,
    },
    Mutant {
        says: "lets go of the lock for somebody who lacks the shutdown checkpoint",
        file: HANDOVER,
        edits: &[("heir > Some(checkpoint) && heir", "heir")],
        tests: BY,
    },
    Mutant {
        says: "stops for a switchover before anybody streams",
        file: SWITCHOVER,
        edits: &[(
            "    if streaming.iter().any(able) {",
            "    if all.iter().any(able) {",
        )],
        tests: BY,
    },
    Mutant {
        says: "never takes the lead back",
        file: SWITCHOVER,
        edits: &[(
            "    if s.now >= since.after(if silent { TO_ANSWER } else { TO_CATCH_UP }) {",
            "    if s.now < since && silent {",
        )],
        tests: BY,
    },
    Mutant {
        says: "takes the lead back after the moment to demote",
        file: SWITCHOVER,
        edits: &[(
            "    if s.certain().is_some_and(|held| s.now >= held.demote_at()) {",
            "    if s.certain().is_some_and(|held| s.now >= held.ends()) {",
        )],
        tests: BY,
    },
    Mutant {
        says: "follows a new leader without comparing timelines",
        file: DIVERGED,
        edits: &[
            (
                "        Rewind::ToCheck => to_check(s, leader, upstream, control),",
                "        Rewind::ToCheck => to_check(s, leader, upstream, control).filter(|_| false),",
            ),
            (
                "        Rewind::ToCheck => false,",
                "        Rewind::ToCheck => return None,",
            ),
        ],
        tests: BY,
    },
    Mutant {
        says: "lets go of the lock for somebody who has as much of an older timeline",
        file: HANDOVER,
        edits: &[("document.timeline >= mine;", "mine.is_some();")],
        tests: STARTED,
    },
    Mutant {
        says: "lets go of the lock though somebody would win it with another log",
        file: HANDOVER,
        edits: &[(" && heir > stranger", "")],
        tests: STARTED,
    },
    Mutant {
        says: "does not wait for a member that may have received the newest timeline",
        file: ELECTION,
        edits: &[(
            "log.replayed_location >= log.received_location\n        && document",
            "document",
        )],
        tests: Tests::Core(&["agent_elections"]),
    },
    Mutant {
        says: "waits for somebody whom its timeline keeps from leading",
        file: ELECTION,
        edits: &[("    if too_old {", "    if too_old && false {")],
        tests: Tests::Core(&["agent_elections"]),
    },
    Mutant {
        says: "leaves a standby that has too little for its primary as it is",
        file: STARVED,
        edits: &[("    if !limits.fall_short_of(needed) {", "    if true {")],
        tests: STARTED,
    },
    Mutant {
        says: "restarts a standby that an operator paused",
        file: STARVED,
        edits: &[("    if !limits.fall_short_of(needed) {", "    if false {")],
        tests: STARTED,
    },
    Mutant {
        says: "restarts a standby whose replay goes on",
        file: STARVED,
        edits: &[(".filter(|_| database.replay_paused)?", "?")],
        tests: STARTED,
    },
    Mutant {
        says: "gives up data of another cluster with its primary running",
        file: IDENTITY,
        edits: &[(
            "    if s.may_write() {\n        let stop = Job::Stop(Stop {\n            immediate: false,\n            checkpoint: false,\n            deadline: None,\n        });\n        return match",
            "    if s.may_write() && s.is_paused() {\n        let stop = Job::Stop(Stop {\n            immediate: false,\n            checkpoint: false,\n            deadline: None,\n        });\n        return match",
        )],
        tests: STARTED,
    },
    Mutant {
        says: "ends beside data of another cluster and keeps the lock",
        file: IDENTITY,
        edits: &[(
            "    if s.certain().is_some() && s.untried(&release) {\n        return Decision::now(s, release, Reason::ReleasedMismatch);",
            "    if s.certain().is_none() && s.untried(&release) {\n        return Decision::now(s, release, Reason::ReleasedMismatch);",
        )],
        tests: STARTED,
    },
    Mutant {
        says: "waits as long for a standby to start as for a primary",
        file: CRASH,
        edits: &[("s.me.start_timeout.min(SOON)", "s.me.start_timeout")],
        tests: STARTED,
    },
    Mutant {
        says: "believes a keepalive that etcd answered before an election",
        file: LEASE,
        edits: &[("    kept == agreed\n", "    kept <= agreed\n")],
        tests: Tests::Core(&["unit"]),
    },
    Mutant {
        says: "believes a keepalive from an endpoint that has not heard of the election",
        file: LEASE,
        edits: &[("    kept == agreed\n", "    kept >= agreed\n")],
        tests: Tests::Core(&["unit"]),
    },
    Mutant {
        says: "takes a process of PostgreSQL with a title for a postmaster",
        file: POSTMASTER,
        edits: &[(
            "first.is_empty() || first.starts_with(b\"postgres: \");",
            "first.is_empty();",
        )],
        tests: FOUND,
    },
    Mutant {
        says: "takes a process that is ending for a postmaster",
        file: POSTMASTER,
        edits: &[("first.is_empty() || first", "first")],
        tests: FOUND,
    },
    Mutant {
        says: "takes a PostgreSQL that serves nobody for a postmaster",
        file: POSTMASTER,
        edits: &[(" && !arguments.iter().any(other)", "")],
        tests: FOUND,
    },
    Mutant {
        says: "takes a child that was forked a moment ago for a postmaster",
        file: POSTMASTER,
        edits: &[(
            "all.iter().filter(move |process| !is_child(process))",
            "all.iter().filter(move |process| is_child(process) || true)",
        )],
        tests: FOUND,
    },
    Mutant {
        says: "checks no certificate of PostgreSQL where an authority is written",
        file: ENCRYPTION,
        edits: &[(
            "SslMode::Require if has_authorities => Trust::Signed,",
            "SslMode::Require if has_authorities => Trust::Anybody,",
        )],
        tests: Tests::Core(&["unit"]),
    },
];
