//! The live view: what `/stats.json` says, drawn in place on a terminal, or told line by line when
//! somebody changes where the output is no terminal.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use trunkline_support::patroni::patronictl;
use trunkline_support::router::Router;
use trunkline_support::stand::Stand;

use crate::Verdict;

const REDRAW: Duration = Duration::from_millis(500);
const USUAL_WIDTH: u16 = 80;

/// What to type in another terminal.
pub(crate) fn things_to_try(stand: &Stand, router: &Router) -> Result<()> {
    let ports = router.ports();
    let psql = |port: u16| format!("psql -h 127.0.0.1 -p {port} -U postgres");
    let node = stand
        .patroni
        .nodes()
        .first()
        .context("the cluster has no node")?;
    let patronictl = patronictl(&stand.parts);
    println!("\nIn another terminal:");
    println!("  the primary   {}", psql(ports.write.port()));
    println!("  a replica     {}", psql(ports.read.port()));
    if !stand.patroni.settings().synchronous_mode {
        println!(
            "  port {}     is empty: trunkline-agent has no synchronous mode yet (AGENT=patroni make demo has one)",
            ports.sync.port()
        );
    }
    println!("  where am I?   select inet_server_addr(), pg_is_in_recovery();");
    println!(
        "  stats page    http://{}/   (also /stats.json, /metrics)",
        ports.stats
    );
    println!(
        "  switch over   {} -c {} switchover --force",
        patronictl.display(),
        node.config_file().display()
    );
    println!(
        "  kill {}     kill -9 $(head -1 {})",
        node.name(),
        node.postmaster_file().display()
    );
    println!("  logs          {}/*.log", stand.workdir.path().display());
    println!("Ctrl-C ends all of it.\n");
    Ok(())
}

/// Shows the router's stats until somebody ends the demo, or the router ends itself.
pub(crate) async fn watch(router: &mut Router, terminal: bool) -> Result<Verdict> {
    let mut drawn = 0;
    let mut told = String::new();
    let mut ticks = tokio::time::interval(REDRAW);
    loop {
        ticks.tick().await;
        router.process().expect_running()?;
        let stats = router.stats().await;
        if terminal {
            let frame = fitted(&described(&stats, frame));
            if drawn > 0 {
                // Up to where the last one began, and clear from there to the end of the screen.
                print!("\x1b[{drawn}F\x1b[J");
            }
            print!("{frame}");
            std::io::stdout().flush()?;
            drawn = frame.lines().count();
        } else {
            let line = described(&stats, line);
            if line != told {
                println!("{line}");
                told = line;
            }
        }
    }
}

fn described(stats: &Result<Value>, describe: fn(&Value) -> String) -> String {
    match stats {
        Ok(stats) => describe(&stats["clusters"][0]),
        Err(silent) => format!("stats page: {silent:#}\n"),
    }
}

/// Cut to the terminal's width: a line that wraps would be two to the cursor.
fn fitted(frame: &str) -> String {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    let width = size.map_or(USUAL_WIDTH, |size| size.ws_col).into();
    let cut = |line: &str| line.chars().take(width).chain(['\n']).collect::<String>();
    frame.lines().map(cut).collect()
}

fn frame(cluster: &Value) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _written = draw(&mut out, cluster);
    out
}

fn draw(out: &mut String, cluster: &Value) -> std::fmt::Result {
    writeln!(
        out,
        "cluster {}   leader {} since {}   timeline {}   etcd {}, proof {} s old\n",
        text(&cluster["scope"]),
        text(&cluster["leader"]),
        text(&cluster["leader_since"]),
        text(&cluster["timeline"]),
        text(&cluster["etcd"]["state"]),
        text(&cluster["etcd"]["proof_age_seconds"]),
    )?;
    writeln!(
        out,
        "{:<8} {:<18} {:<10} {:>8} {:>6}  to",
        "port", "listens on", "state", "sessions", "held"
    )?;
    for listener in list(&cluster["listeners"]) {
        writeln!(
            out,
            "{:<8} {:<18} {:<10} {:>8} {:>6}  {}",
            text(&listener["name"]),
            text(&listener["bind"][0]),
            text(&listener["state"]),
            text(&listener["sessions"]),
            text(&listener["held"]),
            aim(listener),
        )?;
    }
    writeln!(
        out,
        "\n{:<8} {:<22} {:<12} {:<10} lag",
        "member", "address", "role", "state"
    )?;
    for member in list(&cluster["members"]) {
        writeln!(
            out,
            "{:<8} {:<22} {:<12} {:<10} {}",
            text(&member["name"]),
            text(&member["address"]),
            text(&member["role"]),
            text(&member["state"]),
            text(&member["lag_bytes"]),
        )?;
    }
    Ok(())
}

/// One line for those who read a log: it changes when somebody or something moved.
fn line(cluster: &Value) -> String {
    let listeners = list(&cluster["listeners"]).map(|listener| {
        let (name, state) = (text(&listener["name"]), text(&listener["state"]));
        format!(
            "{name} {state} → {}, {} held",
            aim(listener),
            text(&listener["held"])
        )
    });
    format!(
        "leader {} timeline {} etcd {} | {}",
        text(&cluster["leader"]),
        text(&cluster["timeline"]),
        text(&cluster["etcd"]["state"]),
        listeners.collect::<Vec<_>>().join(" | "),
    )
}

/// A listener's targets, or why it has none.
fn aim(listener: &Value) -> String {
    let targets: Vec<String> = list(&listener["targets"])
        .map(|target| text(&target["member"]))
        .collect();
    if targets.is_empty() {
        text(&listener["because"])
    } else {
        targets.join(", ")
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A value as a person reads it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            format!("{:.1}", number.as_f64().unwrap_or_default())
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
