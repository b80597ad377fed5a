//! Where a cluster's memory lies: a file that is read at the start and replaced when what is known changes.
//!
//! Nothing here decides what is worth remembering. A file that cannot be written is told of once and costs nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::task::{JoinHandle, spawn_blocking};
use trunkline_core::Moment;
use trunkline_core::cluster::ClusterView;
use trunkline_core::keys::Prefix;
use trunkline_core::memory::Memory;
use trunkline_io::files;

/// The shortest time between two writes.
const PACE: Duration = Duration::from_secs(1);

/// Characters of a cluster's name that do not stand in a file's as they are.
const UNPLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// The file of one cluster.
#[derive(Debug)]
pub struct Shelf {
    path: PathBuf,
    kept: Option<Memory>,
    due: Moment,
    writing: Option<JoinHandle<std::io::Result<()>>>,
    is_broken: bool,
}

impl Shelf {
    /// The file of the cluster called `name` in `directory`.
    #[must_use]
    pub fn new(directory: &Path, name: &str) -> Self {
        // The name is a person's: only what no file system minds stays as it is. No two names make one file.
        let file = utf8_percent_encode(name, UNPLAIN);
        Self {
            path: directory.join(format!("{file}.json")),
            kept: None,
            due: Moment::BOOT,
            writing: None,
            is_broken: false,
        }
    }

    /// The cluster under `prefix` as it was when this was last written; none if there is no file of use.
    #[must_use]
    pub fn recall(&self, prefix: &Prefix) -> Option<ClusterView> {
        let file = self.path.display();
        let text = match files::read_small(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%file, "cannot read what was known at the last run: {error}");
                return None;
            }
        };
        match Memory::parse(&text, prefix) {
            Ok(memory) => Some(memory.view(prefix)),
            Err(unusable) => {
                tracing::warn!(%file, "what was known at the last run is not used: {unusable}");
                None
            }
        }
    }

    /// Writes `memory` down if it is news and the last write is over.
    pub async fn keep(&mut self, memory: Option<Memory>, now: Moment) {
        if self
            .writing
            .as_ref()
            .is_some_and(|task| !task.is_finished())
        {
            return;
        }
        if let Some(written) = self.writing.take() {
            self.tell(written.await.unwrap_or_else(|lost| Err(lost.into())));
        }
        let Some(memory) = memory.filter(|it| self.kept.as_ref() != Some(it)) else {
            return;
        };
        if now < self.due {
            return;
        }
        self.due = now.after(PACE);
        let (path, text) = (self.path.clone(), memory.to_text());
        self.kept = Some(memory);
        self.writing = Some(spawn_blocking(move || files::replace(&path, &text)));
    }

    fn tell(&mut self, written: std::io::Result<()>) {
        let file = self.path.display();
        match written {
            Ok(()) if self.is_broken => {
                tracing::info!(%file, "what is known is written down again")
            }
            Ok(()) => {}
            Err(error) => {
                if !self.is_broken {
                    tracing::warn!(
                        %file,
                        "cannot write down what is known; a start while etcd is silent will know nobody: {error}"
                    );
                }
                // To be tried again at the next look.
                self.kept = None;
                self.is_broken = true;
                return;
            }
        }
        self.is_broken = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_file_of_its_own_in_the_directory() {
        let file = |name: &str| {
            let path = Shelf::new(Path::new("/state"), name).path;
            assert_eq!(path.parent(), Some(Path::new("/state")), "{name}");
            path
        };
        assert_eq!(file("pg-cluster_1"), Path::new("/state/pg-cluster_1.json"));
        let names = [
            "a b", "a_b", "a%20b", "a/b", "a\\b", "..", ".", "", "가", "a.b",
        ];
        let files: std::collections::BTreeSet<PathBuf> = names.into_iter().map(file).collect();
        assert_eq!(files.len(), names.len(), "{files:?}");
    }
}
