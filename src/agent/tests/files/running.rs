//! A server that runs: what it says of its parameters beside what the configuration says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use trunkline_core::config::agent::Settings;
use trunkline_core::ha::action::Mode;
use trunkline_core::postgres::compare::{Context, Difference, Kind, Setting, compare};
use trunkline_support::wait;

use crate::node::Place;

/// A server on a socket of its own and no port.
struct Server {
    place: Place,
    process: Child,
    sockets: PathBuf,
}

impl Server {
    async fn start(mut place: Place, parameters: &[(&str, &str)]) -> Self {
        place.agent.listen_addresses = String::new();
        let sockets = place.data().parent().unwrap().join("sockets");
        let settings = settings(&place, &sockets, parameters);
        let files = place.files();
        files.make_directories(&settings).unwrap();
        let written = files
            .write_for(&settings, &Mode::Primary, place.version(), None)
            .await
            .unwrap();
        assert_eq!(written.warnings, [""; 0]);
        place.give_to_postgres();
        let mut command = place.run("postgres", &[]);
        command
            .args(files.command_line(&settings, None))
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let server = Self {
            process: command.spawn().unwrap(),
            sockets,
            place,
        };
        server.until("SELECT 1", "1").await;
        server
    }

    fn settings(&self, parameters: &[(&str, &str)]) -> Settings {
        settings(&self.place, &self.sockets, parameters)
    }

    fn ask(&self, query: &str) -> String {
        let sockets = self.sockets.to_str().unwrap();
        let port = self.place.agent.port.to_string();
        let arguments = [
            "-XAtq", "-F", "\u{1f}", "-h", sockets, "-p", &port, "-U", "postgres",
        ];
        let mut command = self.place.run("psql", &arguments);
        let output = command.args(["-d", "postgres", "-c", query]).output();
        String::from_utf8(output.unwrap().stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// Waits until the server answers a query so.
    async fn until(&self, query: &str, expected: &str) {
        let what = format!("{query} answers {expected}");
        wait::until(&what, Duration::from_secs(60), async || {
            let answer = self.ask(query);
            anyhow::ensure!(answer == expected, "it answered {answer:?}");
            Ok(())
        })
        .await
        .unwrap();
    }

    fn rows(&self) -> Vec<Setting> {
        let answer = self.ask("SELECT name, setting, unit, context, vartype FROM pg_settings");
        let rows: Vec<Setting> = answer.lines().filter_map(row).collect();
        assert!(rows.len() > 300, "{answer}");
        rows
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // At once, and its children with it; what it leaves behind goes with its folder.
        if let Some(pid) = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, Signal::QUIT);
        }
        let _ = self.process.wait();
    }
}

fn settings(place: &Place, sockets: &Path, parameters: &[(&str, &str)]) -> Settings {
    let mut settings = place.settings(parameters);
    let sockets = sockets.to_str().unwrap().to_owned();
    settings
        .parameters
        .insert("unix_socket_directories".to_owned(), sockets);
    settings
}

fn row(line: &str) -> Option<Setting> {
    let columns: Vec<&str> = line.split('\u{1f}').collect();
    let [name, setting, unit, context, kind] = columns[..] else {
        return None;
    };
    Some(Setting {
        name: name.to_owned(),
        setting: setting.to_owned(),
        unit: (!unit.is_empty()).then(|| unit.to_owned()),
        context: Context::of(context),
        kind: Kind::of(kind),
    })
}

#[tokio::test]
async fn a_server_that_was_just_started_differs_from_its_configuration_in_nothing() {
    let parameters = [
        ("shared_buffers", "16384kB"),
        ("wal_buffers", "-1"),
        ("work_mem", "1.5MB"),
        ("maintenance_work_mem", "65536"),
        ("max_wal_size", "1GB"),
        ("min_wal_size", "0.5GB"),
        ("effective_cache_size", "4.5GB"),
        ("checkpoint_timeout", "0.1h"),
        ("log_min_duration_statement", "1s"),
        ("statement_timeout", "1min"),
        ("autovacuum_vacuum_cost_delay", "1500us"),
        ("vacuum_cost_delay", "0.5ms"),
        ("random_page_cost", "1.10"),
        ("bgwriter_lru_multiplier", "2"),
        ("track_activity_query_size", "2kB"),
        ("temp_file_limit", "-1"),
        ("wal_compression", "true"),
        ("synchronous_commit", "YES"),
        ("archive_mode", "0"),
        ("huge_pages", "false"),
        ("log_min_messages", "Debug"),
        ("fsync", "off"),
        ("wal_level", "hot_standby"),
        ("max_connections", "0x20"),
        ("TimeZone", "UTC"),
        ("search_path", "a, \"B c\""),
        ("log_line_prefix", "%m [%p] it's \\ "),
        ("some.extension", "anything"),
    ];
    let server = Server::start(Place::with_data(), &parameters).await;
    let written = server.place.files().parameters().unwrap();
    let difference = compare(&written, &written, &server.rows());
    assert_eq!(difference, Difference::default());
}

#[tokio::test]
async fn what_waits_for_a_restart_is_what_the_server_itself_says_and_the_rest_is_reloaded() {
    let before = [("work_mem", "4MB"), ("shared_buffers", "16MB")];
    let server = Server::start(Place::with_data(), &before).await;
    let files = server.place.files();
    let old = files.parameters().unwrap();
    let asked = server.settings(&[
        ("work_mem", "8MB"),
        ("shared_buffers", "32MB"),
        ("max_connections", "60"),
    ]);
    let written = files
        .write_for(&asked, &Mode::Primary, server.place.version(), None)
        .await
        .unwrap();
    server.place.give_to_postgres();
    let found = compare(&written.parameters, &old, &server.rows());
    assert_eq!(found.reload.iter().collect::<Vec<_>>(), ["work_mem"]);
    let expected = [
        ("max_connections", ("100", "60")),
        ("shared_buffers", ("16MB", "32MB")),
    ];
    let expected: BTreeMap<String, (String, String)> = expected
        .map(|(name, (now, then))| (name.to_owned(), (now.to_owned(), then.to_owned())))
        .into();
    assert_eq!(found.restart, expected);

    assert_eq!(server.ask("SELECT pg_reload_conf()"), "t");
    server.until("SHOW work_mem", "8MB").await;
    let waiting =
        "SELECT string_agg(name, ' ' ORDER BY name) FROM pg_settings WHERE pending_restart";
    let ours: Vec<&str> = found.restart.keys().map(String::as_str).collect();
    assert_eq!(server.ask(waiting), ours.join(" "));
}
