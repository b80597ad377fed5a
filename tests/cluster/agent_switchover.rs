//! The lead of our agents changes because somebody asked for it.

use std::time::Duration;

use anyhow::{Result, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::stand::Stand;

use crate::agents::{on_our_cluster, ready_router, settings};
use crate::shared::{CLUSTER, clients, note, unharmed};

const FAULT: Fault = Fault::OursSwitchover;

#[test]
fn a_switchover_between_our_agents_refuses_nothing_and_loses_no_row() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let mut router = ready_router(stand).await?;
        let clients = clients(FAULT, stand, &router).await?;
        let candidate = stand.patroni.candidate().await?;
        let answered = stand.patroni.switchover(&candidate).await?;
        let record = unharmed(FAULT, clients, stand, &mut router).await?;
        let leader = stand.patroni.leader().await?;
        ensure!(leader == candidate, "{leader} leads instead of {candidate}");
        note(
            record,
            format!(
                "POST /switchover answered after {:.2} s",
                answered.as_secs_f64()
            ),
        )
    })
}

/// Patroni loses every row acknowledged so far, in most runs (A4): nobody streams yet.
#[tokio::test]
async fn a_switchover_right_after_the_bootstrap_waits_for_a_candidate_or_refuses() -> Result<()> {
    use trunkline_support::wait::until;
    use trunkline_support::writer;

    let _turn = CLUSTER.lock().await;
    let mut stand = Stand::begin(settings()).await?;
    let leader = until("somebody leads", Duration::from_secs(60), async || {
        stand.patroni.leader().await
    })
    .await?;
    let primary = stand.patroni.node(&leader)?.postgresql();
    until("it takes writes", Duration::from_secs(30), async || {
        writer::prepare(primary).await
    })
    .await?;
    let sql = trunkline_support::postgres::Sql::connect(primary, crate::shared::LOGIN).await?;
    sql.run("INSERT INTO trunkline_writes SELECT 'early', 0, generate_series(1, 1000)")
        .await?;
    drop(sql);
    let candidate = stand
        .patroni
        .nodes()
        .iter()
        .map(|node| node.name().to_owned())
        .find(|name| *name != leader);
    // Refused or not, with or without a candidate that could be asked: nothing is lost.
    let answer = match &candidate {
        Some(candidate) => stand.patroni.switchover(candidate).await,
        None => return Ok(()),
    };
    let leads = stand.patroni.wait_steady(Duration::from_secs(60)).await?;
    let sql = trunkline_support::postgres::Sql::connect(
        stand.patroni.node(&leads)?.postgresql(),
        crate::shared::LOGIN,
    )
    .await?;
    let rows: i64 = sql
        .one("SELECT count(*) FROM trunkline_writes WHERE run = 'early'")
        .await?;
    ensure!(
        rows == 1_000,
        "{rows} rows are left; the switchover: {answer:?}"
    );
    Ok(())
}
