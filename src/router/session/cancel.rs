//! Passing a CancelRequest on.
//!
//! It comes on a connection of its own and names a process and its secret, not a server: so it goes to every
//! member whose sessions may be this listener's. PostgreSQL ignores one that names nobody.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::door::Door;
use crate::socket;

/// How long a member may take to act on it: the client waits for the end of the connection.
const DEADLINE: Duration = Duration::from_secs(2);

/// Sends `packet` to every member of the door's pool and returns when all have closed, or after two seconds.
pub(super) async fn pass_on(packet: &[u8], door: &Door) {
    let snapshot = door.snapshot();
    let Some(lane) = snapshot.lane(&door.config.name) else {
        return;
    };
    let mut members = JoinSet::new();
    for seat in &lane.residents {
        let (address, packet) = (seat.target.address.clone(), packet.to_vec());
        let config = door.config.clone();
        members.spawn(async move {
            let mut stream = socket::connect(&address, &config).await?;
            stream.write_all(&packet).await?;
            // PostgreSQL says nothing and closes once the signal is sent.
            stream.read(&mut [0; 1]).await
        });
    }
    let all = async { while members.join_next().await.is_some() {} };
    let _ = timeout(DEADLINE, all).await;
}
