//! Amounts with units, converted as PostgreSQL converts them (`guc.c`: `1GB`, `30s`, `8kB` as a unit itself).

/// Units of memory, from the largest, in bytes.
const MEMORY: [(&str, f64); 5] = [
    ("TB", 1_099_511_627_776.0),
    ("GB", 1_073_741_824.0),
    ("MB", 1_048_576.0),
    ("kB", 1_024.0),
    ("B", 1.0),
];

/// Units of time, from the largest, in microseconds.
const TIME: [(&str, f64); 6] = [
    ("d", 86_400_000_000.0),
    ("h", 3_600_000_000.0),
    ("min", 60_000_000.0),
    ("s", 1_000_000.0),
    ("ms", 1_000.0),
    ("us", 1.0),
];

/// How many of `unit` an amount is, before rounding; `unit` as in `pg_settings` (`8kB`, `ms`), empty if there is none.
/// `None` if PostgreSQL would not take it.
#[must_use]
pub fn amount(text: &str, unit: &str) -> Option<f64> {
    let (number, rest) = number(text.trim())?;
    let given = rest.trim();
    if given.is_empty() {
        return Some(number);
    }
    let (times, base) = split(unit);
    let times = if times.is_empty() {
        1.0
    } else {
        times.parse().ok()?
    };
    let table = [&MEMORY[..], &TIME[..]]
        .into_iter()
        .find(|table| table.iter().any(|(name, _)| *name == base))?;
    let worth = |name: &str| table.iter().position(|(unit, _)| *unit == name);
    let at = worth(given)?;
    let mut smallest = number * table[at].1;
    // `30.1GB` is a whole number of MB.
    if let Some((_, next)) = table.get(at + 1).filter(|_| number.fract() != 0.0) {
        smallest = (smallest / next).round_ties_even() * next;
    }
    Some(smallest / (table[worth(base)?].1 * times))
}

/// An amount in the largest unit of which it is a whole number, as `SHOW` shows it: 32768 kB as `32MB`.
pub(super) fn largest(amount: i64, unit: &str) -> String {
    let table = [&MEMORY[..], &TIME[..]]
        .into_iter()
        .find(|table| table.iter().any(|(name, _)| *name == unit));
    let Some((_, worth)) = table.and_then(|table| table.iter().find(|(name, _)| *name == unit))
    else {
        return format!("{amount}{unit}");
    };
    let smallest = amount as f64 * worth;
    let fitting = table
        .into_iter()
        .flatten()
        .find(|(_, size)| smallest % size == 0.0);
    match fitting {
        Some((name, size)) => format!("{}{name}", smallest / size),
        None => format!("{amount}{unit}"),
    }
}

/// The number at the beginning: decimal, hexadecimal or octal as in C, or with a fraction.
fn number(text: &str) -> Option<(f64, &str)> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    if text.len() - unsigned.len() > 1 {
        return None;
    }
    if let Some(digits) = unsigned.strip_prefix("0x").or(unsigned.strip_prefix("0X")) {
        let end = length(digits, |digit| digit.is_ascii_hexdigit());
        let value = u64::from_str_radix(&digits[..end], 16).ok()?;
        return Some((sign * value as f64, &digits[end..]));
    }
    let whole = length(unsigned, |digit| digit.is_ascii_digit());
    let mut end = whole;
    if unsigned[end..].starts_with('.') {
        end += 1 + length(&unsigned[end + 1..], |digit| digit.is_ascii_digit());
    }
    end += exponent(&unsigned[end..]);
    let digits = &unsigned[..end];
    let octal = end == whole && whole > 1 && digits.starts_with('0');
    let value = match octal.then(|| u64::from_str_radix(digits, 8)) {
        Some(Ok(value)) => value as f64,
        Some(Err(_)) | None => digits.parse().ok()?,
    };
    Some((sign * value, &unsigned[end..]))
}

/// How long the exponent at the beginning is; zero if there is none.
fn exponent(text: &str) -> usize {
    let Some(rest) = text.strip_prefix(['e', 'E']) else {
        return 0;
    };
    let digits = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    match length(digits, |digit| digit.is_ascii_digit()) {
        0 => 0,
        count => text.len() - digits.len() + count,
    }
}

fn length(text: &str, is_part: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| is_part(*byte)).count()
}

/// `8kB` into its number and its unit.
fn split(unit: &str) -> (&str, &str) {
    unit.split_at(length(unit, |digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_converted_as_postgresql_does() {
        for (text, unit, expected) in [
            ("32MB", "8kB", 4096.0),
            ("128MB", "MB", 128.0),
            ("4096", "8kB", 4096.0),
            ("1GB", "kB", 1_048_576.0),
            ("30.1GB", "MB", 30_822.0),
            ("5min", "s", 300.0),
            ("1d", "min", 1440.0),
            ("500us", "ms", 0.5),
            ("0x10", "", 16.0),
            ("010", "", 8.0),
            ("0.9", "", 0.9),
            ("-1", "ms", -1.0),
            ("1e3", "", 1000.0),
            (" 2 kB ", "B", 2048.0),
        ] {
            assert_eq!(amount(text, unit), Some(expected), "{text} in {unit}");
        }
    }

    #[test]
    fn what_postgresql_would_not_take_is_none() {
        for (text, unit) in [
            ("", ""),
            ("x", ""),
            ("1MB", ""),
            ("1MB", "ms"),
            ("1mb", "kB"),
            ("1PB", "kB"),
            ("--1", ""),
            ("1 2", ""),
        ] {
            assert_eq!(amount(text, unit), None, "{text:?} in {unit:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_amount_or_is_not(text in "\\PC*", unit in "\\PC*") {
            let _ = amount(&text, &unit);
            let _ = amount(&text, "8kB");
        }
    }
}
