//! The agent's configuration from text to meaning, and what is said of mistakes in it.

use std::collections::BTreeMap;

use trunkline_core::config::Problems;
use trunkline_core::config::agent::{Agent, understand};
use trunkline_core::config::layers::Layer;
use trunkline_io::yaml;

mod anything;
mod guides;
mod meaning;
mod mistakes;
mod settings;
mod sources;

const MINIMAL: &str = "\
scope: demo
name: pg-1
etcd3: {hosts: 10.0.0.1}
restapi: {listen: '10.0.0.2:8008'}
postgresql:
  listen: 10.0.0.2:5432
  data_dir: /data
  pgpass: /pgpass
  authentication: {superuser: {username: postgres, password: a}, replication: {username: rep, password: b}}
";

fn read_with(text: &str, environment: &[(&str, &str)]) -> Result<(Agent, Problems), Problems> {
    let (tree, problems) = yaml::parse("patroni.yml", text)?;
    let file = "patroni.yml".to_owned();
    let pairs = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let read = |text: &str| yaml::parse("", text).ok().map(|(node, _)| node);
    let environment: BTreeMap<String, String> = pairs.collect();
    understand(&[Layer { file, tree }], &environment, &read, problems)
}

fn read(text: &str) -> Result<(Agent, Problems), Problems> {
    read_with(text, &[])
}

/// What is understood without a word of complaint.
fn good(text: &str) -> Agent {
    match read(text) {
        Ok((agent, problems)) => {
            assert!(problems.is_empty(), "{problems}");
            agent
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

/// The minimal file with more at its end.
fn with(more: &str) -> String {
    format!("{MINIMAL}{more}")
}

/// The minimal file with more in its `postgresql` section.
fn with_postgresql(more: &str) -> String {
    format!("{MINIMAL}  {more}\n")
}
