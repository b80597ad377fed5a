//! etcd and REST APIs behind TLS that want to see a certificate, an etcd that wants a password, and certificates that
//! change.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trunkline_support::ca::{Ca, Pair, Tls};
use trunkline_support::etcd::Etcd;
use trunkline_support::fake_cluster::{FakeCluster, Way};
use trunkline_support::fake_member::Rest;
use trunkline_support::parts::Parts;
use trunkline_support::ports::Loopback;
use trunkline_support::router::{self, Ports, Router};
use trunkline_support::wait::{throughout, until};
use trunkline_support::workdir::WorkDir;

use crate::client::{Client, lands_on};
use crate::stand::{BINARY, SOON};

const DAY: Duration = Duration::from_secs(86_400);
const ROOT: &str = "root-secret";
const OWN: &str = "own-secret";

/// An etcd and three members behind TLS, and a router that may only read.
struct Stand {
    cluster: FakeCluster,
    router: Router,
    etcd: Etcd,
    ca: Ca,
    /// The router's own files, to be replaced.
    own: Tls,
    home: PathBuf,
    _network: Loopback,
}

impl Stand {
    /// The router is told `scope`; the cluster, and what it may read, is `demo`.
    async fn start(scope: &str) -> Result<Self> {
        let network = Loopback::lease()?;
        let workdir = Arc::new(WorkDir::new()?);
        let home = workdir.folder("ca", None)?;
        let ca = Ca::new(&home, "ca")?;
        let etcd = Etcd::start_with_tls(1, &ca, &Parts::find()?, &network, &workdir).await?;
        let address = *etcd.endpoints().first().context("no etcd")?;
        grant(&etcd)?;
        let material = etcd.tls().context("no TLS")?;
        let way = Way {
            address,
            tls: Some(material.clone()),
            user: Some(("root".to_owned(), ROOT.to_owned())),
        };
        let names = ["pg-1", "pg-2", "pg-3"];
        let mut cluster =
            FakeCluster::start_with("demo", way, Some(&ca), &network, &names, 15).await?;
        cluster.promote("pg-1").await?;
        let own = Tls {
            client: ca.client("router")?,
            ..material.clone()
        };
        let ports = Ports::on(&network, 0)?;
        let config = router::with_tls(&router::config(scope, &[address], &ports), &own, &own)
            .replace(
                "protocol: https,",
                &format!("protocol: https, username: trunkline, password: {OWN},"),
            );
        let mut router = Router::launch("router", Path::new(BINARY), &config, ports, &workdir)?;
        router.wait_up().await?;
        Ok(Self {
            cluster,
            router,
            etcd,
            ca,
            own,
            home,
            _network: network,
        })
    }

    async fn logged(&mut self, words: &str) -> Result<()> {
        until(&format!("the log says {words:?}"), SOON, async || {
            let log = self.router.process().log()?;
            ensure!(log.contains(words), "it does not");
            Ok(())
        })
        .await
    }

    /// Waits until the page has `words` anywhere.
    async fn said(&self, words: &str) -> Result<()> {
        until(&format!("the page says {words:?}"), SOON, async || {
            let stats = self.router.stats().await?.to_string();
            ensure!(
                stats.to_lowercase().contains(&words.to_lowercase()),
                "{stats}"
            );
            Ok(())
        })
        .await
    }

    /// Waits until an alarm on the page says `words`, or, if they are not `wanted`, until none does.
    async fn alarmed(&self, words: &str, wanted: bool) -> Result<()> {
        until(
            &format!("{words:?} on the page: {wanted}"),
            SOON,
            async || {
                let alarms = self.router.stats().await?["clusters"][0]["alarms"].to_string();
                ensure!(alarms.contains(words) == wanted, "alarms are {alarms}");
                Ok(())
            },
        )
        .await
    }

    /// A pair of files that are none of the router's yet.
    fn other(&self, name: &str) -> Result<Ca> {
        Ca::new(&self.home, name)
    }
}

/// Runs `test`; a failure comes with the router's log.
async fn on(scope: &str, test: impl AsyncFnOnce(&mut Stand) -> Result<()>) -> Result<()> {
    let mut stand = Box::pin(Stand::start(scope)).await?;
    let outcome = Box::pin(test(&mut stand)).await;
    outcome.map_err(|failure| stand.router.with_log(&failure))
}

/// Runs the commands that docs/etcd-access.md gives.
fn grant(etcd: &Etcd) -> Result<()> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/etcd-access.md");
    let page = std::fs::read_to_string(page)?;
    let commands: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("etcdctl "))
        .collect();
    ensure!(commands.len() == 11, "{} commands", commands.len());
    commands
        .into_iter()
        .try_for_each(|command| etcdctl(etcd, command))
}

fn etcdctl(etcd: &Etcd, command: &str) -> Result<()> {
    let tls = etcd.tls().context("no TLS")?;
    let endpoint = etcd.endpoints()[0].to_string();
    let done = Command::new("sh")
        .args(["-c", command])
        .env("ETCDCTL_API", "3")
        .env("ETCDCTL_ENDPOINTS", format!("https://{endpoint}"))
        .env("ETCDCTL_CACERT", &tls.ca)
        .env("ETCDCTL_CERT", &tls.client.certificate)
        .env("ETCDCTL_KEY", &tls.client.key)
        .env("TRUNKLINE_PASSWORD", OWN)
        .env("PATRONI_PASSWORD", "patroni-secret")
        .env("ROOT_PASSWORD", ROOT)
        .output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{command}: {said}");
    Ok(())
}

async fn routes_to(stand: &Stand, name: &str) -> Result<()> {
    let write = stand.router.ports().write;
    until(&format!("writers reach {name}"), SOON, async || {
        let landed = lands_on(write).await?;
        ensure!(landed == name, "they reach {landed}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_router_that_may_only_read_the_prefix_routes_and_follows_the_lock() -> Result<()> {
    on("demo", async |stand| {
        routes_to(stand, "pg-1").await?;
        let (mut session, _) = Client::login(stand.router.ports().write).await?;
        // With REST silent, only etcd's proof, the lease's time to live included, carries the leader.
        stand.cluster.member("pg-1")?.say(Rest::Silent).await?;
        let write = stand.router.ports().write;
        throughout("served on the lease", Duration::from_secs(5), async || {
            session.echo(b"an old session").await?;
            ensure!(lands_on(write).await? == "pg-1");
            Ok(())
        })
        .await?;
        stand.cluster.promote("pg-2").await?;
        session.ended(SOON).await?;
        routes_to(stand, "pg-2").await?;

        // A restarted etcd has forgotten every token.
        let (mut session, _) = Client::login(write).await?;
        stand.etcd.kill(0)?;
        stand.etcd.restart(0).await?;
        stand.cluster.lock("pg-3").await?;
        session.ended(SOON).await?;
        stand.cluster.promote("pg-3").await?;
        routes_to(stand, "pg-3").await
    })
    .await
}

#[tokio::test]
async fn a_change_of_roles_costs_the_router_no_endpoint() -> Result<()> {
    on("demo", async |stand| {
        routes_to(stand, "pg-1").await?;
        // From now on every token given before is "of an old revision".
        etcdctl(
            &stand.etcd,
            "etcdctl --user=root:$ROOT_PASSWORD role add other",
        )?;
        let write = stand.router.ports().write;
        stand.cluster.member("pg-1")?.say(Rest::Silent).await?;
        throughout("served on the lease", Duration::from_secs(5), async || {
            ensure!(lands_on(write).await? == "pg-1");
            Ok(())
        })
        .await?;
        let log = stand.router.process().log()?;
        ensure!(!log.contains("cannot be used"), "an endpoint was left");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_prefix_that_may_not_be_read_is_named_with_the_user_and_the_command() -> Result<()> {
    on("another", async |stand| {
        stand
            .logged("user trunkline may not read /service/another/*")
            .await?;
        stand
            .logged("grant-permission ROLE read --prefix /service/another/")
            .await?;
        stand
            .said("user trunkline may not read /service/another/*")
            .await
    })
    .await
}

#[tokio::test]
async fn certificates_are_exchanged_under_a_running_router_and_bad_ones_are_not() -> Result<()> {
    on("demo", async |stand| {
        routes_to(stand, "pg-1").await?;
        let (mut session, _) = Client::login(stand.router.ports().write).await?;
        let in_use = stand.own.client.clone();

        // A key that is not the certificate's.
        let stranger = stand.other("other")?.client("stranger")?;
        let good_key = std::fs::read(&in_use.key)?;
        std::fs::copy(&stranger.key, &in_use.key)?;
        stand.logged("do not fit together").await?;
        stand.alarmed("do not fit together", true).await?;
        ensure!(lands_on(stand.router.ports().write).await? == "pg-1");
        std::fs::write(&in_use.key, good_key)?;
        stand.alarmed("do not fit together", false).await?;

        // A pair that fits and that nobody trusts: etcd stays on the old connection, REST has none to stay on.
        let kept = Pair {
            certificate: stand.home.join("kept.crt"),
            key: stand.home.join("kept.key"),
        };
        in_use.replace(&kept)?;
        stranger.replace(&in_use)?;
        stand.logged("does not take the new certificates").await?;
        stand.said("received fatal alert").await?;
        ensure!(lands_on(stand.router.ports().write).await? == "pg-1");

        // One that ends in nine days is good, and worth a word.
        let soon = stand.ca.client_for("soon", 9 * DAY + DAY / 2)?;
        soon.replace(&in_use)?;
        stand.alarmed("expires in 9 days", true).await?;
        stand.logged("expires in 9 days").await?;
        kept.replace(&in_use)?;
        stand.alarmed("expires in", false).await?;
        session.echo(b"through all of it").await?;
        stand.cluster.promote("pg-2").await?;
        routes_to(stand, "pg-2").await
    })
    .await
}

#[tokio::test]
async fn a_rest_api_with_a_certificate_that_does_not_hold_is_not_believed() -> Result<()> {
    on("demo", async |stand| {
        routes_to(stand, "pg-1").await?;
        let member = stand.cluster.member("pg-1")?;
        let address = [member.rest().ip()];
        let client = stand.own.client.clone();
        let foreign = stand.other("foreign")?;
        let elsewhere = ["127.255.255.1".parse()?];
        for (server, words) in [
            (stand.ca.expired_server("expired", &address)?, "Expired"),
            (foreign.server("stranger", &address)?, "UnknownIssuer"),
            (stand.ca.server("elsewhere", &elsewhere)?, "not valid for"),
        ] {
            member.shows(&Tls {
                ca: stand.ca.certificate().to_owned(),
                server,
                client: client.clone(),
            })?;
            stand.said(words).await?;
        }
        Ok(())
    })
    .await
}

#[test]
fn files_of_no_use_are_named_with_their_key_before_anything_starts() -> Result<()> {
    let workdir = WorkDir::new()?;
    let home = workdir.folder("ca", None)?;
    let ca = Ca::new(&home, "ca")?;
    let (one, two) = (ca.client("one")?, ca.client("two")?);
    let garbled = home.join("garbled.pem");
    std::fs::write(
        &garbled,
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    )?;
    let authority = ca.certificate().display();
    let cases = [
        (
            "cacert: /nowhere/ca.crt".to_owned(),
            "etcd3.cacert: cannot read /nowhere/ca.crt",
        ),
        (format!("cacert: {}", garbled.display()), "etcd3.cacert: "),
        (
            format!("cacert: {}", one.key.display()),
            "there is no certificate in it",
        ),
        (
            format!("cacert: {authority}, cert: {}", one.certificate.display()),
            "etcd3.cert: ",
        ),
        (
            format!(
                "cacert: {authority}, cert: {}, key: {}",
                one.certificate.display(),
                two.key.display()
            ),
            "do not fit together",
        ),
    ];
    for (keys, words) in cases {
        let file = home.join("router.yml");
        let text = format!(
            "cluster:\n  scope: demo\n  etcd3: {{hosts: [\"a:2379\"], protocol: https, {keys}}}\n"
        );
        std::fs::write(&file, text)?;
        let done = Command::new(BINARY)
            .arg("--check")
            .arg("-f")
            .arg(&file)
            .output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(
            done.status.code() == Some(78),
            "{keys}: {:?}: {said}",
            done.status
        );
        ensure!(
            said.contains(words),
            "{keys}: {words:?} is not said in {said}"
        );
    }
    Ok(())
}
