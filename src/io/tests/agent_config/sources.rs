//! Where the configuration comes from, and which file or variable a message is about.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use trunkline_core::config::Problems;
use trunkline_core::config::agent::Agent;
use trunkline_io::patroni_yml;

use crate::{MINIMAL, read_with};

/// A directory that goes away with the test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> std::io::Result<Self> {
        tempfile::tempdir().map(Self)
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> std::io::Result<PathBuf> {
        let path = self.0.path().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }
}

fn load(
    path: Option<&PathBuf>,
    environment: &[(&str, &str)],
) -> Result<(Agent, Problems), Problems> {
    let pairs = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    patroni_yml::load(
        path.map(PathBuf::as_path),
        &pairs.collect::<BTreeMap<_, _>>(),
    )
}

#[test]
fn a_variable_wins_over_the_file_and_an_empty_one_says_nothing() {
    let (agent, problems) = read_with(
        MINIMAL,
        &[
            ("PATRONI_NAME", "pg-9"),
            ("PATRONI_SCOPE", ""),
            ("PATRONI_NAMESPACE", "x"),
            ("PATRONI_ETCD3_HOSTS", "'a:1','b'"),
            ("PATRONI_ETCD3_USERNAME", "u"),
            ("PATRONI_ETCD3_PASSWORD", "0123"),
            ("PATRONI_RESTAPI_LISTEN", "127.0.0.1:1"),
            ("PATRONI_RESTAPI_USERNAME", "ru"),
            ("PATRONI_RESTAPI_PASSWORD", "rp"),
            ("PATRONI_RESTAPI_ALLOWLIST", "10.0.0.0/8, db"),
            ("PATRONI_RESTAPI_HTTP_EXTRA_HEADERS", "X-A: b, X-C: d"),
            ("PATRONI_SUPERUSER_PASSWORD", "sp"),
            ("PATRONI_REPLICATION_SSLMODE", "require"),
            ("PATRONI_POSTGRESQL_BIN_PG_CTL", "ctl15"),
            ("PATRONI_LOGLEVEL", "DEBUG"),
            ("PATRONI_LOG_LEVEL", "WARNING"),
            ("PATRONICTL_CONFIG_FILE", "/x"),
        ],
    )
    .unwrap();
    assert_eq!(problems.to_string(), "");
    assert_eq!(
        (agent.name.as_str(), agent.scope.as_str()),
        ("pg-9", "demo")
    );
    assert_eq!(agent.namespace, "/x");
    let endpoints: Vec<_> = agent
        .etcd
        .endpoints
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(endpoints, ["http://a:1", "http://b:2379"]);
    assert_eq!(agent.etcd.password.unwrap().reveal(), "0123");
    assert_eq!(agent.rest.listen, ("127.0.0.1".to_owned(), 1));
    assert_eq!(agent.rest.authentication.unwrap().0, "ru");
    assert_eq!(agent.rest.allowlist.unwrap(), ["10.0.0.0/8", "db"]);
    assert_eq!(agent.rest.extra_headers.len(), 2);
    assert_eq!(agent.superuser.username.as_deref(), Some("postgres"));
    assert_eq!(agent.superuser.password.unwrap().reveal(), "sp");
    assert_eq!(agent.replication.options["sslmode"], "require");
    assert_eq!(agent.bin_name["pg_ctl"], "ctl15");
    assert_eq!(agent.log.level.as_str(), "warn");
}

#[test]
fn a_message_names_the_variable_it_is_about() {
    let cases = [
        (
            ("PATRONI_RESTAPI_LISTEN", "a:b"),
            "PATRONI_RESTAPI_LISTEN: restapi.listen: \"a:b\" has no port from 1 to 65535; write host:port (10.0.0.1:5432, [::1]:5432)",
        ),
        (
            ("PATRONI_RESTAPI_USERNAME", "u"),
            "patroni.yml: restapi.authentication.password: is missing; write both, or neither: username: alone protects nothing",
        ),
        (("PATRONI_ETCD_HOST", "a"), "PATRONI_ETCD_HOST: etcd"),
        (
            ("PATRONI_ETCD3_HOSTS", "a:x,b"),
            "PATRONI_ETCD3_HOSTS: etcd3.hosts[0]: \"a:x\" has no port from 1 to 65535",
        ),
        (
            ("PATRONI_NAMEE", "a"),
            "PATRONI_NAMEE: warning: is no variable of Patroni's and has no effect; did you mean PATRONI_NAME?",
        ),
        (
            ("PATRONI_KUBERNETES_NAMESPACE", "a"),
            "PATRONI_KUBERNETES_NAMESPACE: warning: has no effect: the agent keeps its cluster in etcd and nowhere else; unset it",
        ),
        (
            ("PATRONI_RESTAPI_THREAD_POOL_SIZE", "9"),
            "PATRONI_RESTAPI_THREAD_POOL_SIZE: warning: has no effect: the REST API has no pool of threads; unset it",
        ),
        (
            ("PATRONI_RESTAPI_HTTP_EXTRA_HEADERS", "[x"),
            "PATRONI_RESTAPI_HTTP_EXTRA_HEADERS: restapi.http_extra_headers: \"[x\" stands where keys should; write keys with values, one a line (key: value)",
        ),
    ];
    for (variable, expected) in cases {
        let said = match read_with(MINIMAL, &[variable]) {
            Ok((_, problems)) | Err(problems) => problems.to_string(),
        };
        assert!(said.starts_with(expected), "{said}\n{expected}");
    }
}

#[test]
fn variables_alone_are_enough() {
    let (agent, problems) = load(
        None,
        &[
            ("HOME", "/home/pg"),
            ("PATRONI_NAME", "pg-1"),
            ("PATRONI_SCOPE", "demo"),
            ("PATRONI_ETCD3_HOST", "etcd:2379"),
            ("PATRONI_RESTAPI_LISTEN", "10.0.0.1:8008"),
            ("PATRONI_POSTGRESQL_LISTEN", "10.0.0.1:5432"),
            ("PATRONI_POSTGRESQL_DATA_DIR", "/data"),
            ("PATRONI_SUPERUSER_USERNAME", "postgres"),
            ("PATRONI_SUPERUSER_PASSWORD", "a"),
            ("PATRONI_REPLICATION_USERNAME", "rep"),
            ("PATRONI_REPLICATION_PASSWORD", "b"),
        ],
    )
    .unwrap();
    assert_eq!(
        (agent.name.as_str(), problems.to_string().as_str()),
        ("pg-1", "")
    );
    assert_eq!(agent.pgpass, PathBuf::from("/home/pg/pgpass"));
}

#[test]
fn a_whole_configuration_in_a_variable_counts_alone_and_only_without_a_file() {
    let folder = Folder::new().unwrap();
    let whole = MINIMAL.replace("name: pg-1", "name: pg-5");
    let variables = [
        ("PATRONI_CONFIGURATION", whole.as_str()),
        ("PATRONI_NAME", "pg-9"),
    ];
    assert_eq!(load(None, &variables).unwrap().0.name.as_str(), "pg-5");
    let absent = folder.path().join("absent.yml");
    assert_eq!(
        load(Some(&absent), &variables).unwrap().0.name.as_str(),
        "pg-5"
    );
    let file = folder.write("patroni.yml", MINIMAL).unwrap();
    assert_eq!(
        load(Some(&file), &variables).unwrap().0.name.as_str(),
        "pg-9"
    );
    let broken = whole.replace("name: pg-5", "name: []");
    assert_eq!(
        load(None, &[("PATRONI_CONFIGURATION", &broken)])
            .unwrap_err()
            .to_string(),
        "PATRONI_CONFIGURATION:2: name: a list is no text; write a text, in quotation marks"
    );
}

#[test]
fn the_files_of_a_directory_are_laid_over_each_other() {
    let folder = Folder::new().unwrap();
    folder
        .write(
            "10-base.yml",
            &format!("{MINIMAL}  parameters: {{a: 1, b: 1}}\ntags: {{zone: a, nosync: true}}\n"),
        )
        .unwrap();
    folder
        .write(
            "20-more.yaml",
            "name: pg-2\ntags: {nosync: null}\n# a comment\npostgresql: {parameters: {b: 2}}\n",
        )
        .unwrap();
    folder.write("ignored.txt", "name: pg-3\n").unwrap();
    let (agent, problems) = load(Some(&folder.path()), &[]).unwrap();
    assert_eq!(problems.to_string(), "");
    assert_eq!(agent.name.as_str(), "pg-2");
    assert_eq!(agent.tags.0.keys().collect::<Vec<_>>(), ["zone"]);
    assert_eq!(
        agent.postgresql["parameters"],
        serde_json::json!({"a": 1, "b": 2})
    );

    let third = folder
        .write("30-wrong.yml", "a: 1\nlog: {level: X}\n")
        .unwrap();
    let said = load(Some(&folder.path()), &[]).unwrap_err().to_string();
    let third = third.display();
    assert_eq!(
        said,
        format!(
            "{third}:1: warning: a: is no key of this section and has no effect\n\
             {third}:2: log.level: \"X\" is no level; write DEBUG, INFO, WARNING, ERROR or CRITICAL"
        )
    );
    let fourth = folder.write("40-list.yml", "- a\n").unwrap();
    assert_eq!(
        load(Some(&folder.path()), &[]).unwrap_err().to_string(),
        format!(
            "{}: invalid config file: a list stands where keys should; write keys with values, one a line (name: pg-1)",
            fourth.display()
        )
    );
}

#[test]
fn without_a_file_and_without_variables_there_is_nothing_to_start() {
    let absent = PathBuf::from("/nonexistent/patroni.yml");
    let end = "Config is empty.; write at least name:, scope:, etcd3:, restapi: and postgresql:";
    assert_eq!(
        load(Some(&absent), &[]).unwrap_err().to_string(),
        format!("/nonexistent/patroni.yml (there is no such file): {end}")
    );
    assert_eq!(
        load(None, &[]).unwrap_err().to_string(),
        format!("environment: {end}")
    );
}

#[test]
fn a_password_is_shown_nowhere() {
    let text = MINIMAL
        .replace("password: a", "password: hunter2")
        .replace("password: b", "password: hunter2");
    let (agent, problems) = read_with(
        &text,
        &[
            ("PATRONI_RESTAPI_USERNAME", "u"),
            ("PATRONI_RESTAPI_PASSWORD", "hunter2"),
        ],
    )
    .unwrap();
    let shown = format!("{agent:?}{problems}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
