//! Replication connections through the write port: they are sessions like any other.

use std::time::Duration;

use anyhow::{Result, ensure};
use trunkline_support::postgres::run;

use crate::shared::{on_the_cluster, ready_router};

#[tokio::test]
async fn pg_basebackup_works_through_the_write_port() -> Result<()> {
    on_the_cluster(async |stand| {
        let router = ready_router(stand).await?;
        let write = router.ports().write;
        let home = stand.workdir.folder("basebackup", None)?;
        let copy = home.join("data");
        let mut command = stand
            .parts
            .command(&stand.parts.postgresql("pg_basebackup"), &home);
        command
            .args([
                "--wal-method=stream",
                "--checkpoint=fast",
                "--username=replicator",
            ])
            .arg(format!("--host={}", write.ip()))
            .arg(format!("--port={}", write.port()))
            .arg("--pgdata")
            .arg(&copy);
        let output = run(&mut command.into(), Duration::from_secs(120)).await?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );

        let verify = stand
            .parts
            .command(&stand.parts.postgresql("pg_verifybackup"), &home);
        let mut verify = tokio::process::Command::from(verify);
        let output = run(verify.arg(&copy), Duration::from_secs(120)).await?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::remove_dir_all(&home)?;
        Ok(())
    })
    .await
}
