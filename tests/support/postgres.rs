//! Asking PostgreSQL: over a connection of our own, or by running psql as a person would.

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio_postgres::types::{FromSqlOwned, ToSql};
use tokio_postgres::{Client, Config, NoTls};

use crate::parts::Parts;

/// The database and the user of every test; access is `trust`, on loopback only.
pub const DATABASE: &str = "postgres";
/// The superuser Patroni makes.
pub const USER: &str = "postgres";

/// One connection.
#[derive(Debug)]
pub struct Sql {
    client: Client,
    server: SocketAddr,
}

impl Sql {
    /// Logs in, in plain text, within `bound`.
    pub async fn connect(server: SocketAddr, bound: Duration) -> Result<Self> {
        let mut config = Config::new();
        config
            .host(server.ip().to_string())
            .port(server.port())
            .user(USER)
            .dbname(DATABASE)
            .application_name("trunkline-support");
        let (client, connection) = tokio::time::timeout(bound, config.connect(NoTls))
            .await
            .with_context(|| format!("logging in to {server}: nothing within {bound:?}"))?
            .with_context(|| format!("logging in to {server}"))?;
        // It ends with the client, and an error of it reaches whoever asks next.
        tokio::spawn(connection);
        Ok(Self { client, server })
    }

    /// The first column of the one row that `query` answers.
    pub async fn one<T: FromSqlOwned>(&self, query: &str) -> Result<T> {
        self.one_with(query, &[]).await
    }

    /// The same with parameters.
    pub async fn one_with<T: FromSqlOwned>(
        &self,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<T> {
        let row = self
            .client
            .query_one(query, parameters)
            .await
            .with_context(|| format!("{}: {query}", self.server))?;
        row.try_get(0)
            .with_context(|| format!("{}: what {query} answered", self.server))
    }

    /// Every row's two columns.
    pub async fn pairs<A: FromSqlOwned, B: FromSqlOwned>(
        &self,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<(A, B)>> {
        let rows = self
            .client
            .query(query, parameters)
            .await
            .with_context(|| format!("{}: {query}", self.server))?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    }

    /// Runs statements, whatever they answer.
    pub async fn run(&self, statements: &str) -> Result<()> {
        self.client
            .batch_execute(statements)
            .await
            .with_context(|| format!("{}: {statements}", self.server))
    }

    /// The address of the server at the far end: which node a connection through a router is on.
    pub async fn server_address(&self) -> Result<SocketAddr> {
        let address: String = self
            .one("SELECT host(inet_server_addr()) || ':' || inet_server_port()")
            .await
            .context("asking which node this is")?;
        address
            .parse()
            .with_context(|| format!("PostgreSQL calls itself {address}"))
    }

    /// Whether the connection still stands.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

/// A psql command for `server`: no start-up file, no pager, errors end it.
#[must_use]
pub fn psql(parts: &Parts, server: SocketAddr, options: &str) -> tokio::process::Command {
    let conninfo = format!(
        "host={} port={} user={USER} dbname={DATABASE} {options}",
        server.ip(),
        server.port()
    );
    let mut command = parts.command(&parts.postgresql("psql"), std::path::Path::new("/"));
    command
        .args([
            "--no-psqlrc",
            "--no-align",
            "--tuples-only",
            "--set=ON_ERROR_STOP=1",
        ])
        .arg(conninfo)
        .stdin(Stdio::null());
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    command
}

/// Runs a program to its end within `bound`.
pub async fn run(command: &mut tokio::process::Command, bound: Duration) -> Result<Output> {
    let shown = format!("{:?}", command.as_std());
    tokio::time::timeout(bound, command.output())
        .await
        .with_context(|| format!("{shown} took longer than {bound:?}"))?
        .with_context(|| format!("running {shown}"))
}
