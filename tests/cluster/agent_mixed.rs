//! One agent of ours in a cluster of two Patroni nodes: it joins, is switched to, and is switched from.

use std::path::Path;

use anyhow::{Result, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::patroni::{Program, Settings};
use trunkline_support::stand::Stand;

use crate::agents::{AGENT, THIRD as OURS, beside_patroni, ready_router};
use crate::shared::{CLUSTER, STEADY, clients, unharmed};

const FAULT: Fault = Fault::MixedSwitchovers;

#[tokio::test]
async fn our_agent_joins_two_of_patronis_is_switched_to_and_from_and_no_row_is_lost() -> Result<()>
{
    let _turn = CLUSTER.lock().await;
    // Patroni's are started first, and one of them makes the cluster.
    let mut stand = Stand::start(beside_patroni(2)).await?;
    let stand = &mut stand;
    let (name, _) = stand.join()?;
    ensure!(name == OURS);
    stand.patroni.wait_steady(STEADY).await?;
    let mut router = ready_router(stand).await?;
    let mut clients = clients(FAULT, stand, &router).await?;

    let theirs = stand.patroni.leader().await?;
    for (from, to) in [(&*theirs, OURS), (OURS, &*theirs)] {
        let arguments = ["switchover", "--leader", from, "--candidate", to, "--force"];
        stand.patroni.ctl(&stand.parts, &arguments).await?;
        let leader = stand.patroni.wait_steady(STEADY).await?;
        ensure!(leader == to, "{leader} leads instead of {to}");
        clients.all_writing_again(STEADY).await?;
        let list = stand.patroni.ctl_list(&stand.parts).await?;
        ensure!(list.len() == 3, "{list:?}");
    }
    unharmed(FAULT, clients, stand, &mut router).await?;
    Ok(())
}

#[tokio::test]
async fn a_node_goes_from_patroni_to_our_agent_and_back_with_its_data() -> Result<()> {
    let _turn = CLUSTER.lock().await;
    let settings = Settings {
        nodes: 2,
        ttl: 20,
        loop_wait: 2,
        retry_timeout: 5,
        ..Settings::default()
    };
    let mut stand = Stand::start(settings).await?;
    let moved = stand.patroni.candidate().await?;
    for program in [Program::Ours(Path::new(AGENT).to_owned()), Program::Patroni] {
        let node = stand.patroni.node_mut(&moved)?;
        node.stop(STEADY).await?;
        node.change_program(program)?;
        let leader = stand.patroni.wait_steady(STEADY).await?;
        ensure!(leader != moved, "a replica that was stopped leads");
    }
    Ok(())
}
