//! Moving a session's bytes, both ways, until one side ends.
//!
//! The interface is made for more than one way of moving them: a direction is read and written by readiness, owns
//! no buffer while it is idle, and can be stopped between two system calls.

mod copy;

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::session::ending::Ending;
use crate::socket;
use copy::Direction;

/// How long what a server had sent may take to reach a client whose session was killed.
const LAST_BYTES: Duration = Duration::from_millis(100);
/// How long a half that was closed may stay unanswered while the other half is silent.
const HALF_CLOSED: Duration = Duration::from_secs(15 * 60);

/// How many bytes went through, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// From the client to the server.
    pub from_client: u64,
    /// From the server to the client.
    pub from_server: u64,
}

/// Pumps until both sides have ended, or one breaks. Bytes are counted as they go.
pub async fn run(
    client: &TcpStream,
    server: &TcpStream,
    bytes: &mut Bytes,
    idle: Option<Duration>,
) -> Ending {
    let mut up = Direction::new(client, server);
    let mut down = Direction::new(server, client);
    let mut first = None;
    loop {
        let limit = if first.is_some() {
            Some(HALF_CLOSED)
        } else {
            idle
        };
        let step = tokio::select! {
            step = up.step(), if !up.is_over() => step.map_err(|side| side.of(Ending::ClientBroke, Ending::ServerBroke)).map(|moved| {
                bytes.from_client += moved;
                up.is_over().then_some(Ending::ClientClosed)
            }),
            step = down.step(), if !down.is_over() => step.map_err(|side| side.of(Ending::ServerBroke, Ending::ClientBroke)).map(|moved| {
                bytes.from_server += moved;
                down.is_over().then_some(Ending::ServerClosed)
            }),
            () = silence(limit) => Err(Ending::Idle),
        };
        match step {
            Err(broken) => return first.unwrap_or(broken),
            Ok(Some(closed)) => {
                let first = first.get_or_insert(closed);
                if up.is_over() && down.is_over() {
                    return first.clone();
                }
            }
            Ok(None) => {}
        }
    }
}

/// The end of a killed session: nothing more from the client; what the server had already sent is delivered, for
/// a tenth of a second; then the client sees the end, in order if it takes it and by reset if it does not.
pub async fn deliver_and_close(client: TcpStream, server: TcpStream, bytes: &mut Bytes) {
    let mut down = Direction::new(&server, &client);
    let deliver = async {
        while let Ok(Some(moved)) = down.step_if_ready().await {
            bytes.from_server += moved;
        }
    };
    let delivered = timeout(LAST_BYTES, deliver).await.is_ok();
    if !delivered || !down.is_empty() {
        socket::reset_on_close(&client);
    }
    // The server's side ends with it: PostgreSQL notices when it next reads or writes.
    drop((client, server));
}

async fn silence(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep_until(Instant::now() + limit).await,
        None => std::future::pending().await,
    }
}

/// Which end of a direction broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    From,
    To,
}

impl Side {
    fn of(self, from: Ending, to: Ending) -> Ending {
        match self {
            Self::From => from,
            Self::To => to,
        }
    }
}

/// Whether an error means "not now".
fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
