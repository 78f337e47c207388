//! Times and durations in Go's JSON forms.

use std::time::Duration;

use jiff::Timestamp;

/// `metav1.Time`: RFC 3339 in whole seconds, UTC.
pub fn format(time: Timestamp) -> String {
    rfc3339(time.as_second(), None)
}

/// `metav1.MicroTime`: RFC 3339 with six digits, UTC.
pub fn format_micro(time: Timestamp) -> String {
    let nanos = time.as_nanosecond();
    let seconds = nanos.div_euclid(1_000_000_000);
    rfc3339(seconds as i64, Some((nanos.rem_euclid(1_000_000_000) / 1000) as u32))
}

/// Now, as `metav1.Time` is written.
pub fn now() -> String {
    format(Timestamp::now())
}

/// Now, as `metav1.MicroTime` is written.
pub fn now_micro() -> String {
    format_micro(Timestamp::now())
}

/// Days since 1970-01-01 to year, month, day of the Gregorian calendar.
fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month as u32, (doy - (153 * mp + 2) / 5 + 1) as u32)
}

/// Year, month and day to days since 1970-01-01.
fn days(year: i64, month: u32, day: u32) -> i64 {
    let y = year - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = (i64::from(month) + 9) % 12;
    let doy = (153 * mp + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// Seconds since 1970 (and microseconds, where six digits shall be written) as RFC 3339.
pub fn rfc3339(seconds: i64, micros: Option<u32>) -> String {
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let clock = seconds.rem_euclid(86_400);
    let (h, m, s) = (clock / 3600, clock / 60 % 60, clock % 60);
    match micros {
        None => format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z"),
        Some(micros) => format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{micros:06}Z"),
    }
}

/// Reads RFC 3339 in any offset: seconds since 1970 and nanoseconds. None for what Go's parser refuses.
pub fn parse_rfc3339(text: &str) -> Option<(i64, u32)> {
    let b = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let part = b.get(from..to)?;
        part.iter().all(u8::is_ascii_digit).then(|| part.iter().fold(0, |n, c| n * 10 + i64::from(c - b'0')))
    };
    let signs = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if signs.iter().any(|(at, sign)| b.get(*at) != Some(sign)) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (h, m, s) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if day < 1 || day > last || h > 23 || m > 59 || s > 59 {
        return None;
    }
    let (nanos, zone) = fraction(&text[19..])?;
    let offset = offset(zone)?;
    Some((days(year, month as u32, day as u32) * 86_400 + h * 3600 + m * 60 + s - offset, nanos))
}

fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix(['.', ',']) else { return Some((0, text)) };
    let n = rest.bytes().take_while(u8::is_ascii_digit).count();
    let digits = rest.get(..n.min(9)).filter(|d| !d.is_empty())?;
    let value: u32 = digits.parse().ok()?;
    Some((value * 10u32.pow(9 - digits.len() as u32), &rest[n..]))
}

/// Seconds east of UTC.
fn offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let b = text.as_bytes();
    let digit = |at: usize| b.get(at).filter(|c| c.is_ascii_digit()).map(|c| i64::from(c - b'0'));
    let sign = match b.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    if b.len() != 6 || b[3] != b':' {
        return None;
    }
    let (h, m) = (digit(1)? * 10 + digit(2)?, digit(4)? * 10 + digit(5)?);
    (h < 24 && m < 60).then_some(sign * (h * 3600 + m * 60))
}

/// A time of an object; None where it is no RFC 3339.
pub fn parse(text: &str) -> Option<Timestamp> {
    let (seconds, nanos) = parse_rfc3339(text)?;
    Timestamp::new(seconds, nanos as i32).ok()
}

/// `metav1.Duration` and Go flags: `1h0m0s`, `1.5µs`, `0s`.
pub fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let n = nanos.unsigned_abs();
    if n == 0 {
        return "0s".into();
    }
    for (unit, size) in [("ns", 1_000), ("µs", 1_000_000), ("ms", 1_000_000_000u64)] {
        if n < size {
            return format!("{sign}{}{unit}", decimal(n, size / 1000));
        }
    }
    let seconds = n / 1_000_000_000;
    let rest = decimal(n % 60_000_000_000, 1_000_000_000);
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{sign}{rest}s"),
        (0, m) => format!("{sign}{m}m{rest}s"),
        (h, m) => format!("{sign}{h}h{m}m{rest}s"),
    }
}

fn decimal(n: u64, unit: u64) -> String {
    let (whole, rest) = (n / unit, n % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// Nanoseconds of a Go duration. None for what `time.ParseDuration` refuses.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, tail) = after.split_at(unit_end);
        let size: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total += part(number, size)?;
        rest = tail;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

fn part(number: &str, size: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digits = &fraction[..fraction.len().min(18)];
    let parts: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    whole.checked_mul(size)?.checked_add(parts * size / 10i128.pow(digits.len() as u32))
}

/// A non-negative Go duration.
pub fn duration(text: &str) -> Option<Duration> {
    parse_duration(text).and_then(|n| u64::try_from(n).ok()).map(Duration::from_nanos)
}

/// The age as Tables show it: `5s`, `2m30s`, `4h`, `3d`, `2y1d` (upstream's `HumanDuration`).
pub fn human(seconds: i64) -> String {
    let (m, h) = (seconds / 60, seconds / 3600);
    let two = |a: i64, unit: &str, b: i64, small: &str| {
        if b == 0 { format!("{a}{unit}") } else { format!("{a}{unit}{b}{small}") }
    };
    match seconds {
        s if s < -1 => "<invalid>".into(),
        s if s < 0 => "0s".into(),
        s if s < 60 * 2 => format!("{s}s"),
        s if m < 10 => two(m, "m", s % 60, "s"),
        _ if m < 60 * 3 => format!("{m}m"),
        _ if h < 8 => two(h, "h", m % 60, "m"),
        _ if h < 48 => format!("{h}h"),
        _ if h < 24 * 8 => two(h / 24, "d", h % 24, "h"),
        _ if h < 24 * 365 * 2 => format!("{}d", h / 24),
        _ if h < 24 * 365 * 8 => two(h / 24 / 365, "y", h / 24 % 365, "d"),
        _ => format!("{}y", h / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_go_writes_them() {
        assert_eq!(rfc3339(0, None), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000, Some(5)), "2023-11-14T22:13:20.000005Z");
        assert_eq!(rfc3339(-1, None), "1969-12-31T23:59:59Z");
        assert_eq!(parse_rfc3339("2023-11-14T23:13:20.5+01:00"), Some((1_700_000_000, 500_000_000)));
        assert_eq!(
            parse_rfc3339("2024-02-29T00:00:00Z").map(|t| rfc3339(t.0, None)).unwrap(),
            "2024-02-29T00:00:00Z"
        );
        for bad in [
            "",
            "2023-02-29T00:00:00Z",
            "2023-01-01 00:00:00Z",
            "2023-01-01T00:00:00",
            "2023-01-01T24:00:00Z",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
        let now = Timestamp::now();
        assert_eq!(parse(&format_micro(now)).unwrap().as_microsecond(), now.as_microsecond());
    }

    #[test]
    fn durations_as_go_writes_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1500, "1.5µs"),
            (2_000_000, "2ms"),
            (1_000_000_000, "1s"),
            (5_400_000_000_000, "1h30m0s"),
            (-1_000_000_000, "-1s"),
            (90_061_001_000_000, "25h1m1.001s"),
        ] {
            assert_eq!(format_duration(nanos), text);
            assert_eq!(parse_duration(text), Some(nanos));
        }
        assert_eq!(parse_duration("1h"), Some(3_600_000_000_000));
        assert_eq!(parse_duration("1.5h30s"), Some(5_430_000_000_000));
        assert_eq!(parse_duration("5"), None);
        assert_eq!(parse_duration(""), None);
    }

    #[test]
    fn ages_as_tables_show_them() {
        for (s, text) in [
            (-5, "<invalid>"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (3600, "60m"),
            (4 * 3600 + 60, "4h1m"),
            (9 * 3600, "9h"),
            (49 * 3600, "2d1h"),
            (10 * 86_400, "10d"),
            (800 * 86_400, "2y70d"),
        ] {
            assert_eq!(human(s), text, "{s}");
        }
    }
}
