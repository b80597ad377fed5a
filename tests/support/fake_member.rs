//! A member of a cluster that can lie: a REST API that says what it is told to say, and a PostgreSQL that
//! answers logins, or does not, as it is told.
//!
//! Real members cannot be brought into most of the states a router has to survive, and never at a chosen
//! moment. Both halves are switched while they run; a switch is in force when the call returns.

mod postgres;
mod rest;
mod switch;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use tokio::net::TcpStream;

use crate::ca::{Ca, Tls};
use crate::ports::Loopback;
pub use postgres::{GREETING, Postgres};
pub use rest::Rest;

use postgres::FakePostgres;
use rest::{Acceptor, FakeRest};

/// The system identifier of every fake cluster.
pub const SYSTEM_ID: &str = "7710532611349547367";

/// A fake member: nothing of it is in etcd until somebody writes [`FakeMember::key`] there.
#[derive(Debug)]
pub struct FakeMember {
    name: String,
    rest: FakeRest,
    postgres: FakePostgres,
}

impl FakeMember {
    /// Starts both halves on `host` of the network: a running replica that accepts logins.
    pub async fn start(scope: &str, name: &str, network: &Loopback, host: u8) -> Result<Self> {
        Self::start_with(scope, name, None, network, host).await
    }

    /// The same, its REST API behind TLS where an authority is given: it shows that one's certificate for its
    /// address, and refuses clients that show none.
    pub async fn start_with(
        scope: &str,
        name: &str,
        ca: Option<&Ca>,
        network: &Loopback,
        host: u8,
    ) -> Result<Self> {
        let address = network.free(host, 8008)?;
        let tls = match ca {
            None => None,
            Some(ca) => Some(Acceptor::new(
                ca.both_sides(&[address.ip()], name)?.acceptor()?,
            )),
        };
        Ok(Self {
            name: name.to_owned(),
            rest: FakeRest::start(scope, name, address, tls).await?,
            postgres: FakePostgres::start(name, network.free(host, 5432)?).await?,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its PostgreSQL listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.postgres.address
    }

    /// Has its PostgreSQL listen in `directory` too, as PostgreSQL does, and returns what Patroni would keep of a
    /// member that listens nowhere else.
    pub fn listen_in(&self, directory: &Path, role: &str) -> Result<String> {
        let address = self.postgres.address;
        self.postgres
            .listen_at(&directory.join(format!(".s.PGSQL.{}", address.port())))?;
        let tcp = format!("postgres://{address}/postgres");
        let unix = format!(
            "postgres:///postgres?host={}&port={}",
            directory.display(),
            address.port()
        );
        Ok(self.key(role).replace(&tcp, &unix))
    }

    /// How many connections came by way of [`FakeMember::listen_in`], the router's own questions among them.
    #[must_use]
    pub fn through_unix(&self) -> u64 {
        self.postgres.through_unix()
    }

    /// Where its REST API listens.
    #[must_use]
    pub fn rest(&self) -> SocketAddr {
        self.rest.address
    }

    /// What Patroni would keep of it under `members/NAME`.
    #[must_use]
    pub fn key(&self, role: &str) -> String {
        json!({
            "conn_url": format!("postgres://{}/postgres", self.postgres.address),
            "api_url": format!("{}://{}/patroni", self.rest.scheme(), self.rest.address),
            "state": "running",
            "role": role,
            "version": "4.1.5",
            "xlog_location": 67_433_664,
            "timeline": 7,
        })
        .to_string()
    }

    /// Has the REST API show another certificate, to connections that are made from now on.
    pub fn shows(&self, tls: &Tls) -> Result<()> {
        let acceptor = self.rest.tls.as_ref().context("it speaks no TLS")?;
        acceptor.turn(tls.acceptor()?);
        Ok(())
    }

    /// Switches the REST API.
    pub async fn say(&self, rest: Rest) -> Result<()> {
        self.rest.mode.turn(rest).await
    }

    /// Switches PostgreSQL, for connections that are made from now on.
    pub async fn serve(&self, postgres: Postgres) -> Result<()> {
        self.postgres.mode.turn(postgres).await
    }

    /// How often the REST API was asked.
    #[must_use]
    pub fn times_asked(&self) -> u64 {
        self.rest.times_asked()
    }

    /// How many connections PostgreSQL accepted, whatever became of them; the router's own questions left out.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.postgres.seen().connections
    }

    /// The first packets that clients of PostgreSQL sent, requests for encryption left out.
    #[must_use]
    pub fn startups(&self) -> Vec<Vec<u8>> {
        self.postgres.seen().startups
    }

    /// The cancel requests that PostgreSQL got.
    #[must_use]
    pub fn cancels(&self) -> Vec<Vec<u8>> {
        self.postgres.seen().cancels
    }

    /// Ends all its PostgreSQL sessions, as a crash does.
    pub fn crash(&self) {
        self.postgres.hang_up();
    }

    /// The server's side of the next session of [`Postgres::HandOver`], logged in.
    pub async fn handed_over(&self) -> Result<TcpStream> {
        self.postgres.handed_over().await
    }
}
