//! Whether a machine was quiet enough for its figures to mean anything.
//!
//! Two things tell. Others' processes and a hypervisor take processor time that the contenders share with client and
//! server. And the direct connection, which has nothing to vary, varies: what troubles it troubles all, by what we
//! cannot see. What neither of them shows, the ratios themselves do: how far apart they may be is [`crate::judge`]'s.

use crate::stats::Spread;

/// Others may take this share of all processors, on average.
const OTHERS: f64 = 0.10;
/// The rounds of the direct connection may differ by so much of their median. Two shared processors on which nothing
/// else runs show 5 to 20 %.
const SPREAD: f64 = 0.35;

/// What was seen of the machine while a workload was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Noise {
    /// The share of all processors that others took, on average over the rounds; where it matters.
    pub(crate) others: Option<f64>,
    /// How far apart the direct connection's rounds are, as a share of their median; where it has a part.
    pub(crate) spread: Option<f64>,
}

impl Noise {
    pub(crate) fn of(others: &[f64], direct: &[f64]) -> Self {
        let mean = others.iter().sum::<f64>() / others.len() as f64;
        Self {
            others: (!others.is_empty()).then_some(mean),
            spread: Spread::of(direct).map(|spread| spread.relative()),
        }
    }

    /// Of both attempts, the worse.
    pub(crate) fn with(self, other: Self) -> Self {
        let worse = |one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
        Self {
            others: worse(self.others, other.others),
            spread: worse(self.spread, other.spread),
        }
    }

    /// Why the figures say nothing; empty if they do say something.
    pub(crate) fn too_much(&self) -> Vec<String> {
        let others = self.others.filter(|others| *others > OTHERS).map(|others| {
            format!(
                "other processes took {:.0} % of the machine (more than {:.0} %)",
                100.0 * others,
                100.0 * OTHERS
            )
        });
        let spread = self.spread.filter(|spread| *spread > SPREAD).map(|spread| {
            format!(
                "the direct connection's rounds are {:.0} % apart (more than {:.0} %)",
                100.0 * spread,
                100.0 * SPREAD
            )
        });
        others.into_iter().chain(spread).collect()
    }

    pub(crate) fn is_too_much(&self) -> bool {
        !self.too_much().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_machine_is_believed() {
        let noise = Noise::of(&[0.0, 0.2, 0.04], &[100.0, 95.0, 120.0]);
        assert!((noise.others.unwrap() - 0.08).abs() < 1e-9);
        assert!(!noise.is_too_much());
        assert!(!Noise::of(&[0.01], &[]).is_too_much());
        assert_eq!(Noise::of(&[], &[]).others, None);
    }

    #[test]
    fn others_that_take_a_part_of_the_machine_are_told_of() {
        let told = Noise::of(&[0.1, 0.14], &[100.0]).too_much();
        assert!(told[0].contains("12 % of the machine"), "{told:?}");
    }

    #[test]
    fn a_direct_connection_that_varies_is_told_of() {
        let told = Noise::of(&[0.0], &[100.0, 60.0, 101.0]).too_much();
        assert!(told[0].contains("41 % apart"), "{told:?}");
        let never = Noise::of(&[0.0], &[0.0, 0.0, 1.0]);
        assert!(never.is_too_much(), "{never:?}");
    }
}
