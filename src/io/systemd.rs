//! The service manager, where there is one: what it is told, what it passed, how long it waits for a sign of life.
//!
//! It speaks systemd's protocols (`sd_notify`, `sd_listen_fds`), which others speak too. Without a manager all of it
//! does nothing.

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
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
    /// A word is on its way: what comes meanwhile is dropped, so that a deaf manager costs one thread at most.
    is_busy: Arc<AtomicBool>,
}

impl Manager {
    /// Tells the manager `word` and, in one line, how the service is.
    pub async fn tell(&self, word: Word, status: &str) {
        if self.is_busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let (is_busy, status) = (Arc::clone(&self.is_busy), status.replace('\n', " "));
        let telling = spawn_blocking(move || {
            let told = tell(word, &status);
            is_busy.store(false, Ordering::Release);
            told
        });
        match timeout(PATIENCE, telling).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                tracing::warn!(?word, "telling the service manager failed: {error}");
            }
            Ok(Err(_)) | Err(_) => tracing::warn!(?word, "the service manager does not listen"),
        }
    }
}

fn tell(word: Word, status: &str) -> std::io::Result<()> {
    let status = NotifyState::Status(status);
    match word {
        Word::Ready => sd_notify::notify(&[NotifyState::Ready, status]),
        Word::Reloading => sd_notify::notify(&[
            NotifyState::Reloading,
            NotifyState::monotonic_usec_now()?,
            status,
        ]),
        Word::Stopping => sd_notify::notify(&[NotifyState::Stopping, status]),
        Word::Alive => sd_notify::notify(&[NotifyState::Watchdog, status]),
        Word::Status => sd_notify::notify(&[status]),
    }
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
pub fn passed() -> std::io::Result<Vec<Passed>> {
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
