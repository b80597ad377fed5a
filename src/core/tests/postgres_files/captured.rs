//! To the byte what Patroni wrote on the same node with the same settings.

use std::path::Path;

use trunkline_core::config::agent::{Agent, Settings};
use trunkline_core::postgres::files::{self, Configuration};
use trunkline_core::postgres::{MajorVersion, Upstream, options_file, parameters, recovery};
use trunkline_core::wire::config::DynamicConfig;

use crate::node::{node, settings};

const REPLICA: &str = include_str!("../fixtures/postgres/replica-postgresql.conf");
const LEADER: &str = include_str!("../fixtures/postgres/leader-postgresql.conf");
const OPTIONS: &str = include_str!("../fixtures/postgres/replica-postmaster.opts");
const DYNAMIC: &str = include_str!("../fixtures/postgres/patroni.dynamic.json");

const PARAMETERS: [(&str, &str); 4] = [
    ("wal_level", "logical"),
    ("max_connections", "50"),
    ("shared_buffers", "32MB"),
    ("unix_socket_directories", "/srv/demo"),
];

fn leader() -> Upstream {
    Upstream {
        name: Some("pg-2".into()),
        host: "127.0.0.2".to_owned(),
        port: 20_432,
        slot: Some("pg_3".to_owned()),
    }
}

fn fifteen() -> MajorVersion {
    MajorVersion::of_server(150_000).unwrap()
}

fn configuration(agent: &Agent, settings: &Settings, upstream: Option<&Upstream>) -> String {
    let (parameters, warnings) = parameters::to_write(settings);
    assert_eq!(warnings, [""; 0]);
    Configuration {
        include: "postgresql.base.conf",
        parameters: &parameters,
        hba: &agent.config_dir.join("pg_hba.conf"),
        ident: &agent.config_dir.join("pg_ident.conf"),
        recovery: &recovery::section(agent, settings, upstream, fifteen()),
    }
    .to_text()
}

#[test]
fn a_standbys_configuration_is_what_patroni_writes() {
    assert_eq!(
        configuration(&node(3), &settings(&node(3), &PARAMETERS), Some(&leader())),
        REPLICA
    );
}

#[test]
fn a_primarys_configuration_is_what_patroni_writes() {
    let mut settings = settings(&node(2), &PARAMETERS);
    // It was captured in synchronous mode, where this one is set for the operator.
    let standby = "\"pg-1\"".to_owned();
    settings
        .parameters
        .insert("synchronous_standby_names".to_owned(), standby);
    assert_eq!(configuration(&node(2), &settings, None), LEADER);
}

#[test]
fn the_postmaster_is_started_with_patronis_arguments_in_their_order() {
    let agent = node(3);
    let (parameters, _) = parameters::to_write(&settings(&agent, &PARAMETERS));
    let ours: Vec<String> = parameters::command_line(
        &agent.data_dir,
        &agent.config_dir.join("postgresql.conf"),
        &parameters,
    )
    .into_iter()
    .map(|argument| argument.into_string().unwrap())
    .collect();
    let (program, theirs) = options_file::parse(OPTIONS.as_bytes()).unwrap();
    assert_eq!(program, "/usr/lib/postgresql/15/bin/postgres");
    assert_eq!(ours, theirs);
}

#[test]
fn the_options_of_a_start_are_read_for_a_start_in_single_user_mode() {
    let (_, arguments) = options_file::parse(OPTIONS.as_bytes()).unwrap();
    let parameters = options_file::parameters(&arguments);
    assert_eq!(parameters.len(), 13, "{parameters:?}");
    assert_eq!(parameters[1], ("port".to_owned(), "20433".to_owned()));
    let short = ["-D", "--x=1", "-c", "wal-level=replica", "-cport=1", "-i"].map(str::to_owned);
    assert_eq!(
        options_file::parameters(&short),
        [("wal_level", "replica"), ("port", "1")].map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
    for bad in [&b""[..], b"\xff", b" \"-D\"", b"postgres \"-D"] {
        assert_eq!(options_file::parse(bad), None, "{bad:?}");
    }
}

#[test]
fn whom_a_captured_standby_follows_is_read_from_its_configuration() {
    let read = recovery::follows(REPLICA).unwrap();
    assert!(read.is_same_source(&leader()), "{read:?}");
    assert_eq!(recovery::follows(LEADER), None);
    assert!(files::is_ours(LEADER));
    assert!(!files::is_ours("# PostgreSQL configuration file\n"));
}

#[test]
fn the_dynamic_configuration_on_disk_is_written_as_patroni_writes_it() {
    let read = DynamicConfig::parse(DYNAMIC.as_bytes()).unwrap();
    assert_eq!(read.to_spaced(), DYNAMIC.trim_end());
}

#[test]
fn a_user_without_a_password_gets_no_password_file_and_newer_servers_newer_keywords() {
    let mut agent = node(3);
    agent.replication.password = None;
    let conninfo = |number| {
        let version = MajorVersion::of_server(number).unwrap();
        recovery::primary_conninfo(&agent, &settings(&agent, &[]), &leader(), version)
    };
    assert_eq!(
        conninfo(130_000),
        "dbname=postgres user=replicator host=127.0.0.2 port=20432 sslmode=prefer application_name=pg-3 \
         gssencmode=prefer channel_binding=prefer"
    );
    assert!(conninfo(170_000).ends_with("channel_binding=prefer sslnegotiation=postgres"));
}

#[test]
fn a_path_with_a_space_and_a_quote_survives_both_kinds_of_quoting() {
    let mut agent = node(3);
    agent.pgpass = Path::new("/var/lib/it's here/pgpass").to_owned();
    let text = configuration(&agent, &settings(&agent, &PARAMETERS), Some(&leader()));
    assert!(
        text.contains(r"passfile=/var/lib/it\\''s\\ here/pgpass host="),
        "{text}"
    );
}
