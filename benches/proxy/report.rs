//! The tables, in 100 columns: one a workload as it is done, and at the end one line a figure with its bar.

use std::fmt::Write;

use crate::contender::Contender;
use crate::judge::{Judged, Verdict};
use crate::plan::{Better, Of};
use crate::rounds::Measured;
use crate::stats::Spread;

/// Who takes part, and on what machine.
pub(crate) fn head(contenders: &[Contender], machine: &str) -> String {
    let mut text = format!("{machine}\n\n");
    for contender in contenders {
        line(
            &mut text,
            format_args!("  {:<24} {}", contender.label, contender.about),
        );
    }
    text
}

/// One workload.
pub(crate) fn workload(measured: &Measured, judged: &[Judged], contenders: &[Contender]) -> String {
    let title = &measured.workload.title;
    let rounds = judged.iter().flat_map(|it| &it.entries);
    let rounds = rounds.map(|entry| entry.rounds.len()).max().unwrap_or(0);
    let about = format!(
        "{}, rounds: {rounds}, attempt {}",
        measured.workload.name, measured.attempts
    );
    let mut text = format!("\n{title:<62} {about:>37}\n");
    let noise = &measured.noise;
    if let Some(others) = noise.others {
        let spread = noise.spread.map_or(String::new(), |spread| {
            format!(", direct's rounds are {:.0} % apart", 100.0 * spread)
        });
        let taken = 100.0 * others;
        line(
            &mut text,
            format_args!("  others took {taken:.0} % of the machine{spread}"),
        );
    }
    for why in noise.too_much() {
        line(&mut text, format_args!("  TOO NOISY TO TELL: {why}"));
    }
    let several = contenders.iter().filter(|it| it.is_trunkline()).count() > 1;
    for figure in judged {
        let to_first = if several { "/ first" } else { "" };
        let unit = figure.figure.unit;
        let head = format!(
            "  {unit:<24} {:>8} {:>19}  {:<16} {:>8}  {to_first:<16}",
            "median", "range", "/ haproxy", "/ direct"
        );
        line(&mut text, format_args!("{}", head.trim_end()));
        for entry in &figure.entries {
            let Spread {
                median,
                least,
                most,
                likely: _,
            } = entry.spread;
            let best = if figure.haproxy == Some(entry.contender) {
                '*'
            } else {
                ' '
            };
            let range = format!("{} - {}", number(least), number(most));
            let ratio = |ratio: Option<Spread>| {
                ratio.map_or(String::new(), |it| {
                    format!("{:.2} ({:.2}-{:.2})", it.median, it.least, it.most)
                })
            };
            let direct = entry.to_direct.map(|it| format!("{:.2}", it.median));
            let row = format!(
                "  {best} {:<22} {:>8} {range:>19}  {:<16} {:>8}  {:<16}",
                contenders[entry.contender].label,
                number(median),
                ratio(entry.to_haproxy),
                direct.unwrap_or_default(),
                ratio(entry.to_first),
            );
            line(&mut text, format_args!("{}", row.trim_end()));
        }
    }
    text
}

/// Every figure with a bar, of every trunkline.
pub(crate) fn bars<'a>(
    all: impl Iterator<Item = (&'a Measured, &'a [Judged])>,
    contenders: &[Contender],
) -> String {
    let mut text = format!(
        "\n{:<32} {:>10} {:>8} {:>8} {:>9} {:>9}  {}\n",
        "figure", "trunkline", "haproxy", "ratio", "bar", "aim", "verdict"
    );
    let several = contenders.iter().filter(|it| it.is_trunkline()).count() > 1;
    for (measured, judged) in all {
        for figure in judged {
            let Some(bar) = figure.figure.bar else {
                continue;
            };
            let sign = match figure.figure.better {
                Better::More => ">=",
                Better::Less => "<=",
            };
            let haproxy = figure.haproxy.and_then(|haproxy| {
                let mut entries = figure.entries.iter();
                entries.find(|entry| entry.contender == haproxy)
            });
            let name = |number: usize| {
                let label = &contenders[number].label;
                let whose = if several {
                    format!(" {label}")
                } else {
                    String::new()
                };
                format!("{}: {}{whose}", measured.workload.name, figure.figure.unit)
            };
            for number in &figure.absent {
                let (name, verdict) = (name(*number), Verdict::Untold.words());
                let words = format_args!("{name:<32} {:>10} {:>38}  {verdict}", "-", "");
                line(&mut text, words);
            }
            for entry in &figure.entries {
                if !contenders[entry.contender].is_trunkline() {
                    continue;
                }
                let name = name(entry.contender);
                let ratio = entry.to_haproxy.map(|it| format!("{:.2}", it.median));
                let times = match bar.of {
                    Of::Haproxy => " x",
                    Of::Itself => "",
                };
                let limit = |limit: f64| format!("{sign} {limit:.2}{times}");
                let verdict = entry.verdict.map_or("unjudged", |it| it.words());
                line(
                    &mut text,
                    format_args!(
                        "{name:<32} {:>10} {:>8} {:>8} {:>9} {:>9}  {verdict}",
                        number(entry.spread.median),
                        haproxy.map_or("-".to_owned(), |it| number(it.spread.median)),
                        ratio.unwrap_or_else(|| "-".to_owned()),
                        limit(bar.bar),
                        bar.aim.map_or("-".to_owned(), limit),
                    ),
                );
            }
        }
    }
    text
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _ = writeln!(text, "{words}");
}

/// Three significant digits, or all before the point.
fn number(figure: f64) -> String {
    let size = figure.abs();
    if size >= 1_000.0 {
        let digits = format!("{figure:.0}");
        let mut grouped = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) && !grouped.ends_with('-') {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        grouped
    } else if size >= 100.0 {
        format!("{figure:.0}")
    } else if size >= 10.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_say_something() {
        let told = [0.304, 9.99, 12.34, 432.1, 1_234.5, 1_234_567.0, -1_000.0].map(number);
        assert_eq!(
            told,
            [
                "0.30",
                "9.99",
                "12.3",
                "432",
                "1,234",
                "1,234,567",
                "-1,000"
            ]
        );
    }
}
