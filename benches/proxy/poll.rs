//! A thread's epoll: level-triggered, each socket known by a number of its owner's.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// More than are ever ready at once where few sessions work; where many do, the rest waits for the next turn.
const EVENTS: usize = 256;

/// What a socket is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// Bytes to read, or the end of them.
    Reading,
    /// Room to write.
    Writing,
    /// Either.
    Both,
}

impl For {
    const fn flags(self) -> EventFlags {
        match self {
            Self::Reading => EventFlags::IN,
            Self::Writing => EventFlags::OUT,
            Self::Both => EventFlags::IN.union(EventFlags::OUT),
        }
    }
}

/// One epoll.
#[derive(Debug)]
pub(crate) struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC).context("making an epoll")?,
        })
    }

    pub(crate) fn add(&self, socket: impl AsFd, number: usize, watch: For) -> Result<()> {
        let data = EventData::new_u64(number as u64);
        epoll::add(&self.epoll, socket, data, watch.flags()).context("watching a socket")
    }

    pub(crate) fn change(&self, socket: impl AsFd, number: usize, watch: For) -> Result<()> {
        let data = EventData::new_u64(number as u64);
        epoll::modify(&self.epoll, socket, data, watch.flags()).context("watching a socket anew")
    }

    /// Stops watching a socket that stays open.
    pub(crate) fn forget(&self, socket: impl AsFd) -> Result<()> {
        epoll::delete(&self.epoll, socket).context("watching a socket no longer")
    }

    /// Waits for at most `bound` and puts the numbers of the sockets that are ready into `numbers`: none is no error.
    pub(crate) fn wait(&self, bound: Duration, numbers: &mut Vec<usize>) -> Result<()> {
        let bound = Timespec::try_from(bound).context("a bound that is no time")?;
        numbers.clear();
        let mut events = [MaybeUninit::<Event>::uninit(); EVENTS];
        match epoll::wait(&self.epoll, &mut events[..], Some(&bound)) {
            Ok((ready, _)) => {
                for event in ready {
                    numbers.push(usize::try_from(event.data.u64())?);
                }
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("waiting for sockets"),
        }
    }
}
