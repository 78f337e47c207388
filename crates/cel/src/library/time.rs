//! Timestamps and durations: their arithmetic, texts and parts in a time zone.

use apimachinery::time as go;
use jiff::tz::{Offset, TimeZone};

use crate::functions::{Declared, Outcome, Refused, Style, fail};
use crate::value::{Timestamp, Value};

/// Years 1 to 9999.
const FIRST: i64 = -62_135_596_800;
const LAST: i64 = 253_402_300_799;
const NANOS: i128 = 1_000_000_000;

macro_rules! part {
    ($name:literal, $id:literal, [$($duration:tt)*], $code:expr) => {
        Declared {
            name: $name,
            overloads: &[
                (concat!("timestamp_to_", $id), "timestamp.() int"),
                (concat!("timestamp_to_", $id, "_with_tz"), "timestamp.(string) int"),
                $($duration)*
            ],
            code: $code,
            style: Style::Guarded,
        }
    };
}

pub(super) const DECLARED: &[Declared] = &[
    part!("getFullYear", "year", [], |args| part(args, |t| t.year().into(), None)),
    part!("getMonth", "month", [], |args| part(args, |t| i64::from(t.month()) - 1, None)),
    part!("getDayOfYear", "day_of_year", [], |args| part(args, |t| i64::from(t.day_of_year()) - 1, None)),
    part!("getDayOfMonth", "day_of_month", [], |args| part(args, |t| i64::from(t.day()) - 1, None)),
    part!("getDate", "day_of_month_1_based", [], |args| part(args, |t| t.day().into(), None)),
    part!("getDayOfWeek", "day_of_week", [], |args| {
        part(args, |t| t.weekday().to_sunday_zero_offset().into(), None)
    }),
    part!("getHours", "hours", [("duration_to_hours", "duration.() int")], |args| {
        part(args, |t| t.hour().into(), Some(|n| n / 3_600_000_000_000))
    }),
    part!("getMinutes", "minutes", [("duration_to_minutes", "duration.() int")], |args| {
        part(args, |t| t.minute().into(), Some(|n| n / 60_000_000_000))
    }),
    part!("getSeconds", "seconds", [("duration_to_seconds", "duration.() int")], |args| {
        part(args, |t| t.second().into(), Some(|n| n / 1_000_000_000))
    }),
    part!("getMilliseconds", "milliseconds", [("duration_to_milliseconds", "duration.() int")], |args| {
        part(args, |t| i64::from(t.subsec_nanosecond()) / 1_000_000, Some(|n| n / 1_000_000))
    }),
];

fn part<'a>(
    args: &[Value<'a>],
    of: fn(&jiff::civil::DateTime) -> i64,
    of_duration: Option<fn(i64) -> i64>,
) -> Outcome<'a> {
    match (args, of_duration) {
        ([Value::Duration(n)], Some(of)) => Ok(Value::Int(of(*n))),
        ([Value::Timestamp(t)], _) => Ok(Value::Int(of(&local(*t, &TimeZone::UTC)?))),
        ([Value::Timestamp(t), Value::String(zone)], _) => Ok(Value::Int(of(&local(*t, &time_zone(zone)?)?))),
        _ => Err(Refused::NoOverload),
    }
}

fn local(t: Timestamp, zone: &TimeZone) -> Result<jiff::civil::DateTime, Refused> {
    match jiff::Timestamp::new(t.seconds, t.nanos.cast_signed()) {
        Ok(at) => Ok(zone.to_datetime(at)),
        // What jiff holds ends a day before year 10000 does.
        Err(_) => fail("timestamp overflow"),
    }
}

/// A name (`Europe/Berlin`) or an offset (`-08:00`, `5:30`).
fn time_zone(text: &str) -> Result<TimeZone, Refused> {
    let Some((hours, minutes)) = text.split_once(':') else {
        if text.is_empty() || text == "UTC" {
            return Ok(TimeZone::UTC);
        }
        return TimeZone::get(text).or_else(|_| fail(format!("unknown time zone {text}")));
    };
    let number = |part: &str| {
        let parsed = part.strip_prefix('+').unwrap_or(part).parse::<i32>();
        parsed.or_else(|_| fail(format!("strconv.Atoi: parsing \"{part}\": invalid syntax")))
    };
    let (h, m) = (number(hours)?, number(minutes)?);
    let total = if text.starts_with('-') { h * 3600 - m * 60 } else { h * 3600 + m * 60 };
    match Offset::from_seconds(total) {
        Ok(offset) => Ok(TimeZone::fixed(offset)),
        Err(_) => fail(format!("timezone offset out of range: {text}")),
    }
}

pub(super) fn duration<'a>(nanos: Option<i64>) -> Outcome<'a> {
    nanos.map_or_else(|| fail("integer overflow"), |n| Ok(Value::Duration(n)))
}

pub(super) fn timestamp<'a>(at: Timestamp) -> Outcome<'a> {
    if (FIRST..=LAST).contains(&at.seconds) { Ok(Value::Timestamp(at)) } else { fail("timestamp overflow") }
}

fn nanos(t: Timestamp) -> i128 {
    i128::from(t.seconds) * NANOS + i128::from(t.nanos)
}

pub(super) fn shifted<'a>(t: Timestamp, by: i128) -> Outcome<'a> {
    let total = nanos(t) + by;
    let seconds = i64::try_from(total.div_euclid(NANOS)).unwrap_or(i64::MAX);
    timestamp(Timestamp { seconds, nanos: total.rem_euclid(NANOS) as u32, offset: t.offset })
}

pub(super) fn between<'a>(a: Timestamp, b: Timestamp) -> Outcome<'a> {
    duration(i64::try_from(nanos(a) - nanos(b)).ok())
}

/// RFC 3339 with as many digits as it takes, in its own offset.
pub(crate) fn format(t: Timestamp) -> String {
    let mut out = go::rfc3339(t.seconds + i64::from(t.offset) * 60, None);
    out.pop();
    if t.nanos != 0 {
        let fraction = format!("{:09}", t.nanos);
        out.push('.');
        out.push_str(fraction.trim_end_matches('0'));
    }
    match t.offset {
        0 => out.push('Z'),
        n => {
            out.push_str(&format!("{}{:02}:{:02}", if n < 0 { '-' } else { '+' }, n.abs() / 60, n.abs() % 60))
        }
    }
    out
}

/// Reads RFC 3339.
pub(crate) fn read(text: &str) -> Option<Timestamp> {
    let (seconds, nanos) = go::parse_rfc3339(text)?;
    let zone = text.get(text.len().saturating_sub(6)..).filter(|_| !text.ends_with('Z')).unwrap_or("+00:00");
    let number = |at: usize| zone.get(at..at + 2)?.parse::<i16>().ok();
    let minutes = number(1)? * 60 + number(4)?;
    let offset = if zone.starts_with('-') { -minutes } else { minutes };
    Some(Timestamp { seconds, nanos, offset })
}

/// Seconds with as many digits as it takes: `1.5s`.
pub(crate) fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let n = nanos.unsigned_abs();
    let (whole, rest) = (n / 1_000_000_000, n % 1_000_000_000);
    if rest == 0 {
        return format!("{sign}{whole}s");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{whole}.{}s", fraction.trim_end_matches('0'))
}

pub(super) fn parse_duration(text: &str) -> Option<i64> {
    go::parse_duration(text)
}
