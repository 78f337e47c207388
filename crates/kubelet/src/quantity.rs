//! Resource quantities as integers: what cgroups and the node's arithmetic need.
//!
//! Only reading and a canonical decimal or binary print; the full arithmetic of quantities is `apimachinery`'s.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// A quantity in thousandths, rounded up; `None` if it is no quantity.
#[must_use]
pub fn milli(text: &str) -> Option<i64> {
    scaled(text, 1000)
}

/// A quantity in whole units, rounded up; `None` if it is no quantity.
#[must_use]
pub fn value(text: &str) -> Option<i64> {
    scaled(text, 1)
}

/// `text * scale`, rounded up.
fn scaled(text: &str, scale: i128) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let (times, per) = factor(suffix)?;
    let denominator = 10i128.checked_pow(u32::try_from(part.len()).ok()?)?.checked_mul(per)?;
    let mantissa: i128 = format!("{whole}{part}").parse().ok()?;
    let numerator = mantissa.checked_mul(times)?.checked_mul(scale)?;
    let (quotient, rest) = (numerator / denominator, numerator % denominator);
    let rounded = if rest == 0 || negative { quotient } else { quotient + 1 };
    let signed = if negative { -rounded } else { rounded };
    Some(i64::try_from(signed).unwrap_or(if negative { i64::MIN } else { i64::MAX }))
}

/// Multiplier and divisor of a suffix.
fn factor(suffix: &str) -> Option<(i128, i128)> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if let Some(index) = BINARY.iter().position(|name| *name == suffix) {
        return Some((1i128 << (10 * (index + 1)), 1));
    }
    if let Some(index) = DECIMAL.iter().position(|name| *name == suffix) {
        return Some((1000i128.pow(u32::try_from(index).ok()? + 1), 1));
    }
    match suffix {
        "" => Some((1, 1)),
        "m" => Some((1, 1000)),
        "u" => Some((1, 1_000_000)),
        "n" => Some((1, 1_000_000_000)),
        _ => exponent(suffix),
    }
}

fn exponent(suffix: &str) -> Option<(i128, i128)> {
    let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let size = 10i128.checked_pow(power.unsigned_abs())?;
    Some(if power < 0 { (1, size) } else { (size, 1) })
}

/// Thousandths as upstream prints a decimal quantity: `250m`, `2`, `1k`.
#[must_use]
pub fn from_milli(milli: i64) -> Quantity {
    if milli % 1000 == 0 { from_value(milli / 1000) } else { Quantity(format!("{milli}m")) }
}

/// Whole units as upstream prints a decimal quantity.
#[must_use]
pub fn from_value(value: i64) -> Quantity {
    let (mut rest, mut index) = (value, 0);
    while rest != 0 && rest % 1000 == 0 && index < 6 {
        rest /= 1000;
        index += 1;
    }
    Quantity(format!("{rest}{}", ["", "k", "M", "G", "T", "P", "E"][index]))
}

/// Bytes as upstream prints a binary quantity: `64Mi`, `1000`.
#[must_use]
pub fn from_bytes(bytes: i64) -> Quantity {
    let (mut rest, mut index) = (bytes, 0);
    while rest != 0 && rest % 1024 == 0 && index < 6 {
        rest /= 1024;
        index += 1;
    }
    Quantity(format!("{rest}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][index]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        for (text, milli_value, whole) in [
            ("1", 1000, 1),
            ("250m", 250, 1),
            ("1.5", 1500, 2),
            ("64Mi", 67_108_864_000, 67_108_864),
            ("1e3", 1_000_000, 1000),
            ("0", 0, 0),
            (".5", 500, 1),
            ("1n", 1, 1),
        ] {
            assert_eq!((milli(text), value(text)), (Some(milli_value), Some(whole)), "{text}");
        }
        for bad in ["", "x", "1x", "m", "1.2.3"] {
            assert_eq!(milli(bad), None, "{bad}");
        }
    }

    #[test]
    fn prints() {
        assert_eq!(from_milli(250).0, "250m");
        assert_eq!(from_milli(2000).0, "2");
        assert_eq!(from_bytes(64 << 20).0, "64Mi");
        assert_eq!(from_bytes(1000).0, "1000");
        assert_eq!(from_value(110).0, "110");
    }
}
