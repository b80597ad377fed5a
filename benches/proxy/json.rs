//! Every figure of every round, for programs to read.

use serde_json::{Value, json};

use crate::contender::Contender;
use crate::judge::{Judged, Outcome};
use crate::plan::{Better, Of};
use crate::rounds::Measured;
use crate::stats::Spread;

/// All of it as one document.
pub(crate) fn document<'a>(
    all: impl Iterator<Item = (&'a Measured, &'a [Judged])>,
    contenders: &[Contender],
    machine: &str,
    outcome: Outcome,
) -> Value {
    let contender = |it: &Contender| json!({"label": it.label, "about": it.about});
    let workloads: Vec<Value> = all
        .map(|(measured, judged)| workload(measured, judged, contenders))
        .collect();
    json!({
        "form": 1,
        "machine": machine,
        "outcome": match outcome {
            Outcome::Reached => "reached",
            Outcome::Missed => "missed",
            Outcome::Untold => "not all could be told",
        },
        "contenders": contenders.iter().map(contender).collect::<Vec<Value>>(),
        "workloads": workloads,
    })
}

fn workload(measured: &Measured, judged: &[Judged], contenders: &[Contender]) -> Value {
    json!({
        "name": measured.workload.name,
        "title": measured.workload.title,
        "attempts": measured.attempts,
        "others": measured.noise.others,
        "direct_spread": measured.noise.spread,
        "too_noisy": measured.noise.too_much(),
        "figures": judged.iter().map(|it| figure(it, contenders)).collect::<Vec<Value>>(),
    })
}

fn figure(judged: &Judged, contenders: &[Contender]) -> Value {
    let label = |number: usize| contenders[number].label.as_str();
    let entries = judged.entries.iter().map(|entry| {
        json!({
            "contender": label(entry.contender),
            "rounds": entry.rounds,
            "of_rounds": spread(entry.spread),
            "to_direct": entry.to_direct.map(spread),
            "to_haproxy": entry.to_haproxy.map(spread),
            "to_first": entry.to_first.map(spread),
            "verdict": entry.verdict.map(|it| it.words()),
        })
    });
    let absent = judged.absent.iter().map(|number| label(*number));
    json!({
        "absent": absent.collect::<Vec<&str>>(),
        "unit": judged.figure.unit,
        "better": match judged.figure.better {
            Better::More => "more",
            Better::Less => "less",
        },
        "bar": judged.figure.bar.map(|bar| json!({
            "of": match bar.of {
                Of::Haproxy => "ratio to haproxy",
                Of::Itself => "figure",
            },
            "bar": bar.bar,
            "aim": bar.aim,
        })),
        "haproxy": judged.haproxy.map(label),
        "entries": entries.collect::<Vec<Value>>(),
    })
}

fn spread(spread: Spread) -> Value {
    json!({"median": spread.median, "least": spread.least, "most": spread.most})
}
