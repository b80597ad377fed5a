//! The half that carries out: what is published, who is let in, how sessions end.

use super::{Mutant, Tests};

const PUBLISHED: &str = "src/router/published.rs";
const CONNECT: &str = "src/router/session/connect.rs";
const CANCEL: &str = "src/router/session/cancel.rs";
const SOCKET: &str = "src/router/socket.rs";
const SESSION: &str = "src/router/session.rs";
const HOUSE: &str = "src/router/house.rs";
const WORKER: &str = "src/router/worker.rs";
const POLL: &str = "src/router/poll.rs";
const PUMP: &str = "src/router/pump.rs";
const ACCOUNT: &str = "src/router/traffic/account.rs";

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        says: "kills before it publishes",
        file: PUBLISHED,
        edits: &[
            (
                "        board.publish(snapshot, is_news);\n        let mut ended",
                "        let mut ended",
            ),
            (
                "        });\n        ended\n",
                "        });\n        board.publish(snapshot, is_news);\n        ended\n",
            ),
        ],
        tests: Tests::Library("publishing"),
    },
    Mutant {
        says: "publishes and does not kill",
        file: PUBLISHED,
        edits: &[("seat.kill(end.because.clone());", "")],
        tests: Tests::Router(&["a_lock_in_other_hands"]),
    },
    Mutant {
        says: "gives a target that came back the switch that was fired",
        file: PUBLISHED,
        edits: &[(
            ".remove(&(end.listener.clone(), end.target.clone()))",
            ".get(&(end.listener.clone(), end.target.clone()))",
        )],
        tests: Tests::Library("publishing"),
    },
    Mutant {
        says: "lets a session outlive its kill switch",
        file: SESSION,
        edits: &[(
            "Poll::Ready(()) => Poll::Ready(why(seat, door)),",
            "Poll::Ready(()) => pump.poll(cx, &mut silence, &server_ended),",
        )],
        tests: Tests::Router(&["a_lock_in_other_hands"]),
    },
    Mutant {
        says: "leaves every session on the worker that accepted it",
        file: WORKER,
        edits: &[("if sessions < fewest {", "if false {")],
        tests: Tests::Library("workers"),
    },
    Mutant {
        says: "hangs up on who is queued when it is told to stop",
        file: HOUSE,
        edits: &[(
            "Source::Bind(_) => open.close().await,",
            "Source::Bind(_) => open.stop().await,",
        )],
        tests: Tests::Router(&["who_is_queued_at_the_signal"]),
    },
    Mutant {
        says: "lets clients in by a table that is too old",
        file: CONNECT,
        edits: &[
            (
                "Verdict::Route if clock::now() > lane.pool.valid_until =>",
                "Verdict::Route if false =>",
            ),
            ("&& clock::now() <= lane.pool.valid_until", ""),
        ],
        tests: Tests::Library("publishing"),
    },
    Mutant {
        says: "lets a client stay where it is not routed to any more since it began to connect",
        file: CONNECT,
        edits: &[(
            "Tried::Connected(_) if !self.is_routed_to(seat) =>",
            "Tried::Connected(_) if false =>",
        )],
        tests: Tests::Library("publishing"),
    },
    Mutant {
        says: "blames a member for a port that this machine does not have",
        file: CONNECT,
        edits: &[("(Tried::NothingLeft, what)", "(Tried::Failed, what)")],
        tests: Tests::Router(&["where_no_port_is_left"]),
    },
    Mutant {
        says: "blames a member for an address that has left this machine",
        file: SOCKET,
        edits: &[("    if is_of_source {", "    if is_of_source && false {")],
        tests: Tests::Router(&["a_source_that_has_left_the_machine"]),
    },
    Mutant {
        says: "holds clients without end",
        file: CONNECT,
        edits: &[(
            "let left = began.after(longest).since(now);",
            "let left = longest + (began.since(now));",
        )],
        tests: Tests::Router(&["a_hold_that_ends_tells"]),
    },
    Mutant {
        says: "holds any number of clients",
        file: CONNECT,
        edits: &[(
            "let limit = self.door.config.hold.number;",
            "let limit = u32::MAX;",
        )],
        tests: Tests::Router(&["more_clients_than_may_wait"]),
    },
    Mutant {
        says: "sends a cancel request to one member only",
        file: CANCEL,
        edits: &[(
            "for seat in &lane.residents {",
            "for seat in lane.residents.iter().take(1) {",
        )],
        tests: Tests::Router(&["a_cancel_request"]),
    },
    Mutant {
        says: "sends the next client to a leader that has just ended a session",
        file: SESSION,
        edits: &[("door.doubt(seat);", "")],
        tests: Tests::Router(&["a_leader_that_ended_a_session"]),
    },
    Mutant {
        says: "does not ask for PostgreSQL's own answer",
        file: POLL,
        edits: &[(
            "self.due(&mut last, |asks| asks.postgres)",
            "self.due(&mut last, |_| false)",
        )],
        tests: Tests::Router(&["a_silent_rest_api"]),
    },
    Mutant {
        says: "drops what a server had already sent when a session is killed",
        file: PUMP,
        edits: &[(
            "let deliver = poll_fn(|cx| self.poll_deliver(cx));",
            "let deliver = std::future::ready(());",
        )],
        tests: Tests::Library("killing"),
    },
    Mutant {
        says: "does not give a killed client's place back",
        file: SESSION,
        edits: &[("self.place = None;", "std::mem::forget(self.place.take());")],
        tests: Tests::Library("publishing"),
    },
    Mutant {
        says: "forgets the bytes of a session that has ended",
        file: ACCOUNT,
        edits: &[("self.ended += traffic.bytes();", "drop(traffic);")],
        tests: Tests::Router(&["no_count_goes_back"]),
    },
    Mutant {
        says: "counts the bytes of a session that has ended twice",
        file: ACCOUNT,
        edits: &[(
            "self.running.try_remove(key)",
            "self.running.get(key).cloned()",
        )],
        tests: Tests::Router(&["megabytes_are_told"]),
    },
    Mutant {
        says: "shows counters that no session counts in",
        file: HOUSE,
        edits: &[(
            "                        count,\n                        ..Door::new(",
            "                        ..Door::new(",
        )],
        tests: Tests::Router(&["no_count_goes_back"]),
    },
];
