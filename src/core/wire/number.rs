//! Numbers, sizes, times and switches in every form Patroni accepts them in (Patroni 4.1, value parsing).

use serde_json::Value;

/// What a value with a unit is wanted in, and what a bare number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Sizes: B, kB, MB, GB, TB.
    Bytes,
    /// Times: us, ms, s, min, h, d.
    Seconds,
}

/// A switch: a boolean, or on/true/yes/1 and off/false/no/0 in any case.
#[must_use]
pub fn switch(value: &Value) -> Option<bool> {
    let text = match value {
        Value::Bool(flag) => return Some(*flag),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_lowercase(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    match text.as_str() {
        "on" | "true" | "yes" | "1" => Some(true),
        "off" | "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// A whole number: a number, or text that is decimal, hexadecimal (`0x`) or octal (`0`). Fractions are rounded.
#[must_use]
pub fn whole(value: &Value) -> Option<i64> {
    read(value, None)
}

/// A whole number of a unit; text may name another unit of the same kind, which is converted and rounded.
#[must_use]
pub fn in_unit(value: &Value, wanted: Unit) -> Option<i64> {
    read(value, Some(wanted))
}

fn read(value: &Value, wanted: Option<Unit>) -> Option<i64> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().and_then(rounded)),
        Value::String(text) => {
            let text = text.trim();
            let (number, unit) = text.split_at(end_of_number(text));
            let amount = amount(number)?;
            let factor = factor(unit.trim(), wanted)?;
            factor.apply(amount)
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A number as written, exact where it is whole.
#[derive(Clone, Copy)]
enum Amount {
    Whole(i64),
    Fraction(f64),
}

/// What a unit is worth in the wanted one; times shorter than a second are parts of one.
#[derive(Clone, Copy)]
enum Factor {
    Times(i64),
    Parts(i64),
}

impl Factor {
    fn apply(self, amount: Amount) -> Option<i64> {
        match (self, amount) {
            (Self::Times(times), Amount::Whole(number)) => number.checked_mul(times),
            (Self::Times(times), Amount::Fraction(number)) => rounded(number * times as f64),
            (Self::Parts(parts), Amount::Whole(number)) => rounded(number as f64 / parts as f64),
            (Self::Parts(parts), Amount::Fraction(number)) => rounded(number / parts as f64),
        }
    }
}

fn factor(unit: &str, wanted: Option<Unit>) -> Option<Factor> {
    if unit.is_empty() {
        return Some(Factor::Times(1));
    }
    match (wanted?, unit) {
        (Unit::Bytes, "B") | (Unit::Seconds, "s") => Some(Factor::Times(1)),
        (Unit::Bytes, "kB") => Some(Factor::Times(1 << 10)),
        (Unit::Bytes, "MB") => Some(Factor::Times(1 << 20)),
        (Unit::Bytes, "GB") => Some(Factor::Times(1 << 30)),
        (Unit::Bytes, "TB") => Some(Factor::Times(1 << 40)),
        (Unit::Seconds, "us") => Some(Factor::Parts(1_000_000)),
        (Unit::Seconds, "ms") => Some(Factor::Parts(1_000)),
        (Unit::Seconds, "min") => Some(Factor::Times(60)),
        (Unit::Seconds, "h") => Some(Factor::Times(3_600)),
        (Unit::Seconds, "d") => Some(Factor::Times(86_400)),
        (Unit::Bytes | Unit::Seconds, _) => None,
    }
}

/// Where the number ends and the unit begins.
fn end_of_number(text: &str) -> usize {
    let unsigned = text.trim_start_matches(['+', '-']);
    let sign = text.len() - unsigned.len();
    if let Some(digits) = hexadecimal_digits(unsigned) {
        let length = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
        return sign + 2 + length;
    }
    let mut end = sign;
    let mut characters = unsigned.chars().peekable();
    while let Some(character) = characters.next() {
        let exponent = matches!(character, 'e' | 'E')
            && characters
                .peek()
                .is_some_and(|next| next.is_ascii_digit() || matches!(next, '+' | '-'));
        let signed_exponent = matches!(character, '+' | '-') && text[..end].ends_with(['e', 'E']);
        if !(character.is_ascii_digit() || character == '.' || exponent || signed_exponent) {
            break;
        }
        end += character.len_utf8();
    }
    end
}

fn amount(text: &str) -> Option<Amount> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let whole = if let Some(digits) = hexadecimal_digits(digits) {
        return i64::from_str_radix(digits, 16)
            .ok()
            .map(|number| Amount::Whole(if negative { -number } else { number }));
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8).ok()
    } else {
        digits.parse().ok()
    };
    match whole {
        Some(number) => Some(Amount::Whole(if negative { -number } else { number })),
        None => digits
            .parse()
            .ok()
            .map(|number: f64| Amount::Fraction(if negative { -number } else { number })),
    }
}

fn hexadecimal_digits(text: &str) -> Option<&str> {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))
}

/// The nearest whole number, the even one of two, as C's `rint` has it.
fn rounded(number: f64) -> Option<i64> {
    let nearest = number.round_ties_even();
    // From 2^63 on a float is no i64, and casting would bend it into one.
    (nearest.abs() < 9_223_372_036_854_775_808.0).then_some(nearest as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_switch_is_read_in_any_case_and_nothing_else_is_one() {
        for on in [
            json!(true),
            json!(1),
            json!("on"),
            json!("TRUE"),
            json!("Yes"),
            json!("1"),
        ] {
            assert_eq!(switch(&on), Some(true), "{on}");
        }
        for off in [
            json!(false),
            json!(0),
            json!("off"),
            json!("False"),
            json!("NO"),
            json!("0"),
        ] {
            assert_eq!(switch(&off), Some(false), "{off}");
        }
        for neither in [
            json!(null),
            json!(2),
            json!(""),
            json!("quorum"),
            json!([]),
            json!({}),
        ] {
            assert_eq!(switch(&neither), None, "{neither}");
        }
    }

    #[test]
    fn whole_numbers_are_decimal_hexadecimal_octal_or_rounded() {
        for (written, number) in [
            (json!(30), 30),
            (json!("30"), 30),
            (json!(" -5 "), -5),
            (json!("0x1F"), 31),
            (json!("017"), 15),
            (json!("0"), 0),
            (json!(2.5), 2),
            (json!("3.5"), 4),
            (json!("1e3"), 1000),
            (json!("9223372036854775807"), i64::MAX),
        ] {
            assert_eq!(whole(&written), Some(number), "{written}");
        }
        for bad in [
            json!(null),
            json!(true),
            json!(""),
            json!("x"),
            json!("10MB"),
            json!("nan"),
            json!("inf"),
            json!("--1"),
            json!("-"),
            json!("0x"),
            json!("1e999"),
            json!(u64::MAX),
            json!("0x-1"),
        ] {
            assert_eq!(whole(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_unit_is_converted_to_the_wanted_one() {
        for (written, unit, number) in [
            ("10MB", Unit::Bytes, 10 << 20),
            ("1 kB", Unit::Bytes, 1024),
            ("0.5GB", Unit::Bytes, 1 << 29),
            ("1048576", Unit::Bytes, 1 << 20),
            ("30s", Unit::Seconds, 30),
            ("2min", Unit::Seconds, 120),
            ("1500ms", Unit::Seconds, 2),
            ("1d", Unit::Seconds, 86_400),
        ] {
            assert_eq!(in_unit(&json!(written), unit), Some(number), "{written}");
        }
        for (bad, unit) in [
            ("10mb", Unit::Bytes),
            ("10s", Unit::Bytes),
            ("10MB", Unit::Seconds),
            ("99999999999TB", Unit::Bytes),
        ] {
            assert_eq!(in_unit(&json!(bad), unit), None, "{bad}");
        }
    }
}
