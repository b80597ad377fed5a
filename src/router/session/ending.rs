//! How a session ended: one closed list for log, metrics and page.

use std::fmt;

use trunkline_core::route::Because;

/// The end of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client closed first, in order.
    ClientClosed,
    /// The server closed first, in order.
    ServerClosed,
    /// The client's connection broke.
    ClientBroke,
    /// The server's connection broke.
    ServerBroke,
    /// The client left before it had a server.
    ClientLeftEarly,
    /// Neither side said anything for as long as `client_idle` allows, or a closed half was not answered.
    Idle,
    /// Routing said so.
    Killed(Option<Because>),
    /// The router stopped.
    ShutDown,
    /// It asked to cancel a query, and was passed on.
    Cancel,
    /// No target was found within the hold; the client was told.
    NoTarget(Because),
    /// The router's machine had nothing left to connect with within the hold; the client was told.
    NothingLeft,
    /// Too many clients wait already; the client was told.
    TooManyHeld,
    /// Too many sessions; the client was told.
    TooManySessions,
}

impl Ending {
    /// HAProxy's two letters for the same: who ended it, in which phase (configuration manual, 8.5).
    #[must_use]
    pub const fn letters(&self) -> &'static str {
        match self {
            Self::ClientClosed | Self::ServerClosed | Self::Cancel => "--",
            Self::ClientBroke => "CD",
            Self::ServerBroke => "SD",
            Self::ClientLeftEarly => "CQ",
            Self::Idle => "cD",
            Self::Killed(_) => "DD",
            Self::ShutDown => "KD",
            Self::NoTarget(_) => "sQ",
            Self::NothingLeft => "RC",
            Self::TooManyHeld | Self::TooManySessions => "PQ",
        }
    }

    /// The word metrics know it by.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::ClientClosed => "client_closed",
            Self::ServerClosed => "server_closed",
            Self::ClientBroke => "client_broke",
            Self::ServerBroke => "server_broke",
            Self::ClientLeftEarly => "client_left_early",
            Self::Idle => "idle",
            Self::Killed(_) => "killed",
            Self::ShutDown => "shut_down",
            Self::Cancel => "cancel",
            Self::NoTarget(_) => "no_target",
            Self::NothingLeft => "nothing_left",
            Self::TooManyHeld => "too_many_held",
            Self::TooManySessions => "too_many_sessions",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientClosed => f.write_str("the client closed"),
            Self::ServerClosed => f.write_str("the server closed"),
            Self::ClientBroke => f.write_str("the client's connection broke"),
            Self::ServerBroke => f.write_str("the server's connection broke"),
            Self::ClientLeftEarly => f.write_str("the client left before it had a server"),
            Self::Idle => f.write_str("idle for too long"),
            Self::Killed(Some(because)) => write!(f, "killed: {because}"),
            Self::Killed(None) => f.write_str("killed"),
            Self::ShutDown => f.write_str("the router stopped"),
            Self::Cancel => f.write_str("a cancel request, passed on"),
            Self::NoTarget(because) => write!(f, "refused after the hold: {because}"),
            Self::NothingLeft => {
                f.write_str("refused: the router's machine has nothing left to connect with")
            }
            Self::TooManyHeld => f.write_str("refused: too many clients wait already"),
            Self::TooManySessions => f.write_str("refused: maxconn reached"),
        }
    }
}
