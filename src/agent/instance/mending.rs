//! After a crash or a fork of the timelines: recovery, comparing, pg_rewind.

use tokio_util::sync::CancellationToken;
use trunkline_core::ha::JobOutcome;
use trunkline_core::postgres::Upstream;

use super::{Finished, Instance};

impl Instance {
    /// Whether pg_rewind is needed to follow this leader.
    pub(super) async fn check_rewind(
        &self,
        _upstream: &Upstream,
        _cancel: &CancellationToken,
    ) -> Finished {
        Ok(JobOutcome::RewindNeeded(false))
    }

    /// pg_rewind from this leader.
    pub(super) async fn rewind(
        &self,
        _upstream: &Upstream,
        _cancel: &CancellationToken,
    ) -> Finished {
        Ok(JobOutcome::Failed("pg_rewind is not wired yet".to_owned()))
    }

    /// Recovery in single-user mode.
    pub(super) async fn recover(&self, _cancel: &CancellationToken) -> Finished {
        Ok(JobOutcome::Failed("recovery is not wired yet".to_owned()))
    }
}
