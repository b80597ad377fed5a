//! A CancelRequest names a process, not a server: it goes to every member whose session it may mean.

use anyhow::{Result, ensure};
use trunkline_support::wait::until;

use crate::client::{Client, SSL_REQUEST, cancel_request};
use crate::stand::{Plan, SOON, on};

#[tokio::test]
async fn a_cancel_request_of_any_length_reaches_every_replica_and_its_connection_ends() -> Result<()>
{
    on(Plan::default(), async |stand| {
        crate::routing::both_replicas_serve(stand).await?;
        for (number, key) in [4, 32, 256].into_iter().enumerate() {
            let packet = cancel_request(key);
            let mut client = Client::connect(stand.read()).await?;
            client.say(&packet).await?;
            client.ended(SOON).await?;
            for name in ["pg-2", "pg-3"] {
                let member = stand.member(name)?;
                until(&format!("{name} has heard of it"), SOON, async || {
                    let cancels = member.cancels();
                    ensure!(cancels.len() == number + 1, "{} cancels", cancels.len());
                    ensure!(cancels.last() == Some(&packet), "another packet");
                    Ok(())
                })
                .await?;
            }
        }
        ensure!(
            stand.member("pg-1")?.cancels().is_empty(),
            "the primary serves no readers"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_cancel_request_on_the_write_port_reaches_the_primary_even_in_pieces() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (_session, _) = Client::login(stand.write()).await?;
        let packet = cancel_request(4);
        let mut client = Client::connect(stand.write()).await?;
        client.say(&SSL_REQUEST).await?;
        ensure!(client.hear(1).await? == b"N");
        for byte in &packet {
            client.say(&[*byte]).await?;
        }
        client.ended(SOON).await?;
        ensure!(stand.member("pg-1")?.cancels() == [packet]);
        Ok(())
    })
    .await
}
