//! The router's configuration from text to meaning, and what is said of mistakes in it.

use trunkline_core::config::Problems;
use trunkline_core::config::router::{Endpoint, Etcd, Listener, Router, understand};
use trunkline_io::yaml;

mod anything;
mod meaning;
mod mistakes;
mod sources;

const MINIMAL: &str = "\
cluster:
  scope: pg_cluster
  etcd3: {hosts: 10.1.0.10}
listeners:
  write: {}
";

fn read(text: &str) -> Result<(Router, Problems), Problems> {
    let (node, problems) = yaml::parse("router.yml", text)?;
    understand(&node, problems)
}

/// What is understood without a word of complaint.
fn good(text: &str) -> Router {
    match read(text) {
        Ok((router, problems)) => {
            assert!(problems.is_empty(), "{problems}");
            router
        }
        Err(problems) => panic!("{problems}"),
    }
}

/// Everything that is said of a file.
fn said(text: &str) -> String {
    match read(text) {
        Ok((_, problems)) | Err(problems) => problems.to_string(),
    }
}

/// The listener `read` of a file that says only this of it.
fn listener(keys: &str) -> Listener {
    let text = MINIMAL.replace("write: {}", &format!("read: {{{keys}}}"));
    good(&text).clusters.remove(0).listeners.remove(0)
}

/// What is said of a listener `name` with these keys, which stand in line 5.
fn said_of(name: &str, keys: &str) -> String {
    said(&MINIMAL.replace("write: {}", &format!("{name}: {{{keys}}}")))
}

fn plain(hosts: &[&str]) -> Etcd {
    let endpoint = |host: &&str| Endpoint {
        tls: false,
        host: (*host).to_owned(),
        port: 2379,
    };
    Etcd::at(hosts.iter().map(endpoint).collect())
}
