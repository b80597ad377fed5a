//! Why something is done or not. Sentences that tools grep are Patroni's (contract, appendix D).

use std::fmt;

use crate::MemberName;

/// The reason of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing to do: the leader with the lock.
    Leading(MemberName),
    /// Nothing to do: a follower.
    Following {
        /// Who follows.
        me: MemberName,
        /// Whom.
        leader: MemberName,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leading(me) => write!(f, "no action. I am ({me}), the leader with the lock"),
            Self::Following { me, leader } => write!(
                f,
                "no action. I am ({me}), a secondary, and following a leader ({leader})"
            ),
        }
    }
}
