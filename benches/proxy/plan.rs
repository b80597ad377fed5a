//! What is measured, and what is asked of it: the workloads, their figures, and the bars of the figures.

use crate::client::bulk::Way;
use crate::pgbench::Script;

/// One kind of work, done by every contender in turn.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    /// What `--only` knows it by.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) work: Work,
    pub(crate) figures: Vec<Figure>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Bulk {
        streams: usize,
        way: Way,
    },
    RoundTrips {
        sessions: usize,
        size: usize,
    },
    Short {
        places: usize,
    },
    Pgbench {
        script: Script,
        clients: usize,
    },
    /// What a session costs that waits.
    Memory,
    /// What sessions cost while all of them wait.
    Idle,
}

/// What a run yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    /// Per second: GiB, round trips, transactions or sessions.
    Rate,
    /// Processor time of the proxy: seconds a GiB, microseconds a round trip, transaction or session.
    Cpu,
    /// Latencies in microseconds.
    P50,
    P99,
    P999,
    /// KiB a session.
    Dirty,
    Resident,
    /// Per cent of one processor.
    Busy,
}

impl Metric {
    /// Whether it is how long something took.
    pub(crate) const fn is_latency(self) -> bool {
        matches!(self, Self::P50 | Self::P99 | Self::P999)
    }
}

/// One line of the final table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) metric: Metric,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    pub(crate) bar: Option<Bar>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

impl Better {
    /// Whether `figure` is at least as good as `bar`.
    pub(crate) fn reaches(self, figure: f64, bar: f64) -> bool {
        match self {
            Self::More => figure >= bar,
            Self::Less => figure <= bar,
        }
    }
}

/// What a figure has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar {
    pub(crate) of: Of,
    pub(crate) bar: f64,
    pub(crate) aim: Option<f64>,
}

/// What the bar is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// The ratio to HAProxy in the same round.
    Haproxy,
    /// The figure itself.
    Itself,
}

const fn figure(metric: Metric, unit: &'static str, better: Better) -> Figure {
    Figure {
        metric,
        unit,
        better,
        bar: None,
    }
}

impl Figure {
    const fn to_haproxy(mut self, bar: f64, aim: f64) -> Self {
        self.bar = Some(Bar {
            of: Of::Haproxy,
            bar,
            aim: Some(aim),
        });
        self
    }

    const fn itself(mut self, bar: f64, aim: Option<f64>) -> Self {
        self.bar = Some(Bar {
            of: Of::Itself,
            bar,
            aim,
        });
        self
    }
}

/// The workloads that every run has: those with a bar.
pub(crate) fn quick() -> Vec<Workload> {
    let pgbench = figure(Metric::Rate, "transactions/s", Better::More).to_haproxy(1.0, 1.15);
    vec![
        bulk(2, Way::Down, true),
        bulk(2, Way::Up, true),
        round_trips(16, 64, true),
        round_trips(256, 64, false),
        pg(Script::SelectPrepared, 16, pgbench),
        short(16),
        Workload {
            name: "memory".to_owned(),
            title: "memory of an idle session".to_owned(),
            work: Work::Memory,
            figures: vec![
                figure(Metric::Dirty, "KiB written to", Better::Less).itself(2.0, Some(1.5)),
                figure(Metric::Resident, "KiB resident", Better::Less),
            ],
        },
        Workload {
            name: "idle".to_owned(),
            title: "processor time of idle sessions".to_owned(),
            work: Work::Idle,
            figures: vec![figure(Metric::Busy, "% of a core", Better::Less).itself(0.5, None)],
        },
    ]
}

/// Those and the long list.
pub(crate) fn full() -> Vec<Workload> {
    let mut all = quick();
    for size in [64, 1_024, 8_192, 65_536] {
        for sessions in [1, 16, 256] {
            let name = round_trip_name(sessions, size);
            if all.iter().all(|known| known.name != name) {
                let mut workload = round_trips(sessions, size, false);
                workload.figures.iter_mut().for_each(|it| it.bar = None);
                all.push(workload);
            }
        }
    }
    for way in [Way::Down, Way::Up] {
        all.push(bulk(16, way, false));
    }
    let unjudged = figure(Metric::Rate, "transactions/s", Better::More);
    for script in [
        Script::SelectSimple,
        Script::TpcB,
        Script::SelectPerConnection,
    ] {
        all.push(pg(script, 16, unjudged));
    }
    all
}

/// Those of the list whose names begin with one of `only`; all where it is empty.
pub(crate) fn chosen(all: Vec<Workload>, only: &[String]) -> Vec<Workload> {
    let wanted = |workload: &Workload| {
        only.is_empty()
            || only
                .iter()
                .any(|beginning| workload.name.starts_with(beginning.as_str()))
    };
    all.into_iter().filter(wanted).collect()
}

fn bulk(streams: usize, way: Way, judged: bool) -> Workload {
    let (word, arrow) = match way {
        Way::Down => ("down", "to the client"),
        Way::Up => ("up", "to the server"),
    };
    let rate = figure(Metric::Rate, "GiB/s", Better::More);
    let cpu = figure(Metric::Cpu, "CPU s/GiB", Better::Less);
    Workload {
        name: match streams {
            2 => format!("bulk-{word}"),
            _ => format!("bulk{streams}-{word}"),
        },
        title: format!("{streams} streams {arrow}"),
        work: Work::Bulk { streams, way },
        figures: if judged {
            vec![rate.to_haproxy(1.1, 1.3), cpu.to_haproxy(0.6, 0.5)]
        } else {
            vec![rate, cpu]
        },
    }
}

fn round_trip_name(sessions: usize, size: usize) -> String {
    match size {
        64 => format!("rt{sessions}"),
        _ => format!("rt{sessions}-{size}"),
    }
}

fn round_trips(sessions: usize, size: usize, all_judged: bool) -> Workload {
    let rate = figure(Metric::Rate, "round trips/s", Better::More);
    let cpu = figure(Metric::Cpu, "CPU us each", Better::Less);
    let p99 = figure(Metric::P99, "p99 us", Better::Less).to_haproxy(1.0, 0.8);
    let mut figures = if all_judged {
        vec![rate.to_haproxy(1.0, 1.15), cpu.to_haproxy(1.0, 0.85), p99]
    } else {
        vec![rate, cpu, p99]
    };
    figures.push(figure(Metric::P50, "p50 us", Better::Less));
    figures.push(figure(Metric::P999, "p99.9 us", Better::Less));
    Workload {
        name: round_trip_name(sessions, size),
        title: format!("round trips of {size} B, {sessions} sessions"),
        work: Work::RoundTrips { sessions, size },
        figures,
    }
}

fn short(places: usize) -> Workload {
    Workload {
        name: "short".to_owned(),
        title: format!("short sessions, {places} at a time: connect, 1 B each way, close"),
        work: Work::Short { places },
        figures: vec![
            figure(Metric::Rate, "sessions/s", Better::More).to_haproxy(1.0, 1.1),
            figure(Metric::Cpu, "CPU us each", Better::Less).to_haproxy(1.0, 0.9),
            figure(Metric::P99, "p99 us", Better::Less),
        ],
    }
}

fn pg(script: Script, clients: usize, rate: Figure) -> Workload {
    Workload {
        name: script.name().to_owned(),
        title: format!("pgbench {}, {clients} clients", script.flags().join(" ")),
        work: Work::Pgbench { script, clients },
        figures: vec![rate, figure(Metric::Cpu, "CPU us each", Better::Less)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_has_a_name_of_its_own() {
        let mut names: Vec<String> = full().into_iter().map(|it| it.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn workloads_are_chosen_by_the_beginnings_of_their_names() {
        let names = |only: &[&str]| -> Vec<String> {
            let only: Vec<String> = only.iter().map(ToString::to_string).collect();
            let chosen = chosen(quick(), &only);
            chosen.into_iter().map(|it| it.name).collect()
        };
        assert_eq!(names(&["bulk", "rt16"]), ["bulk-down", "bulk-up", "rt16"]);
        assert_eq!(names(&[]).len(), quick().len());
        assert!(names(&["nothing"]).is_empty());
    }

    #[test]
    fn more_is_better_for_rates_and_less_for_costs() {
        assert!(Better::More.reaches(1.1, 1.1) && !Better::More.reaches(1.09, 1.1));
        assert!(Better::Less.reaches(0.6, 0.6) && !Better::Less.reaches(0.61, 0.6));
    }
}
