//! How often each member is asked: seldom while all is well, often while a client may be waiting for the answer.

use std::collections::BTreeMap;
use std::time::Duration;

use super::primary::Primary;
use super::table::Asks;
use super::{Ledger, Snapshot};
use crate::probe::Accepts;
use crate::{MemberName, Moment, Observed};

/// For the member everybody waits for.
const URGENT: Duration = Duration::from_millis(50);
/// For the others meanwhile, and for a member that is coming up.
const BRISK: Duration = Duration::from_millis(250);
/// How long haste lasts: what takes longer is not made faster by asking.
const HASTE: Duration = Duration::from_secs(10);

pub(super) fn decide(
    primary: &Primary,
    ledger: &Ledger,
    s: &Snapshot<'_>,
) -> BTreeMap<MemberName, Asks> {
    let hasty = |since: Moment| s.now.since(since) < HASTE;
    let holding = !primary.routes() && ledger.holding_since().is_none_or(hasty);
    let steady = s.cluster.probe.interval;
    let not_before = ledger.tenure().map_or(Moment::BOOT, |(_, since)| *since);
    let not_before = ledger
        .gone()
        .map_or(not_before, |gone| gone.max(not_before));
    let mut asks = BTreeMap::new();
    for (name, known) in ledger.members() {
        let awaited = primary.member.as_ref() == Some(name);
        let coming_up = !known.health.is_up() && hasty(known.health.since());
        // A PostgreSQL that said "not now" is asked on: somebody may wait for it to say otherwise.
        let says_no = awaited
            && s.probes
                .get(name)
                .is_some_and(|probe| matches!(probe.postgres.fresh(), Some((Accepts::NotNow, _))));
        // One that was heard and is silent now may be dead: its PostgreSQL has the last word.
        let unheard = s
            .probes
            .get(name)
            .is_some_and(|probe| matches!(probe.rest, Observed::Stale { .. }));
        let every = if holding && awaited {
            URGENT
        } else if holding || coming_up || says_no {
            BRISK
        } else {
            steady
        };
        let every = every.min(steady);
        let postgres = says_no || unheard || (awaited && primary.asks_postgres);
        asks.insert(
            name.clone(),
            Asks {
                every,
                postgres,
                not_before,
            },
        );
    }
    asks
}
