//! A server that is in one of several modes and can be switched while it listens.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a mode has to say of itself.
pub(super) trait Mode: Copy + Debug + PartialEq + Send + Sync + 'static {
    /// Whether nobody listens in it, so that connections are refused.
    fn refuses(self) -> bool;
}

/// The server's mode, and the task that accepts for it.
#[derive(Debug)]
pub(super) struct Switch<M> {
    wanted: watch::Sender<M>,
    in_force: watch::Receiver<M>,
    accepting: JoinHandle<()>,
}

impl<M: Mode> Switch<M> {
    /// Listens on `address` in `mode` and gives each connection, with the mode it came in, to `serve`.
    pub(super) async fn start(
        address: SocketAddr,
        mode: M,
        serve: impl Fn(TcpStream, M) + Send + 'static,
    ) -> Result<Self> {
        let (wanted, turned) = watch::channel(mode);
        let (told, in_force) = watch::channel(mode);
        let listener = listen(address)
            .await
            .with_context(|| format!("listening on {address}"))?;
        let accepting = tokio::spawn(accept(address, listener, turned, told, serve));
        Ok(Self {
            wanted,
            in_force,
            accepting,
        })
    }

    /// Switches, and returns when the new mode is in force.
    pub(super) async fn turn(&self, mode: M) -> Result<()> {
        self.wanted.send_replace(mode);
        let mut in_force = self.in_force.clone();
        let turned = in_force.wait_for(|now| *now == mode);
        tokio::time::timeout(Duration::from_secs(5), turned)
            .await
            .with_context(|| format!("switching a fake member to {mode:?}"))?
            .context("the fake member's listener is gone")?;
        Ok(())
    }
}

impl<M> Drop for Switch<M> {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept<M: Mode>(
    address: SocketAddr,
    first: TcpListener,
    mut wanted: watch::Receiver<M>,
    in_force: watch::Sender<M>,
    serve: impl Fn(TcpStream, M),
) {
    let mut listener = Some(first);
    loop {
        let mode = *wanted.borrow_and_update();
        if mode.refuses() {
            listener = None;
        } else if listener.is_none() {
            // The port is ours: only a connection that has not quite ended can keep it for a moment.
            match listen(address).await {
                Ok(again) => listener = Some(again),
                Err(_busy) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            }
        }
        in_force.send_replace(mode);
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = wanted.changed() => if changed.is_err() { return },
            accepted = accepted => if let Ok((stream, _)) = accepted {
                serve(stream, mode);
            },
        }
    }
}

async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}
