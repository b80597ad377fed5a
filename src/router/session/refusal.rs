//! Telling a client why it is not served, in PostgreSQL's protocol and in the order of it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::cancel;
use super::ending::Ending;
use super::opening::more;
use crate::door::Door;
use crate::startup::{self, First};
use crate::stream::Stream;

/// The ErrorResponse for an ending; `None` for those a client sees by itself.
pub(super) fn error(ending: &Ending, door: &Door) -> Option<Vec<u8>> {
    let error = match ending {
        Ending::NoTarget(because) => startup::fatal(
            "57P03",
            &format!(
                "no server for \"{}\" of cluster \"{}\": {because}",
                door.config.name, door.cluster
            ),
            Some(
                "Trunkline holds new connections while there is no server; the hold has ended without one.",
            ),
        ),
        Ending::NothingLeft => startup::fatal(
            "53300",
            &format!(
                "no connection to a server of cluster \"{}\": the router's machine has nothing left to connect with",
                door.cluster
            ),
            Some("The servers are not to blame. The router's log says what there is none of."),
        ),
        Ending::TooManyHeld => startup::fatal(
            "53300",
            &format!(
                "too many clients wait for a server of cluster \"{}\" already",
                door.cluster
            ),
            None,
        ),
        Ending::TooManySessions => startup::fatal(
            "53300",
            &format!(
                "too many connections to \"{}\" of cluster \"{}\"",
                door.config.name, door.cluster
            ),
            None,
        ),
        Ending::ShutDown => startup::fatal("57P01", "the connection router is shutting down", None),
        Ending::ClientClosed
        | Ending::ServerClosed
        | Ending::ClientBroke
        | Ending::ServerBroke
        | Ending::ClientLeftEarly
        | Ending::Idle
        | Ending::Killed(_)
        | Ending::Cancel => return None,
    };
    Some(error)
}

/// Refuses in the order of the protocol: encryption is declined first, the error follows the StartupMessage.
pub(super) async fn refuse(
    client: &mut Stream,
    said: &mut Vec<u8>,
    error: &[u8],
    door: &Door,
) -> Result<(), Ending> {
    loop {
        match startup::first(said) {
            First::Incomplete => more(client, said).await?,
            First::AsksEncryption => {
                client
                    .write_all(b"N")
                    .await
                    .map_err(|_| Ending::ClientBroke)?;
                said.drain(..8);
            }
            First::Startup(_) => {
                client
                    .write_all(error)
                    .await
                    .map_err(|_| Ending::ClientBroke)?;
                client.shutdown().await.map_err(|_| Ending::ClientBroke)?;
                // What the client still sends is read until it closes: a reset could overtake the error.
                while client
                    .read(&mut [0; 512])
                    .await
                    .is_ok_and(|count| count > 0)
                {}
                return Ok(());
            }
            // It asks for no place, and may well be what makes room.
            First::Cancel(length) => {
                cancel::pass_on(said.get(..length).unwrap_or_default(), door).await;
                return Ok(());
            }
            First::NotPostgres => return Ok(()),
        }
    }
}
