//! The pump: what is held, lent out, told and counted while bytes are moved.

use super::{Mutant, Tests};

const PUMP: &str = "src/router/pump.rs";
const DIRECTION: &str = "src/router/pump/direction.rs";
const PACE: &str = "src/router/pump/pace.rs";
const PIPES: &str = "src/router/pump/pipes.rs";
const PARTS: &str = "src/router/pump/parts.rs";

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        says: "loses what a receiver did not take at once",
        file: DIRECTION,
        edits: &[("self.held = Held::Bytes(Rest::of(rest.into()));", "")],
        tests: Tests::Library("pump_exact"),
    },
    Mutant {
        says: "lends out a pipe that still has bytes in it",
        file: DIRECTION,
        edits: &[(
            "self.held = Held::Piped(pipe, held - written);",
            "pipes::give_back(pipe);",
        )],
        tests: Tests::Library("pump_exact"),
    },
    Mutant {
        says: "never splices",
        file: PACE,
        edits: &[("self.0 >= STREAM\n", "self.0 > ASSURED\n")],
        tests: Tests::Library("pump"),
    },
    Mutant {
        says: "keeps the pipe of a stream that is idle",
        file: DIRECTION,
        edits: &[(
            "pipes::give_back(pipe);\n        }\n        Ok(Step::Moved(written))",
            "std::mem::forget(pipe);\n        }\n        Ok(Step::Moved(written))",
        )],
        tests: Tests::Library("pump_pipes"),
    },
    Mutant {
        says: "lets the client know of its server's end before the router does",
        file: PUMP,
        edits: &[(
            "self.ended(way.sender_closed(), server_ended);\n                    self.tell_end(way);",
            "self.tell_end(way);\n                    self.ended(way.sender_closed(), server_ended);",
        )],
        tests: Tests::Library("pump"),
    },
    Mutant {
        says: "spins while a receiver has no room",
        file: PUMP,
        edits: &[(
            "Stop::Waits => is_server_full |= way == Way::Up && !self.up.is_empty(),",
            "Stop::Waits => come_back(cx),",
        )],
        tests: Tests::Library("pump"),
    },
    Mutant {
        says: "forgets who ended first when a session is taken apart",
        file: PARTS,
        edits: &[("first: state.first,", "first: None,")],
        tests: Tests::Library("pump"),
    },
    Mutant {
        says: "leaves out the pipes when a session is taken apart",
        file: PARTS,
        edits: &[(
            "descriptors.extend([reader, writer]);",
            "drop((reader, writer));",
        )],
        tests: Tests::Library("pump"),
    },
    Mutant {
        says: "makes more pipes than it may",
        file: PIPES,
        edits: &[("<= limit).then_some(one)", "<= u32::MAX).then_some(one)")],
        tests: Tests::Library("pump_pipes"),
    },
    Mutant {
        says: "uses a pipe of a page or two",
        file: PIPES,
        edits: &[("granted >= wanted.min(LEAST)", "granted > 0")],
        tests: Tests::Library("pump_pipes"),
    },
    Mutant {
        says: "keeps a session whose client is gone and whose server waits for it",
        file: PUMP,
        edits: &[("if self.is_client_gone && is_server_full {", "if false {")],
        tests: Tests::Library("pump"),
    },
    Mutant {
        says: "takes a splice that moved nothing for the end",
        file: DIRECTION,
        edits: &[(
            "self.pace = Pace::default();\n                Ok(Step::Moved(0))",
            "Ok(self.end())",
        )],
        tests: Tests::Library("pump"),
    },
];
