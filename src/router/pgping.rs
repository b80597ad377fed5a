//! PostgreSQL's own answer to "do you accept connections?", asked as `pg_isready` does.
//!
//! A connection alone is no evidence: the kernel accepts for a frozen postmaster. So a StartupMessage is sent and
//! the first answer read (PostgreSQL protocol, Message Flow, Start-up).

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use trunkline_core::probe::Accepts;
use trunkline_core::route::Address;

use crate::startup;
use crate::stream::Stream;

/// The most of an answer that is looked at: an ErrorResponse has its SQLSTATE in the first hundred bytes.
const LOOK_AT: usize = 1024;

/// Asks the PostgreSQL at `address`. The caller sets the deadline.
///
/// # Errors
/// When there is no connection, or what answers does not speak PostgreSQL's protocol.
pub async fn ask(address: &Address) -> io::Result<Accepts> {
    let mut stream = Stream::connect(address).await?;
    stream
        .write_all(&startup::message(&[
            ("user", "trunkline"),
            ("database", "postgres"),
        ]))
        .await?;
    let mut answer = Vec::with_capacity(LOOK_AT);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "closed without an answer",
            ));
        }
        match startup::first_reply(&answer) {
            startup::FirstReply::Incomplete if answer.len() < LOOK_AT => {}
            startup::FirstReply::CannotConnectNow => return Ok(Accepts::NotNow),
            startup::FirstReply::Error | startup::FirstReply::Other => return Ok(Accepts::Yes),
            startup::FirstReply::Incomplete | startup::FirstReply::NotPostgres => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "what answers there does not speak PostgreSQL's protocol",
                ));
            }
        }
    }
}
