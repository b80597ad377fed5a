//! A network whose cables can be cut: a switch in a network namespace, and a namespace for every host on it.
//!
//! Nothing of it is in the machine's own network: addresses, links and rules live in namespaces that go with the
//! last process in them. A cut is a rule of the switch, so both ends see what a broken cable shows them: silence.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::network::{Network, Place};

mod machines;
mod namespace;
pub use machines::Machines;
pub use namespace::Namespace;

/// Private, and in nobody's way: every wire has the same, in namespaces of its own.
const RANGE: &str = "10.77.0.0/24";
/// The number of the host that tests run on, which is the switch.
pub const HUB: u8 = 254;

/// Two sets the switch drops by: pairs of hosts that do not reach each other, and hosts that nobody reaches.
const RULES: &str = "\
add table bridge wire
add set bridge wire pairs { type ipv4_addr . ipv4_addr; }
add set bridge wire silent { type ipv4_addr; }
add chain bridge wire cut
add rule bridge wire cut ip saddr . ip daddr @pairs drop
add rule bridge wire cut ip saddr @silent drop
add rule bridge wire cut ip daddr @silent drop
add chain bridge wire ports { type filter hook prerouting priority 0; }
add rule bridge wire ports jump cut
add chain bridge wire hub { type filter hook output priority 0; }
add rule bridge wire hub jump cut";

/// The switch and its hosts; clones are the same wire.
#[derive(Debug, Clone)]
pub struct Wire(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hub: Namespace,
    hosts: Mutex<BTreeMap<u8, Arc<Namespace>>>,
}

impl Wire {
    /// Lays a wire nobody is on yet but the hub.
    pub fn lay() -> Result<Self> {
        let hub = Namespace::make(|hub, _name| {
            hub.run("ip link add wire type bridge")?;
            hub.run(&format!("ip address add {}/24 dev wire", address(HUB)))?;
            hub.run("ip link set wire up")?;
            RULES
                .lines()
                .try_for_each(|rule| hub.run(&format!("nft {rule}")))
        });
        Ok(Self(Arc::new(Inner {
            hub: hub.context("laying a wire")?,
            hosts: Mutex::default(),
        })))
    }

    /// Runs a test at the hub: on a thread that lives there, so that all it connects to, asks or starts is on this
    /// wire.
    pub fn run<T: Send, F: Future<Output = Result<T>>>(
        &self,
        test: impl FnOnce() -> F + Send,
    ) -> Result<T> {
        let at_the_hub = || {
            self.0
                .hub
                .enter()
                .context("moving to the hub's network namespace")?;
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }
                .enable_all()
                .build()
                .context("making a runtime")?;
            runtime.block_on(test())
        };
        std::thread::scope(|scope| scope.spawn(at_the_hub).join())
            .unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Does `work` on a host: a socket it opens stays there, whoever uses it later.
    pub fn on_host<T: Send>(&self, host: u8, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let namespace = self.namespace(host)?;
        let there = || {
            namespace
                .enter()
                .with_context(|| format!("moving to host {host}"))?;
            work()
        };
        std::thread::scope(|scope| scope.spawn(there).join())
            .unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// The number of a host on this wire.
    pub fn number(&self, host: IpAddr) -> Result<u8> {
        let found = self
            .hosts()
            .keys()
            .copied()
            .find(|number| address(*number) == host);
        found.with_context(|| format!("{host} is on no wire"))
    }

    /// Cuts `host` off from everybody; packets to and from it vanish without a word.
    pub fn silence(&self, host: IpAddr) -> Result<Cut> {
        self.cut("silent", &[host.to_string()])
    }

    /// Cuts `host` off from some others only.
    pub fn part(&self, host: IpAddr, others: &[IpAddr]) -> Result<Cut> {
        let both_ways = |other: &IpAddr| [format!("{host} . {other}"), format!("{other} . {host}")];
        self.cut(
            "pairs",
            &others.iter().flat_map(both_ways).collect::<Vec<_>>(),
        )
    }

    /// Kills every process of `host` (SIGKILL), as when the machine loses its power but for its kernel, which still
    /// closes their sockets.
    pub fn kill(&self, host: IpAddr) -> Result<()> {
        self.signal(host, Signal::KILL)
    }

    /// Freezes every process of `host` (SIGSTOP): its kernel still takes packets, and nobody answers.
    pub fn freeze(&self, host: IpAddr) -> Result<Frozen> {
        let frozen = Frozen {
            wire: self.clone(),
            host: Some(host),
        };
        self.signal(host, Signal::STOP)?;
        Ok(frozen)
    }

    fn signal(&self, host: IpAddr, signal: Signal) -> Result<()> {
        let told = self.namespace(self.number(host)?)?.signal(signal)?;
        ensure!(told > 0, "no process runs on {host}");
        Ok(())
    }

    fn cut(&self, set: &str, elements: &[String]) -> Result<Cut> {
        let elements = format!("element bridge wire {set} {{ {} }}", elements.join(", "));
        self.0.hub.run(&format!("nft add {elements}"))?;
        Ok(Cut {
            wire: self.clone(),
            elements: Some(elements),
        })
    }

    fn hosts(&self) -> MutexGuard<'_, BTreeMap<u8, Arc<Namespace>>> {
        self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn namespace(&self, host: u8) -> Result<Arc<Namespace>> {
        let mut hosts = self.hosts();
        if let Some(known) = hosts.get(&host) {
            return Ok(Arc::clone(known));
        }
        let namespace = Namespace::make(|own, name| {
            let hub = &self.0.hub;
            hub.run(&format!(
                "ip link add host-{host} type veth peer name eth0 netns {name}"
            ))?;
            hub.run(&format!("ip link set host-{host} master wire up"))?;
            own.run(&format!("ip address add {}/24 dev eth0", address(host)))?;
            own.run("ip link set eth0 up")
        });
        let namespace =
            Arc::new(namespace.with_context(|| format!("putting host {host} on the wire"))?);
        hosts.insert(host, Arc::clone(&namespace));
        Ok(namespace)
    }
}

impl Network for Wire {
    fn host(&self, host: u8) -> Ipv4Addr {
        address(host)
    }

    /// A host has all its ports to itself.
    fn free(&self, host: u8, preferred: u16) -> Result<SocketAddr> {
        Ok(SocketAddr::from((address(host), preferred)))
    }

    fn place(&self, host: u8) -> Result<Place> {
        Ok(self.namespace(host)?.into())
    }

    fn range(&self) -> &'static str {
        RANGE
    }
}

fn address(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, host)
}

/// A cut, mended by [`Cut::mend`] or on drop.
#[derive(Debug)]
#[must_use = "a cut that is dropped is mended"]
pub struct Cut {
    wire: Wire,
    elements: Option<String>,
}

impl Cut {
    /// Lets packets through again.
    pub fn mend(mut self) -> Result<()> {
        self.undo()
    }

    fn undo(&mut self) -> Result<()> {
        match self.elements.take() {
            Some(elements) => self.wire.0.hub.run(&format!("nft delete {elements}")),
            None => Ok(()),
        }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        // A test that goes on behind a cut it forgot fails by what it waits for.
        let _mended = self.undo();
    }
}

/// A frozen host, thawed by [`Frozen::thaw`] or on drop.
#[derive(Debug)]
#[must_use = "what is dropped goes on"]
pub struct Frozen {
    wire: Wire,
    host: Option<IpAddr>,
}

impl Frozen {
    /// Lets its processes go on.
    pub fn thaw(mut self) -> Result<()> {
        self.undo()
    }

    fn undo(&mut self) -> Result<()> {
        match self.host.take() {
            Some(host) => self.wire.signal(host, Signal::CONT),
            None => Ok(()),
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // They end with their stand in any case.
        let _thawed = self.undo();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Process, describe};
    use crate::wait::{throughout, until};
    use std::process::Command;
    use std::time::Duration;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    const SHORT: Duration = Duration::from_millis(300);
    /// Anything that is going to happen has happened by then, on a machine that is busy with other tests.
    const SOON: Duration = Duration::from_secs(20);

    /// Whether the hub gets through to a server soon.
    async fn reach(server: SocketAddr) -> bool {
        let connects = async || Ok(timeout(SHORT, TcpStream::connect(server)).await??);
        until("it gets through", SOON, connects).await.is_ok()
    }

    /// Whether it does not.
    async fn silent(server: SocketAddr) -> bool {
        timeout(SHORT, TcpStream::connect(server)).await.is_err()
    }

    fn listen(wire: &Wire, host: u8) -> std::net::TcpListener {
        let bind = || Ok(std::net::TcpListener::bind((address(host), 5432))?);
        wire.on_host(host, bind).unwrap()
    }

    #[test]
    fn a_cut_is_silence_for_as_long_as_it_lasts_and_for_nobody_else() {
        let wire = Wire::lay().unwrap();
        let servers = (listen(&wire, 1), listen(&wire, 2));
        let one = servers.0.local_addr().unwrap();
        let other = servers.1.local_addr().unwrap();
        wire.run(async || {
            assert!(reach(one).await && reach(other).await);
            let cut = wire.silence(address(1).into())?;
            assert!(silent(one).await && reach(other).await);
            cut.mend()?;
            let parted = wire.part(address(HUB).into(), &[address(2).into()])?;
            assert!(reach(one).await && silent(other).await);
            drop(parted);
            assert!(reach(one).await && reach(other).await);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_frozen_host_says_nothing_until_it_is_thawed_and_a_killed_one_nothing_more() {
        let wire = Wire::lay().unwrap();
        let workdir = Arc::new(crate::workdir::WorkDir::new().unwrap());
        let place = wire.place(1).unwrap();
        let mut talker = Command::new("sh");
        talker.args(["-c", "while true; do sleep 0.02; echo word; done"]);
        let mut talker = Process::start_at(&place, "talker", &mut talker, None, &workdir).unwrap();
        let words = |talker: &Process| talker.log().unwrap().len();
        wire.run(async || {
            let talks = async |talker: &Process, than: usize| {
                until("it says more", SOON, async || {
                    ensure!(words(talker) > than);
                    Ok(())
                })
                .await
            };
            talks(&talker, 0).await?;
            let frozen = wire.freeze(address(1).into())?;
            // A word may have been on its way.
            tokio::time::sleep(SHORT).await;
            let said = words(&talker);
            throughout("it is silent", SHORT, async || {
                ensure!(words(&talker) == said);
                Ok(())
            })
            .await?;
            frozen.thaw()?;
            talks(&talker, said).await?;
            wire.kill(address(1).into())?;
            let ended = talker.wait(SOON).await?;
            ensure!(describe(ended) == "signal 9");
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_test_at_the_hub_sees_nothing_of_the_machines_own_network() {
        let outside = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = outside.local_addr().unwrap();
        Wire::lay()
            .unwrap()
            .run(async || {
                let refused = TcpStream::connect(server).await.unwrap_err();
                assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
                // Its own loopback works.
                let own = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                TcpStream::connect(own.local_addr()?).await?;
                Ok(())
            })
            .unwrap();
    }
}
