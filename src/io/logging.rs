//! Log lines to standard error, as text for people or JSON for collectors.

use tracing_subscriber::{EnvFilter, reload};

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The log of this process, to change its level while it is written.
pub struct Log(Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl Log {
    /// Writes from `level` up from now on; `TRUNKLINE_LOG` in the environment wins here too.
    pub fn set_level(&self, level: &str) {
        if let Err(error) = (self.0)(filter(level)) {
            tracing::error!("the log's level stays as it was: {error}");
        }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

/// Starts logging at `level` (a tracing directive such as `info`); `TRUNKLINE_LOG` in the environment wins, for
/// the hour when one module has to be watched. A second call changes nothing.
pub fn start(level: &str, format: Format) -> Log {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_target(false)
        .with_writer(std::io::stderr);
    let (started, log) = match format {
        Format::Text => {
            let lines = lines.with_ansi(false).with_filter_reloading();
            let handle = lines.reload_handle();
            let log = Log(Box::new(move |filter| handle.reload(filter)));
            (lines.try_init(), log)
        }
        Format::Json => {
            let lines = lines.json().flatten_event(true).with_filter_reloading();
            let handle = lines.reload_handle();
            let log = Log(Box::new(move |filter| handle.reload(filter)));
            (lines.try_init(), log)
        }
    };
    // A second start is a test's; the first one's lines go on.
    drop(started);
    log
}

fn filter(level: &str) -> EnvFilter {
    std::env::var("TRUNKLINE_LOG")
        .ok()
        .and_then(|directives| EnvFilter::try_new(directives).ok())
        .unwrap_or_else(|| {
            EnvFilter::new(format!(
                "warn,trunkline={level},trunkline_router={level},trunkline_io={level}"
            ))
        })
}
