//! What a look decided, in lines a DBA can read.

use std::fmt::Write as _;

use trunkline_core::route::change::Change;
use trunkline_core::route::{Pool, Residence, Table, Verdict};
use trunkline_core::{MemberName, Moment};

use crate::world::{START, World};

/// What a report shows beside what it always shows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    /// Until when each pool may be routed by, and when the router looks again.
    pub(crate) times: bool,
}

/// The decision, line by line.
pub(crate) fn of(table: &Table, change: &Change, world: &World, shown: Shown) -> String {
    let mut out = format!("at {}: {:?}", time(world.now), table.primary.row);
    match &table.primary.member {
        Some(member) => out += &format!(" {member}\n"),
        None => out += "\n",
    }
    for pool in &table.pools {
        let verdict = match &pool.verdict {
            Verdict::Route => "routes".to_owned(),
            Verdict::Hold(because) => format!("holds: {because}"),
            Verdict::Refuse(because) => format!("refuses: {because}"),
        };
        let _ = write!(out, "{} {verdict}", pool.listener);
        if shown.times {
            let _ = write!(out, " (valid until {})", time(pool.valid_until));
        }
        out.push('\n');
        for (member, place) in &pool.places {
            let sessions = residence(pool, member);
            let _ = writeln!(out, "  {member} {place}; sessions {sessions}");
        }
    }
    for end in &change.ends {
        let _ = writeln!(
            out,
            "ends {} sessions on {}: {}",
            end.listener, end.target.member, end.because
        );
    }
    out += &asks(table, world);
    if table.read_elsewhere {
        out += "reads the lock again, elsewhere\n";
    }
    for alarm in &table.alarms {
        let _ = writeln!(out, "alarm: {alarm}");
    }
    if shown.times {
        let _ = writeln!(out, "looks again at {}", time(table.again));
    }
    out
}

fn residence(pool: &Pool, member: &MemberName) -> String {
    let found = pool
        .residents
        .iter()
        .find(|(target, _)| target.member == *member);
    match found.map(|(_, residence)| residence) {
        Some(Residence::Stay) => "stay".to_owned(),
        Some(Residence::Until(end)) => format!("until {}", time(*end)),
        Some(Residence::End) | None => "end".to_owned(),
    }
}

/// Who is asked more often than usual, or for more.
fn asks(table: &Table, world: &World) -> String {
    let unusual: Vec<String> = table
        .members
        .iter()
        .filter(|(_, asks)| asks.every != world.cluster.probe.interval || asks.postgres)
        .map(|(member, asks)| {
            let postgres = if asks.postgres {
                ", PostgreSQL too"
            } else {
                ""
            };
            format!("{member} every {:?}{postgres}", asks.every)
        })
        .collect();
    if unusual.is_empty() {
        String::new()
    } else {
        format!("asks {}\n", unusual.join("; "))
    }
}

/// A moment by the scenario's clock.
fn time(moment: Moment) -> String {
    if moment == Moment::NEVER {
        return "the end of time".to_owned();
    }
    let text = format!("{:.3}", moment.since(START).as_secs_f64());
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}
