//! Log lines to standard error, as text for people or JSON for collectors.

use tracing_subscriber::EnvFilter;

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging at `level` (a tracing directive such as `info`); `TRUNKLINE_LOG` in the environment wins, for
/// the hour when one module has to be watched. A second call changes nothing.
pub fn start(level: &str, format: Format) {
    let filter = std::env::var("TRUNKLINE_LOG")
        .ok()
        .and_then(|directives| EnvFilter::try_new(directives).ok())
        .unwrap_or_else(|| {
            EnvFilter::new(format!(
                "warn,trunkline={level},trunkline_router={level},trunkline_io={level}"
            ))
        });
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr);
    let started = match format {
        Format::Text => lines.with_ansi(false).try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
    // A second start is a test's; the first one's lines go on.
    drop(started);
}
