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
    /// Trunklines that have no entry although there is a bar to hold them against: not one round yielded the figure.
    pub(crate) absent: Vec<usize>,
}

/// What one contender did in it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its number among the contenders.
    pub(crate) contender: usize,
    pub(crate) rounds: Vec<f64>,
    pub(crate) spread: Spread,
    /// None of a latency: client and backend share cores in slices of time, so that a direct connection's is no floor.
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
    /// There is a bar, and a round without a figure to hold against it.
    Untold,
}

/// Ratios on both sides of a bar that are further apart than this share of their median do not tell on which side it is.
const TORN: f64 = 0.25;

impl Verdict {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Aim => "aim reached",
            Self::Reached => "reached",
            Self::Missed => "MISSED",
            Self::TooNoisy => "too noisy to tell",
            Self::Untold => "could not be judged",
        }
    }

    fn of(bar: Bar, better: Better, held: Option<Spread>, is_noisy: bool) -> Self {
        let Some(held) = held.filter(|held| held.median.is_finite()) else {
            return Self::Untold;
        };
        let figure = held.median;
        // A bar without an aim is its own.
        let aim = bar.aim.unwrap_or(bar.bar);
        if is_noisy || is_torn(bar, better, held) {
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

/// Whether more rounds may well be needed to tell on which side of the bar the figure is.
fn is_torn(bar: Bar, better: Better, held: Spread) -> bool {
    let (low, high) = held.likely;
    let is_across = better.reaches(low, bar.bar) != better.reaches(high, bar.bar);
    is_across && high - low > TORN * held.median.abs()
}

/// What a whole run comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Every bar is reached.
    Reached = 0,
    /// One is missed, and what was measured says so.
    Missed = 1,
    /// It cannot be told of one, by noise or because there is no figure: the table is not whole.
    Untold = 2,
}

/// The worst of all figures; what cannot be told outweighs a miss, since the table is not whole.
///
/// `noisy`: a workload was, be there a bar in it or not.
pub(crate) fn outcome<'a>(noisy: bool, judged: impl Iterator<Item = &'a Judged>) -> Outcome {
    let worst = judged
        .flat_map(Judged::verdicts)
        .map(|verdict| match verdict {
            Verdict::Aim | Verdict::Reached => Outcome::Reached,
            Verdict::Missed => Outcome::Missed,
            Verdict::TooNoisy | Verdict::Untold => Outcome::Untold,
        })
        .max();
    if noisy {
        Outcome::Untold
    } else {
        worst.unwrap_or(Outcome::Reached)
    }
}

impl Judged {
    fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        let absent = self.absent.iter().map(|_| Verdict::Untold);
        let entries = self.entries.iter().filter_map(|entry| entry.verdict);
        entries.chain(absent)
    }

    /// Whether more rounds may tell what these do not.
    pub(crate) fn is_too_noisy(&self) -> bool {
        self.verdicts().any(|it| it == Verdict::TooNoisy)
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
    let is_judged = |number: usize| {
        let something = |bar: Bar| bar.of == Of::Itself || kinds.contains(&Is::Haproxy);
        kinds[number] == Is::Trunkline && figure.bar.is_some_and(something)
    };
    let first_of = |is: Is| kinds.iter().position(|kind| *kind == is);
    let to = |number: usize, other: Option<usize>| ratios(&rounds[number], &rounds[other?]);
    let entries = (0..kinds.len()).filter_map(|number| {
        let spread = Spread::of(&rounds[number])?;
        let is_ours = kinds[number] == Is::Trunkline;
        let to_haproxy = to(number, haproxy.filter(|_| is_ours));
        let first = first_of(Is::Trunkline).filter(|first| is_ours && *first != number);
        let direct = first_of(Is::Direct).filter(|direct| *direct != number);
        let direct = direct.filter(|_| !figure.metric.is_latency());
        let verdict = figure.bar.filter(|_| is_judged(number)).map(|bar| {
            let held = match bar.of {
                Of::Haproxy => to_haproxy,
                Of::Itself => Some(spread),
            };
            Verdict::of(bar, figure.better, held, is_noisy)
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
        absent: (0..kinds.len())
            .filter(|number| rounds[*number].is_empty() && is_judged(*number))
            .collect(),
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
            vec![130.0, 65.0, 126.0],
            // Better in one round, not in the middle of them.
            vec![90.0, 49.0, 105.0],
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
        let verdict = |figure| Verdict::of(bar, Better::Less, Spread::of(&[figure]), false);
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
    fn ratios_far_apart_on_both_sides_of_the_bar_tell_nothing() {
        let bar = figure(Better::More).bar.unwrap();
        let verdict = |ratios: &[f64]| Verdict::of(bar, Better::More, Spread::of(ratios), false);
        // Far apart across the bar, whichever side most of them are on.
        assert_eq!(verdict(&[0.9, 1.1, 1.2]), Verdict::TooNoisy);
        assert_eq!(verdict(&[0.8, 0.9, 1.1]), Verdict::TooNoisy);
        // Across it, but close; and far apart, but on one side of it.
        assert_eq!(verdict(&[0.9, 1.1, 1.15]), Verdict::Reached);
        assert_eq!(verdict(&[0.9, 0.95, 1.1]), Verdict::Missed);
        assert_eq!(verdict(&[1.0, 1.3, 2.0]), Verdict::Aim);
        assert_eq!(verdict(&[0.4, 0.5, 0.9]), Verdict::Missed);
        // The aim alone may be in doubt: the bar is what is asked.
        assert_eq!(verdict(&[1.0, 1.19, 1.5]), Verdict::Reached);
    }

    #[test]
    fn more_rounds_tell_what_a_few_did_not() {
        let bar = figure(Better::Less).bar.unwrap();
        let verdict = |ratios: &[f64]| Verdict::of(bar, Better::Less, Spread::of(ratios), false);
        let few = [0.9, 0.95, 0.9, 1.2, 0.9];
        assert_eq!(verdict(&few), Verdict::TooNoisy);
        assert_eq!(verdict(&[few, few].concat()), Verdict::Reached);
    }

    #[test]
    fn a_torn_figure_of_itself_is_too_noisy_as_well() {
        let mut of_itself = figure(Better::Less);
        of_itself.bar = Some(Bar {
            of: Of::Itself,
            bar: 2.0,
            aim: None,
        });
        let rounds = [vec![], vec![1.7, 1.9, 2.4]];
        let judged = judge_figure(of_itself, &rounds, &KINDS[..2], false);
        assert_eq!(judged.entries[0].verdict, Some(Verdict::TooNoisy));
        assert!(judged.is_too_noisy());
        assert_eq!(outcome(false, [&judged].into_iter()), Outcome::Untold);
    }

    #[test]
    fn a_bar_that_nothing_could_be_held_against_is_not_reached() {
        let more = figure(Better::More);
        let untold = |rounds: &[Vec<f64>]| {
            let judged = judge_figure(more, rounds, &KINDS, false);
            assert_eq!(outcome(false, [&judged].into_iter()), Outcome::Untold);
            judged
        };
        // A round of HAProxy's is missing, or was nothing; HAProxy has none at all; ours has none at all.
        let mut missing = rounds();
        missing[4] = vec![100.0, 100.0];
        assert_eq!(untold(&missing).entries[1].verdict, Some(Verdict::Untold));
        let mut nothing = rounds();
        nothing[4][1] = 0.0;
        assert_eq!(untold(&nothing).entries[1].verdict, Some(Verdict::Untold));
        let mut without = rounds();
        (without[3], without[4]) = (Vec::new(), Vec::new());
        assert_eq!(untold(&without).entries[1].verdict, Some(Verdict::Untold));
        let mut ours = rounds();
        ours[2] = Vec::new();
        assert_eq!(untold(&ours).absent, [2]);
    }

    #[test]
    fn a_latency_is_not_held_against_the_direct_connection() {
        let to_direct = |metric| {
            let mut latency = figure(Better::Less);
            latency.metric = metric;
            let judged = judge_figure(latency, &rounds(), &KINDS, false);
            judged.entries[1].to_direct
        };
        assert!(to_direct(Metric::Rate).is_some());
        for metric in [Metric::P50, Metric::P99, Metric::P999] {
            assert_eq!(to_direct(metric), None);
        }
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
            Outcome::Untold
        );
        let reached = judge_figure(figure(Better::More), &rounds(), &KINDS, false);
        assert_eq!(outcome(false, [&reached].into_iter()), Outcome::Reached);
        assert_eq!(outcome(false, std::iter::empty()), Outcome::Reached);
        assert_eq!(outcome(true, [&reached].into_iter()), Outcome::Untold);
    }
}
