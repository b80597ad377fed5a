//! Medians, ranges, and ratios of what was measured in the same round.

/// How often a median may lie outside what it is likely to be.
const UNLIKELY: f64 = 1.0 / 8.0;

/// The middle of some figures, and how far they reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// Between these the median of many more rounds would lie, seven times in eight or more: all of five rounds, fewer of
    /// more. Of three and less it is a guess.
    pub(crate) likely: (f64, f64),
}

impl Spread {
    /// Of figures; nothing of none.
    pub(crate) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self {
            median,
            least,
            most,
            likely: likely(&sorted).unwrap_or((least, most)),
        })
    }

    /// How far apart they are, as a share of the median.
    pub(crate) fn relative(&self) -> f64 {
        if self.most == self.least {
            0.0
        } else {
            (self.most - self.least) / self.median
        }
    }
}

/// Of figures in order, how many of the outermost can be left out on either side: each is on one side of the true median as
/// well as on the other, as a coin falls.
fn likely(sorted: &[f64]) -> Option<(f64, f64)> {
    let count = sorted.len();
    let (mut cut, mut exactly) = (0, 0.5_f64.powi(i32::try_from(count).ok()?));
    // The chance that no more than `cut` of them are on one side.
    let mut at_most = exactly;
    for next in 1..count.div_ceil(2) {
        exactly *= (count + 1 - next) as f64 / next as f64;
        at_most += exactly;
        if 2.0 * at_most > UNLIKELY {
            break;
        }
        cut = next;
    }
    Some((*sorted.get(cut)?, *sorted.get(count.checked_sub(cut + 1)?)?))
}

/// Ours by theirs, round by round: what troubled a whole round is in both.
pub(crate) fn ratios(ours: &[f64], theirs: &[f64]) -> Option<Spread> {
    let ratios: Vec<f64> = ours
        .iter()
        .zip(theirs)
        .map(|(our, their)| our / their)
        .filter(|ratio| ratio.is_finite())
        .collect();
    // A round without a ratio would leave the better ones.
    if ratios.len() < ours.len() || ours.len() != theirs.len() {
        return None;
    }
    Spread::of(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_range_the_ends() {
        let spread = Spread::of(&[3.0, 1.0, 8.0]).unwrap();
        assert_eq!((spread.median, spread.least, spread.most), (3.0, 1.0, 8.0));
        assert_eq!(Spread::of(&[3.0, 1.0, 8.0, 4.0]).unwrap().median, 3.5);
        assert_eq!(Spread::of(&[]), None);
        assert!((spread.relative() - 7.0 / 3.0).abs() < 1e-12);
        assert_eq!(Spread::of(&[0.0, 0.0]).unwrap().relative(), 0.0);
    }

    #[test]
    fn where_the_median_lies_is_known_better_after_more_rounds() {
        let likely = |count: u32| {
            let figures: Vec<f64> = (1..=count).map(f64::from).collect();
            Spread::of(&figures).unwrap().likely
        };
        assert_eq!(likely(1), (1.0, 1.0));
        assert_eq!(likely(5), (1.0, 5.0));
        assert_eq!(likely(7), (2.0, 6.0));
        assert_eq!(likely(10), (3.0, 8.0));
        assert_eq!(likely(15), (5.0, 11.0));
        assert!((950.0..990.0).contains(&(likely(1_000).0 * 2.0)));
    }

    #[test]
    fn a_ratio_is_of_the_same_round_not_of_the_medians() {
        // The machine was twice as fast in the second half; ours was faster in every round.
        let ratio = ratios(&[110.0, 110.0, 220.0], &[100.0, 200.0 * 0.5, 200.0]).unwrap();
        assert!((ratio.median - 1.1).abs() < 1e-12);
        assert!((ratio.least - 1.1).abs() < 1e-12);
        let turned = ratios(&[1.0, 9.0, 2.0], &[2.0, 3.0, 1.0]).unwrap();
        assert_eq!((turned.least, turned.median, turned.most), (0.5, 2.0, 3.0));
    }

    #[test]
    fn rounds_that_do_not_match_have_no_ratio() {
        assert_eq!(ratios(&[1.0, 2.0], &[1.0]), None);
        assert_eq!(ratios(&[1.0, 2.0], &[1.0, 0.0]), None);
    }
}
