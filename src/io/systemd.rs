//! The service manager, where there is one: what it is told, what it passed, how long it waits for a sign of life.
//!
//! It speaks systemd's protocols (`sd_notify`, `sd_listen_fds`), which others speak too. Without a manager all of it
//! does nothing.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long a word may take to be taken; a manager that does not listen must not stop us.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The service serves; a reload is over.
    Ready,
    /// The configuration is being read again.
    Reloading,
    /// The service ends.
    Stopping,
    /// It lives.
    Alive,
    /// Nothing but the status.
    Status,
}

/// A socket the manager opened for us.
#[derive(Debug)]
pub struct Passed {
    /// What it is called there (`FileDescriptorName=`).
    pub name: String,
    /// The socket.
    pub socket: OwnedFd,
}

/// The line to the manager.
#[derive(Clone, Debug, Default)]
pub struct Manager {
    /// Held while a word is on its way: one after the other, so that a deaf manager costs one thread at most.
    line: Arc<Mutex<()>>,
}

impl Manager {
    /// Tells the manager `word` and, in one line, how the service is.
    pub async fn tell(&self, word: Word, status: &str) {
        let Some(line) = self.turn().await else {
            tracing::warn!(?word, "the service manager does not listen");
            return;
        };
        let status = status.replace('\n', " ");
        let telling = spawn_blocking(move || {
            let told = tell(word, &status);
            drop(line);
            told
        });
        match timeout(PATIENCE, telling).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) if error.kind() != io::ErrorKind::WouldBlock => {
                tracing::warn!(?word, "telling the service manager failed: {error}");
            }
            Ok(Ok(Err(_)) | Err(_)) | Err(_) => {
                tracing::warn!(?word, "the service manager does not listen");
            }
        }
    }

    /// Waits until no other word is on its way: one that is dropped would be missed. A manager that never hears that a
    /// reload is over takes it for one that lasts.
    async fn turn(&self) -> Option<OwnedMutexGuard<()>> {
        let line = Arc::clone(&self.line).lock_owned();
        timeout(PATIENCE, line).await.ok()
    }
}

fn tell(word: Word, status: &str) -> io::Result<()> {
    let status = NotifyState::Status(status);
    match word {
        Word::Ready => send(&[NotifyState::Ready, status]),
        Word::Reloading => send(&[
            NotifyState::Reloading,
            NotifyState::monotonic_usec_now()?,
            status,
        ]),
        Word::Stopping => send(&[NotifyState::Stopping, status]),
        Word::Alive => send(&[NotifyState::Watchdog, status]),
        Word::Status => send(&[status]),
    }
}

/// Sends the words to the socket that `NOTIFY_SOCKET` names, a path or, behind an `@`, a name without one; sd-notify knows
/// paths only, and waits for ever for a manager whose queue is full.
fn send(words: &[NotifyState<'_>]) -> io::Result<()> {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let words: String = words.iter().map(|word| format!("{word}\n")).collect();
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE / 2))?;
    // A datagram goes as a whole or not at all.
    match place.as_encoded_bytes().strip_prefix(b"@") {
        None => socket.send_to(words.as_bytes(), &place),
        Some(name) => {
            let address = SocketAddr::from_abstract_name(name)?;
            socket.send_to_addr(words.as_bytes(), &address)
        }
    }
    .map(drop)
}

/// Within how long the manager wants a sign of life (`WatchdogSec=`); `None` if it does not.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|within| !within.is_zero())
}

/// The sockets that were passed, once: a second call has none.
///
/// # Errors
/// When the environment speaks of sockets that are not there.
pub fn passed() -> io::Result<Vec<Passed>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(Vec::new());
    }
    let sockets = sd_notify::listen_fds_with_names()?;
    let owned = |(number, name)| {
        #[expect(
            unsafe_code,
            reason = "a descriptor that another process passed is a number and nothing else"
        )]
        // SAFETY: the manager opened it for this process (LISTEN_PID is ours), the call above has found it open, and
        // the guard at the top has it taken over once.
        let socket = unsafe { OwnedFd::from_raw_fd(number) };
        Passed { name, socket }
    };
    Ok(sockets.map(owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_word_waits_for_the_one_before_it_and_gives_up_on_a_deaf_manager() {
        let manager = Manager::default();
        let first = manager.turn().await;
        assert!(first.is_some());
        let (second, ()) = tokio::join!(manager.turn(), async {
            tokio::task::yield_now().await;
            drop(first);
        });
        assert!(second.is_some(), "the second word was dropped");
        assert!(manager.turn().await.is_none(), "it waits for ever");
    }
}
