//! Timeline history files: when which timeline ended, as PostgreSQL wrote it down at each promotion.

use std::io::Read;
use std::path::{Path, PathBuf};

use thiserror::Error;
use trunkline_core::Timeline;
use trunkline_core::postgres::HistoryFile;
use trunkline_io::{clock, files};

/// More than this no history file has: a line is some fifty bytes, and a promotion a second for a day is 86,400 lines.
const LONGEST: u64 = 8 << 20;

/// Why a history file could not be read.
#[derive(Debug, Error)]
#[error("reading the history of timeline {timeline} from {}: {source}", path.display())]
pub struct HistoryError {
    /// The timeline.
    timeline: Timeline,
    /// The file.
    path: PathBuf,
    /// The cause.
    source: std::io::Error,
}

/// Reads the history file of a timeline from the directory `pg_wal`.
///
/// # Errors
/// If there is none, or it cannot be read.
pub fn read(wal: &Path, timeline: Timeline) -> Result<HistoryFile, HistoryError> {
    let path = wal.join(format!("{:08X}.history", timeline.0));
    match contents(&path) {
        Ok((text, written)) => Ok(HistoryFile::parse(timeline, &text, &written)),
        Err(source) => Err(HistoryError {
            timeline,
            path,
            source,
        }),
    }
}

/// The text, and when the file was written, as Patroni writes that down: ISO 8601 with the local offset.
fn contents(path: &Path) -> std::io::Result<(Vec<u8>, String)> {
    let file = files::open(path)?;
    let modified = file.metadata()?.modified()?;
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text)?;
    Ok((text, clock::local(modified)))
}
