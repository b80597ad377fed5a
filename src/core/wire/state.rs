//! The states PostgreSQL on a member is said to be in (Patroni 4.1, state and role vocabulary).

use std::fmt;

/// What a member says its PostgreSQL is doing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// initdb is running.
    InitializingNewCluster,
    /// initdb gave up.
    InitdbFailed,
    /// A script creates the cluster.
    RunningCustomBootstrap,
    /// The script gave up.
    CustomBootstrapFailed,
    /// A copy of another member is being made.
    CreatingReplica,
    /// It accepts connections.
    Running,
    /// It was started and does not accept connections yet.
    Starting,
    /// The same, on what a script created.
    StartingAfterCustomBootstrap,
    /// It did not come up.
    StartFailed,
    /// It is being stopped in order to be started.
    Restarting,
    /// It did not come back.
    RestartFailed,
    /// It is being stopped.
    Stopping,
    /// It is not running.
    Stopped,
    /// It could not be stopped.
    StopFailed,
    /// It ended without having been told to.
    Crashed,
    /// It should be running but does not answer; only the REST API says so.
    Unknown,
    /// A word Patroni 4.1 does not know.
    Other(String),
}

impl State {
    /// Reads a state.
    #[must_use]
    pub fn of(text: &str) -> Self {
        match text {
            "initializing new cluster" => Self::InitializingNewCluster,
            "initdb failed" => Self::InitdbFailed,
            "running custom bootstrap script" => Self::RunningCustomBootstrap,
            "custom bootstrap failed" => Self::CustomBootstrapFailed,
            "creating replica" => Self::CreatingReplica,
            "running" => Self::Running,
            "starting" => Self::Starting,
            "starting after custom bootstrap" => Self::StartingAfterCustomBootstrap,
            "start failed" => Self::StartFailed,
            "restarting" => Self::Restarting,
            "restart failed" => Self::RestartFailed,
            "stopping" => Self::Stopping,
            "stopped" => Self::Stopped,
            "stop failed" => Self::StopFailed,
            "crashed" => Self::Crashed,
            "unknown" => Self::Unknown,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The state as Patroni writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::InitializingNewCluster => "initializing new cluster",
            Self::InitdbFailed => "initdb failed",
            Self::RunningCustomBootstrap => "running custom bootstrap script",
            Self::CustomBootstrapFailed => "custom bootstrap failed",
            Self::CreatingReplica => "creating replica",
            Self::Running => "running",
            Self::Starting => "starting",
            Self::StartingAfterCustomBootstrap => "starting after custom bootstrap",
            Self::StartFailed => "start failed",
            Self::Restarting => "restarting",
            Self::RestartFailed => "restart failed",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::StopFailed => "stop failed",
            Self::Crashed => "crashed",
            Self::Unknown => "unknown",
            Self::Other(text) => text,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_known_and_written_as_it_was_read() {
        for word in [
            "initializing new cluster",
            "initdb failed",
            "running custom bootstrap script",
            "custom bootstrap failed",
            "creating replica",
            "running",
            "starting",
            "starting after custom bootstrap",
            "start failed",
            "restarting",
            "restart failed",
            "stopping",
            "stopped",
            "stop failed",
            "crashed",
            "unknown",
        ] {
            let state = State::of(word);
            assert!(!matches!(state, State::Other(_)), "{word}");
            assert_eq!(state.as_str(), word);
        }
        assert_eq!(State::of("Running"), State::Other("Running".to_owned()));
    }
}
