//! How many clients a process can serve with the file descriptors it may have.
//!
//! Pure arithmetic: what the system allows comes in as a number. A session is two descriptors, and a part of all is
//! kept back for what must work when there is no room for another session: the stats port, questions to etcd and
//! members, cancel requests, and telling clients that there is no room. Streams get a few pipes.

use crate::config::router::Router;

/// Descriptors of a session: one to the client, one to the server.
const A_SESSION: u64 = 2;
/// The most that is kept back.
const RESERVE: u64 = 512;
/// The least: what the router itself has open when it does nothing, twice.
const LEAST: u64 = 128;
/// A thread for sessions has so many open for itself; as many threads as are usual are in the least already.
const A_THREAD: u64 = 4;
const USUAL_THREADS: u32 = 8;
/// Between the two, one of so many is kept back.
const RESERVED_PART: u64 = 4;
/// Descriptors of a pipe: one to each end.
const A_PIPE: u64 = 2;
/// One of so many descriptors is an end of a pipe that streams are moved through, ...
const PIPES_PART: u64 = 64;
/// ... up to so many pipes. A stream has one only while its receiver is behind, and does without where there is none.
const PIPES: u64 = 512;

/// What the descriptors a process may have are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How many descriptors the process may have.
    pub descriptors: u64,
    /// How many clients may be connected at once, over all listeners.
    pub sessions: u32,
    /// How many more may be being told that there are too many.
    pub refusals: u32,
    /// How many pipes the sessions may have between them.
    pub pipes: u32,
}

impl Budget {
    /// Divides up `descriptors` in a process with so many `threads` for sessions.
    #[must_use]
    pub fn of(descriptors: u64, threads: u32) -> Self {
        let reserve = (descriptors / RESERVED_PART).clamp(LEAST, RESERVE);
        let reserve = reserve + u64::from(threads.saturating_sub(USUAL_THREADS)) * A_THREAD;
        // Of a very few, half are for clients all the same: a router that serves nobody is none.
        let reserve = reserve.min(descriptors / 2);
        let pipes = (descriptors / PIPES_PART / A_PIPE).min(PIPES);
        let number = |descriptors: u64| u32::try_from(descriptors).unwrap_or(u32::MAX);
        Self {
            descriptors,
            sessions: number((descriptors - reserve - pipes * A_PIPE) / A_SESSION),
            // The rest is for everything else.
            refusals: number(reserve / 4),
            pipes: number(pipes),
        }
    }

    /// The first `maxconn` of a configuration that could never be reached.
    #[must_use]
    pub fn exceeded(&self, router: &Router) -> Option<TooMany> {
        router.clusters.iter().find_map(|cluster| {
            cluster.listeners.iter().find_map(|listener| {
                let maxconn = listener.maxconn.filter(|most| *most > self.sessions)?;
                Some(TooMany {
                    cluster: cluster.name.clone(),
                    listener: listener.name.clone(),
                    maxconn,
                    budget: *self,
                })
            })
        })
    }
}

/// A listener that is to take more clients than the process has descriptors for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// Of which cluster.
    pub cluster: String,
    /// Which.
    pub listener: String,
    /// What was configured.
    pub maxconn: u32,
    /// What there is.
    pub budget: Budget,
}

impl TooMany {
    /// What is wrong.
    #[must_use]
    pub fn what(&self) -> String {
        format!(
            "{} does not fit: this process may have {} open files, which is {} sessions of two each beside what is \
             kept back",
            self.maxconn, self.budget.descriptors, self.budget.sessions
        )
    }

    /// What to do.
    #[must_use]
    pub fn expected(&self) -> String {
        format!(
            "raise LimitNOFILE= of the service (or ulimit -n), or write {} at most",
            self.budget.sessions
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::router::from_flags;

    #[test]
    fn sessions_and_reserve_never_need_more_descriptors_than_there_are() {
        for descriptors in (0..5000).chain([65_536, 1_048_576, u64::from(u32::MAX), u64::MAX]) {
            let budget = Budget::of(descriptors, 2);
            let moving = (u64::from(budget.sessions) + u64::from(budget.pipes)) * 2;
            let needed = moving + u64::from(budget.refusals);
            assert!(needed <= descriptors, "{budget:?}");
            let kept = descriptors - moving;
            assert!(
                descriptors < 256 || kept >= u64::from(budget.refusals) + 96,
                "{budget:?}"
            );
        }
        assert_eq!(Budget::of(1024, 2).sessions, 376);
        assert_eq!(Budget::of(1024, 2).pipes, 8);
        assert_eq!(Budget::of(1_048_576, 2).sessions, 523_520);
        assert_eq!(Budget::of(1_048_576, 2).pipes, 512);
        // A hundred threads more have four each.
        assert_eq!(Budget::of(1_048_576, 108).sessions, 523_520 - 200);
    }

    #[test]
    fn a_maxconn_that_cannot_be_reached_is_named_with_the_number_that_can() {
        let (mut router, _) = from_flags(&["a:2379".into()], "demo", None).unwrap();
        let budget = Budget::of(1024, 2);
        assert_eq!(budget.exceeded(&router), None);
        router.clusters[0].listeners[1].maxconn = Some(376);
        assert_eq!(budget.exceeded(&router), None);
        router.clusters[0].listeners[1].maxconn = Some(377);
        let too_many = budget.exceeded(&router).unwrap();
        assert_eq!((&*too_many.cluster, &*too_many.listener), ("demo", "read"));
        let said = format!("{}; {}", too_many.what(), too_many.expected());
        for word in ["377", "1024", "write 376", "LimitNOFILE"] {
            assert!(said.contains(word), "{said}");
        }
    }
}
