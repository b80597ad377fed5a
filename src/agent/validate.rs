//! `--validate-config`: what Patroni's validator looks at on the machine itself (contract G.1).
//!
//! A normal start does not ask for any of it: an etcd that is away for now, or a port that is still taken, passes.

use std::net::{IpAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use trunkline_core::config::agent::Agent;
use trunkline_core::postgres::DataDirectory;

use crate::postgres::binaries::Binaries;
use crate::postgres::directory;
use crate::run;

/// How long one etcd member may take to be reached.
const PATIENCE: Duration = Duration::from_secs(3);

/// The programs that are needed whatever the configuration.
const PROGRAMS: [&str; 6] = [
    "pg_ctl",
    "initdb",
    "pg_controldata",
    "pg_basebackup",
    "postgres",
    "pg_isready",
];

/// What others cannot reach.
const NOT_ELSEWHERE: [&str; 5] = ["127.0.0.1", "0.0.0.0", "*", "::1", "localhost"];

/// Everything on this machine that the agent would stumble over, a line each.
pub async fn validate(agent: &Agent, ignore_ports: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, (host, port)) in [
        ("restapi.connect_address", &agent.rest.connect),
        ("postgresql.connect_address", &agent.connect),
    ] {
        if NOT_ELSEWHERE.contains(&host.as_str()) {
            let names = NOT_ELSEWHERE.map(|name| format!("\"{name}\"")).join(", ");
            lines.push(failed(
                key,
                &place(host, *port),
                &format!("must not contain {names}"),
            ));
        }
    }
    if !ignore_ports {
        let (host, port) = &agent.rest.listen;
        lines.extend(taken("restapi.listen", host, *port));
        for host in agent.listen_addresses.split(',') {
            lines.extend(taken("postgresql.listen", host, agent.port));
        }
    }
    lines.extend(unreachable(agent).await);
    lines.extend(run::etcd(agent).err().map(|error| error.to_string()));
    lines.extend(programs(agent));
    lines.extend(data(agent).await);
    lines
}

/// In Patroni's words, which people look for.
fn failed(key: &str, value: &str, why: &str) -> String {
    format!("{key} {value} didn't pass validation: {why}")
}

fn place(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// What keeps a port from being listened on.
fn taken(key: &str, host: &str, port: u16) -> Option<String> {
    let address = match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_string(),
        Err(_) if host == "*" => "0.0.0.0".to_owned(),
        Err(_) => host.to_owned(),
    };
    let error = TcpListener::bind((address.as_str(), port)).err()?;
    let why = if error.kind() == std::io::ErrorKind::AddrInUse {
        format!("port {port} is already in use")
    } else {
        error.to_string()
    };
    Some(failed(key, &place(host, port), &why))
}

async fn unreachable(agent: &Agent) -> Vec<String> {
    let mut lines = Vec::new();
    for endpoint in &agent.etcd.endpoints {
        let connect = TcpStream::connect((endpoint.host.as_str(), endpoint.port));
        if !matches!(timeout(PATIENCE, connect).await, Ok(Ok(_))) {
            let place = place(&endpoint.host, endpoint.port);
            let why = format!("{place} is not reachable");
            lines.push(failed("etcd3.hosts", &place, &why));
        }
    }
    lines
}

fn programs(agent: &Agent) -> Vec<String> {
    let binaries = Binaries::of(agent);
    let bin_dir = agent.bin_dir.as_deref().unwrap_or(Path::new("PATH"));
    PROGRAMS
        .iter()
        .filter(|program| !is_program(&binaries.path(program)))
        .map(|program| {
            let why = format!("it has no {program} that can be run");
            failed("postgresql.bin_dir", &bin_dir.display().to_string(), &why)
        })
        .collect()
}

/// Whether this is a program, or the name of one in PATH.
fn is_program(path: &Path) -> bool {
    let runs = |path: PathBuf| {
        path.metadata()
            .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    if path.is_absolute() || path.components().count() > 1 {
        return runs(path.to_owned());
    }
    let Some(directories) = std::env::var_os("PATH") else {
        return false;
    };
    std::env::split_paths(&directories).any(|directory| runs(directory.join(path)))
}

/// A directory that holds something holds a cluster of the version of the programs.
async fn data(agent: &Agent) -> Option<String> {
    let key = "postgresql.data_dir";
    let shown = agent.data_dir.display().to_string();
    match directory::observe(agent) {
        DataDirectory::Empty => None,
        DataDirectory::Unusable(words) => Some(failed(key, &shown, &words)),
        DataDirectory::Present { .. } => {
            if !agent.data_dir.join("pg_wal").is_dir() {
                return Some(failed(key, &shown, "it has no pg_wal"));
            }
            let version = Binaries::of(agent).version_for(&agent.data_dir).await;
            version
                .err()
                .map(|error| failed(key, &shown, &error.to_string()))
        }
    }
}
