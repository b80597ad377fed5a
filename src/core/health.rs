//! Whether a member's probe is failing: so many answers in a row before it counts as up, so many failures before
//! it counts as down.

use crate::Moment;

/// How many looks in a row change one's mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Good ones, before a member counts as up.
    pub rise: u32,
    /// Bad ones, before it counts as down.
    pub fall: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { rise: 2, fall: 1 }
    }
}

/// A member's health by its probes. Before the first answer it is down: nothing is proven by not asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    up: bool,
    /// How many looks in a row have said the opposite of `up`.
    against: u32,
    since: Moment,
}

impl Health {
    /// Down, nothing asked yet.
    #[must_use]
    pub const fn new(now: Moment) -> Self {
        Self {
            up: false,
            against: 0,
            since: now,
        }
    }

    /// Takes in one look.
    pub const fn look(&mut self, good: bool, patience: Patience, now: Moment) {
        if good == self.up {
            self.against = 0;
            return;
        }
        self.against += 1;
        let enough = if good { patience.rise } else { patience.fall };
        if self.against >= enough {
            *self = Self {
                up: good,
                against: 0,
                since: now,
            };
        }
    }

    /// Whether the member counts as up.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.up
    }

    /// Since when it counts as what it is.
    #[must_use]
    pub const fn since(&self) -> Moment {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_up_after_two_answers_and_down_after_one_silence() {
        let mut health = Health::new(Moment::BOOT);
        let mut seen = Vec::new();
        for good in [true, true, false, true, false, true, true] {
            health.look(good, Patience::default(), Moment::BOOT);
            seen.push(health.is_up());
        }
        assert_eq!(seen, [false, true, false, false, false, false, true]);
    }
}
