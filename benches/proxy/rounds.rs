//! Rounds: every contender once on the same workload, in an order that turns; and all of it again where the machine
//! was too noisy to tell, or where the ratios were.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::client::Timing;
use crate::contender::{Contender, Front};
use crate::judge::{self, Judged};
use crate::noise::Noise;
use crate::options::Arguments;
use crate::pgbench::Postgres;
use crate::plan::{Metric, Work, Workload};
use crate::runs::{self, Sample, Ways};
use crate::stand::Stand;
use crate::usage::Others;

/// A workload's rounds.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) workload: Workload,
    /// Of each contender that took part, by its number, its samples in the order of the rounds.
    pub(crate) samples: BTreeMap<usize, Vec<Sample>>,
    pub(crate) noise: Noise,
    /// How often it was measured.
    pub(crate) attempts: usize,
}

/// A workload's rounds, and what they say.
type Told = (Measured, Vec<Judged>);

impl Measured {
    /// With the rounds of an attempt after these, if both are of a quiet machine; else what is of a quieter one.
    fn with(mut self, mut later: Self) -> Self {
        match (self.noise.is_too_much(), later.noise.is_too_much()) {
            (true, _) => later,
            (false, true) => {
                self.attempts = later.attempts;
                self
            }
            (false, false) => {
                for (number, mut samples) in std::mem::take(&mut later.samples) {
                    self.samples.entry(number).or_default().append(&mut samples);
                }
                self.noise = self.noise.with(later.noise);
                self.attempts = later.attempts;
                self
            }
        }
    }

    /// One figure of one contender, round by round; empty if it has none.
    pub(crate) fn figures(&self, contender: usize, metric: Metric) -> Vec<f64> {
        let samples = self.samples.get(&contender).into_iter().flatten();
        samples
            .filter_map(|sample| sample.get(&metric).copied())
            .collect()
    }
}

/// All that is needed to measure a workload after another.
pub(crate) struct Course<'a> {
    stand: &'a Stand,
    contenders: &'a [Contender],
    arguments: &'a Arguments,
    ways: Ways,
    processors: usize,
    /// The contenders before the backend, once a workload wanted them.
    fronts: Vec<Front>,
}

impl<'a> Course<'a> {
    pub(crate) fn new(
        stand: &'a Stand,
        contenders: &'a [Contender],
        arguments: &'a Arguments,
    ) -> Self {
        Self {
            stand,
            contenders,
            arguments,
            ways: Ways {
                timing: Timing {
                    warm_up: arguments.warm_up,
                    window: arguments.window,
                },
                threads: arguments.threads,
                idle_sessions: arguments.idle_sessions,
                idle_time: arguments.idle_seconds,
            },
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            fronts: Vec::new(),
        }
    }

    /// Measures one workload, again where it was too noisy to tell, as often as was asked for. Every attempt has to be of
    /// a quiet machine by itself; the rounds of those that are go together.
    pub(crate) async fn measure(&mut self, workload: &Workload) -> Result<Told> {
        let mut so_far = None;
        for attempt in 1.. {
            let latest = self.attempt(workload, attempt).await?;
            let measured = match so_far.take() {
                None => latest,
                Some(earlier) => Measured::with(earlier, latest),
            };
            let judged = judge::judge(&measured, self.contenders);
            let mut why = measured.noise.too_much();
            if why.is_empty() {
                let torn = judged.iter().filter(|it| it.is_too_noisy());
                why.extend(torn.map(|it| {
                    format!(
                        "{}: ratios on both sides of the bar, far apart",
                        it.figure.unit
                    )
                }));
            }
            if why.is_empty() || attempt >= self.arguments.attempts {
                return Ok((measured, judged));
            }
            progress(&format!(
                "{}: once more, since {}",
                workload.name,
                why.join("; ")
            ));
            so_far = Some(measured);
        }
        anyhow::bail!("{} was measured too often", workload.name)
    }

    async fn attempt(&mut self, workload: &Workload, attempts: usize) -> Result<Measured> {
        let Rounds(samples, others) = match workload.work {
            Work::Memory => self.memory().await,
            Work::Idle => self.idle().await,
            Work::Pgbench { .. } => self.before_postgres(workload.work).await,
            Work::Bulk { .. } | Work::RoundTrips { .. } | Work::Short { .. } => {
                self.before_the_backend(workload.work).await
            }
        }
        .with_context(|| format!("measuring {}", workload.name))?;
        let mut measured = Measured {
            workload: workload.clone(),
            samples,
            noise: Noise::of(&others, &[]),
            attempts,
        };
        // Contender 0 is the direct one.
        measured.noise = Noise::of(&others, &measured.figures(0, Metric::Rate));
        Ok(measured)
    }

    async fn before_the_backend(&mut self, work: Work) -> Result<Rounds> {
        if self.fronts.is_empty() {
            for (contender, target) in self.contenders.iter().zip(&self.stand.addresses) {
                self.fronts
                    .push(contender.front(self.stand, *target).await?);
            }
        }
        self.take_turns(&self.fronts, work).await
    }

    async fn before_postgres(&self, work: Work) -> Result<Rounds> {
        let postgres = Postgres::start(self.stand, self.arguments.scale).await?;
        let mut fronts = Vec::new();
        for contender in self.contenders {
            fronts.push(contender.front(self.stand, postgres.address).await?);
        }
        let rounds = self.take_turns(&fronts, work).await;
        drop(fronts);
        postgres.stop().await?;
        rounds
    }

    async fn take_turns(&self, fronts: &[Front], work: Work) -> Result<Rounds> {
        let mut rounds = Rounds::default();
        // The first run of anything meets cold caches and buffers that have yet to grow.
        let warming = Ways {
            timing: Timing {
                window: self.ways.timing.window.min(Duration::from_millis(300)),
                ..self.ways.timing
            },
            ..self.ways
        };
        for front in fronts {
            self.run(front, work, warming).await?;
        }
        for round in 0..self.arguments.rounds {
            let before = Others::now()?;
            for place in 0..fronts.len() {
                let number = (place + round) % fronts.len();
                let sample = self.run(&fronts[number], work, self.ways).await?;
                rounds.0.entry(number).or_default().push(sample);
            }
            rounds
                .1
                .push(Others::now()?.share_since(&before, self.processors));
        }
        Ok(rounds)
    }

    async fn run(&self, front: &Front, work: Work, ways: Ways) -> Result<Sample> {
        let sample = runs::through(front, work, self.stand, ways).await;
        sample.map_err(|failure| front.with_log(&failure))
    }

    /// Others' share is not looked at, here and in `idle`: what an idle session has and takes does not depend on it.
    async fn memory(&self) -> Result<Rounds> {
        let mut rounds = Rounds::default();
        for _ in 0..self.arguments.rounds {
            for (number, contender) in self.contenders.iter().enumerate() {
                if !contender.is_direct() {
                    let sample = runs::memory(contender, number, self.stand, self.ways).await?;
                    rounds.0.entry(number).or_default().push(sample);
                }
            }
        }
        Ok(rounds)
    }

    /// One round for all at once: a minute each, one after another, would tell nothing more.
    async fn idle(&self) -> Result<Rounds> {
        let (mut fronts, mut numbers) = (Vec::new(), Vec::new());
        for (number, contender) in self.contenders.iter().enumerate() {
            if !contender.is_direct() && !contender.is_spare_when_idle() {
                let target = self.stand.addresses[number];
                fronts.push(contender.front(self.stand, target).await?);
                numbers.push(number);
            }
        }
        let samples = runs::idle(&fronts, self.ways).await?;
        let samples = numbers.into_iter().zip(samples);
        let samples = samples.map(|(number, sample)| (number, vec![sample]));
        Ok(Rounds(samples.collect(), Vec::new()))
    }
}

/// Samples of each contender, and what others took of the machine in each round.
#[derive(Default)]
struct Rounds(BTreeMap<usize, Vec<Sample>>, Vec<f64>);

/// A word for whoever waits, where the tables do not go.
pub(crate) fn progress(text: &str) {
    use std::io::Write;
    // Nobody may be there to read it.
    let _ = writeln!(std::io::stderr(), "bench: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(attempts: usize, rate: f64, others: f64) -> Measured {
        Measured {
            workload: crate::plan::quick().remove(0),
            samples: BTreeMap::from([(1, vec![Sample::from([(Metric::Rate, rate)])])]),
            noise: Noise::of(&[others], &[]),
            attempts,
        }
    }

    #[test]
    fn rounds_of_a_quiet_machine_are_added_up_and_others_left_out() {
        for (first, second, kept) in [
            (0.0, 0.05, &[1.0, 2.0][..]),
            (0.0, 0.5, &[1.0]),
            (0.5, 0.0, &[2.0]),
            (0.5, 0.6, &[2.0]),
        ] {
            let both = attempt(1, 1.0, first).with(attempt(2, 2.0, second));
            assert_eq!(both.figures(1, Metric::Rate), kept, "{first} {second}");
            assert_eq!(both.attempts, 2);
            let noisy = first.min(second) > 0.1;
            assert_eq!(both.noise.is_too_much(), noisy, "{first} {second}");
        }
    }
}
