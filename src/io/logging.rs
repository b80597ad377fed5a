//! Log lines to standard error, as text for people or JSON for collectors.

use std::fmt;

use jiff::tz::TimeZone;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{self as lines, FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock;

/// An error with this target is a `CRITICAL` one in Patroni's lines: the agent ends because of it.
pub const CRITICAL: &str = "critical";

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// As Patroni's: `2026-11-21 08:04:30,468 INFO: message`, in the time zone of the machine. Tools find the level in
    /// column 24.
    Patroni,
    /// One JSON object a line.
    Json,
}

/// The log of this process, to change its level while it is written.
#[derive(Debug)]
pub struct Log(reload::Handle<Targets, Registry>);

impl Log {
    /// Writes from `level` up from now on; `TRUNKLINE_LOG` in the environment wins here too.
    pub fn set_level(&self, level: &str) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::error!("the log's level stays as it was: {error}");
        }
    }
}

/// Starts logging at `level` (such as `info`); `TRUNKLINE_LOG` in the environment (`info,trunkline_io=debug`) wins, for
/// the hour when one module has to be watched. A second call changes nothing.
pub fn start(level: &str, format: Format) -> Log {
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = lines::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(std::io::stderr);
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Patroni => lines.event_format(PatroniLine::default()).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    // A second start is a test's; the first one's lines go on.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
    Log(handle)
}

fn filter(level: &str) -> Targets {
    let ours = || {
        format!(
            "warn,trunkline={level},trunkline_router={level},trunkline_agent={level},trunkline_io={level}"
        )
    };
    let wanted = std::env::var("TRUNKLINE_LOG").ok();
    let wanted = wanted.and_then(|directives| directives.parse::<Targets>().ok());
    wanted
        .or_else(|| ours().parse().ok())
        .unwrap_or_else(|| Targets::new().with_default(Level::INFO))
}

/// Writes lines in the shape of Patroni's.
struct PatroniLine {
    zone: TimeZone,
}

impl Default for PatroniLine {
    fn default() -> Self {
        Self {
            // A machine without one is in UTC.
            zone: TimeZone::try_system().unwrap_or(TimeZone::UTC),
        }
    }
}

impl<S, N> FormatEvent<S, N> for PatroniLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let time = clock::wall().to_zoned(self.zone.clone());
        let milliseconds = time.subsec_nanosecond() / 1_000_000;
        let time = time.strftime("%Y-%m-%d %H:%M:%S");
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::ERROR if metadata.target() == CRITICAL => "CRITICAL",
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        write!(line, "{time},{milliseconds:03} {level}: ")?;
        context.format_fields(line.by_ref(), event)?;
        writeln!(line)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_its_level_where_tools_look_for_it() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(Level::DEBUG)
            .event_format(PatroniLine {
                zone: TimeZone::UTC,
            })
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("no action. I am (pg-1), the leader with the lock");
            tracing::warn!("Loop time exceeded, rescheduling immediately.");
            tracing::error!(target: CRITICAL, "Can't start");
            tracing::debug!(step = 1, "looked");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let after: Vec<&str> = text.lines().map(|line| &line[24..]).collect();
        assert_eq!(
            after,
            [
                "INFO: no action. I am (pg-1), the leader with the lock",
                "WARNING: Loop time exceeded, rescheduling immediately.",
                "CRITICAL: Can't start",
                "DEBUG: looked step=1",
            ]
        );
        for line in text.lines() {
            let shape: String = line[..24]
                .chars()
                .map(|c| if c.is_ascii_digit() { '9' } else { c })
                .collect();
            assert_eq!(shape, "9999-99-99 99:99:99,999 ");
        }
    }
}
