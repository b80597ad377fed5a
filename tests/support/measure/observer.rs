//! Thousands of idle sessions, and when each of them ends: as little work a socket as the system allows.
//!
//! One thread waits in epoll and notes the time once for all ends it is told of together. It reads nothing:
//! that the other side has closed is part of the event.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// How many clients log in side by side: fewer than a listening socket's queue holds.
const AT_ONCE: usize = 100;
const LOGIN: Duration = Duration::from_secs(20);
/// A StartupMessage of protocol 3.0 for the user `idle`.
const STARTUP: &[u8] = b"\0\0\0\x13\0\x03\0\0user\0idle\0\0";

/// Sessions that are logged in and say nothing.
pub(crate) struct Sessions {
    sockets: Vec<TcpStream>,
    epoll: OwnedFd,
}

/// Sessions under observation.
pub(crate) struct Observer(JoinHandle<Result<Vec<Instant>>>);

/// A connection that has asked to log in.
pub(crate) fn ask(address: SocketAddr) -> Result<TcpStream> {
    let mut socket =
        TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(LOGIN))?;
    socket.write_all(STARTUP).context("asking to log in")?;
    Ok(socket)
}

/// Waits for the first answer, which has to be that the login is good.
pub(crate) fn welcome(socket: &mut TcpStream) -> Result<()> {
    let mut answer = [0; super::backend::WELCOME.len()];
    socket
        .read_exact(&mut answer)
        .context("waiting for the login's answer")?;
    ensure!(answer == super::backend::WELCOME, "the login was refused");
    Ok(())
}

impl Sessions {
    /// Logs in so many times.
    pub(crate) fn open(address: SocketAddr, count: usize) -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).context("making an epoll")?;
        let mut sockets = Vec::with_capacity(count);
        while sockets.len() < count {
            let room = AT_ONCE.min(count - sockets.len());
            let asked: Result<Vec<TcpStream>> = (0..room).map(|_| ask(address)).collect();
            for mut socket in asked? {
                welcome(&mut socket)?;
                let ends = EventFlags::RDHUP | EventFlags::ET;
                let number = EventData::new_u64(sockets.len() as u64);
                epoll::add(&epoll, &socket, number, ends).context("watching a session")?;
                sockets.push(socket);
            }
        }
        Ok(Self { sockets, epoll })
    }

    /// Begins to observe; the sessions have to end within `bound` from now.
    pub(crate) fn observe(self, bound: Duration) -> Observer {
        Observer(std::thread::spawn(move || self.ends(bound)))
    }

    fn ends(self, bound: Duration) -> Result<Vec<Instant>> {
        let deadline = Instant::now() + bound;
        let mut ended: Vec<Option<Instant>> = vec![None; self.sockets.len()];
        let mut left = self.sockets.len();
        let mut events: Vec<Event> = Vec::with_capacity(1_024);
        while left > 0 {
            let now = Instant::now();
            ensure!(now < deadline, "{left} sessions still live after {bound:?}");
            let wait = Timespec::try_from(deadline - now)?;
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait))
                .context("waiting for ends")?;
            let now = Instant::now();
            for event in &events {
                let number = usize::try_from(event.data.u64())?;
                let slot = ended.get_mut(number).context("an event of no session")?;
                if slot.replace(now).is_none() {
                    left -= 1;
                }
            }
        }
        Ok(ended.into_iter().flatten().collect())
    }
}

impl Observer {
    /// Whether some session has ended already, or the time is up.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// How long after `began` each session ended, sorted.
    pub(crate) async fn since(self, began: Instant) -> Result<Vec<Duration>> {
        let joined = tokio::task::spawn_blocking(move || self.0.join()).await?;
        let ends = joined.map_err(|_panic| anyhow!("the observer panicked"))??;
        let mut after = Vec::with_capacity(ends.len());
        for end in ends {
            let after_began = end.checked_duration_since(began);
            after.push(after_began.context("a session ended before it was to end")?);
        }
        after.sort_unstable();
        Ok(after)
    }
}
