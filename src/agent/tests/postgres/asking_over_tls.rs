//! Asking PostgreSQL over TLS, by each `sslmode`, as libpq would.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use trunkline_agent::postgres::bootstrap;
use trunkline_agent::postgres::heartbeat::Heartbeat;
use trunkline_agent::postgres::postmaster::Running;
use trunkline_agent::postgres::query::{self, Target};
use trunkline_core::postgres::Silence;
use trunkline_io::clock;
use trunkline_support::ca::{Ca, Pair};
use trunkline_support::wait::until;

use super::Test;
use super::cluster::{BOUND, Cluster, on_runtime, patience};

/// The tests of this file.
pub(crate) const TESTS: &[Test] = &[
    (
        "a_postgresql_that_takes_tls_alone_is_asked_over_it",
        tls_alone,
    ),
    (
        "a_certificate_that_will_not_do_is_told_with_file_host_and_remedy",
        refused,
    ),
    (
        "a_postgresql_without_tls_is_asked_in_clear_unless_that_is_forbidden",
        without_tls,
    ),
    (
        "a_certificate_that_signs_itself_is_trusted_where_it_is_named",
        by_itself,
    ),
];

/// A cluster whose logins have passwords, and over the network only so.
struct Closed {
    cluster: Cluster,
    superuser: Target,
}

impl Closed {
    async fn made(hba: &str) -> Result<Self> {
        let cluster = Cluster::empty()?;
        let agent = cluster.agent();
        let options = ["--no-sync".to_owned(), "--auth=scram-sha-256".to_owned()];
        let (initdb, data) = (cluster.program("initdb"), cluster.data());
        bootstrap::initdb(&initdb, &data, &options, &agent.superuser, &patience(BOUND)).await?;
        fs::write(data.join("pg_hba.conf"), hba)?;
        let superuser = cluster.target_of(&agent.superuser);
        Ok(Self { cluster, superuser })
    }

    async fn start(&self, pair: &Pair) -> Result<Running> {
        let certificate = format!("--ssl_cert_file={}", pair.certificate.display());
        let key = format!("--ssl_key_file={}", pair.key.display());
        let arguments = ["--ssl=on", certificate.as_str(), key.as_str()];
        self.cluster.start_with(&arguments).await
    }

    fn target(&self, options: &[(&str, &str)]) -> Target {
        let options = options.iter();
        let options: BTreeMap<_, _> = options
            .map(|(option, value)| ((*option).to_owned(), (*value).to_owned()))
            .collect();
        Target {
            options,
            ..self.superuser.clone()
        }
    }

    /// Whether it was asked over TLS, in both protocols.
    async fn over_tls(&self, options: &[(&str, &str)]) -> Result<bool, Silence> {
        let by = clock::now().after(BOUND);
        let target = self.target(options);
        let mut heartbeat = Heartbeat::new(target.clone(), "test");
        let asks = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let rows = heartbeat.rows(asks, by).await?;
        let _identified = query::identify(&target, by).await?;
        Ok(rows == [[Some("t".to_owned())]])
    }

    async fn refusal(&self, options: &[(&str, &str)]) -> Result<String> {
        let by = clock::now().after(BOUND);
        let mut heartbeat = Heartbeat::new(self.target(options), "test");
        let words = heartbeat.ask(by).await.err().context("it was let in")?;
        let words = words.to_string();
        let identified = query::identify(&self.target(options), by).await;
        let also = identified.err().context("it was let in")?.to_string();
        // PostgreSQL's own words differ in the protocol's name.
        ensure!(also.len() >= words.len() / 2, "{words} but {also}");
        Ok(words)
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

const ALL: &str = "hostssl all,replication all all scram-sha-256\n";

fn tls_alone() -> Result<()> {
    on_runtime(async {
        let closed = Closed::made(ALL).await?;
        let ca = Ca::new(closed.cluster.folder(), "own")?;
        let host = closed.cluster.host();
        let pair = ca.server("server", &[host.parse()?])?;
        let _running = closed.start(&pair).await?;
        let root = text(ca.certificate())?;
        for options in [
            &[][..],
            &[("sslmode", "allow")],
            &[("sslmode", "prefer"), ("channel_binding", "require")],
            // No file of authorities is looked at where nothing is checked.
            &[("sslmode", "prefer"), ("sslrootcert", "/nowhere")],
            &[("sslmode", "require"), ("channel_binding", "disable")],
            &[("sslmode", "require"), ("sslrootcert", root)],
            &[("sslmode", "verify-ca"), ("sslrootcert", root)],
            &[
                ("sslmode", "verify-full"),
                ("sslrootcert", root),
                ("channel_binding", "require"),
            ],
        ] {
            let asked = closed.over_tls(options).await;
            ensure!(asked == Ok(true), "{options:?}: {asked:?}");
        }
        let words = closed.refusal(&[("sslmode", "disable")]).await?;
        ensure!(words.contains("no encryption"), "{words}");
        Ok(())
    })
}

fn refused() -> Result<()> {
    on_runtime(async {
        let closed = Closed::made(ALL).await?;
        let folder = closed.cluster.folder();
        let (ca, stranger) = (Ca::new(folder, "own")?, Ca::new(folder, "stranger")?);
        let host = closed.cluster.host();
        let pair = ca.server("server", &[host.parse()?])?;
        let running = closed.start(&pair).await?;
        let (root, strange) = (text(ca.certificate())?, text(stranger.certificate())?);
        let asking = format!("asking {host}:5432 over TLS (sslmode ");
        let section = "under postgresql.authentication (user postgres)";
        let must = format!("{strange} (sslrootcert {section}) must hold the authority");
        for (options, needs) in [
            (
                &[("sslmode", "verify-full"), ("sslrootcert", strange)][..],
                ["verify-full): ", must.as_str()],
            ),
            (
                &[("sslmode", "verify-ca"), ("sslrootcert", strange)],
                ["verify-ca): ", must.as_str()],
            ),
            (
                &[("sslmode", "require"), ("sslrootcert", strange)],
                ["require): ", must.as_str()],
            ),
            (
                &[("sslmode", "verify-full"), ("sslrootcert", "/nowhere/ca")],
                [
                    "sslrootcert: cannot read /nowhere/ca: No such file",
                    "name a PEM file",
                ],
            ),
            (
                &[("sslmode", "require"), ("sslcert", "/nowhere/cert")],
                ["sslcert: cannot read /nowhere/cert", "name a PEM file"],
            ),
            (
                &[("sslmode", "verify-full")],
                ["sslrootcert: is not written", "~/.postgresql/root.crt"],
            ),
        ] {
            let words = closed.refusal(options).await?;
            ensure!(words.starts_with(&asking), "{options:?}: {words}");
            for needs in needs {
                ensure!(words.contains(needs), "{options:?}: {words}");
            }
        }
        let words = closed.refusal(&[("sslmode", "on")]).await?;
        ensure!(
            words.contains("sslmode: \"on\" is none of disable, "),
            "{words}"
        );

        // Another certificate, for somebody else.
        ca.server("other", &["192.0.2.1".parse()?])?
            .replace(&pair)?;
        running.signal(Signal::HUP)?;
        let full = [("sslmode", "verify-full"), ("sslrootcert", root)];
        let must = format!("PostgreSQL's certificate must have {host} among its subjectAltNames");
        let shown = until("it shows its other certificate", BOUND, async || {
            let words = closed.refusal(&full).await?;
            ensure!(words.contains(&must), "{words}");
            Ok(())
        });
        shown.await?;
        let less = [("sslmode", "verify-ca"), ("sslrootcert", root)];
        let asked = closed.over_tls(&less).await;
        ensure!(asked == Ok(true), "{asked:?}");
        Ok(())
    })
}

fn without_tls() -> Result<()> {
    on_runtime(async {
        let closed = Closed::made("host all,replication all all scram-sha-256\n").await?;
        let _running = closed.cluster.start().await?;
        for options in [&[][..], &[("sslmode", "allow")], &[("sslmode", "disable")]] {
            let asked = closed.over_tls(options).await;
            ensure!(asked == Ok(false), "{options:?}: {asked:?}");
        }
        let words = closed.refusal(&[("sslmode", "require")]).await?;
        ensure!(words.contains("switch ssl on in PostgreSQL"), "{words}");
        Ok(())
    })
}

/// As in many a guide: one certificate, made by openssl, which calls it an authority's.
fn by_itself() -> Result<()> {
    on_runtime(async {
        let closed = Closed::made(ALL).await?;
        let (host, folder) = (closed.cluster.host(), closed.cluster.folder());
        let pair = Pair {
            certificate: folder.join("self.crt"),
            key: folder.join("self.key"),
        };
        let made = std::process::Command::new("openssl")
            .args([
                "req", "-new", "-x509", "-days", "2", "-nodes", "-subj", "/CN=db",
            ])
            .arg("-addext")
            .arg(format!("subjectAltName=IP:{host}"))
            .arg("-out")
            .arg(&pair.certificate)
            .arg("-keyout")
            .arg(&pair.key)
            .output()
            .context("starting openssl")?;
        ensure!(made.status.success(), "openssl: {made:?}");
        let _running = closed.start(&pair).await?;
        let root = text(&pair.certificate)?;
        for mode in ["prefer", "verify-ca", "verify-full"] {
            let asked = closed
                .over_tls(&[("sslmode", mode), ("sslrootcert", root)])
                .await;
            ensure!(asked == Ok(true), "{mode}: {asked:?}");
        }
        Ok(())
    })
}
