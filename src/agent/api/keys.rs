//! What requests write to etcd.

use std::fmt;
use std::time::Duration;

use trunkline_core::Revision;
use trunkline_core::lease::Written;
use trunkline_io::clock;

use super::Later;
use crate::dcs::Writer;

/// How long etcd may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Writes operators' requests.
pub trait Keys: fmt::Debug + Send + Sync {
    /// Puts this into the `failover` key, whatever stands there.
    fn request(&self, failover: String) -> Later<Written>;

    /// Empties the `failover` key if it is as it was seen at this revision.
    fn withdraw(&self, seen: Revision) -> Later<Written>;
}

impl Keys for Writer {
    fn request(&self, failover: String) -> Later<Written> {
        let mut writer = self.clone();
        Box::pin(async move {
            let deadline = clock::now().after(DEADLINE);
            Self::request(&mut writer, &failover, deadline).await
        })
    }

    fn withdraw(&self, seen: Revision) -> Later<Written> {
        let mut writer = self.clone();
        Box::pin(async move {
            let deadline = clock::now().after(DEADLINE);
            Self::withdraw(&mut writer, seen, deadline).await
        })
    }
}
