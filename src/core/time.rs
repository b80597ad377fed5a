//! Time as decisions see it: a point on a clock that counts suspend, handed in by the caller.

use std::fmt;
use std::time::Duration;

/// A point in time on CLOCK_BOOTTIME: how long ago the machine was booted, suspend included.
///
/// Leases run out while a machine sleeps, so every stamp a proof rests on is of this clock. Core never
/// reads it; `trunkline_io::clock` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(Duration);

impl Moment {
    /// The moment the machine was booted; the start of time in tests.
    pub const BOOT: Self = Self(Duration::ZERO);
    /// A moment that never comes.
    pub const NEVER: Self = Self(Duration::MAX);

    /// The moment `since_boot` after boot.
    #[must_use]
    pub const fn from_boot(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// The time since boot.
    #[must_use]
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// How long before `self` the moment `earlier` was; zero where it was not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `by` before this one; [`Moment::BOOT`] where that would be before boot.
    #[must_use]
    pub const fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by))
    }

    /// The moment `by` after this one; [`Moment::NEVER`] where that cannot be told.
    #[must_use]
    pub const fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_saturates_at_both_ends() {
        assert_eq!(Moment::BOOT.before(Duration::from_secs(1)), Moment::BOOT);
        assert_eq!(Moment::NEVER.after(Duration::from_secs(1)), Moment::NEVER);
        assert_eq!(Moment::BOOT.since(Moment::NEVER), Duration::ZERO);
    }
}
