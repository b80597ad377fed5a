//! What members say of themselves, and what is remembered of them.

use super::{Mutant, Tests};

const PROBE: &str = "src/core/probe.rs";
const HEALTH: &str = "src/core/health.rs";
const LEDGER: &str = "src/core/route/ledger.rs";
const CONTRADICTION: &str = "src/core/route/contradiction.rs";
const SILENCE: &str = "src/core/route/silence.rs";
const OBSERVED: &str = "src/core/observed.rs";
const SCENARIOS: Tests = Tests::Core(&["scenarios"]);

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        says: "accepts a foreign REST answer: another member's",
        file: PROBE,
        edits: &[(
            "if name != member.as_str()",
            "if name != member.as_str() && false",
        )],
        tests: SCENARIOS,
    },
    Mutant {
        says: "accepts a foreign REST answer: another cluster's",
        file: PROBE,
        edits: &[(
            "if theirs != scope.as_str()",
            "if theirs != scope.as_str() && false",
        )],
        tests: SCENARIOS,
    },
    Mutant {
        says: "accepts a foreign REST answer: another database's",
        file: PROBE,
        edits: &[("if theirs != ours", "if theirs != ours && false")],
        tests: SCENARIOS,
    },
    Mutant {
        says: "believes a member's answer however old it is",
        file: PROBE,
        edits: &[(" || now.since(asked) >= P2_CARRIES", "")],
        tests: SCENARIOS,
    },
    Mutant {
        says: "believes an answer that was asked for before the tenure was known",
        file: PROBE,
        edits: &[("asked < since || ", "")],
        tests: SCENARIOS,
    },
    Mutant {
        says: "takes a primary that is stopping for one that runs",
        file: PROBE,
        edits: &[("Role::Primary if running", "Role::Primary")],
        tests: SCENARIOS,
    },
    Mutant {
        says: "takes a replica that was given the lock for a primary",
        file: PROBE,
        edits: &[(
            "Role::Replica if running => Self::InRecovery,",
            "Role::Replica if running => Self::Primary { lock: answer.code == 200, asked },",
        )],
        tests: SCENARIOS,
    },
    Mutant {
        says: "takes any answer of a primary for the word that it holds the lock",
        file: PROBE,
        edits: &[("lock: answer.code == 200,", "lock: true,")],
        tests: SCENARIOS,
    },
    Mutant {
        says: "takes PostgreSQL's \"not now\" for \"yes\"",
        file: PROBE,
        edits: &[(
            "Some((Accepts::Yes, asked)) if now.since(asked) < P2_CARRIES",
            "Some((_, asked)) if now.since(asked) < P2_CARRIES",
        )],
        tests: SCENARIOS,
    },
    Mutant {
        says: "believes PostgreSQL's answer however old it is",
        file: PROBE,
        edits: &[(" if now.since(asked) < P2_CARRIES", "")],
        tests: SCENARIOS,
    },
    Mutant {
        says: "lets an older answer overwrite a newer one",
        file: OBSERVED,
        edits: &[("known <= asked", "known <= asked || true")],
        tests: Tests::Core(&["unit"]),
    },
    Mutant {
        says: "counts a member as up after one answer",
        file: HEALTH,
        edits: &[("if good { patience.rise }", "if good { 1 }")],
        tests: Tests::Core(&["unit"]),
    },
    Mutant {
        says: "counts a member as down after three silences",
        file: HEALTH,
        edits: &[("else { patience.fall }", "else { 3 }")],
        tests: Tests::Core(&["unit"]),
    },
    Mutant {
        says: "forgets a member with its key",
        file: LEDGER,
        edits: &[(
            "answers || s.now.since(gone) < kept_for",
            "let _ = (answers, gone, kept_for);\n            false",
        )],
        tests: SCENARIOS,
    },
    Mutant {
        says: "forgets a member that still answers",
        file: LEDGER,
        edits: &[("answers || s.now", "answers && false || s.now")],
        tests: SCENARIOS,
    },
    Mutant {
        says: "forgets members of a cluster with long leases after a minute",
        file: LEDGER,
        edits: &[(
            "OUTLIVES_ITS_KEY.max(view.config.ttl * 2)",
            "OUTLIVES_ITS_KEY",
        )],
        tests: SCENARIOS,
    },
    Mutant {
        says: "never forgets a member",
        file: LEDGER,
        edits: &[("answers || s.now", "true || answers || s.now")],
        tests: SCENARIOS,
    },
    Mutant {
        says: "forgets the address of a member that published nonsense",
        file: LEDGER,
        edits: &[(
            "now.conn = now.conn.take().or(had.conn);",
            "let _ = had.conn;",
        )],
        tests: SCENARIOS,
    },
    Mutant {
        says: "proves a holder without a live proof of its lock",
        file: LEDGER,
        edits: &[(
            ".is_some_and(|lock| lock.is_live(tenure, s.now))",
            ".is_some_and(|lock| lock.tenure == *tenure)",
        )],
        tests: SCENARIOS,
    },
    Mutant {
        says: "does not prove the same member's next tenure anew",
        file: LEDGER,
        edits: &[(
            ".is_none_or(|proven| proven.tenure != *tenure)",
            ".is_none_or(|proven| proven.tenure.holder != tenure.holder)",
        )],
        tests: SCENARIOS,
    },
    Mutant {
        says: "never notices that the cluster is paused",
        file: LEDGER,
        edits: &[(
            "|view| view.config.pause);",
            "|view| view.config.pause && false);",
        )],
        tests: SCENARIOS,
    },
    Mutant {
        says: "holds clients for a switchover that is not due yet",
        file: LEDGER,
        edits: &[(
            "is_none_or(|at| at <= s.wall)",
            "is_none_or(|at| at <= s.wall || true)",
        )],
        tests: SCENARIOS,
    },
    Mutant {
        says: "holds clients for a failover to the leader itself",
        file: LEDGER,
        edits: &[(
            "candidate.as_ref() != holder",
            "candidate.as_ref() != holder || true",
        )],
        tests: SCENARIOS,
    },
    Mutant {
        says: "thinks nothing of a second member that says it holds the lock",
        file: LEDGER,
        edits: &[("claim(name, What::HoldsTheLock);", "")],
        tests: SCENARIOS,
    },
    Mutant {
        says: "thinks nothing of a higher timeline elsewhere",
        file: LEDGER,
        edits: &[("claim(name, What::HigherTimeline);", "")],
        tests: SCENARIOS,
    },
    Mutant {
        says: "takes a read that was under way for the answer to a contradiction",
        file: CONTRADICTION,
        edits: &[("asked < *since", "asked < *since && false")],
        tests: SCENARIOS,
    },
    Mutant {
        says: "lets a stray primary keep everybody waiting forever",
        file: CONTRADICTION,
        edits: &[(
            "before.get(&claim).copied().unwrap_or(now)",
            "before.get(&claim).copied().map_or(now, |_| now)",
        )],
        tests: SCENARIOS,
    },
    Mutant {
        says: "gives up a member whose REST API alone is silent",
        file: SILENCE,
        edits: &[(
            "&& silent_since(&probe.postgres)",
            "&& Some(s.now.before(ASKED_AGAIN))",
        )],
        tests: SCENARIOS,
    },
    Mutant {
        says: "takes a router that hears nobody for a cluster that is dead",
        file: SILENCE,
        edits: &[(
            "        && hears_anybody(s)",
            "        && (hears_anybody(s) || true)",
        )],
        tests: SCENARIOS,
    },
    Mutant {
        says: "gives up a member that refuses",
        file: SILENCE,
        edits: &[
            (
                "NoAnswer::TimedOut | NoAnswer::Failed(_) => Some",
                "NoAnswer::TimedOut | NoAnswer::Refused | NoAnswer::Failed(_) => Some",
            ),
            (
                "            | NoAnswer::Refused\n            | NoAnswer::Foreign",
                "            | NoAnswer::Foreign",
            ),
        ],
        tests: SCENARIOS,
    },
    Mutant {
        says: "gives up a member whose REST API refuses while its PostgreSQL is slow",
        file: SILENCE,
        edits: &[("is_silent(&probe.rest)", "probe.rest.fresh().is_none()")],
        tests: SCENARIOS,
    },
    Mutant {
        says: "counts the time in which PostgreSQL was not asked as its silence",
        file: PROBE,
        edits: &[("since <= heard)", "since <= heard && false)")],
        tests: SCENARIOS,
    },
    Mutant {
        says: "takes a PostgreSQL that was silent long ago for silent now",
        file: SILENCE,
        edits: &[(
            ".is_none_or(|rest| since > rest)",
            ".is_none_or(|rest| since > rest || true)",
        )],
        tests: SCENARIOS,
    },
];
