//! The node whose files were captured, and others like it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use trunkline_core::config::agent::{Agent, Settings, understand};
use trunkline_core::config::layers::Layer;
use trunkline_core::config::{Node, Problems};

/// One of the nodes of the captures: 2 or 3.
pub(crate) fn node(number: u8) -> Agent {
    let host = format!("127.0.0.{number}");
    let user = |name: &str| json!({"username": name, "password": "secret"});
    let written = json!({
        "name": format!("pg-{number}"),
        "scope": "demo",
        "etcd3": {"hosts": "127.0.0.1:2379"},
        "restapi": {"listen": format!("{host}:8008")},
        "postgresql": {
            "listen": format!("{host}:2043{number}"),
            "connect_address": format!("{host}:2043{number}"),
            "data_dir": format!("/srv/demo/data/pg{number}"),
            "bin_dir": "/usr/lib/postgresql/15/bin",
            "pgpass": format!("/srv/demo/pgpass{number}"),
            "authentication": {"superuser": user("postgres"), "replication": user("replicator")},
        },
    });
    let file = "patroni.yml".to_owned();
    let layer = Layer {
        tree: Node::from(&written),
        file: file.clone(),
    };
    let understood = understand(&[layer], &BTreeMap::new(), &|_| None, Problems::of(&file));
    let (agent, problems) = understood.unwrap();
    assert_eq!(problems.lines().collect::<Vec<_>>(), [""; 0]);
    agent
}

/// What is in force where the dynamic configuration has these parameters.
pub(crate) fn settings(agent: &Agent, parameters: &[(&str, &str)]) -> Settings {
    let parameters: Map<String, Value> = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
        .collect();
    let dynamic = json!({"postgresql": {"parameters": parameters}});
    Settings::effective(agent, dynamic.as_object().unwrap())
        .unwrap()
        .0
}

/// A map of text.
pub(crate) fn text(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
