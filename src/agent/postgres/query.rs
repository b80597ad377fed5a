//! Asking PostgreSQL over a connection of our own. tokio-postgres stops in this file.
//!
//! A connection is driven only while somebody asks: there is no task behind it, and whoever stops waiting leaves
//! nothing behind. What the answers mean is core's.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};
use trunkline_core::Moment;
use trunkline_core::config::agent::{Agent, Credentials, Settings};
use trunkline_core::config::router::Secret;
use trunkline_core::postgres::Silence;
use trunkline_io::clock;

use way::{Connector, Ways};

mod replication;
pub(super) mod status;
mod way;

pub use replication::identify;

/// A connection is given up after this long (contract 4.3).
const CONNECT: Duration = Duration::from_secs(3);
/// Where libpq looks for a socket unless it is told.
const DEFAULT_SOCKET: &str = "/var/run/postgresql";

/// Where the PostgreSQL of this node is asked, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub place: Place,
    /// The port; over a unix socket part of its name.
    pub port: u16,
    /// The user; the one the agent runs as if `None`.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
    /// What libpq would be told beside (`sslmode` …), which counts over TCP only.
    pub options: BTreeMap<String, String>,
}

/// Over what it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The unix socket in this directory.
    Socket(PathBuf),
    /// TCP to this name or address.
    Host(String),
}

impl Target {
    /// This node's PostgreSQL, as its superuser (contract, appendix B).
    #[must_use]
    pub fn local(agent: &Agent, settings: &Settings) -> Self {
        Self::local_as(agent, settings, &agent.superuser)
    }

    /// The same as the user for replication, over the replication protocol.
    #[must_use]
    pub fn local_replication(agent: &Agent, settings: &Settings) -> Self {
        Self::at(
            agent,
            settings,
            &agent.replication,
            settings.use_unix_socket_repl,
        )
    }

    /// The same as another user.
    #[must_use]
    pub fn local_as(agent: &Agent, settings: &Settings, user: &Credentials) -> Self {
        Self::at(agent, settings, user, settings.use_unix_socket)
    }

    fn at(agent: &Agent, settings: &Settings, user: &Credentials, over_socket: bool) -> Self {
        let place = if over_socket {
            let directories = settings.parameters.get("unix_socket_directories");
            Place::Socket(socket_directory(directories.map_or("", String::as_str)))
        } else {
            Place::Host(local_host(&agent.listen_addresses))
        };
        Self {
            place,
            port: agent.port,
            user: user.username.clone(),
            password: user.password.clone(),
            database: agent.database.clone(),
            options: user.options.clone(),
        }
    }

    /// Where its login is written, for messages.
    fn section(&self) -> String {
        let user = self.user.as_deref().unwrap_or("PostgreSQL's superuser");
        format!("postgresql.authentication (user {user})")
    }

    /// The host as libpq takes it: a name, an address or the socket's directory.
    #[must_use]
    pub fn host(&self) -> String {
        match &self.place {
            Place::Socket(directory) => directory.to_string_lossy().into_owned(),
            Place::Host(host) => host.clone(),
        }
    }
}

/// The first absolute one of `unix_socket_directories`, or libpq's own.
fn socket_directory(directories: &str) -> PathBuf {
    let mut names = directories
        .split(',')
        .map(|name| name.trim().trim_matches('"'));
    let absolute = names.find(|name| name.starts_with('/'));
    absolute.unwrap_or(DEFAULT_SOCKET).into()
}

/// Where to connect on this machine to what listens on these addresses.
fn local_host(listen_addresses: &str) -> String {
    let addresses = || listen_addresses.split(',').map(str::trim);
    let is_local = |address: &str| ["*", "localhost", "0.0.0.0", "127.0.0.1"].contains(&address);
    if addresses().any(is_local) {
        return "localhost".to_owned();
    }
    let first = addresses().next().filter(|first| !first.is_empty());
    first.unwrap_or("localhost").to_owned()
}

/// A row of an answer: its columns as text.
pub type Row = Vec<Option<String>>;

/// One connection.
pub struct Session {
    client: Client,
    connection: Driven,
    ended: bool,
}

/// A connection, in clear or over TLS, as what keeps it going; it ends with it.
type Driven = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// One in the making.
type Connecting = Pin<Box<dyn Future<Output = Result<(Client, Driven), Error>> + Send>>;

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Connects, within three seconds and before the deadline. `options` are settings, as `-c name=value`.
    ///
    /// # Errors
    /// When PostgreSQL is not there, does not answer or does not let it in.
    pub async fn open(
        target: &Target,
        application: &str,
        options: &str,
        deadline: Moment,
    ) -> Result<Self, Silence> {
        let mut config = Config::new();
        match &target.place {
            Place::Socket(directory) => config.host_path(directory),
            Place::Host(host) => config.host(host),
        };
        config
            .port(target.port)
            .application_name(application)
            .options(options)
            .connect_timeout(CONNECT);
        login(&mut config, target);
        let left = deadline.since(clock::now()).min(CONNECT);
        let connected = tokio::time::timeout(left, Self::connected(target, &mut config)).await;
        connected.unwrap_or(Err(Silence::TimedOut))
    }

    async fn connected(target: &Target, config: &mut Config) -> Result<Self, Silence> {
        let mut ways = Ways::to(target)?;
        loop {
            let connected = match ways.next(config).await? {
                None => {
                    let connected = config.connect(NoTls).await;
                    connected.map(|(client, connection)| (client, Box::pin(connection) as Driven))
                }
                Some(connector) => over_tls(config.clone(), connector).await,
            };
            match connected {
                Ok((client, connection)) => {
                    return Ok(Self {
                        client,
                        connection,
                        ended: false,
                    });
                }
                Err(error) => ways.refused(&error)?,
            }
        }
    }

    /// The rows that statements answer. The session is of no use after [`Silence::TimedOut`].
    ///
    /// # Errors
    /// When they fail or are not answered by the deadline.
    pub async fn rows(&mut self, statements: &str, deadline: Moment) -> Result<Vec<Row>, Silence> {
        let left = deadline.since(clock::now());
        let answer = self.client.simple_query(statements);
        let driven = drive(&mut self.connection, &mut self.ended, answer);
        let messages = match tokio::time::timeout(left, driven).await {
            Ok(answer) => answer?,
            Err(_elapsed) => {
                self.ended = true;
                return Err(Silence::TimedOut);
            }
        };
        let rows = messages.into_iter().filter_map(|message| {
            let SimpleQueryMessage::Row(row) = message else {
                return None;
            };
            let columns = (0..row.len()).map(|column| row.get(column).map(str::to_owned));
            Some(columns.collect())
        });
        Ok(rows.collect())
    }

    /// Runs statements, whatever they answer.
    ///
    /// # Errors
    /// When they fail or are not answered by the deadline.
    pub async fn run(&mut self, statements: &str, deadline: Moment) -> Result<(), Silence> {
        self.rows(statements, deadline).await.map(drop)
    }

    /// Whether it can still be asked, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.ended && !self.client.is_closed()
    }
}

/// Connects over TLS. Boxed: that this may move between threads can be shown of its own values, not of borrowed ones.
fn over_tls(config: Config, connector: Connector) -> Connecting {
    Box::pin(async move {
        let (client, connection) = config.connect(connector).await?;
        Ok((client, Box::pin(connection) as Driven))
    })
}

/// Who logs in, and to which database.
fn login(config: &mut Config, target: &Target) {
    config.dbname(&target.database);
    if let Some(user) = &target.user {
        config.user(user);
    }
    if let Some(password) = &target.password {
        config.password(password.reveal());
    }
}

/// Waits for an answer and keeps the connection going meanwhile.
async fn drive<T>(
    connection: &mut Driven,
    ended: &mut bool,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Silence> {
    let closed = || Silence::Unreachable("the connection is closed".to_owned());
    if *ended {
        return Err(closed());
    }
    tokio::select! {
        biased;
        answer = answer => answer.map_err(|error| silence(&error)),
        end = connection => {
            *ended = true;
            // What the server said when it closed says more than that it did. The answer will not come any more.
            match end {
                Err(said) => Err(silence(&said)),
                Ok(()) => Err(closed()),
            }
        }
    }
}

/// What an error means for one who asked.
fn silence(error: &Error) -> Silence {
    let Some(said) = error.as_db_error() else {
        return without_answer(error);
    };
    let (code, words) = (said.code(), said.message());
    // PostgreSQL has one code for both; its words are translated only where lc_messages says so, and what is neither
    // is a start: it says so while it recovers.
    let stops = words.contains("shutting down") || words.contains("shutdown");
    if *code == SqlState::CANNOT_CONNECT_NOW {
        return if stops {
            Silence::ShuttingDown
        } else {
            Silence::Starting
        };
    }
    if *code == SqlState::ADMIN_SHUTDOWN {
        return Silence::ShuttingDown;
    }
    if *code == SqlState::CRASH_SHUTDOWN {
        // Another backend died: PostgreSQL begins anew by itself.
        return if stops {
            Silence::ShuttingDown
        } else {
            Silence::Starting
        };
    }
    Silence::Failed(format!("{words} (SQLSTATE {})", code.code()))
}

fn without_answer(error: &Error) -> Silence {
    use std::error::Error as _;
    let cause = error.source();
    let system = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
    if system.is_some_and(|system| system.kind() == io::ErrorKind::TimedOut) {
        return Silence::TimedOut;
    }
    Silence::Unreachable(match cause {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_connection_goes_where_a_superuser_is_let_in() {
        for (listens, goes) in [
            ("*", "localhost"),
            ("10.0.0.1,127.0.0.1", "localhost"),
            ("0.0.0.0", "localhost"),
            ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
            ("::", "::"),
            ("", "localhost"),
        ] {
            assert_eq!(local_host(listens), goes, "{listens:?}");
        }
    }

    #[test]
    fn the_first_absolute_socket_directory_is_used() {
        for (directories, used) in [
            ("/tmp, /run/pg", "/tmp"),
            ("@abstract,/run/pg", "/run/pg"),
            ("\"/run/a\"", "/run/a"),
            ("", DEFAULT_SOCKET),
        ] {
            assert_eq!(socket_directory(directories), PathBuf::from(used));
        }
    }
}
