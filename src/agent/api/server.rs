//! Taking connections: each gets a place, a deadline for all it sends and one for all it is sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use trunkline_core::Moment;
use trunkline_core::rest::reply::{Form, Reply};
use trunkline_io::clock;
use trunkline_io::shutdown::Tasks;

use super::connection::{self, Head, Unread};
use super::places::{Place, Places};
use super::{Api, Shared, answers};

/// How long a client may take to say what it wants.
const READING: Duration = Duration::from_secs(10);
/// How long it may take to hear it.
const WRITING: Duration = Duration::from_secs(5);
/// How long is read on after the answer, so that what was not read does not take the answer away from the client.
const LINGERING: Duration = Duration::from_millis(500);
/// How long to rest after accepting failed: mostly the process is out of descriptors.
const REST: Duration = Duration::from_millis(20);

/// Serves until the tasks are told to drain; requests that are being answered then have until they end.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, tasks: Tasks) {
    let mut places = Places::default();
    let draining = tasks.draining().clone();
    loop {
        let accepted = draining.run_until_cancelled(listener.accept()).await;
        match accepted {
            None => return,
            Some(Ok((stream, client))) => {
                let Some(place) = draining.run_until_cancelled(places.take()).await else {
                    return;
                };
                let api = Arc::clone(&shared);
                let ending = tasks.ending().clone();
                tasks.spawn("REST connection", async move {
                    ending
                        .run_until_cancelled(connection(stream, client, place, api))
                        .await;
                });
            }
            Some(Err(error)) => {
                tracing::debug!("accepting a connection to the REST API failed: {error}");
                draining.run_until_cancelled(sleep(REST)).await;
            }
        }
    }
}

async fn connection(mut stream: TcpStream, client: SocketAddr, place: Place, api: Api) {
    let gone = place.gone().clone();
    let exchange = async {
        // Errors here are of a client that left.
        let _ = stream.set_nodelay(true);
        let Some((form, reply)) = exchange(&mut stream, client, &place, &api).await else {
            return;
        };
        place.works(false);
        let bytes = reply.written(form, &api.signature(), clock::wall());
        let written = timeout(WRITING, async {
            stream.write_all(&bytes).await?;
            stream.shutdown().await
        });
        if let Ok(Ok(())) = written.await {
            let _ = timeout(LINGERING, copy(&mut stream, &mut sink())).await;
        }
    };
    gone.run_until_cancelled(exchange).await;
}

/// Reads a request and answers it. `None`: there is nobody to answer.
async fn exchange(
    stream: &mut TcpStream,
    client: SocketAddr,
    place: &Place,
    api: &Api,
) -> Option<(Form, Reply)> {
    let deadline = clock::now().after(READING);
    let head = match until(deadline, connection::head(stream)).await? {
        Ok(head) => head,
        Err(Unread::Gone) => return None,
        Err(Unread::Bad(reply)) => return Some((Form::Whole, reply)),
    };
    let form = head.form;
    if let Some(refusal) = answers::refused(&head, client.ip(), api).await {
        return Some((form, refusal));
    }
    let body = match until(deadline, body(stream, &head)).await? {
        Ok(body) => body,
        Err(Unread::Gone) => return None,
        Err(Unread::Bad(reply)) => return Some((form, reply)),
    };
    place.works(true);
    Some((form, answers::to(&head, &body, api).await))
}

async fn body(stream: &mut TcpStream, head: &Head) -> Result<Vec<u8>, Unread> {
    if answers::wants_body(head) {
        connection::body(stream, head).await
    } else {
        Ok(Vec::new())
    }
}

/// A client that takes longer than it may is left.
async fn until<T>(deadline: Moment, reading: impl Future<Output = T>) -> Option<T> {
    timeout(deadline.since(clock::now()), reading).await.ok()
}
