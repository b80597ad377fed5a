//! The server behind every contender: one process of this program, a few threads with an epoll each, sessions dealt
//! out in turn so that every thread has as many as the next.
//!
//! It is as lean as it can be, because what it costs is the same for all and only hides their differences.

mod session;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{EventfdFlags, eventfd};
use trunkline_support::process::Process;
use trunkline_support::wait::until;
use trunkline_support::workdir::WorkDir;

use crate::poll::{For, Poll};
use crate::wire::{CHUNK, Pattern};
use session::{Open, Session};

/// Sessions a thread takes from a listener before it looks after those it has.
const ACCEPTS: usize = 16;
/// Nobody waits for this: it only bounds a call.
const TURN: Duration = Duration::from_secs(60);
/// The number of the wake-up descriptor; listeners come after it, then sessions.
const WAKE_UP: usize = 0;

/// Starts it as a process of its own, listening on `addresses`, and waits until it does.
pub(crate) async fn start(addresses: &[SocketAddr], workdir: &Arc<WorkDir>) -> Result<Process> {
    let ourselves: PathBuf = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(ourselves);
    command.arg("backend");
    for address in addresses {
        command.args(["--listen", &address.to_string()]);
    }
    let mut process = Process::start("backend", &mut command, None, workdir)?;
    let up = until("the backend listens", Duration::from_secs(10), async || {
        process.expect_running()?;
        for address in addresses {
            drop(tokio::net::TcpStream::connect(address).await?);
        }
        Ok(())
    })
    .await;
    up.map_err(|failure| process.with_log(&failure))?;
    Ok(process)
}

/// What that process does, until it is ended.
pub(crate) fn serve(addresses: &[SocketAddr], threads: usize) -> Result<()> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener =
            TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
        listener.set_nonblocking(true)?;
        listeners.push(listener);
    }
    let doors = (0..threads)
        .map(|_| Door::new())
        .collect::<Result<Vec<Door>>>()?;
    std::thread::scope(|scope| {
        let (first, others) = doors.split_first().context("a backend without threads")?;
        let mut running = Vec::new();
        for door in others {
            running.push(scope.spawn(|| Thread::new(door, Vec::new(), &doors)?.run()));
        }
        Thread::new(first, listeners, &doors)?.run()?;
        for thread in running {
            let ended = thread.join();
            ended.map_err(|_panic| anyhow::anyhow!("a thread of the backend panicked"))??;
        }
        Ok(())
    })
}

/// How a thread is handed sessions by another.
struct Door {
    handed: Mutex<Vec<TcpStream>>,
    bell: OwnedFd,
}

impl Door {
    fn new() -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self {
            handed: Mutex::default(),
            bell: eventfd(0, flags).context("making an eventfd")?,
        })
    }

    fn hand(&self, stream: TcpStream) -> Result<()> {
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        handed.push(stream);
        drop(handed);
        rustix::io::write(&self.bell, &1_u64.to_ne_bytes()).context("waking a thread")?;
        Ok(())
    }

    fn take(&self) -> Vec<TcpStream> {
        // Nothing to be read: it was rung for what an earlier turn has taken.
        let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut handed)
    }
}

struct Thread<'a> {
    poll: Poll,
    door: &'a Door,
    listeners: Vec<TcpListener>,
    /// Everybody's doors, to deal sessions out to, and whose turn it is.
    doors: &'a [Door],
    turn: usize,
    sessions: HashMap<usize, Session>,
    next: usize,
    pattern: Pattern,
    scratch: Vec<u8>,
}

impl<'a> Thread<'a> {
    fn new(door: &'a Door, listeners: Vec<TcpListener>, doors: &'a [Door]) -> Result<Self> {
        let poll = Poll::new()?;
        poll.add(&door.bell, WAKE_UP, For::Reading)?;
        for (number, listener) in (1..).zip(&listeners) {
            poll.add(listener, number, For::Reading)?;
        }
        Ok(Self {
            poll,
            door,
            next: 1 + listeners.len(),
            listeners,
            doors,
            turn: 0,
            sessions: HashMap::new(),
            pattern: Pattern::new(),
            scratch: vec![0; CHUNK],
        })
    }

    fn run(mut self) -> Result<()> {
        let mut ready = Vec::new();
        loop {
            self.poll.wait(TURN, &mut ready)?;
            for number in ready.drain(..) {
                if number == WAKE_UP {
                    for stream in self.door.take() {
                        self.serve(stream)?;
                    }
                } else if number <= self.listeners.len() {
                    self.accept(number - 1)?;
                } else {
                    self.go_on(number);
                }
            }
        }
    }

    fn accept(&mut self, listener: usize) -> Result<()> {
        for _ in 0..ACCEPTS {
            // Nobody there, or somebody who has left already.
            let Ok((stream, _)) = self.listeners[listener].accept() else {
                return Ok(());
            };
            let turn = self.turn % self.doors.len();
            self.turn += 1;
            match turn {
                // The thread that has the listeners is the first one.
                0 => self.serve(stream)?,
                other => self.doors[other].hand(stream)?,
            }
        }
        Ok(())
    }

    fn serve(&mut self, stream: TcpStream) -> Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let number = self.next;
        self.next += 1;
        self.poll.add(&stream, number, For::Reading)?;
        self.sessions.insert(number, Session::new(stream));
        Ok(())
    }

    /// A session that fails is dropped: its client is the one that tells.
    fn go_on(&mut self, number: usize) {
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        let (pattern, scratch) = (&self.pattern, &mut self.scratch[..]);
        match session.go_on(&self.poll, number, pattern, scratch) {
            Ok(Open::Yes) => {}
            Ok(Open::No) | Err(_) => drop(self.sessions.remove(&number)),
        }
    }
}
