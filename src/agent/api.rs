//! The REST API: what people, balancers and other members ask this node.
//!
//! What is answered is decided in `trunkline_core::rest`; this folder takes connections, asks PostgreSQL and etcd,
//! and writes bytes. It changes nothing itself: an operator's or a leader's request becomes a wish ([`Wishes`]) or
//! a key in etcd, and the cycle is woken.
//!
//! hyper is not used here. What Patroni's clients know is the server of Python's library: some answers are a status
//! line and nothing else, and hyper adds `connection: close` to those of a client that asks for it; header names go
//! out as they are written in the configuration, which hyper changes; HTTP/0.9 is not its own. One request a
//! connection, read by `httparse` (which is what hyper reads with) and answered in one piece, is less than what it
//! would take to talk hyper out of these.

use std::pin::Pin;
use std::sync::Arc;

use trunkline_core::config::agent::Rest;
use trunkline_core::rest::Signature;

pub use crate::peers::Peers;

mod access;
mod answers;
mod asker;
mod board;
mod connection;
mod handover;
mod keys;
mod listen;
mod places;
mod server;
mod wishes;

pub use asker::{Ask, Asker};
pub use board::Board;
pub use keys::Keys;
pub use listen::{Unbound, listen};
pub use server::serve;
pub use wishes::{Wanted, Wishes};

/// Something that is answered later.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What answers are made of.
#[derive(Debug)]
pub struct Shared {
    /// What the cycle told last.
    pub board: Board,
    /// Whoever asks PostgreSQL.
    pub asker: Asker,
    /// What the cycle is asked for.
    pub wishes: Wishes,
    /// Whoever writes operators' requests to etcd.
    pub keys: Arc<dyn Keys>,
    /// Whoever asks the other members.
    pub peers: Peers,
    /// The configuration of the API.
    pub rest: Rest,
}

impl Shared {
    fn signature(&self) -> Signature {
        Signature {
            tokens: self.rest.server_tokens,
            extra_headers: self.rest.extra_headers.clone(),
        }
    }
}

/// What a connection needs of all that.
type Api = Arc<Shared>;
