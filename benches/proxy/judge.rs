//! What the rounds say: of each figure its spread, its ratios, and whether the bar is reached.

use crate::contender::Contender;
use crate::plan::{Bar, Better, Figure, Of};
use crate::rounds::Measured;
use crate::stats::{Spread, ratios};

/// One figure of a workload, all contenders together.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) figure: Figure,
    pub(crate) entries: Vec<Entry>,
    /// The variant of HAProxy that did best in it: the one with the better median of all rounds. To take the best of
    /// each round instead would be to pick the luckiest of several.
    pub(crate) haproxy: Option<usize>,
}

/// What one contender did in it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its number among the contenders.
    pub(crate) contender: usize,
    pub(crate) rounds: Vec<f64>,
    pub(crate) spread: Spread,
    pub(crate) to_direct: Option<Spread>,
    /// Of a trunkline: to the better HAProxy.
    pub(crate) to_haproxy: Option<Spread>,
    /// Of a trunkline that is not the first: to the first.
    pub(crate) to_first: Option<Spread>,
    /// Of a trunkline, where there is a bar and something to hold it against.
    pub(crate) verdict: Option<Verdict>,
}

/// Whether a figure is what it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The bar and the aim beyond it.
    Aim,
    /// The bar.
    Reached,
    Missed,
    TooNoisy,
}

impl Verdict {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Aim => "aim reached",
            Self::Reached => "reached",
            Self::Missed => "MISSED",
            Self::TooNoisy => "too noisy to tell",
        }
    }

    fn of(bar: Bar, better: Better, figure: f64, is_noisy: bool) -> Self {
        // A bar without an aim is its own.
        let aim = bar.aim.unwrap_or(bar.bar);
        if is_noisy {
            Self::TooNoisy
        } else if better.reaches(figure, aim) {
            if bar.aim.is_some() {
                Self::Aim
            } else {
                Self::Reached
            }
        } else if better.reaches(figure, bar.bar) {
            Self::Reached
        } else {
            Self::Missed
        }
    }
}

/// What a whole run comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Every bar is reached.
    Reached = 0,
    /// One is missed, and what was measured says so.
    Missed = 1,
    /// It cannot be told of one.
    TooNoisy = 2,
}

/// The worst of all figures; noise outweighs a miss, since what was measured in it may be better.
///
/// `noisy`: a workload was, be there a bar in it or not.
pub(crate) fn outcome<'a>(noisy: bool, judged: impl Iterator<Item = &'a Judged>) -> Outcome {
    let worst = judged
        .flat_map(|judged| &judged.entries)
        .filter_map(|entry| entry.verdict)
        .map(|verdict| match verdict {
            Verdict::Aim | Verdict::Reached => Outcome::Reached,
            Verdict::Missed => Outcome::Missed,
            Verdict::TooNoisy => Outcome::TooNoisy,
        })
        .max();
    if noisy {
        Outcome::TooNoisy
    } else {
        worst.unwrap_or(Outcome::Reached)
    }
}

/// Judges every figure of a workload.
pub(crate) fn judge(measured: &Measured, contenders: &[Contender]) -> Vec<Judged> {
    let kinds: Vec<Is> = contenders.iter().map(Is::of).collect();
    let figures = measured.workload.figures.iter();
    figures
        .map(|figure| {
            let rounds: Vec<Vec<f64>> = (0..contenders.len())
                .map(|number| measured.figures(number, figure.metric))
                .collect();
            judge_figure(*figure, &rounds, &kinds, measured.noise.is_too_much())
        })
        .collect()
}

/// What a contender is, as far as judging goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Direct,
    Trunkline,
    Haproxy,
}

impl Is {
    const fn of(contender: &Contender) -> Self {
        if contender.is_direct() {
            Self::Direct
        } else if contender.is_haproxy() {
            Self::Haproxy
        } else {
            Self::Trunkline
        }
    }
}

fn judge_figure(figure: Figure, rounds: &[Vec<f64>], kinds: &[Is], is_noisy: bool) -> Judged {
    let median = |number: &usize| Spread::of(&rounds[*number]).map(|spread| spread.median);
    let haproxy = (0..kinds.len())
        .filter(|number| kinds[*number] == Is::Haproxy)
        .filter_map(|number| Some((number, median(&number)?)))
        .max_by(|(_, one), (_, other)| match figure.better {
            Better::More => one.total_cmp(other),
            Better::Less => other.total_cmp(one),
        })
        .map(|(number, _)| number);
    let first_of = |is: Is| kinds.iter().position(|kind| *kind == is);
    let to = |number: usize, other: Option<usize>| ratios(&rounds[number], &rounds[other?]);
    let entries = (0..kinds.len()).filter_map(|number| {
        let spread = Spread::of(&rounds[number])?;
        let is_ours = kinds[number] == Is::Trunkline;
        let to_haproxy = to(number, haproxy.filter(|_| is_ours));
        let first = first_of(Is::Trunkline).filter(|first| is_ours && *first != number);
        let direct = first_of(Is::Direct).filter(|direct| *direct != number);
        let verdict = figure.bar.filter(|_| is_ours).and_then(|bar| {
            let held = match bar.of {
                Of::Haproxy => to_haproxy?.median,
                Of::Itself => spread.median,
            };
            Some(Verdict::of(bar, figure.better, held, is_noisy))
        });
        Some(Entry {
            contender: number,
            rounds: rounds[number].clone(),
            spread,
            to_direct: to(number, direct),
            to_haproxy,
            to_first: to(number, first),
            verdict,
        })
    });
    Judged {
        figure,
        entries: entries.collect(),
        haproxy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Metric;

    const KINDS: [Is; 5] = [
        Is::Direct,
        Is::Trunkline,
        Is::Trunkline,
        Is::Haproxy,
        Is::Haproxy,
    ];

    fn figure(better: Better) -> Figure {
        Figure {
            metric: Metric::Rate,
            unit: "a second",
            better,
            bar: Some(Bar {
                of: Of::Haproxy,
                bar: 1.0,
                aim: Some(match better {
                    Better::More => 1.2,
                    Better::Less => 0.8,
                }),
            }),
        }
    }

    fn rounds() -> Vec<Vec<f64>> {
        vec![
            vec![400.0, 200.0, 400.0],
            vec![110.0, 55.0, 110.0],
            vec![130.0, 65.0, 90.0],
            // Better in one round, not in the middle of them.
            vec![90.0, 49.0, 300.0],
            vec![100.0, 50.0, 100.0],
        ]
    }

    #[test]
    fn the_better_haproxy_is_the_one_with_the_better_median() {
        let more = judge_figure(figure(Better::More), &rounds(), &KINDS, false);
        assert_eq!(more.haproxy, Some(4));
        let less = judge_figure(figure(Better::Less), &rounds(), &KINDS, false);
        assert_eq!(less.haproxy, Some(3));
    }

    #[test]
    fn ours_is_held_against_haproxy_direct_and_the_first_of_ours() {
        let judged = judge_figure(figure(Better::More), &rounds(), &KINDS, false);
        let near =
            |spread: Option<Spread>, ratio: f64| (spread.unwrap().median - ratio).abs() < 1e-9;
        let [direct, one, two, haproxy, _] = &judged.entries[..] else {
            panic!("{judged:?}");
        };
        assert!(near(one.to_haproxy, 1.1) && near(one.to_direct, 0.275));
        assert!(near(two.to_haproxy, 1.3) && near(two.to_first, 130.0 / 110.0));
        assert_eq!(
            (one.to_first, direct.to_direct, haproxy.to_haproxy),
            (None, None, None)
        );
        assert_eq!(
            (one.verdict, two.verdict),
            (Some(Verdict::Reached), Some(Verdict::Aim))
        );
        assert_eq!((direct.verdict, haproxy.verdict), (None, None));
    }

    #[test]
    fn a_bar_is_reached_from_its_better_side() {
        let judged = judge_figure(figure(Better::Less), &rounds(), &KINDS, false);
        assert_eq!(judged.entries[1].verdict, Some(Verdict::Missed));
        let bar = figure(Better::Less).bar.unwrap();
        let verdict = |figure| Verdict::of(bar, Better::Less, figure, false);
        assert_eq!(verdict(0.8), Verdict::Aim);
        assert_eq!(verdict(0.81), Verdict::Reached);
        assert_eq!(verdict(1.01), Verdict::Missed);
    }

    #[test]
    fn in_noise_nothing_is_reached_and_nothing_missed() {
        let judged = judge_figure(figure(Better::More), &rounds(), &KINDS, true);
        assert_eq!(judged.entries[1].verdict, Some(Verdict::TooNoisy));
    }

    #[test]
    fn without_haproxy_there_is_nothing_to_judge_by() {
        let judged = judge_figure(figure(Better::More), &rounds()[..3], &KINDS[..3], false);
        assert_eq!(judged.entries[1].verdict, None);
    }

    #[test]
    fn the_whole_is_as_its_worst_part() {
        let judged = |noisy| judge_figure(figure(Better::Less), &rounds(), &KINDS, noisy);
        let (missed, noisy) = (judged(false), judged(true));
        assert_eq!(outcome(false, [&missed].into_iter()), Outcome::Missed);
        assert_eq!(
            outcome(false, [&missed, &noisy].into_iter()),
            Outcome::TooNoisy
        );
        let reached = judge_figure(figure(Better::More), &rounds(), &KINDS, false);
        assert_eq!(outcome(false, [&reached].into_iter()), Outcome::Reached);
        assert_eq!(outcome(false, std::iter::empty()), Outcome::Reached);
        assert_eq!(outcome(true, [&reached].into_iter()), Outcome::TooNoisy);
    }
}
