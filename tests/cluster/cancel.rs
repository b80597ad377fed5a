//! Ctrl-C in psql: the cancel request is a connection of its own, and the read port may lead it to
//! another replica than the query's.

use std::time::Duration;

use anyhow::{Result, ensure};
use trunkline_support::patroni::Node;
use trunkline_support::postgres::{Sql, psql};
use trunkline_support::process::Process;
use trunkline_support::stand::Stand;
use trunkline_support::wait::until;

use crate::shared::{on_the_cluster, ready_router};

const SOON: Duration = Duration::from_secs(20);
const ROUNDS: usize = 4;

#[tokio::test]
async fn ctrl_c_in_psql_cancels_its_query_whichever_replica_runs_it() -> Result<()> {
    on_the_cluster(async |stand| {
        let router = ready_router(stand).await?;
        for round in 0..ROUNDS {
            // Two sleepers are spread over the two replicas; their names tell them apart there.
            let names = [format!("sleeper-{round}-a"), format!("sleeper-{round}-b")];
            let mut sleepers = Vec::new();
            for name in &names {
                let mut command = psql(
                    &stand.parts,
                    router.ports().read,
                    &format!("application_name={name}"),
                );
                command.args(["-c", "SELECT pg_sleep(600)"]);
                let mut command = command.into_std();
                sleepers.push(Process::start(name, &mut command, None, &stand.workdir)?);
                until(&format!("{name} sleeps on a replica"), SOON, async || {
                    ensure!(sleeping(name, stand).await? == 1, "it does not");
                    Ok(())
                })
                .await?;
            }

            let mut other = sleepers.pop();
            for (sleeper, name) in sleepers.iter_mut().chain(other.as_mut()).zip(&names) {
                sleeper.interrupt()?;
                sleeper.wait(SOON).await?;
                let words = sleeper.log_tail();
                ensure!(
                    words.contains("canceling statement due to user request"),
                    "{words}"
                );
                ensure!(sleeping(name, stand).await? == 0, "{name} sleeps on");
            }
        }
        Ok(())
    })
    .await
}

/// How many backends of all nodes run the query of the psql called `name`.
async fn sleeping(name: &str, stand: &Stand) -> Result<i64> {
    let mut found = 0;
    for server in stand.patroni.nodes().iter().map(Node::postgresql) {
        let sql = Sql::connect(server, SOON).await?;
        let query = "SELECT count(*) FROM pg_stat_activity
                     WHERE application_name = $1 AND state = 'active'";
        found += sql.one_with::<i64>(query, &[&name]).await?;
    }
    Ok(found)
}
