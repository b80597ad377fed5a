//! An API on a port of its own, with a cycle and a PostgreSQL that the test speaks for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use trunkline_agent::api::{self, Asker, Board, Keys, Later, Peers, Shared, Wishes};
use trunkline_core::Revision;
use trunkline_core::config::agent::{Rest, ServerTokens};
use trunkline_core::lease::{Held, Written};
use trunkline_core::postgres::{Database, Silence};
use trunkline_core::rest::Told;
use trunkline_io::clock;
use trunkline_io::shutdown::Tasks;

use crate::captures;

/// What PostgreSQL answers.
pub(crate) type Answer = Result<Database, Silence>;

/// A running API.
pub(crate) struct Stand {
    pub(crate) address: SocketAddr,
    pub(crate) board: Board,
    pub(crate) wishes: Wishes,
    pub(crate) requests: Requests,
    /// How many queries began.
    pub(crate) queries: Arc<AtomicUsize>,
    tasks: Tasks,
}

/// What was written to the `failover` key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(pub(crate) Arc<Mutex<Vec<String>>>);

impl Keys for Requests {
    fn request(&self, failover: String) -> Later<Written> {
        self.0.lock().unwrap().push(failover);
        Box::pin(async { Written::Done })
    }

    fn withdraw(&self, seen: Revision) -> Later<Written> {
        self.0.lock().unwrap().push(format!("withdraw {seen}"));
        Box::pin(async { Written::Done })
    }
}

/// The configuration nobody wrote anything into.
pub(crate) fn rest() -> Rest {
    Rest {
        listen: ("127.0.0.1".to_owned(), 0),
        connect: ("127.0.0.1".to_owned(), 0),
        authentication: None,
        allowlist: None,
        allowlist_include_members: false,
        extra_headers: Vec::new(),
        server_tokens: ServerTokens::Original,
        honest_primary: false,
        backlog: 5,
    }
}

/// A primary with the lock, as of now.
pub(crate) fn primary() -> (Told, Answer) {
    let (told, database) = captures::primary();
    (current(told), database)
}

/// A replica that streams, as of now.
pub(crate) fn replica() -> (Told, Answer) {
    let (told, database) = captures::replica();
    (current(told), database)
}

/// The same as of now.
pub(crate) fn current(mut told: Told) -> Told {
    let now = clock::now();
    told.etcd_answered = Some(now);
    told.next_run = now;
    told.held = told.held.map(|held| Held {
        confirmed: now,
        ..held
    });
    told
}

impl Stand {
    /// Serves what is told; PostgreSQL answers at once.
    pub(crate) async fn of((told, answer): (Told, Answer), rest: Rest) -> Self {
        let told_and_answered = move || answer.clone();
        Self::asking(told, rest, move || {
            let answer = told_and_answered();
            Box::pin(async move { answer })
        })
        .await
    }

    /// Serves what is told and asks PostgreSQL by `ask`.
    pub(crate) async fn asking(
        told: Told,
        rest: Rest,
        ask: impl Fn() -> Later<Answer> + Send + Sync + 'static,
    ) -> Self {
        Self::on(Board::new(told), rest, ask).await
    }

    /// Serves what stands on a board.
    pub(crate) async fn on(
        board: Board,
        rest: Rest,
        ask: impl Fn() -> Later<Answer> + Send + Sync + 'static,
    ) -> Self {
        let tasks = Tasks::new();
        let queries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&queries);
        let ask = Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            ask()
        });
        let wishes = Wishes::default();
        let requests = Requests::default();
        let listener = api::listen(&rest).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared {
            board: board.clone(),
            asker: Asker::start(ask, &tasks),
            wishes: wishes.clone(),
            keys: Arc::new(requests.clone()),
            peers: Peers::default(),
            rest,
        };
        let serving = api::serve(listener, Arc::new(shared), tasks.clone());
        tasks.spawn("REST API", serving);
        Self {
            address,
            board,
            wishes,
            requests,
            queries,
            tasks,
        }
    }

    /// Sends these bytes and reads until the server closes.
    pub(crate) async fn say(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(bytes.as_ref()).await.unwrap();
        hear(&mut client).await
    }

    /// The status and the body of an answer to `line`, sent with these headers and this body.
    pub(crate) async fn ask(&self, line: &str, headers: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let whole = format!(
            "{line} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        let answer = self.say(whole).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, body.to_owned())
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.tasks.drain();
        self.tasks.stop();
    }
}

/// All that comes until the server closes.
pub(crate) async fn hear(client: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let within = Duration::from_secs(20);
    timeout(within, client.read_to_end(&mut heard))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8(heard).unwrap()
}

/// Without what differs from day to day.
pub(crate) fn undated(answer: &str) -> String {
    let lines = answer.split("\r\n");
    let kept: Vec<&str> = lines.filter(|line| !line.starts_with("Date: ")).collect();
    kept.join("\r\n")
}
