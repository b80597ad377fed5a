//! An etcd cluster of one or three members on loopback, and the writes tests make in it.
//!
//! Only flags that both Debian's etcd 3.4 and 3.5 know.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::ca::{Ca, Tls};
use crate::http;
use crate::network::{Network, Place};
use crate::parts::Parts;
use crate::process::Process;
use crate::wait::until;
use crate::workdir::WorkDir;

mod store;
pub use store::Store;

const START: Duration = Duration::from_secs(30);
/// How long three members may be without a leader where nothing holds them up.
const ELECTION: Duration = Duration::from_secs(30);

/// A running cluster.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    tls: Option<Tls>,
    /// How often it was set up: by this number its members tell one cluster from the next.
    generation: u32,
    parts: Parts,
    workdir: Arc<WorkDir>,
}

/// One of its members.
#[derive(Debug)]
pub struct Member {
    name: String,
    client: SocketAddr,
    peer: SocketAddr,
    metrics: SocketAddr,
    place: Place,
    process: Option<Process>,
}

impl Etcd {
    /// Starts `size` members and waits until each of them answers with a leader.
    pub async fn start(
        size: u8,
        parts: &Parts,
        network: &dyn Network,
        workdir: &Arc<WorkDir>,
    ) -> Result<Self> {
        Self::start_as(size, None, parts, network, workdir).await
    }

    /// The same, each member behind TLS: it shows a certificate of `ca` and wants to see one.
    pub async fn start_with_tls(
        size: u8,
        ca: &Ca,
        parts: &Parts,
        network: &dyn Network,
        workdir: &Arc<WorkDir>,
    ) -> Result<Self> {
        Self::start_as(size, Some(ca), parts, network, workdir).await
    }

    async fn start_as(
        size: u8,
        ca: Option<&Ca>,
        parts: &Parts,
        network: &dyn Network,
        workdir: &Arc<WorkDir>,
    ) -> Result<Self> {
        let members = (1..=size)
            .map(|host| {
                Ok(Member {
                    name: format!("etcd-{host}"),
                    client: network.free(host, 2379)?,
                    peer: network.free(host, 2380)?,
                    metrics: network.free(host, 2381)?,
                    place: network.place(host)?,
                    process: None,
                })
            })
            .collect::<Result<Vec<Member>>>()?;
        let addresses: Vec<_> = members.iter().map(|member| member.client.ip()).collect();
        let tls = ca
            .map(|ca| ca.both_sides(&addresses, "etcd-client"))
            .transpose()?;
        let mut etcd = Self {
            members,
            tls,
            generation: 1,
            parts: parts.clone(),
            workdir: Arc::clone(workdir),
        };
        for index in 0..etcd.members.len() {
            etcd.launch(index)?;
        }
        for index in 0..etcd.members.len() {
            etcd.wait_healthy(index).await?;
        }
        Ok(etcd)
    }

    /// The members' client addresses.
    #[must_use]
    pub fn endpoints(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.client).collect()
    }

    /// How its clients get in, where it speaks TLS.
    #[must_use]
    pub const fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// How many members there are, running or not.
    #[must_use]
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// The member's process, to freeze, thaw or signal it.
    pub fn process(&mut self, index: usize) -> Result<&mut Process> {
        let member = self.members.get_mut(index).context("no such etcd member")?;
        member
            .process
            .as_mut()
            .with_context(|| format!("{} does not run", member.name))
    }

    /// Ends a member at once (SIGKILL).
    pub fn kill(&mut self, index: usize) -> Result<()> {
        self.process(index)?.kill()?;
        self.members[index].process = None;
        Ok(())
    }

    /// Starts a killed member again, with the data it had, and waits until it answers.
    pub async fn restart(&mut self, index: usize) -> Result<()> {
        self.launch(index)?;
        self.wait_healthy(index).await
    }

    /// Ends all members at once, deletes what they stored, and starts them as a new cluster.
    pub async fn wipe(&mut self) -> Result<()> {
        for index in 0..self.size() {
            self.kill(index)?;
        }
        for member in &self.members {
            let data = self.workdir.path().join(&member.name).join("data");
            std::fs::remove_dir_all(&data)
                .with_context(|| format!("deleting {}", data.display()))?;
        }
        // Patroni takes what calls itself the same cluster, with a lower term, for a member cut off from the others.
        self.generation += 1;
        for index in 0..self.size() {
            self.launch(index)?;
        }
        for index in 0..self.size() {
            self.wait_healthy(index).await?;
        }
        Ok(())
    }

    /// Freezes all members: etcd can be connected to and never answers.
    pub fn freeze(&mut self) -> Result<()> {
        (0..self.size()).try_for_each(|index| self.process(index)?.freeze())
    }

    /// Lets all members go on.
    pub fn thaw(&mut self) -> Result<()> {
        (0..self.size()).try_for_each(|index| self.process(index)?.thaw())
    }

    /// A client of the first member that runs.
    pub async fn client(&self) -> Result<Store> {
        let member = self
            .members
            .iter()
            .find(|member| member.process.is_some())
            .context("no etcd member runs")?;
        self.store(member, None).await
    }

    /// A client of the first member, as the user of that name and password.
    pub async fn client_as(&self, user: &str, password: &str) -> Result<Store> {
        let member = self.members.first().context("an etcd without members")?;
        self.store(member, Some((user, password))).await
    }

    async fn store(&self, member: &Member, user: Option<(&str, &str)>) -> Result<Store> {
        Store::connect_as(member.client, self.tls.as_ref(), user).await
    }

    /// The index of the member that leads now.
    pub async fn leader(&self) -> Result<usize> {
        let mut store = self.client().await?;
        let status = store
            .client
            .status()
            .await
            .context("asking etcd for its status")?;
        for (index, member) in self.members.iter().enumerate() {
            let Ok(mut asked) = self.store(member, None).await else {
                continue;
            };
            let own = asked
                .client
                .status()
                .await
                .ok()
                .and_then(|own| own.header().map(etcd_client::ResponseHeader::member_id));
            if own == Some(status.leader()) {
                return Ok(index);
            }
        }
        anyhow::bail!("no member that answers is the leader {:x}", status.leader())
    }

    /// Has the member on that machine lead, or one elsewhere.
    pub async fn have_lead(&mut self, machine: IpAddr, on_it: bool) -> Result<()> {
        let is_wanted = |member: &Member| (member.client.ip() == machine) == on_it;
        // There may be none for a moment: a machine that was cut off came back just now.
        let leader = until("etcd has a leader", ELECTION, async || self.leader().await).await?;
        if self.members.get(leader).is_some_and(is_wanted) {
            return Ok(());
        }
        let wanted = self.members.iter().position(is_wanted);
        let wanted = wanted.context("there is no such etcd member")?;
        Box::pin(self.hand_lead_to(wanted)).await
    }

    /// Has a member lead: asked of the one that leads now, which hands over by itself.
    pub async fn hand_lead_to(&mut self, index: usize) -> Result<()> {
        let member = |index: usize| self.members.get(index).context("no such etcd member");
        let mut heir = self.store(member(index)?, None).await?;
        let said = heir.client.status().await;
        let said = said.with_context(|| format!("asking etcd member {index} for its status"))?;
        let id = said.header().context("a status without a header")?;
        let id = id.member_id();
        // Who leads may change by itself meanwhile, where a disk is slow.
        until("the etcd member leads", START, async || {
            let leader = self.leader().await?;
            if leader == index {
                return Ok(());
            }
            let mut holder = self.store(member(leader)?, None).await?;
            let asked = holder.client.move_leader(id).await;
            asked.with_context(|| format!("handing etcd's lead to member {index}"))?;
            anyhow::bail!("member {leader} did")
        })
        .await
    }

    fn launch(&mut self, index: usize) -> Result<()> {
        let cluster: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("{}=http://{}", member.name, member.peer))
            .collect();
        let token = format!("--initial-cluster-token=generation-{}", self.generation);
        let member = self.members.get_mut(index).context("no such etcd member")?;
        let home = self.workdir.folder(&member.name, None)?;
        let mut command = self.parts.command(&self.parts.etcd, &home);
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        command
            .arg(format!("--name={}", member.name))
            .arg(format!("--data-dir={}", home.join("data").display()))
            .arg(format!("--listen-client-urls={scheme}://{}", member.client))
            .arg(format!(
                "--advertise-client-urls={scheme}://{}",
                member.client
            ))
            .arg(format!("--listen-peer-urls=http://{}", member.peer))
            .arg(format!(
                "--initial-advertise-peer-urls=http://{}",
                member.peer
            ))
            .arg(format!("--initial-cluster={}", cluster.join(",")))
            .arg(token)
            .args([
                "--initial-cluster-state=new",
                "--logger=zap",
                "--log-outputs=stderr",
            ]);
        if let Some(tls) = &self.tls {
            // Whether it is healthy must be askable without a certificate.
            command
                .arg(format!("--listen-metrics-urls=http://{}", member.metrics))
                .arg(format!("--cert-file={}", tls.server.certificate.display()))
                .arg(format!("--key-file={}", tls.server.key.display()))
                .arg(format!("--trusted-ca-file={}", tls.ca.display()))
                .arg("--client-cert-auth=true");
        }
        if std::env::consts::ARCH == "aarch64" {
            // etcd 3.4 refuses to start there unless told that this is known.
            command.env("ETCD_UNSUPPORTED_ARCH", "arm64");
        }
        member.process = Some(Process::start_at(
            &member.place,
            &member.name,
            &mut command,
            None,
            &self.workdir,
        )?);
        Ok(())
    }

    async fn wait_healthy(&mut self, index: usize) -> Result<()> {
        let member = &self.members[index];
        let client = match self.tls {
            Some(_) => member.metrics,
            None => member.client,
        };
        let process = self.process(index)?;
        let what = format!("{} is healthy", process.name());
        let healthy = until(&what, START, async || {
            process.expect_running()?;
            let health = http::get_json(client, "/health").await?;
            anyhow::ensure!(health["health"] == "true", "its health is {health}");
            Ok(())
        });
        healthy.await.map_err(|failure| process.with_log(&failure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Loopback;

    #[tokio::test]
    async fn the_lead_goes_where_it_is_wanted_and_a_lease_tells_what_is_left() {
        let (network, workdir) = (
            Loopback::lease().unwrap(),
            Arc::new(WorkDir::new().unwrap()),
        );
        let parts = Parts::find().unwrap();
        let mut etcd = Etcd::start(3, &parts, &network, &workdir).await.unwrap();
        let before = etcd.leader().await.unwrap();
        let machine = etcd.endpoints()[before].ip();
        Box::pin(etcd.have_lead(machine, false)).await.unwrap();
        assert_ne!(etcd.leader().await.unwrap(), before);
        Box::pin(etcd.have_lead(machine, true)).await.unwrap();
        assert_eq!(etcd.leader().await.unwrap(), before);

        let mut store = etcd.client().await.unwrap();
        let lease = store.grant(30).await.unwrap();
        store.put("leased", "", Some(lease)).await.unwrap();
        store.put("kept", "", None).await.unwrap();
        let left = store.lease_left("leased").await.unwrap();
        assert!(
            left.is_some_and(|left| (20..=30).contains(&left)),
            "{left:?}"
        );
        assert_eq!(store.lease_left("kept").await.unwrap(), None);
        assert_eq!(store.lease_left("missing").await.unwrap(), None);
    }
}
