//! Following etcd and what a read of the lock proves.

use super::{Mutant, Tests};

const FOLLOW: &str = "src/core/follow.rs";
const ENDPOINTS: &str = "src/core/follow/endpoints.rs";
const PROOF: &str = "src/core/proof.rs";
const CLUSTER: &str = "src/core/cluster.rs";
const HEARD: Tests = Tests::Core(&["follow"]);
const PROVEN: Tests = Tests::Core(&["unit"]);

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        says: "takes receive time for send time when the lock is read",
        file: FOLLOW,
        edits: &[(
            "let (asked, endpoint) = (sent.sent, sent.endpoint);",
            "let (asked, endpoint) = (now, sent.endpoint);",
        )],
        tests: HEARD,
    },
    Mutant {
        says: "takes receive time for send time when everything is listed",
        file: FOLLOW,
        edits: &[("self.publish(sent.sent);", "self.publish(now);")],
        tests: HEARD,
    },
    Mutant {
        says: "ignores the revision of an event",
        file: FOLLOW,
        edits: &[("if revision <= known {", "if revision <= known && false {")],
        tests: HEARD,
    },
    Mutant {
        says: "ignores the revision of a read of the lock",
        file: FOLLOW,
        edits: &[(
            "if self.listed.is_some() && header.revision >= known {",
            "if self.listed.is_some() {",
        )],
        tests: HEARD,
    },
    Mutant {
        says: "takes a read that is older than the last event for a proof",
        file: FOLLOW,
        edits: &[(
            "if header.revision >= known {\n            let asked = reading.asked;",
            "{\n            let asked = reading.asked;",
        )],
        tests: HEARD,
    },
    Mutant {
        says: "lets a listing overwrite what is newer",
        file: FOLLOW,
        edits: &[(
            "if known.as_of <= header.revision {",
            "if known.as_of <= header.revision || true {",
        )],
        tests: HEARD,
    },
    Mutant {
        says: "skips the re-list",
        file: FOLLOW,
        edits: &[(
            "const RELIST: Duration = Duration::from_secs(10);",
            "const RELIST: Duration = Duration::from_secs(86_400);",
        )],
        tests: HEARD,
    },
    Mutant {
        says: "goes on with the old watch after a listing",
        file: FOLLOW,
        edits: &[(
            "self.watch = Some((self.number(), header.revision.next()));",
            "if self.watch.is_none() { self.watch = Some((self.number(), header.revision.next())); }",
        )],
        tests: HEARD,
    },
    Mutant {
        says: "watches from the revision it has listed already",
        file: FOLLOW,
        edits: &[("header.revision.next()));", "header.revision));")],
        tests: HEARD,
    },
    Mutant {
        says: "keeps a key that the listing does not have any more",
        file: FOLLOW,
        edits: &[(
            "value: listed.remove(key),",
            "value: listed.remove(key).or(known.value.take()),",
        )],
        tests: HEARD,
    },
    Mutant {
        says: "lets watch events extend the deadline",
        file: FOLLOW,
        edits: &[(
            "        if before != self.lock() {",
            "        if let Some(had) = self.reading.value().cloned() {\n            self.reading.answered(Reading { asked: now, ..had }, now);\n        }\n        if before != self.lock() {",
        )],
        tests: HEARD,
    },
    Mutant {
        says: "waits a second before it proves a new tenure",
        file: FOLLOW,
        edits: &[(
            "if before != self.lock() {",
            "if false && before != self.lock() {",
        )],
        tests: HEARD,
    },
    Mutant {
        says: "asks the same endpoint again when somebody contradicts it",
        file: FOLLOW,
        edits: &[("self.elsewhere = true;", "self.elsewhere = false;")],
        tests: HEARD,
    },
    Mutant {
        says: "takes an etcd that fails for a leader key that is gone",
        file: FOLLOW,
        edits: &[(
            "self.view = self.view.clone().unanswered(trouble.clone(), now);",
            "self.keys.remove(self.prefix.leader().as_bytes());\n        if let Some(asked) = self.view.asked() { self.publish(asked); }",
        )],
        tests: HEARD,
    },
    Mutant {
        says: "stays with an endpoint that failed",
        file: ENDPOINTS,
        edits: &[(
            "self.current = (self.current + 1) % self.standings.len();",
            "",
        )],
        tests: HEARD,
    },
    Mutant {
        says: "believes an endpoint with an older raft term",
        file: ENDPOINTS,
        edits: &[("if same && header.term >= store.term {", "if same {")],
        tests: HEARD,
    },
    Mutant {
        says: "believes an endpoint of another etcd cluster",
        file: ENDPOINTS,
        edits: &[("header.cluster == store.cluster && ", "")],
        tests: HEARD,
    },
    Mutant {
        says: "believes an endpoint whose revision went back",
        file: ENDPOINTS,
        edits: &[(" && header.revision >= newest.revision", "")],
        tests: HEARD,
    },
    Mutant {
        says: "never sees that the store was rebuilt",
        file: ENDPOINTS,
        edits: &[("if rest_is_silent {", "if rest_is_silent && false {")],
        tests: HEARD,
    },
    Mutant {
        says: "takes one stray endpoint for a store that was rebuilt",
        file: ENDPOINTS,
        edits: &[("if rest_is_silent {", "if rest_is_silent || true {")],
        tests: HEARD,
    },
    Mutant {
        says: "keeps the old store's keys when it was rebuilt",
        file: FOLLOW,
        edits: &[("self.keys.clear();", "")],
        tests: HEARD,
    },
    Mutant {
        says: "tells tenures apart by who changed the key last",
        file: CLUSTER,
        edits: &[("began: kv.created,", "began: kv.modified,")],
        tests: Tests::Core(&["unit", "scenarios"]),
    },
    Mutant {
        says: "reads a lease that is about to end no sooner than any other",
        file: PROOF,
        edits: &[("(left / 4).clamp(BRISK, STEADY)", "STEADY")],
        tests: Tests::Core(&["short_leases"]),
    },
    Mutant {
        says: "reads a lease that is over as often as it can",
        file: PROOF,
        edits: &[("(left / 4).clamp(BRISK, STEADY)", "(left / 4).min(STEADY)")],
        tests: PROVEN,
    },
    Mutant {
        says: "takes its time to read the lock again where it changed meanwhile",
        file: FOLLOW,
        edits: &[("if !self.at_once {", "if true {")],
        tests: HEARD,
    },
    Mutant {
        says: "lets a proof last as long as the lease may, without a margin",
        file: PROOF,
        edits: &[(
            "let margin = TO_SPARE + ttl / 100;",
            "let margin = Duration::ZERO;",
        )],
        tests: PROVEN,
    },
    Mutant {
        says: "counts a lease from its whole length instead of what is left",
        file: PROOF,
        edits: &[(
            "asked.after(ttl).before(margin)",
            "asked.after(seconds(left.granted)).before(margin)",
        )],
        tests: PROVEN,
    },
    Mutant {
        says: "believes what is left of another lease",
        file: PROOF,
        edits: &[("left.lease != lease || ", "")],
        tests: PROVEN,
    },
    Mutant {
        says: "believes a lease that is gone",
        file: PROOF,
        edits: &[("left.left <= 0 || ", "")],
        tests: PROVEN,
    },
    Mutant {
        says: "believes a lease with more left than it was granted",
        file: PROOF,
        edits: &[(" || left.left > left.granted", "")],
        tests: PROVEN,
    },
    Mutant {
        says: "takes the proof of one tenure for another's",
        file: PROOF,
        edits: &[(
            "self.tenure == *tenure && now",
            "self.tenure.holder == tenure.holder && now",
        )],
        tests: Tests::Core(&["scenarios"]),
    },
    Mutant {
        says: "goes on for the whole lease after etcd was last asked",
        file: PROOF,
        edits: &[(
            "self.asked.after(P1_LIVE).min(self.deadline)",
            "self.deadline",
        )],
        tests: PROVEN,
    },
    Mutant {
        says: "forgets that the lease ends before the next read is due",
        file: PROOF,
        edits: &[(
            "self.asked.after(P1_LIVE).min(self.deadline)",
            "self.asked.after(P1_LIVE)",
        )],
        tests: PROVEN,
    },
];
