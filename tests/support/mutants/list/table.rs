//! From table to table, whom to ask, whom to pick.

use super::{Mutant, Tests};

const CHANGE: &str = "src/core/route/change.rs";
const ASKS: &str = "src/core/route/asks.rs";
const ROUTE: &str = "src/core/route.rs";
const TABLE: &str = "src/core/route/table.rs";
const PICK: &str = "src/core/route/pick.rs";

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        says: "ends nobody whose place the new table does not name",
        file: CHANGE,
        edits: &[("None | Some(Residence::End))", "Some(Residence::End))")],
        tests: Tests::Core(&["change"]),
    },
    Mutant {
        says: "does not look again when a proof ends",
        file: ROUTE,
        edits: &[(
            "again.min(primary.again).min(s.now.after(LOOK_AGAIN))",
            "s.now.after(LOOK_AGAIN)",
        )],
        tests: Tests::Core(&["scenarios"]),
    },
    Mutant {
        says: "does not ask at once after the lock changed hands",
        file: ASKS,
        edits: &[(
            "let not_before = ledger.tenure().map_or(Moment::BOOT, |(_, since)| *since);",
            "let not_before = Moment::BOOT;",
        )],
        tests: Tests::Core(&["safety"]),
    },
    Mutant {
        says: "does not ask at once after the leader key went",
        file: ASKS,
        edits: &[(
            ".map_or(not_before, |gone| gone.max(not_before));",
            ".map_or(not_before, |_| not_before);",
        )],
        tests: Tests::Core(&["safety"]),
    },
    Mutant {
        says: "asks a leader that everybody waits for no more often than others",
        file: ASKS,
        edits: &[(
            "let every = if holding && awaited {",
            "let every = if holding && awaited && false {",
        )],
        tests: Tests::Core(&["scenarios"]),
    },
    Mutant {
        says: "hurries forever",
        file: ASKS,
        edits: &[(
            "s.now.since(since) < HASTE;",
            "s.now.since(since) < HASTE || true;",
        )],
        tests: Tests::Core(&["scenarios"]),
    },
    Mutant {
        says: "takes evidence from before a doubt for its answer",
        file: TABLE,
        edits: &[("evidence <= doubted", "evidence <= doubted && false")],
        tests: Tests::Core(&["unit"]),
    },
    Mutant {
        says: "picks a target that is full",
        file: PICK,
        edits: &[("candidate.load < limit", "candidate.load < limit || true")],
        tests: Tests::Core(&["pick"]),
    },
    Mutant {
        says: "picks a target that has failed this client",
        file: PICK,
        edits: &[(
            "!draw.tried.contains(place)",
            "(!draw.tried.contains(place) || true)",
        )],
        tests: Tests::Core(&["pick"]),
    },
    Mutant {
        says: "picks a target of no weight",
        file: PICK,
        edits: &[("candidate.weight > 0", "candidate.weight > 0 || true")],
        tests: Tests::Core(&["pick"]),
    },
    Mutant {
        says: "ignores weights where it counts sessions",
        file: PICK,
        edits: &[
            (
                "u64::from(a.load) * u64::from(b.weight)",
                "u64::from(a.load)",
            ),
            (
                "u64::from(b.load) * u64::from(a.weight)",
                "u64::from(b.load)",
            ),
        ],
        tests: Tests::Core(&["pick"]),
    },
];
