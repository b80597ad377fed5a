//! What an unquoted word means to PyYAML: YAML 1.1, without its timestamps and fractions of sixties.

use trunkline_core::config::Value;

/// The value of a word without quotation marks and tag.
pub(super) fn plain(word: &str) -> Value {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    if let Some(number) = int(word) {
        return Value::Int(number);
    }
    float(word).map_or_else(|| Value::Text(word.to_owned()), Value::Float)
}

/// `12`, `-1_000`, `0x1f`, `0b11`, `0644` in octal, `1:30` in sixties. What does not fit is left a text.
fn int(word: &str) -> Option<i64> {
    let (negative, digits) = sign(word);
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x', ..] => (16, &digits[2..]),
        [b'0', b'b', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, digits),
        [b'1'..=b'9', ..] if digits.contains(':') => {
            return sixties(digits).and_then(|number| signed(negative, number));
        }
        [b'0'..=b'9', ..] => (10, digits),
        _ => return None,
    };
    let digits = digits.replace('_', "");
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = u64::from_str_radix(&digits, radix).ok()?;
    signed(negative, number)
}

/// A number in parts of sixty: hours, minutes, seconds.
fn sixties(digits: &str) -> Option<u64> {
    let mut parts = digits.split(':');
    let first: u64 = parts.next()?.replace('_', "").parse().ok()?;
    parts.try_fold(first, |sum, part| {
        let fits = matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
        let part: u64 = part.parse().ok().filter(|_| fits)?;
        sum.checked_mul(60)?.checked_add(part)
    })
}

fn signed(negative: bool, number: u64) -> Option<i64> {
    if negative {
        0_i64.checked_sub_unsigned(number)
    } else {
        i64::try_from(number).ok()
    }
}

/// `1.5`, `.5`, `1.5e+3`, `.inf`, `.nan`; an exponent needs the point before it and a sign of its own.
fn float(word: &str) -> Option<f64> {
    let (negative, number) = sign(word);
    match number {
        ".inf" | ".Inf" | ".INF" if negative => return Some(f64::NEG_INFINITY),
        ".inf" | ".Inf" | ".INF" => return Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if number.len() == word.len() => return Some(f64::NAN),
        _ => {}
    }
    let (whole, rest) = number.split_once('.')?;
    let (fraction, exponent) = rest
        .split_once(['e', 'E'])
        .map_or((rest, None), |(fraction, exponent)| {
            (fraction, Some(exponent))
        });
    let digits = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'_')
    };
    let starts = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let bare = whole.is_empty() && number.len() == word.len() && starts(fraction);
    let shaped = digits(whole) && digits(fraction) && (starts(whole) || bare);
    let exponent_fits = exponent.is_none_or(|exponent| {
        let bare = exponent.strip_prefix(['+', '-']);
        bare.is_some_and(|bare| starts(bare) && bare.bytes().all(|byte| byte.is_ascii_digit()))
    });
    if !(shaped && exponent_fits) {
        return None;
    }
    let number: f64 = number.replace('_', "").parse().ok()?;
    Some(if negative { -number } else { number })
}

fn sign(word: &str) -> (bool, &str) {
    match word.as_bytes() {
        [b'-', ..] => (true, &word[1..]),
        [b'+', ..] => (false, &word[1..]),
        _ => (false, word),
    }
}
