//! What is known of something outside, how old that is, and why it is not known.

use std::time::Duration;

use crate::Moment;

/// Something asked of the world: the answer and when the question was sent, or the cause of there being none.
///
/// Ages count from the *sending* of the question: an answer may be as old as that, never older.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed<T, C> {
    /// The last question was answered.
    Fresh {
        /// The answer.
        value: T,
        /// When the question was sent.
        asked: Moment,
    },
    /// The last question was not answered; an earlier one was.
    Stale {
        /// The last answer.
        value: T,
        /// When the question it answers was sent.
        asked: Moment,
        /// When questions began to go unanswered.
        since: Moment,
        /// Why the last one was.
        cause: C,
    },
    /// No question was ever answered.
    Unknown {
        /// Since when this has been so.
        since: Moment,
        /// Why.
        cause: C,
    },
}

impl<T, C> Observed<T, C> {
    /// The answer, however old.
    #[must_use]
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Fresh { value, .. } | Self::Stale { value, .. } => Some(value),
            Self::Unknown { .. } => None,
        }
    }

    /// The same answer put in other words, or learnt better meanwhile: its age and standing stay.
    #[must_use]
    pub fn replaced(mut self, answer: T) -> Self {
        match &mut self {
            Self::Fresh { value, .. } | Self::Stale { value, .. } => *value = answer,
            Self::Unknown { .. } => {}
        }
        self
    }

    /// The answer, if the last question was answered.
    #[must_use]
    pub const fn fresh(&self) -> Option<(&T, Moment)> {
        match self {
            Self::Fresh { value, asked } => Some((value, *asked)),
            Self::Stale { .. } | Self::Unknown { .. } => None,
        }
    }

    /// When the question that was answered last was sent.
    #[must_use]
    pub const fn asked(&self) -> Option<Moment> {
        match self {
            Self::Fresh { asked, .. } | Self::Stale { asked, .. } => Some(*asked),
            Self::Unknown { .. } => None,
        }
    }

    /// How old the answer may be at `now`.
    #[must_use]
    pub fn age(&self, now: Moment) -> Option<Duration> {
        self.asked().map(|asked| now.since(asked))
    }

    /// Takes in an answer to a question sent at `asked`; an answer to an older question changes nothing.
    pub fn answered(&mut self, value: T, asked: Moment) {
        if self.asked().is_none_or(|known| known <= asked) {
            *self = Self::Fresh { value, asked };
        }
    }

    /// The same after a question got no answer: what was known is kept, with its age and the cause.
    #[must_use]
    pub fn unanswered(self, cause: C, now: Moment) -> Self {
        match self {
            Self::Fresh { value, asked } => Self::Stale {
                value,
                asked,
                since: now,
                cause,
            },
            Self::Stale {
                value,
                asked,
                since,
                ..
            } => Self::Stale {
                value,
                asked,
                since,
                cause,
            },
            Self::Unknown { since, .. } => Self::Unknown { since, cause },
        }
    }

    /// The same with the moment since when there is no answer put elsewhere; an answer has none.
    #[must_use]
    pub fn dated(mut self, date: impl FnOnce(Moment) -> Moment) -> Self {
        match &mut self {
            Self::Fresh { .. } => {}
            Self::Stale { since, .. } | Self::Unknown { since, .. } => *since = date(*since),
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_boot(Duration::from_secs(seconds))
    }

    #[test]
    fn an_answer_to_an_older_question_changes_nothing() {
        let mut seen = Observed::<_, &str>::Fresh {
            value: 1,
            asked: at(5),
        };
        seen.answered(2, at(4));
        assert_eq!(seen.fresh(), Some((&1, at(5))));
    }

    #[test]
    fn ignorance_keeps_the_last_answer_its_age_and_when_it_began() {
        let seen = Observed::Fresh {
            value: 1,
            asked: at(5),
        };
        let seen = seen
            .unanswered("timeout", at(6))
            .unanswered("refused", at(7));
        assert_eq!(
            seen,
            Observed::Stale {
                value: 1,
                asked: at(5),
                since: at(6),
                cause: "refused"
            }
        );
        assert_eq!(seen.age(at(9)), Some(Duration::from_secs(4)));
    }

    #[test]
    fn what_was_never_answered_has_no_value_but_an_age() {
        let seen = Observed::<u8, _>::Unknown {
            since: at(1),
            cause: "not asked",
        };
        let seen = seen.unanswered("refused", at(3));
        assert_eq!(
            seen,
            Observed::Unknown {
                since: at(1),
                cause: "refused"
            }
        );
        assert_eq!(seen.value(), None);
    }
}
