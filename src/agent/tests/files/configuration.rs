//! What is written, and what is left as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use trunkline_agent::postgres::disk::Changed;
use trunkline_agent::postgres::files::Written;
use trunkline_agent::postgres::{backups, directory, dynamic};
use trunkline_core::config::agent::Settings;
use trunkline_core::ha::action::Mode;
use trunkline_core::postgres::{DataDirectory, files, recovery};
use trunkline_core::wire::config::DynamicConfig;

use crate::node::{Place, leader};

async fn write(node: &Place, settings: &Settings, mode: &Mode) -> Written {
    let files = node.files();
    let version = node.version();
    files
        .write_for(settings, mode, version, None)
        .await
        .unwrap()
}

fn standby() -> Mode {
    Mode::Standby(Some(leader()))
}

#[tokio::test]
async fn the_original_configuration_becomes_the_base_and_stays_it() {
    let node = Place::with_data();
    let original = node.text("postgresql.conf");
    let written = write(&node, &node.settings(&[]), &Mode::Primary).await;
    assert_eq!(written.changed, Changed::Yes);
    assert_eq!(node.text("postgresql.base.conf"), original);
    let ours = node.text("postgresql.conf");
    assert!(files::is_ours(&ours), "{ours}");
    let again = write(&node, &node.settings(&[]), &Mode::Primary).await;
    assert_eq!((again.changed, again.warnings), (Changed::No, vec![]));
    assert_eq!(node.text("postgresql.base.conf"), original);
    // Nothing that was only on the way is left.
    let left: Vec<_> = fs::read_dir(node.data())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().contains("trunkline"))
        .collect();
    assert_eq!(left, [""; 0]);
}

#[tokio::test]
async fn a_standby_is_told_whom_to_follow_and_with_which_password() {
    let node = Place::with_data();
    let written = write(&node, &node.settings(&[]), &standby()).await;
    assert_eq!(written.changed, Changed::Yes);
    let DataDirectory::Present {
        signal, follows, ..
    } = directory::observe(&node.agent)
    else {
        panic!("{:?}", directory::observe(&node.agent));
    };
    assert!(signal);
    assert!(follows.unwrap().is_same_source(&leader()));
    let pgpass = &node.agent.pgpass;
    assert_eq!(
        fs::read_to_string(pgpass).unwrap(),
        "127.0.0.2:20432:*:replicator:se\\:cret\n"
    );
    let mode = fs::metadata(pgpass).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let _ = write(&node, &node.settings(&[]), &Mode::Primary).await;
    assert_eq!(recovery::follows(&node.text("postgresql.conf")), None);
    assert!(!node.data().join("standby.signal").exists());
}

#[tokio::test]
async fn what_other_tools_left_about_recovery_is_gone_and_their_other_settings_stay() {
    let node = Place::with_data();
    let auto = node.data().join("postgresql.auto.conf");
    let mut bytes = b"work_mem = '8MB'\nprimary_conninfo = 'host=elsewhere'\n".to_vec();
    bytes.extend(b"# \xff\n");
    fs::write(&auto, &bytes).unwrap();
    fs::write(node.data().join("recovery.signal"), "").unwrap();
    let _ = write(&node, &node.settings(&[]), &standby()).await;
    assert_eq!(fs::read(&auto).unwrap(), b"work_mem = '8MB'\n# \xff\n");
    assert!(!node.data().join("recovery.signal").exists());
}

#[tokio::test]
async fn access_rules_are_replaced_where_they_are_given_and_no_others() {
    let node = Place::with_data();
    let original = node.text("pg_hba.conf");
    let _ = write(&node, &node.settings(&[]), &Mode::Primary).await;
    assert_eq!(node.text("pg_hba.conf"), original);

    let mut given = node.settings(&[]);
    given.pg_hba = Some(vec!["local all all trust".to_owned()]);
    given.pg_ident = Some(vec!["map root postgres".to_owned()]);
    let written = write(&node, &given, &Mode::Primary).await;
    assert_eq!(written.changed, Changed::Yes);
    let expected = format!("{}local all all trust\n", files::HEADER);
    assert_eq!(node.text("pg_hba.conf"), expected);
    assert!(node.text("pg_ident.conf").ends_with("map root postgres\n"));

    let elsewhere = node.data().join("own_hba.conf");
    let mut own = node.settings(&[("hba_file", elsewhere.to_str().unwrap())]);
    own.pg_hba = Some(vec!["reject".to_owned()]);
    let _ = write(&node, &own, &Mode::Primary).await;
    assert_eq!(node.text("pg_hba.conf"), expected);
    assert!(node.text("postgresql.conf").contains("own_hba.conf"));
}

#[tokio::test]
async fn what_postgresql_would_not_start_with_is_left_out_with_its_own_words() {
    let node = Place::with_data();
    let asked = node.settings(&[
        ("work_mem", "8MB"),
        ("no_such_thing", "1"),
        ("shared_buffers", "plenty"),
        ("fsync", "perhaps"),
        ("lc_messages", "C"),
        ("log_line_prefix", "LOG: parameter \"work_mem\" "),
        ("extension.setting", "anything"),
    ]);
    let written = write(&node, &asked, &Mode::Primary).await;
    let warnings = written.warnings.join("\n");
    for sentence in [
        "postgresql.parameters.no_such_thing is left out: unrecognized configuration parameter \"no_such_thing\"",
        "postgresql.parameters.shared_buffers is left out: invalid value for parameter \"shared_buffers\": \"plenty\"",
        "postgresql.parameters.fsync is left out: parameter \"fsync\" requires a Boolean value",
    ] {
        assert!(warnings.contains(sentence), "{warnings}");
    }
    assert_eq!(written.warnings.len(), 3, "{warnings}");
    assert_eq!(written.parameters, node.files().parameters().unwrap());
    assert_eq!(written.parameters["work_mem"], "8MB");
    assert_eq!(written.parameters["extension.setting"], "anything");
    let again = write(&node, &asked, &Mode::Primary).await;
    assert_eq!(
        (again.changed, again.warnings.len()),
        (Changed::No, 3),
        "what is left out is said again, and nothing is written"
    );
}

#[tokio::test]
async fn a_base_that_postgresql_cannot_read_is_said_and_ours_stays_as_it_was() {
    let node = Place::with_data();
    let _ = write(&node, &node.settings(&[]), &Mode::Primary).await;
    let before = node.text("postgresql.conf");
    fs::write(node.data().join("postgresql.base.conf"), "port = = 1\n").unwrap();
    let files = node.files();
    let error = files
        .write_for(
            &node.settings(&[("work_mem", "8MB")]),
            &Mode::Primary,
            node.version(),
            None,
        )
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("postgresql.base.conf\" line 1"), "{error}");
    assert_eq!(node.text("postgresql.conf"), before);
}

#[tokio::test]
async fn an_original_that_postgresql_cannot_read_stays_where_it_was() {
    let node = Place::with_data();
    let path = node.data().join("postgresql.conf");
    fs::write(&path, "port = = 1\n").unwrap();
    let files = node.files();
    let settings = node.settings(&[]);
    let refused = files.write_for(&settings, &Mode::Primary, node.version(), None);
    let error = refused.await.unwrap_err().to_string();
    assert!(error.contains("would not start"), "{error}");
    assert_eq!(node.text("postgresql.conf"), "port = = 1\n");
}

#[tokio::test]
async fn whatever_fails_in_between_nothing_that_was_to_be_a_standby_starts_as_a_primary() {
    let mut node = Place::with_data();
    let signal = node.data().join("standby.signal");
    let pgpass = std::mem::replace(&mut node.agent.pgpass, "/nowhere/pgpass".into());
    let (files, settings, mode) = (node.files(), node.settings(&[]), standby());
    let refused = files.write_for(&settings, &mode, node.version(), None);
    let error = refused.await.unwrap_err().to_string();
    assert!(error.starts_with("writing /nowhere/pgpass: "), "{error}");
    assert!(signal.exists(), "before all else");

    node.agent.pgpass = pgpass;
    fs::remove_file(node.data().join("pg_hba.conf")).unwrap();
    fs::create_dir(node.data().join("pg_hba.conf")).unwrap();
    let (files, mut settings) = (node.files(), node.settings(&[]));
    settings.pg_hba = Some(vec!["local all all trust".to_owned()]);
    let refused = files.write_for(&settings, &Mode::Primary, node.version(), None);
    let error = refused.await.unwrap_err().to_string();
    assert!(error.contains("pg_hba.conf: Is a directory"), "{error}");
    assert!(signal.exists(), "after all else");
}

#[tokio::test]
async fn a_base_that_is_gone_comes_back_from_its_copy_and_else_is_asked_for() {
    let node = Place::with_data();
    let _ = write(&node, &node.settings(&[]), &Mode::Primary).await;
    let base = node.data().join("postgresql.base.conf");
    let original = fs::read(&base).unwrap();
    assert_eq!(backups::save(&node.agent).unwrap(), Changed::Yes);
    assert_eq!(backups::save(&node.agent).unwrap(), Changed::No);
    fs::remove_file(&base).unwrap();
    let _ = write(&node, &node.settings(&[]), &Mode::Primary).await;
    assert_eq!(fs::read(&base).unwrap(), original);

    fs::remove_file(&base).unwrap();
    fs::remove_file(node.data().join("postgresql.base.conf.backup")).unwrap();
    let error = node
        .files()
        .write_for(&node.settings(&[]), &Mode::Primary, node.version(), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("an empty file will do"), "{error}");
}

#[tokio::test]
async fn a_configuration_outside_of_the_data_directory_begins_with_what_initdb_wrote() {
    let mut node = Place::with_data();
    node.agent.config_dir = node.data().parent().unwrap().join("etc");
    node.agent.config_base_name = "main".to_owned();
    fs::create_dir(&node.agent.config_dir).unwrap();
    fs::rename(
        node.data().join("postgresql.conf"),
        node.data().join("main.conf"),
    )
    .unwrap();
    let written = write(&node, &node.settings(&[]), &Mode::Primary).await;
    assert_eq!(written.changed, Changed::Yes);
    let in_etc = |name: &str| fs::read_to_string(node.agent.config_dir.join(name)).unwrap();
    assert!(in_etc("main.conf").contains("include 'main.base.conf'"));
    assert!(in_etc("main.base.conf").starts_with("# -----"));
    assert_eq!(in_etc("pg_hba.conf"), node.text("pg_hba.conf"));
    // A clone has the copies in its data directory and nothing in its own /etc.
    assert_eq!(backups::save(&node.agent).unwrap(), Changed::Yes);
    fs::remove_dir_all(&node.agent.config_dir).unwrap();
    fs::create_dir(&node.agent.config_dir).unwrap();
    assert_eq!(backups::restore(&node.agent).unwrap(), Changed::Yes);
    assert!(in_etc("main.conf").contains("include 'main.base.conf'"));
}

#[tokio::test]
async fn lines_of_the_bootstrap_come_after_those_of_initdb() {
    let node = Place::with_data();
    let before = node.text("pg_hba.conf");
    let lines = ["host all all 10.0.0.0/8 scram-sha-256\n".to_owned()];
    assert_eq!(node.files().append_hba(&lines).unwrap(), Changed::Yes);
    assert_eq!(
        node.text("pg_hba.conf"),
        format!("{before}host all all 10.0.0.0/8 scram-sha-256\n")
    );
}

#[test]
fn directories_that_a_start_needs_are_made() {
    let mut node = Place::new();
    let place = node.data().parent().unwrap().to_owned();
    node.agent.pgpass = place.join("secrets/pgpass");
    let sockets = format!("{}, @abstract", place.join("run/sockets").display());
    let asked = node.settings(&[("unix_socket_directories", &sockets)]);
    node.files().make_directories(&asked).unwrap();
    assert!(place.join("run/sockets").is_dir());
    assert!(place.join("secrets").is_dir());
}

#[test]
fn the_dynamic_configuration_is_kept_and_rubbish_there_is_no_configuration() {
    let node = Place::with_data();
    let data = node.data();
    assert_eq!(dynamic::read(&data).unwrap(), None);
    let text = br#"{"ttl":30,"postgresql":{"parameters":{"work_mem":"8MB"}}}"#;
    let configuration = DynamicConfig::parse(text).unwrap();
    assert_eq!(dynamic::write(&data, &configuration).unwrap(), Changed::Yes);
    assert_eq!(dynamic::write(&data, &configuration).unwrap(), Changed::No);
    assert_eq!(dynamic::read(&data).unwrap(), Some(configuration));
    assert_eq!(
        node.text("patroni.dynamic.json"),
        r#"{"ttl": 30, "postgresql": {"parameters": {"work_mem": "8MB"}}}"#
    );
    fs::write(data.join("patroni.dynamic.json"), b"\xff{").unwrap();
    let error = dynamic::read(&data).unwrap_err().to_string();
    assert!(error.contains("patroni.dynamic.json: "), "{error}");
    assert!(error.contains("it may be removed"), "{error}");
}
