//! TLS belongs to the client and to PostgreSQL; the router passes it through.

use std::time::Duration;

use anyhow::{Result, ensure};
use trunkline_support::postgres::{psql, run};

use crate::shared::{on_the_cluster, ready_router};

#[tokio::test]
async fn tls_from_psql_ends_in_postgresql_and_not_before() -> Result<()> {
    on_the_cluster(async |stand| {
        let router = ready_router(stand).await?;
        let leader = stand.patroni.leader().await?;
        // Only the leader's own certificate is trusted: whoever shows it holds the leader's key.
        let certificate = stand.patroni.node(&leader)?.certificate();
        let options = format!("sslmode=verify-ca sslrootcert={}", certificate.display());
        let mut command = psql(&stand.parts, router.ports().write, &options);
        command.args([
            "-c",
            "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
        ]);
        let output = run(&mut command, Duration::from_secs(60)).await?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        ensure!(
            output.stdout == b"t\n",
            "ssl is {}",
            String::from_utf8_lossy(&output.stdout)
        );
        Ok(())
    })
    .await
}
