//! Chance: one generator, seeded, for everything in a run that could go one way or another.
//!
//! It knows nothing of the world; the same seed gives the same run for ever.

use std::time::Duration;

/// The generator of a run.
#[derive(Debug)]
pub(crate) struct Chance(fastrand::Rng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// True in so many of a thousand cases.
    pub(crate) fn in_thousand(&mut self, cases: u32) -> bool {
        self.0.u32(0..1000) < cases
    }

    pub(crate) fn in_hundred(&mut self, cases: u32) -> bool {
        self.in_thousand(cases * 10)
    }

    /// A place in a list of `length`, which is not empty.
    pub(crate) fn place(&mut self, length: usize) -> usize {
        self.0.usize(0..length)
    }

    /// One of them.
    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.place(choices.len())]
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.u64(..)
    }

    pub(crate) fn fraction(&mut self) -> f64 {
        self.0.f64()
    }

    /// So many milliseconds, to the microsecond.
    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(self.0.u64(from * 1000..=to * 1000))
    }

    /// Mostly short, sometimes long: what the time of a request is like.
    pub(crate) fn mostly_short(&mut self, usual: u64, longest: u64) -> Duration {
        if self.in_hundred(92) {
            self.millis(0, usual)
        } else {
            self.millis(usual, longest)
        }
    }
}
