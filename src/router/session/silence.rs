//! A server that took a login and says nothing: slow, or dead?
//!
//! A frozen process's kernel accepts, and takes the login too. But a login may be slow for good reasons (an event
//! trigger, an ident server), so silence alone decides nothing: PostgreSQL is asked by another connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use trunkline_core::Moment;
use trunkline_io::clock;

use crate::door::Door;
use crate::published::Seat;

/// How long a server may take for the first word of its answer before it is asked whether it lives.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a server that lives is then left in peace.
const LATER: Duration = Duration::from_secs(10);
/// How often that is done before the login is given up: a quarter of an hour.
const TIMES: u32 = 90;

/// Returns when the server of `seat` says nothing to anybody, or for a quarter of an hour nothing to this client.
pub(super) async fn is_death(door: &Door, seat: &Arc<Seat>) {
    sleep(PATIENCE).await;
    for _ in 0..TIMES {
        let doubted = clock::now();
        door.doubt(seat);
        if timeout(LATER, answers(door, seat, doubted)).await == Ok(false) {
            return;
        }
        sleep(LATER).await;
    }
}

/// Whether PostgreSQL answers a question that is sent from now on.
async fn answers(door: &Door, seat: &Seat, doubted: Moment) -> bool {
    let mut looks = door.board.follow_looks();
    loop {
        looks.borrow_and_update();
        let snapshot = door.snapshot();
        let probe = snapshot.probes.get(&seat.target.member);
        if let Some(answers) = probe.and_then(|probe| probe.postgres_answers(doubted)) {
            return answers;
        }
        if looks.changed().await.is_err() {
            return true;
        }
    }
}
