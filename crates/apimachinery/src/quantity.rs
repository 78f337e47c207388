//! `resource.Quantity`: a fixed-point number with a suffix, and its canonical text.
//!
//! Kept as an integer mantissa and a power of ten, so nothing is ever rounded but what is smaller than a nano,
//! which is rounded away from zero as upstream does. Deliberately absent: more than 38 significant digits.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// How a quantity is written; parsing remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// `1500m`, `2k`.
    #[default]
    DecimalSi,
    /// `128Mi`.
    BinarySi,
    /// `1e3`.
    DecimalExponent,
}

/// A quantity: `mantissa * 10^scale`, normalized so that equal numbers have equal parts.
#[derive(Clone, Debug, Default)]
pub struct Quantity {
    mantissa: i128,
    scale: i32,
    format: Format,
    /// Texts that upstream writes back as they came (already canonical but for signs and leading zeros).
    text: Option<Box<str>>,
}

/// In upstream's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANO: i32 = -9;
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

fn pow10(n: u32) -> Option<i128> {
    10i128.checked_pow(n)
}

/// The parts of a quantity's text.
struct Parts<'a> {
    negative: bool,
    /// Digits before the point, without leading zeros, at least "0".
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let rest = rest.trim_start_matches('0');
    let (whole, rest) = rest.split_at(digits(rest));
    let whole = if whole.is_empty() { "0" } else { whole };
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(after) => after.split_at(digits(after)),
        None => ("", rest),
    };
    let letters = suffix.bytes().take_while(|c| b"eEinumkKMGTP".contains(c)).count();
    let tail = suffix[letters..].trim_start_matches(['-', '+']);
    let signs = suffix.len() - letters - tail.len();
    if signs > 1 || digits(tail) != tail.len() {
        return Err(QuantityError::Format);
    }
    Ok(Parts { negative, whole, fraction, suffix })
}

/// Base 10 exponent or power of two, and the format.
enum Suffix {
    Ten(i32, Format),
    Two(u32),
}

fn suffix(text: &str) -> Option<Suffix> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(s, _)| *s == text) {
        return Some(Suffix::Ten(*exponent, Format::DecimalSi));
    }
    if let Some((_, exponent)) = BINARY.iter().find(|(s, _)| *s == text) {
        return Some(Suffix::Two(*exponent));
    }
    let exponent = text.strip_prefix(['e', 'E'])?;
    let exponent: i64 = exponent.parse().ok()?;
    Some(Suffix::Ten(i32::try_from(exponent).ok()?, Format::DecimalExponent))
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let parts = split(text)?;
        let shifted = format!("{}{}", parts.whole, parts.fraction);
        if text.bytes().all(|c| matches!(c, b'+' | b'-' | b'.')) && text != "+" && text != "-" {
            return Err(QuantityError::Numeric);
        }
        let suffix = suffix(parts.suffix).ok_or(QuantityError::Suffix)?;
        let mut mantissa: i128 = shifted.parse().map_err(|_| QuantityError::Numeric)?;
        if parts.negative {
            mantissa = -mantissa;
        }
        let kept = keeps_text(&parts, &shifted, &suffix);
        let places = i32::try_from(parts.fraction.len()).map_err(|_| QuantityError::Numeric)?;
        let mut made = match suffix {
            Suffix::Ten(exponent, format) => Self { mantissa, scale: exponent - places, format, text: None },
            Suffix::Two(power) => {
                let mantissa = mantissa.checked_mul(1 << power).ok_or(QuantityError::Numeric)?;
                Self { mantissa, scale: -places, format: Format::BinarySi, text: None }
            }
        };
        made.round_to(NANO);
        made.normalize();
        if made.format == Format::BinarySi {
            made.bound_binary();
        }
        made.text = kept.then(|| text.into());
        Ok(made)
    }
}

/// Whether upstream keeps the text: a short number that is known to be canonical without computing.
fn keeps_text(parts: &Parts<'_>, shifted: &str, suffix: &Suffix) -> bool {
    let places = parts.fraction.len() as i32;
    match suffix {
        Suffix::Ten(exponent, _) => {
            let scale = exponent - places;
            shifted.len() <= 18
                && scale >= NANO
                && scale % 3 == 0
                && !shifted.ends_with("000")
                && !shifted.starts_with('0')
        }
        Suffix::Two(power) => {
            let precision = 15 - parts.whole.len() as i32 - (*power as i32 * 3 / 10) - 1;
            places == 0 && precision >= 0 && shifted.parse::<i64>().is_ok_and(|v| v & 7 != 0)
        }
    }
}

impl Quantity {
    pub fn new(value: i64, format: Format) -> Self {
        let mut made = Self { mantissa: value.into(), scale: 0, format, text: None };
        made.normalize();
        made
    }

    pub fn milli(value: i64, format: Format) -> Self {
        let mut made = Self { mantissa: value.into(), scale: -3, format, text: None };
        made.normalize();
        made
    }

    pub fn format(&self) -> Format {
        self.format
    }

    fn normalize(&mut self) {
        if self.mantissa == 0 {
            self.scale = 0;
        }
        while self.mantissa != 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.scale += 1;
        }
    }

    /// Away from zero to a multiple of 10^scale.
    fn round_to(&mut self, scale: i32) {
        if self.scale >= scale {
            return;
        }
        let by = pow10((scale - self.scale) as u32);
        let sign = self.mantissa.signum();
        let whole = by.map_or(0, |by| self.mantissa / by);
        let rest = by.map_or(self.mantissa, |by| self.mantissa % by);
        self.mantissa = if rest == 0 { whole } else { whole + sign };
        self.scale = scale;
    }

    fn bound_binary(&mut self) {
        let most = Self::new(i64::MAX, Format::BinarySi);
        let sign = self.mantissa.signum();
        let magnitude = Self { mantissa: self.mantissa.abs(), ..self.clone() };
        if magnitude > most {
            *self = Self { mantissa: most.mantissa * sign, ..most };
        }
        if sign != 0 && magnitude < Self::new(1, Format::BinarySi) {
            self.format = Format::DecimalSi;
        }
    }

    pub fn is_zero(&self) -> bool {
        self.mantissa == 0
    }

    /// -1, 0 or 1.
    pub fn sign(&self) -> i32 {
        self.mantissa.signum() as i32
    }

    /// In units of 10^scale, rounded away from zero; what does not fit is the nearest i64.
    pub fn scaled(&self, scale: i32) -> i64 {
        let mut copy = Self { text: None, ..self.clone() };
        copy.round_to(scale);
        let up = u32::try_from(copy.scale - scale).ok().and_then(pow10);
        let value = up.and_then(|up| copy.mantissa.checked_mul(up));
        match value {
            Some(value) => i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX }),
            None if self.mantissa < 0 => i64::MIN,
            None => i64::MAX,
        }
    }

    /// Whole units, rounded up.
    pub fn value(&self) -> i64 {
        self.scaled(0)
    }

    /// Thousandths, rounded up.
    pub fn milli_value(&self) -> i64 {
        self.scaled(-3)
    }

    /// The exact whole number; None where there is a fraction or it does not fit.
    pub fn as_i64(&self) -> Option<i64> {
        let up = pow10(u32::try_from(self.scale).ok()?)?;
        i64::try_from(self.mantissa.checked_mul(up)?).ok()
    }

    pub fn as_f64(&self) -> f64 {
        self.mantissa as f64 * 10f64.powi(self.scale)
    }

    /// Away from zero to whole multiples of 10^scale; true if nothing was lost.
    pub fn round_up(&mut self, scale: i32) -> bool {
        if self.scale >= scale {
            return true;
        }
        self.text = None;
        let before = (self.mantissa, self.scale);
        self.round_to(scale);
        self.normalize();
        before == (self.mantissa, self.scale)
    }

    fn combine(&mut self, other: &Self, op: fn(i128, i128) -> Option<i128>) {
        if self.is_zero() {
            self.format = other.format;
        }
        self.text = None;
        let scale = self.scale.min(other.scale);
        let at = |q: &Self| q.mantissa.checked_mul(pow10((q.scale - scale) as u32)?);
        let sum = at(self).zip(at(other)).and_then(|(a, b)| op(a, b));
        self.mantissa = sum.unwrap_or(i128::MAX);
        self.scale = scale;
        self.normalize();
    }

    /// A zero takes over the other's format.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, i128::checked_add);
    }

    pub fn sub(&mut self, other: &Self) {
        self.combine(other, i128::checked_sub);
    }

    pub fn mul(&mut self, by: i64) {
        self.text = None;
        self.mantissa = self.mantissa.saturating_mul(by.into());
        self.normalize();
    }

    #[must_use]
    pub fn negated(&self) -> Self {
        Self { mantissa: -self.mantissa, text: None, ..self.clone() }
    }

    /// The same number written in another format.
    #[must_use]
    pub fn in_format(mut self, format: Format) -> Self {
        if self.format != format {
            self.format = format;
            self.text = None;
        }
        self
    }

    fn write_decimal(&self, f: &mut fmt::Formatter<'_>, format: Format) -> fmt::Result {
        let down = self.scale.rem_euclid(3);
        let exponent = self.scale - down;
        let number = self.mantissa * [1, 10, 100][down as usize];
        match format {
            Format::DecimalExponent if exponent != 0 => write!(f, "{number}e{exponent}"),
            Format::DecimalExponent => write!(f, "{number}"),
            _ => {
                let suffix = DECIMAL.iter().find(|(_, e)| *e == exponent).map_or("", |(s, _)| s);
                write!(f, "{number}{suffix}")
            }
        }
    }

    fn write_binary(&self, f: &mut fmt::Formatter<'_>, mut whole: i128) -> fmt::Result {
        let mut step = 0;
        while whole % 1024 == 0 && step < BINARY.len() {
            whole /= 1024;
            step += 1;
        }
        write!(f, "{whole}{}", if step == 0 { "" } else { BINARY[step - 1].0 })
    }
}

impl fmt::Display for Quantity {
    /// The canonical form, or the text that was parsed where upstream keeps that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.text {
            return f.write_str(text);
        }
        if self.mantissa == 0 {
            return f.write_str("0");
        }
        if self.format == Format::BinarySi {
            let up = u32::try_from(self.scale).ok().and_then(pow10);
            return match up.and_then(|up| self.mantissa.checked_mul(up)) {
                Some(whole) if whole.abs() >= 1024 => self.write_binary(f, whole),
                _ => self.write_decimal(f, Format::DecimalSi),
            };
        }
        self.write_decimal(f, self.format)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.mantissa == other.mantissa && self.scale == other.scale
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = self.mantissa.signum().cmp(&other.mantissa.signum());
        if sign != Ordering::Equal || self.scale == other.scale {
            return sign.then(self.mantissa.cmp(&other.mantissa));
        }
        let scale = self.scale.min(other.scale);
        let at = |q: &Self| q.mantissa.checked_mul(pow10((q.scale - scale) as u32)?);
        match (at(self), at(other)) {
            (Some(a), Some(b)) => a.cmp(&b),
            (None, _) if self.mantissa > 0 => Ordering::Greater,
            (None, _) => Ordering::Less,
            (_, None) if self.mantissa > 0 => Ordering::Less,
            _ => Ordering::Greater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_texts() {
        for (from, to) in [
            ("0", "0"),
            ("1", "1"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1.5", "1500m"),
            ("0.1", "100m"),
            ("1.5Gi", "1536Mi"),
            ("1024Ki", "1Mi"),
            ("1Gi", "1Gi"),
            ("0.5Mi", "512Ki"),
            ("0.5Ki", "512"),
            ("512", "512"),
            ("100000", "100k"),
            ("2k", "2k"),
            ("1e3", "1e3"),
            ("1000e3", "1e6"),
            ("12e1", "120"),
            ("1E", "1E"),
            ("12345678901234567890", "12345678901234567890"),
            ("5n", "5n"),
            ("0.5n", "1n"),
            ("-3", "-3"),
            ("-0.5n", "-1n"),
            ("0.1Ki", "102400m"),
            ("+1", "+1"),
            ("7Ki", "7Ki"),
            ("9Ei", "9223372036854775807"),
            ("", "!"),
            ("1.1.1", "!"),
            ("1x", "!"),
            ("1mm", "!"),
            ("Gi", "0"),
        ] {
            let got = from.parse::<Quantity>().map_or("!".to_owned(), |q| q.to_string());
            assert_eq!(got, to, "{from}");
        }
    }

    #[test]
    fn arithmetic_and_rounding() {
        let parse = |t: &str| t.parse::<Quantity>().unwrap();
        let mut sum = parse("100m");
        sum.add(&parse("1900m"));
        assert_eq!(sum.to_string(), "2");
        sum.sub(&parse("1Gi"));
        assert_eq!(sum.value(), 2 - (1 << 30));
        let mut zero = Quantity::default();
        zero.add(&parse("1Mi"));
        assert_eq!(zero.to_string(), "1Mi");
        assert_eq!(parse("100m").value(), 1);
        assert_eq!(parse("1.5").milli_value(), 1500);
        assert_eq!(parse("1n").milli_value(), 1);
        assert_eq!(parse("1Ki").value(), 1024);
        assert!(parse("1") > parse("999m") && parse("1Ki") == parse("1024") && parse("-1") < parse("1n"));
        assert_eq!(parse("1e30").value(), i64::MAX);
    }
}
