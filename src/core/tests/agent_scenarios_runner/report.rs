//! A step of a cycle in one line: what is done, what came of it where that is not what was hoped for, and why.

use trunkline_core::Moment;
use trunkline_core::ha::{Action, Decision, Job, Mode, Outcome, Stop, Write};
use trunkline_core::postgres::Upstream;
use trunkline_core::slots::SlotChange;
use trunkline_core::wire::member::Member;

pub(crate) fn of(decision: &Decision, outcome: &Outcome, now: Moment) -> String {
    let action = match &decision.action {
        Action::Rest => {
            let left = decision.look_again.since(now).as_secs_f64();
            format!("rest {}s", (left * 1000.0).round() / 1000.0)
        }
        Action::KeepLease => "keep the lease".to_owned(),
        Action::Renew { .. } => "renew the lock".to_owned(),
        Action::Acquire => "take the lock".to_owned(),
        Action::Release { optime: None } => "release the lock".to_owned(),
        Action::Release {
            optime: Some(optime),
        } => format!("release the lock at {}", optime.0),
        Action::Revoke => "revoke the lease".to_owned(),
        Action::Write(write) => format!("put {}", self::write(write)),
        Action::Ask(whom) => {
            let names: Vec<&str> = whom
                .iter()
                .map(trunkline_core::MemberName::as_str)
                .collect();
            format!("ask {}", names.join(" "))
        }
        Action::Begin(job) => format!("begin {}", self::job(job)),
        Action::Cancel => "cancel the job".to_owned(),
        Action::Exit(code) => format!("exit {code}"),
    };
    let came = match outcome {
        Outcome::Done => "",
        Outcome::Refused => " (refused)",
        Outcome::Unanswered(_) => " (no answer)",
    };
    format!("{action}{came}: {}", decision.reason)
}

fn write(write: &Write) -> String {
    match write {
        Write::Member(value) => format!("member{}", member(value)),
        Write::ClaimInitialize => "initialize, empty".to_owned(),
        Write::Initialize(id, _) => format!("initialize {id}"),
        Write::UnclaimInitialize => "initialize away".to_owned(),
        Write::Config(value, _) => format!("config {value}"),
        Write::Status(value) => format!("status {value}"),
        Write::OptimeLeader(value) => format!("optime/leader {value}"),
        Write::History(value) => format!("history {value}"),
        Write::Failsafe(value) => format!("failsafe {value}"),
        Write::ClearFailover(Some(_)) => "failover {} if unchanged".to_owned(),
        Write::ClearFailover(None) => "failover {}".to_owned(),
    }
}

/// What changes about a member; its addresses do not.
fn member(value: &str) -> String {
    let member = Member::parse(value.as_bytes()).expect("a member's value");
    let mut text = format!(
        " {}",
        member.role.as_ref().map_or("?", |role| role.as_str())
    );
    text += &format!(
        ", {}",
        member.state.as_ref().map_or("?", |state| state.as_str())
    );
    for (name, number) in [
        ("at", member.xlog_location.map(|lsn| lsn.0)),
        (
            "timeline",
            member.timeline.map(|timeline| timeline.0.into()),
        ),
    ] {
        if let Some(number) = number {
            text += &format!(", {name} {number}");
        }
    }
    if !member.tags.0.is_empty() {
        text += &format!(
            ", tags {}",
            serde_json::to_string(&member.tags.0).expect("tags")
        );
    }
    if member.checkpoint_after_promote == Some(false) {
        text += ", checkpoint not confirmed";
    }
    if member.pending_restart {
        text += ", pending restart";
    }
    if member.pause {
        text += ", paused";
    }
    text
}

fn job(job: &Job) -> String {
    match job {
        Job::Bootstrap => "bootstrap".to_owned(),
        Job::PutAside => "putting the data aside".to_owned(),
        Job::Clone(from) => format!("clone from {}", upstream(from)),
        Job::Start(Mode::Primary, _) => "start as primary".to_owned(),
        Job::Start(Mode::Standby(of), within) => {
            let of = of.as_ref().map_or("nobody".to_owned(), upstream);
            format!("start as standby of {of} within {}s", within.as_secs())
        }
        Job::Stop(stop) => self::stop(*stop),
        Job::Promote => "promote".to_owned(),
        Job::Follow(None) => "follow nobody".to_owned(),
        Job::Follow(Some(of)) => format!("follow {}", upstream(of)),
        Job::CheckRewind(with) => format!("check rewind from {}", upstream(with)),
        Job::Rewind(from) => format!("rewind from {}", upstream(from)),
        Job::CrashRecovery => "crash recovery".to_owned(),
        Job::Wipe => "wipe".to_owned(),
        Job::Checkpoint => "checkpoint".to_owned(),
        Job::Reload => "reload".to_owned(),
        Job::Slots(changes) => {
            let changes: Vec<String> = changes.iter().map(slot).collect();
            format!("slots {}", changes.join(", "))
        }
    }
}

fn stop(stop: Stop) -> String {
    let how = if stop.immediate { "immediate" } else { "fast" };
    let first = if stop.checkpoint {
        " after a checkpoint"
    } else {
        ""
    };
    let bound = if stop.deadline.is_some() {
        " with a deadline"
    } else {
        ""
    };
    format!("stop {how}{first}{bound}")
}

fn slot(change: &SlotChange) -> String {
    match change {
        SlotChange::Create(name) => format!("+{name}"),
        SlotChange::Drop(name) => format!("-{name}"),
        SlotChange::Advance(name, lsn) => format!("{name} to {}", lsn.0),
    }
}

fn upstream(upstream: &Upstream) -> String {
    upstream
        .name
        .as_ref()
        .map_or_else(|| upstream.host.clone(), ToString::to_string)
}
