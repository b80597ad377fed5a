//! One node: its patroni.yml, the Patroni or agent of ours that runs it, and the PostgreSQL that this runs.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{FIRST_HOST, Program, Secured, Settings};
use crate::http;
use crate::network::{Network, Place};
use crate::parts::{Account, Parts};
use crate::postgres::run;
use crate::process::Process;
use crate::workdir::WorkDir;

/// A node, running or not.
#[derive(Debug)]
pub struct Node {
    name: String,
    postgresql: SocketAddr,
    rest: SocketAddr,
    home: PathBuf,
    place: Place,
    program: Program,
    process: Option<Process>,
    parts: Parts,
    workdir: Arc<WorkDir>,
}

impl Node {
    pub(super) fn prepare(
        number: u8,
        settings: &Settings,
        etcd: &[SocketAddr],
        parts: &Parts,
        network: &dyn Network,
        workdir: &Arc<WorkDir>,
    ) -> Result<Self> {
        let name = format!("pg-{}", number + 1);
        let host = FIRST_HOST + number;
        let home = workdir.folder(&name, parts.account.as_ref())?;
        let program = settings.programs.get(usize::from(number)).cloned();
        let program = program.unwrap_or_default();
        let node = Self {
            postgresql: network.free(host, 5432)?,
            rest: network.free(host, 8008)?,
            home,
            place: network.place(host)?,
            program: program.reachable(workdir)?,
            process: None,
            parts: parts.clone(),
            workdir: Arc::clone(workdir),
            name,
        };
        let tags = settings
            .tags
            .get(usize::from(number))
            .cloned()
            .unwrap_or_default();
        let mut config = node.config(settings, etcd, network.range());
        config["tags"] = Value::Object(tags);
        if settings.ssl {
            node.certify(&mut config)?;
        }
        if let Some(secured) = &settings.tls {
            node.secure(&mut config, secured)?;
        }
        // JSON is YAML, and serde_json escapes what would need it.
        node.write("patroni.yml", &serde_json::to_string_pretty(&config)?)?;
        Ok(node)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its PostgreSQL listens.
    #[must_use]
    pub fn postgresql(&self) -> SocketAddr {
        self.postgresql
    }

    /// Its host.
    #[must_use]
    pub fn host(&self) -> IpAddr {
        self.postgresql.ip()
    }

    /// Where its Patroni listens.
    #[must_use]
    pub fn rest(&self) -> SocketAddr {
        self.rest
    }

    /// Its patroni.yml.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.home.join("patroni.yml")
    }

    /// The certificate its PostgreSQL shows, where `ssl` was asked for.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.home.join("server.crt")
    }

    /// Changes where its next start takes place: the host, and the ports of PostgreSQL and Patroni there.
    pub fn move_to(&mut self, network: &dyn Network, host: u8, ports: (u16, u16)) -> Result<()> {
        self.postgresql = network.free(host, ports.0)?;
        self.rest = network.free(host, ports.1)?;
        self.place = network.place(host)?;
        let file = self.config_file();
        let text = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        let mut config: Value = serde_json::from_slice(&text)?;
        for (section, address) in [("postgresql", self.postgresql), ("restapi", self.rest)] {
            for key in ["listen", "connect_address"] {
                config[section][key] = json!(address.to_string());
            }
        }
        self.write("patroni.yml", &serde_json::to_string_pretty(&config)?)?;
        Ok(())
    }

    /// What runs it.
    #[must_use]
    pub const fn program(&self) -> &Program {
        &self.program
    }

    /// Has another program run it from its next start on.
    pub fn change_program(&mut self, program: Program) -> Result<()> {
        self.program = program.reachable(&self.workdir)?;
        Ok(())
    }

    /// Starts its Patroni, which starts PostgreSQL when it sees fit.
    pub fn start(&mut self) -> Result<()> {
        let config = self.config_file();
        let mut command = self.program.command(&self.parts, &self.home, &config);
        let account = self.parts.account.as_ref();
        self.process = Some(Process::start_at(
            &self.place,
            &self.name,
            &mut command,
            account,
            &self.workdir,
        )?);
        Ok(())
    }

    /// Its Patroni, to signal, freeze or thaw it.
    pub fn patroni(&mut self) -> Result<&mut Process> {
        let program = self.program.name();
        self.process
            .as_mut()
            .with_context(|| format!("{program} of {} does not run", self.name))
    }

    /// Ends its Patroni at once (SIGKILL); its PostgreSQL runs on, with nobody to mind it.
    pub fn kill_agent(&mut self) -> Result<()> {
        self.patroni()?.kill()?;
        self.process = None;
        Ok(())
    }

    /// The whole log of its Patroni and its PostgreSQL.
    pub fn log(&mut self) -> Result<String> {
        self.patroni()?.log()
    }

    /// Whether its Patroni runs.
    pub fn is_running(&mut self) -> Result<bool> {
        match &mut self.process {
            Some(process) => Ok(process.ended()?.is_none()),
            None => Ok(false),
        }
    }

    /// What `systemctl stop patroni` does: SIGTERM, upon which Patroni stops PostgreSQL too.
    pub async fn stop(&mut self, bound: Duration) -> Result<()> {
        self.patroni()?.terminate(bound).await?;
        self.process = None;
        Ok(())
    }

    /// What its Patroni says of itself (`GET /patroni`), whatever its state.
    pub async fn status(&self) -> Result<Value> {
        http::get(self.rest, "/patroni").await?.json()
    }

    /// `pg_ctl restart`, as somebody does who does not ask Patroni.
    pub async fn restart_postgresql(&self, bound: Duration) -> Result<()> {
        let mut command = self
            .parts
            .command(&self.parts.postgresql("pg_ctl"), &self.home);
        command
            .args(["restart", "--mode=fast", "--silent", "--pgdata"])
            .arg(self.data())
            .arg("--log")
            .arg(self.home.join("restarted.log"));
        if let Some(account) = &self.parts.account {
            command.uid(account.uid).gid(account.gid);
        }
        let output = run(&mut command.into(), bound).await?;
        ensure!(
            output.status.success(),
            "pg_ctl restart of {}: {}",
            self.name,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Where its postmaster writes its process id.
    #[must_use]
    pub fn postmaster_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }

    /// The process id of its postmaster, if one runs.
    pub fn postmaster(&self) -> Result<Pid> {
        let file = self.postmaster_file();
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("PostgreSQL of {} has no {}", self.name, file.display()))?;
        let pid: i32 = text.lines().next().unwrap_or_default().trim().parse()?;
        // The file outlives a killed postmaster, and its pid may be a stranger's by now.
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd"))
            .with_context(|| format!("PostgreSQL of {} ({pid}) is gone", self.name))?;
        ensure!(
            cwd == self.data(),
            "{pid} is not PostgreSQL of {}",
            self.name
        );
        Pid::from_raw(pid).with_context(|| format!("{} names pid {pid}", file.display()))
    }

    /// Ends its postmaster at once, as the kernel's out-of-memory killer would.
    pub fn kill_postgresql(&self) -> Result<()> {
        kill_process(self.postmaster()?, Signal::KILL)
            .with_context(|| format!("killing PostgreSQL of {}", self.name))
    }

    /// The failure, with the end of this node's log (Patroni's and PostgreSQL's) attached.
    #[must_use]
    pub fn with_log(&self, failure: anyhow::Error) -> anyhow::Error {
        match &self.process {
            Some(process) => process.with_log(&failure),
            None => {
                let program = self.program.name();
                failure.context(format!("{program} of {} does not run", self.name))
            }
        }
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    fn config(&self, settings: &Settings, etcd: &[SocketAddr], clients: &str) -> Value {
        let hosts: Vec<String> = etcd.iter().map(ToString::to_string).collect();
        let login = |user: &str| json!({"username": user, "password": format!("{user}-secret")});
        json!({
            "scope": settings.scope,
            "namespace": "/service/",
            "name": self.name,
            "restapi": {
                "listen": self.rest.to_string(),
                "connect_address": self.rest.to_string(),
            },
            "etcd3": {"hosts": hosts},
            "bootstrap": {
                "dcs": {
                    "ttl": settings.ttl,
                    "loop_wait": settings.loop_wait,
                    "retry_timeout": settings.retry_timeout,
                    "synchronous_mode": settings.synchronous_mode,
                    "failsafe_mode": settings.failsafe_mode,
                    "postgresql": {"use_pg_rewind": true, "use_slots": true},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}],
            },
            "postgresql": {
                "listen": self.postgresql.to_string(),
                "connect_address": self.postgresql.to_string(),
                "data_dir": self.data(),
                "bin_dir": self.parts.postgresql_bin,
                "pgpass": self.home.join("pgpass"),
                "authentication": {
                    "superuser": login("postgres"),
                    "replication": login("replicator"),
                    "rewind": login("rewinder"),
                },
                "pg_hba": [
                    "local all all trust".to_owned(),
                    format!("host all all {clients} trust"),
                    format!("host replication all {clients} trust"),
                ],
                "parameters": {
                    "unix_socket_directories": self.home,
                    "shared_buffers": "16MB",
                    "max_connections": 100,
                    "max_wal_size": "128MB",
                    "min_wal_size": "32MB",
                },
            },
        })
    }

    /// A certificate for the node's address, signed by itself, offered by its PostgreSQL.
    fn certify(&self, config: &mut Value) -> Result<()> {
        let signed = rcgen::generate_simple_self_signed([self.postgresql.ip().to_string()])
            .with_context(|| format!("making a certificate for {}", self.name))?;
        let certificate = self.write("server.crt", &signed.cert.pem())?;
        let key = self.write("server.key", &signed.signing_key.serialize_pem())?;
        let parameters = &mut config["postgresql"]["parameters"];
        parameters["ssl"] = json!("on");
        parameters["ssl_cert_file"] = json!(certificate);
        parameters["ssl_key_file"] = json!(key);
        Ok(())
    }

    /// Has the node meet etcd over TLS, and Patroni its own clients too, who have to show a certificate.
    fn secure(&self, config: &mut Value, secured: &Secured) -> Result<()> {
        let owner = self.parts.account.as_ref();
        let folder = self.workdir.folder(&format!("{}-tls", self.name), owner)?;
        let etcd = secured.etcd.for_owner(&folder, owner)?;
        let own = secured
            .ca
            .server(&self.name, &[self.rest.ip()])?
            .for_owner(&folder, owner)?;
        config["etcd3"]["protocol"] = json!("https");
        config["etcd3"]["cacert"] = json!(etcd.ca);
        config["etcd3"]["cert"] = json!(etcd.client.certificate);
        config["etcd3"]["key"] = json!(etcd.client.key);
        if self.program == Program::Patroni {
            let rest = &mut config["restapi"];
            rest["certfile"] = json!(own.certificate);
            rest["keyfile"] = json!(own.key);
            rest["cafile"] = json!(etcd.ca);
            rest["verify_client"] = json!("required");
        }
        config["ctl"] = json!({
            "cacert": etcd.ca,
            "certfile": own.certificate,
            "keyfile": own.key,
        });
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.home.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        self.hand_over(&path, self.parts.account.as_ref())?;
        Ok(path)
    }

    /// PostgreSQL refuses a key that anybody else may read.
    fn hand_over(&self, path: &Path, owner: Option<&Account>) -> Result<()> {
        let given =
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).and_then(|()| {
                match owner {
                    Some(owner) => chown(path, Some(owner.uid), Some(owner.gid)),
                    None => Ok(()),
                }
            });
        match given {
            Ok(()) => Ok(()),
            Err(error) => bail!(
                "giving {} to the user of {}: {error}",
                path.display(),
                self.name
            ),
        }
    }
}
