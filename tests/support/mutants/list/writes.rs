//! The write table, row by row.

use super::{Mutant, Tests};

const PRIMARY: &str = "src/core/route/primary.rs";
const SCENARIOS: Tests = Tests::Core(&["scenarios"]);

const POOL: &str = "src/core/route/primary/pool.rs";

const fn pool(says: &'static str, edits: &'static [(&'static str, &'static str)]) -> Mutant {
    Mutant {
        file: POOL,
        ..row(says, edits)
    }
}

const fn row(says: &'static str, edits: &'static [(&'static str, &'static str)]) -> Mutant {
    Mutant {
        says,
        file: PRIMARY,
        edits,
        tests: SCENARIOS,
    }
}

pub(super) const MUTANTS: &[Mutant] = &[
    row(
        "goes by a tenure that was proven long ago as if etcd had just said so",
        &[(
            "lock.tenure == *tenure && lately(lock.asked)",
            "lock.tenure == *tenure",
        )],
    ),
    row(
        "takes an etcd that cannot be asked for one that said the tenure was proven",
        &[(
            "known == tenure && lately(*first)",
            "known == tenure && (lately(*first) || true)",
        )],
    ),
    row(
        "sends writers into a standby cluster",
        &[(
            "if view.config.is_standby_cluster() => standby(&tenure.holder),",
            "if view.config.is_standby_cluster() && false => standby(&tenure.holder),",
        )],
    ),
    row(
        "sends writers to a leader that says it leads a standby cluster",
        &[(
            "if says == Says::StandbyLeader {",
            "if says == Says::StandbyLeader && false {",
        )],
    ),
    row(
        "takes a remembered leader for one that etcd has just named",
        &[(
            "if tenure.store == StoreNumber::REMEMBERED {",
            "if tenure.store == StoreNumber::REMEMBERED && false {",
        )],
    ),
    pool(
        "keeps the sessions of a primary found dead",
        &[(
            "(Verdict::Hold(Because::Dead(name.clone())), Residence::End)",
            "(Verdict::Hold(Because::Dead(name.clone())), self.sessions)",
        )],
    ),
    row(
        "keeps the sessions of a leader that lost its lock to another",
        &[(
            "asks_postgres: false,\n            ..Primary::hold(Row::OtherHolds, member)",
            "asks_postgres: false,\n            sessions: Residence::Stay,\n            ..Primary::hold(Row::OtherHolds, proven.map(|proven| &proven.tenure.holder))",
        )],
    ),
    row(
        "sends new clients to a leader that is handing over",
        &[(
            "&& s.now.since(since) < HANDOVER",
            "&& s.now.since(since) < HANDOVER && false",
        )],
    ),
    row(
        "waits forever for a switchover that does not come",
        &[(
            "&& s.now.since(since) < HANDOVER",
            "&& (s.now.since(since) < HANDOVER || true)",
        )],
    ),
    row(
        "keeps the sessions of a proven leader that is in recovery",
        &[(
            "if says == Says::InRecovery && in_tenure {",
            "if says == Says::InRecovery && in_tenure && false {",
        )],
    ),
    row(
        "ends the sessions of the holder that was not promoted yet",
        &[(
            "if says == Says::InRecovery && in_tenure {",
            "if says == Says::InRecovery {",
        )],
    ),
    row(
        "routes on while a member contradicts etcd",
        &[(
            "if ledger.is_contradicted() {",
            "if ledger.is_contradicted() && false {",
        )],
    ),
    row(
        "routes longer than the lock is proven",
        &[(
            "stay(Row::Proven).route(lock.expires().min(asked.after(P2_CARRIES)))",
            "stay(Row::Proven).route(asked.after(P2_CARRIES))",
        )],
    ),
    row(
        "routes longer than the member's word carries",
        &[(
            "stay(Row::Proven).route(lock.expires().min(asked.after(P2_CARRIES)))",
            "stay(Row::Proven).route(lock.expires())",
        )],
    ),
    row(
        "routes to a leader whose lease is not proven",
        &[(
            "stay(Row::LeaseNotProven),",
            "stay(Row::LeaseNotProven).route(Moment::NEVER),",
        )],
    ),
    row(
        "routes to a leader that is not yet writable",
        &[(
            "            asks_postgres: true,\n            ..stay(Row::NotRunning)\n        },",
            "            asks_postgres: true,\n            ..stay(Row::NotRunning)\n        }\n        .route(s.now.after(P2_CARRIES)),",
        )],
    ),
    row(
        "takes a REST API that is silent for a leader that is dead",
        &[(
            "(Some(_) | None, _) => silent,",
            "(Some(_) | None, _) => Primary { sessions: Residence::End, ..silent },",
        )],
    ),
    row(
        "holds new clients while a leader's REST API is silent, though its PostgreSQL accepts",
        &[(
            "silent.route(lock.expires().min(asked.after(P2_CARRIES)))",
            "{ let _ = (lock, asked); silent }",
        )],
    ),
    row(
        "ends the sessions of a remembered leader when etcd comes back without its key",
        &[(
            "    let deadline = ledger.lock().map_or(Moment::BOOT, |lock| lock.deadline);\n    let claims",
            "    let deadline = ledger.lock().map_or(gone, |lock| lock.deadline);\n    let claims",
        )],
    ),
    row(
        "takes a standby that fell silent for the primary it was",
        &[(
            "if ledger.last_word_denies(member, s) {",
            "if ledger.last_word_denies(member, s) && false {",
        )],
    ),
    row(
        "in pause, takes a PostgreSQL that accepts for the leader while another claims the lock",
        &[(
            "accepting.filter(|_| member.is_none_or(|member| !another_claims(member, ledger, s)))",
            "accepting.filter(|_| member.is_none_or(|_| true))",
        )],
    ),
    row(
        "routes to a silent holder that was never proven",
        &[(
            "(Says::Nothing, live) if in_tenure => {",
            "(Says::Nothing, live) => {",
        )],
    ),
    row(
        "falls back to a leader whose successor was never proven",
        &[(
            "if ledger\n        .tenure()\n        .is_some_and(|(last, _)| last.holder != proven.tenure.holder)",
            "if ledger\n        .tenure()\n        .is_some_and(|(last, _)| last.holder != proven.tenure.holder && false)",
        )],
    ),
    row(
        "takes an answer from before the key went for one from after it",
        &[(
            "let says = ledger.says_since(&proven.tenure.holder, gone, s);",
            "let says = ledger.says(&proven.tenure.holder, s);",
        )],
    ),
    row(
        "keeps the sessions of a leader in recovery without a key",
        &[(
            "return Primary::hold(Row::GoneInRecovery, member);",
            "return Primary::hold(Row::GoneInRecovery, member).keep(Moment::NEVER, s.now);",
        )],
    ),
    row(
        "routes in a split brain without a key",
        &[(
            "if claims && another_claims(",
            "if claims && false && another_claims(",
        )],
    ),
    row(
        "keeps the sessions of a split brain without a key",
        &[(
            "let until = deadline.min(gone.after(RETAKE));\n        return Primary::hold(Row::SplitBrain",
            "let until = Moment::NEVER;\n        return Primary::hold(Row::SplitBrain",
        )],
    ),
    row(
        "ends sessions in a paused cluster whose key is gone",
        &[(
            "    if ledger.was_paused() {\n        return paused(",
            "    if ledger.was_paused() && false {\n        return paused(",
        )],
    ),
    row(
        "holds new clients of a leader that kept running without its key",
        &[(
            "stay.route(asked.after(P2_CARRIES))\n        }\n        Says::Primary { lock: false, .. } => {\n            Primary::hold(Row::GoneWithoutLock",
            "let _ = asked;\n            stay\n        }\n        Says::Primary { lock: false, .. } => {\n            Primary::hold(Row::GoneWithoutLock",
        )],
    ),
    row(
        "keeps the sessions of a leader that lost its key for good",
        &[(
            "Primary::hold(Row::GoneWithoutLock, member).keep(gone.after(RETAKE), s.now)",
            "Primary::hold(Row::GoneWithoutLock, member).keep(Moment::NEVER, s.now)",
        )],
    ),
    row(
        "takes the key's end for the leader's end at once",
        &[(
            "Primary::hold(Row::Gone, member).keep(until, s.now)",
            "{ let _ = until; Primary::hold(Row::Gone, member) }",
        )],
    ),
    row(
        "lets sessions outlive the lease when the key is gone",
        &[(
            "let until = proof.min(gone.after(RETAKE));",
            "let until = { let _ = proof; gone.after(RETAKE) };",
        )],
    ),
    row(
        "takes ignorance for contradiction: etcd and the leader silent ends sessions at once",
        &[(
            "Primary::hold(Row::Blind, member).keep(until, s.now)",
            "{ let _ = until; Primary::hold(Row::Blind, member) }",
        )],
    ),
    row(
        "lets sessions live on without any proof",
        &[(
            "WhenUnproven::Kill => until,",
            "WhenUnproven::Kill => Moment::NEVER,",
        )],
    ),
    row(
        "ends sessions without proof where availability was asked for",
        &[(
            "WhenUnproven::Keep => Moment::NEVER,",
            "WhenUnproven::Keep => until,",
        )],
    ),
    row(
        "ends sessions at the lease's end although the leader goes on confirming",
        &[(
            "    proven.word_until.or(carries)",
            "    proven.word_until.or(carries.filter(|_| false))",
        )],
    ),
    row(
        "ignores that an agent says until when it holds on",
        &[("    proven.word_until.or(carries)", "    carries")],
    ),
    row(
        "lets an agent's sessions outlive its lease by three seconds",
        &[(
            "    proven.word_until.or(carries)",
            "    proven.word_until.max(carries)",
        )],
    ),
    row(
        "lets sessions outlive a lease that was about to end when it was read",
        &[(
            "lease.filter(|lock| lock.lasts() < lock.asked.after(P1_LIVE))",
            "lease.filter(|lock| lock.lasts() < lock.asked)",
        )],
    ),
    row(
        "routes to a leader past the moment its agent said it would demote",
        &[("if s.now >= demotes {", "if s.now >= demotes && false {")],
    ),
    row(
        "routes in a split brain while etcd is silent",
        &[(
            "if another_claims(&tenure.holder, ledger, s) =>",
            "if false && another_claims(&tenure.holder, ledger, s) =>",
        )],
    ),
    row(
        "does not believe a leader in recovery while etcd is silent",
        &[(
            "Says::InRecovery | Says::StandbyLeader => Primary::hold(Row::BlindContradicted, member),",
            "Says::InRecovery | Says::StandbyLeader => {\n            Primary::hold(Row::BlindContradicted, member).keep(until, s.now)\n        }",
        )],
    ),
    row(
        "does not believe a leader that says it lost its lock while etcd is silent",
        &[(
            "Says::Primary { lock: false, .. } => Primary::hold(Row::BlindContradicted, member),",
            "Says::Primary { lock: false, .. } => {\n            Primary::hold(Row::BlindContradicted, member).keep(until, s.now)\n        }",
        )],
    ),
    row(
        "goes by the last proven leader although etcd named another before it fell silent",
        &[(
            "    if proven.tenure.holder != tenure.holder {\n        return Primary::hold(Row::OtherHolds, member);",
            "    if proven.tenure.holder != tenure.holder && false {\n        return Primary::hold(Row::OtherHolds, member);",
        )],
    ),
    row(
        "routes in pause by PostgreSQL alone, however long etcd has been silent",
        &[(
            "(_, Some(asked)) if in_ttl =>",
            "(_, Some(asked)) if in_ttl || true =>",
        )],
    ),
    row(
        "counts an old claim of another leader in a split brain",
        &[(
            ".any(|name| matches!(ledger.says(name, s), Says::Primary { lock: true, .. }))",
            ".any(|name| matches!(ledger.says_since(name, Moment::BOOT, s), Says::Primary { lock: true, .. }))",
        )],
    ),
    pool(
        "takes a standby's leader for a target of writers' pools",
        &[(
            "if self.row == Row::StandbyCluster && matches!(says, Says::StandbyLeader | Says::InRecovery)",
            "if self.row == Row::StandbyCluster && matches!(says, Says::NotRunning)",
        )],
    ),
    pool(
        "lets a doubted leader's REST API speak for its PostgreSQL",
        &[("asked.min(probe.pinged.unwrap_or(Moment::BOOT))", "asked")],
    ),
    pool(
        "takes a doubted leader's old answer for a new one",
        &[(
            "        (Some((Accepts::Yes, asked)), _) => asked,",
            "        (Some((Accepts::Yes, _)), _) => s.now,",
        )],
    ),
];
