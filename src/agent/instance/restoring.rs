//! A new cluster by the operator's own method (contract H.3): usually a backup that is restored. What the method left is
//! started with nobody let in but the agent, recovers to where it is to, gets its users, and only then is as configured.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use trunkline_core::config::agent::{Bootstrap, CustomBootstrap, Settings};
use trunkline_core::ha::{JobOutcome, Mode, Stop};
use trunkline_core::postgres::restored::Restored;
use trunkline_io::clock;

use super::{Instance, Unfinished, with_causes};
use crate::postgres::heartbeat::Heartbeat;
use crate::postgres::program::Patience;
use crate::postgres::query::{Place, Target};
use crate::postgres::{backups, bootstrap, control, disk};

/// How often a cluster that recovers is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a name may take to be looked up.
const LOOKUP: Duration = Duration::from_secs(2);
/// A file of this name would promote what recovers.
const TRIGGER: &str = "promote";

impl Instance {
    /// Runs the method, and makes a primary of what it left.
    pub(super) async fn bootstrap_by(
        &self,
        method: &CustomBootstrap,
        how: &Bootstrap,
        patience: &Patience,
    ) -> Result<(), Unfinished> {
        let data = &self.agent.data_dir;
        tracing::info!("running bootstrap.{}.command", method.name);
        let made = bootstrap::custom(method, &self.agent.scope, data, patience).await;
        made.map_err(|error| {
            let words = with_causes(&error);
            Unfinished::Failed(format!("bootstrap.{}.command: {words}", method.name))
        })?;
        if !data.join("global/pg_control").exists() {
            return Err(Unfinished::Failed(format!(
                "bootstrap.{}.command reports success, and there is no data directory of PostgreSQL in {}: it has to put \
                 one there",
                method.name,
                data.display()
            )));
        }
        let _changed = backups::restore(&self.agent)?;
        self.remove_trigger()?;
        if self.settings().pg_hba.is_none() {
            let _changed = self.files.append_hba(&how.pg_hba)?;
        }
        let _changed = backups::save(&self.agent)?;
        let restored = Restored::by(method);
        let raised = self.start_restored(&restored, &patience.cancel).await?;
        self.out_of_recovery(patience).await?;
        self.fill(how.post_init.as_deref(), patience).await?;
        let elsewhere = self.settings().parameters.contains_key("hba_file");
        let restart = restored.closed || raised || elsewhere;
        self.open_up(restart, patience).await
    }

    /// Starts what was restored. Says whether anything had to be raised for it.
    async fn start_restored(
        &self,
        restored: &Restored,
        cancel: &CancellationToken,
    ) -> Result<bool, Unfinished> {
        self.nobody_rewinds()?;
        let settings = self.settings();
        let version = self.version().await?;
        let control = if restored.recovers() {
            Some(control::read(&self.binaries(), &self.agent.data_dir).await?)
        } else {
            None
        };
        self.files.make_directories(&settings)?;
        let own = self.own_addresses(&settings).await;
        let files = &self.files;
        let written = files.write_restored(&settings, restored, &own, version, control.as_ref());
        let written = written.await?;
        for warning in &written.warnings {
            tracing::warn!("{warning}");
        }
        let mut arguments = self.files.command_line(&settings, control.as_ref());
        if restored.closed {
            // The last word counts.
            arguments.push("--hot_standby=off".into());
        }
        let within = settings.start_timeout;
        let _however_far = self.launch(&arguments, within, cancel).await?;
        Ok(!written.raised.is_empty())
    }

    /// Waits until it has recovered to where it is to, however long that takes.
    pub(super) async fn out_of_recovery(&self, patience: &Patience) -> Result<(), Unfinished> {
        let mut heartbeat = Heartbeat::new(self.target(&self.settings()), "Patroni heartbeat");
        let (mut waits, mut paused) = (false, false);
        loop {
            match heartbeat.ask(clock::now().after(PATIENCE)).await {
                Ok(database) if !database.in_recovery => return Ok(()),
                Ok(database) if database.replay_paused && !paused => {
                    paused = true;
                    tracing::warn!(
                        "recovery is paused (recovery_target_action): the bootstrap goes on once somebody runs SELECT \
                         pg_wal_replay_resume(), or promotes PostgreSQL"
                    );
                }
                Ok(_) | Err(_) => {}
            }
            if !waits {
                waits = true;
                tracing::info!("waiting for end of recovery after bootstrap");
            }
            if patience.cancel.is_cancelled() {
                return Err(Unfinished::Cancelled);
            }
            if self.still_running(None)?.is_none() {
                let words = "PostgreSQL ended while it was recovering: its own log says why";
                return Err(Unfinished::Failed(words.to_owned()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Gives it the configuration it is to have, and with that lets others in.
    async fn open_up(&self, restart: bool, patience: &Patience) -> Result<(), Unfinished> {
        let settings = self.settings();
        if settings.pg_hba.is_none() {
            self.files.remove_hba()?;
            let _changed = backups::restore(&self.agent)?;
        }
        if !restart {
            return self.apply(&Mode::Primary).await;
        }
        let stop = Stop {
            immediate: false,
            checkpoint: true,
            deadline: None,
        };
        let cancel = &patience.cancel;
        self.end(None, stop, cancel).await?;
        let within = settings.start_timeout;
        let started = self.start_quietly(&Mode::Primary, within, cancel).await?;
        if started != JobOutcome::Done {
            self.out_of_recovery(patience).await?;
        }
        Ok(())
    }

    /// From where the agent connects to PostgreSQL over TCP, which is where PostgreSQL listens.
    async fn own_addresses(&self, settings: &Settings) -> Vec<IpAddr> {
        let targets = [
            Target::local(&self.agent, settings),
            Target::local_replication(&self.agent, settings),
        ];
        let mut own: Vec<IpAddr> = Vec::new();
        for target in targets {
            let Place::Host(host) = &target.place else {
                continue;
            };
            let found = timeout(LOOKUP, lookup_host((host.as_str(), target.port))).await;
            for address in found.into_iter().flatten().flatten() {
                own.push(address.ip());
                own.extend(source_to(address).await);
            }
        }
        own.sort_unstable();
        own.dedup();
        own
    }

    fn remove_trigger(&self) -> Result<(), Unfinished> {
        let settings = self.settings();
        let configured = ["promote_trigger_file", "trigger_file"];
        let configured = configured
            .iter()
            .find_map(|name| settings.recovery.get(*name));
        for name in configured.map(String::as_str).into_iter().chain([TRIGGER]) {
            let _changed = disk::remove(&self.agent.data_dir.join(name))?;
        }
        Ok(())
    }
}

/// The address from which this machine connects to that one, which need not be the same: for all of 127.0.0.0/8 Linux takes
/// 127.0.0.1. Nothing is sent.
async fn source_to(address: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(address).await.ok()?;
    Some(socket.local_addr().ok()?.ip())
}
