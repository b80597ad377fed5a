//! Accepting clients: the loop cannot fail, and it cannot spin.
//!
//! A port has one socket, and a socket one loop, on one of the workers. A socket a worker (SO_REUSEPORT) would spare the
//! handing over, and is not used: a socket that closes takes its queue with it, so that a reload would cost clients;
//! one that the service manager passed has one queue, whoever is there; and the kernel deals by hash, so that of few
//! long sessions most may meet on one worker while another is idle.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::admission::Refusals;
use crate::door::{Counted, Door, Place, Refused};
use crate::doorstep::{Client, Doorstep, is_of_one_client};
use crate::worker::Workers;
use crate::{metrics, session};

/// How long to rest when the process is out of descriptors: sessions that end make room. The stats port rests less, so
/// that what room there is goes to it first.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);
/// How many clients are taken from the queue at once, before somebody else has a turn.
const AT_ONCE: usize = 16;
/// How many connections may fail one after the other before that is taken for the machine's fault, whatever the system
/// calls it.
const TOO_MANY: u32 = 64;
/// How many clients are let in at most when a socket is closed.
const LAST_CALL: u32 = 10_000;

/// Who lets clients in: where they are let in to, and who has them served.
#[derive(Clone, Debug)]
pub struct Porter {
    /// The listener.
    pub door: Arc<Door>,
    /// Where its sessions run.
    pub workers: Arc<Workers>,
    /// The number of the worker that this runs on, or that is to be thought of first.
    pub near: usize,
}

/// Accepts until it is told to stop. The worker that accepts keeps a client unless another has fewer.
pub async fn accept(doorstep: Arc<Doorstep>, porter: Porter, stop: CancellationToken) {
    let accepting = async {
        let watched = doorstep.watch().await;
        let (mut clients, mut failed) = (Vec::with_capacity(AT_ONCE), 0);
        loop {
            match watched.accept(&mut clients, AT_ONCE).await {
                Ok(()) => failed = 0,
                Err(error) => {
                    failed += 1;
                    porter.survive(&error, failed).await;
                }
            }
            for client in clients.drain(..) {
                porter.admit(client);
            }
            yield_now().await;
        }
    };
    let _: Option<()> = stop.run_until_cancelled(accepting).await;
}

/// Accepts who is connected already, before the socket is closed: to them it was open.
pub fn last_call(doorstep: &Doorstep, porter: &Porter) {
    for _ in 0..LAST_CALL {
        match doorstep.next() {
            Ok(client) => porter.admit(client),
            Err(error) if is_of_one_client(&error) => {}
            Err(_) => return,
        }
    }
}

impl Porter {
    fn admit(&self, client: Client) {
        let door = &self.door;
        door.count.accepted.fetch_add(1, Ordering::Relaxed);
        metrics::accepted(door);
        door.admission.accepted();
        let Some(place) = Place::take(door, self.workers.place(self.near)) else {
            self.refuse(client);
            return;
        };
        let runtime = place.runtime().clone();
        let served = session::serve(client, Arc::clone(door), place);
        door.tasks.spawn_on(&runtime, "session", served);
    }

    /// Tells the client why; in a flood, clients that cannot be told are hung up on.
    fn refuse(&self, client: Client) {
        let (door, admission) = (&self.door, &self.door.admission);
        let refusal = Refusals(Arc::clone(admission));
        let Some(everywhere) = Counted::below(refusal, admission.budget.refusals) else {
            door.count.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let here = Counted::below(Refused(Arc::clone(door)), u32::MAX);
        let refused = Arc::clone(door);
        let telling = async move {
            session::too_many(client, refused).await;
            drop((here, everywhere));
        };
        let runtime = &self.workers.nth(self.near).runtime;
        door.tasks.spawn_on(runtime, "refusal", telling);
    }

    /// Errors of one connection are that connection's; being out of descriptors passes.
    async fn survive(&self, error: &io::Error, failed: u32) {
        if is_of_one_client(error) && failed < TOO_MANY {
            return;
        }
        let door = &self.door;
        door.admission.accept_failed(&door.config.name, error);
        metrics::accept_failed(door);
        sleep(OUT_OF_DESCRIPTORS).await;
    }
}
