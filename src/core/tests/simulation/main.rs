//! The router in a simulated world: members after Patroni's contract, an etcd with its misbehaviours, REST that
//! lies, clients, partitions, freezes; ten thousand seeds, and the promises held against each step of each.
//!
//! `SEEDS=n` runs so many (`KEEP_GOING=1`: beyond the first failure), `SEED=n` replays one and prints its trace.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends there")]

mod chance;
mod coverage;
mod etcd;
mod events;
mod faults;
mod feed;
mod network;
mod node;
mod router;
mod tally;
mod truth;
mod witness;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use tally::Tally;
use world::World;

/// How many seeds are run where nothing else is said.
const SEEDS: u64 = 10_000;

#[test]
fn ten_thousand_seeds_keep_every_promise() {
    if let Some(seed) = number("SEED") {
        let (world, plan) = run(seed, true);
        println!("{plan:#?}\n{}", world.last_words());
        assert_eq!(world.problem, None, "seed {seed}");
        return;
    }
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let (failed, tally) = run_all(seeds);
    println!("{}", tally.report());
    assert_eq!(tally.problems(), &[] as &[String], "some seeds failed");
    if let Some(seed) = failed {
        let (world, plan) = run(seed, true);
        let problem = world
            .problem
            .as_deref()
            .unwrap_or("the same seed runs well now");
        panic!(
            "{plan:#?}\n{}\nseed {seed}: {problem}\nreplay: SEED={seed} cargo test -p trunkline-core --test simulation \
             -- --nocapture",
            world.last_words(),
        );
    }
    if seeds >= SEEDS {
        let missing = tally.missing(coverage::MET, coverage::ROWS);
        assert_eq!(
            missing,
            Vec::<String>::new(),
            "the simulation tests less than it did"
        );
    }
}

/// Runs one seed to its end.
fn run(seed: u64, traced: bool) -> (World, faults::Plan) {
    let (mut world, plan) = World::new(seed, traced);
    world.run(plan.end);
    (world, plan)
}

/// Runs all seeds on all cores; returns the lowest that was seen to fail, and what was met.
#[expect(
    clippy::disallowed_methods,
    reason = "seeds run side by side; nothing they decide depends on it"
)]
fn run_all(seeds: u64) -> (Option<u64>, Tally) {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let work = || {
        let mut met = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds || failed.load(Ordering::Relaxed) < seed {
                return met;
            }
            let (world, _) = run(seed, false);
            met.add(&world.tally);
            if let Some(problem) = &world.problem {
                if number("KEEP_GOING").is_some() {
                    met.problem(format!("seed {seed}: {problem}"));
                    continue;
                }
                failed.fetch_min(seed, Ordering::Relaxed);
            }
        }
    };
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            tally.add(
                &thread
                    .join()
                    .expect("a simulation that panics shows its seed"),
            );
        }
    });
    let failed = failed.into_inner();
    ((failed < u64::MAX).then_some(failed), tally)
}

#[expect(
    clippy::disallowed_methods,
    reason = "which seeds to run is asked of whoever runs the test"
)]
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("SEED and SEEDS are numbers"))
}
