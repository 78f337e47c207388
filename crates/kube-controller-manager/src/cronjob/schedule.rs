//! Cron's times: five fields, names of months and days, `@daily` and its like, `@every`, and a time zone.

use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// A schedule that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("expected exactly 5 fields, found {0}: [{1}]")]
    Fields(usize, String),
    #[error("failed to parse int from {0}")]
    Number(String),
    #[error("end of range ({1}) beyond {2} maximum: {0}")]
    Above(String, u32, &'static str),
    #[error("beginning of range ({1}) below {2} minimum: {0}")]
    Below(String, u32, &'static str),
    #[error("beginning of range beyond end of range: {0}")]
    Backwards(String),
    #[error("step of range should be a positive number: {0}")]
    Step(String),
    #[error("unrecognized descriptor: {0}")]
    Descriptor(String),
    #[error("unknown time zone {0}")]
    Zone(String),
}

/// When a CronJob is due.
#[derive(Clone, Debug)]
pub struct Schedule {
    times: Times,
    zone: TimeZone,
}

#[derive(Clone, Debug)]
enum Times {
    Every(SignedDuration),
    /// A bit for each minute, hour, day, month and day of the week (Sunday is 0).
    Fields {
        minutes: u64,
        hours: u64,
        days: u64,
        months: u64,
        weekdays: u64,
        both_days: bool,
    },
}

const MONTHS: &str = "jan feb mar apr may jun jul aug sep oct nov dec";
const WEEKDAYS: &str = "sun mon tue wed thu fri sat";
/// Nothing is looked for beyond so many years.
const HORIZON: i64 = 5;

/// A time zone by its name.
pub fn zone(name: &str) -> Result<TimeZone, ScheduleError> {
    TimeZone::get(name).map_err(|_| ScheduleError::Zone(name.into()))
}

impl Schedule {
    /// `zone` is what `timeZone` says; a zone in the schedule itself (`TZ=`) goes before it.
    pub fn parse(text: &str, default_zone: TimeZone) -> Result<Self, ScheduleError> {
        let named = text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ="));
        let (times, own_zone) = match named.map(|rest| rest.split_once(' ').unwrap_or((rest, ""))) {
            Some((name, times)) => (times.trim(), zone(name)?),
            None => (text.trim(), default_zone),
        };
        Ok(Self { times: Times::parse(times)?, zone: own_zone })
    }

    /// The first time after `after`; None if there is none within years, such as for February 31.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let whole = Timestamp::from_second(after.as_second()).ok()?;
        match &self.times {
            Times::Every(step) => whole.checked_add(*step).ok(),
            fields => fields.next(whole, &self.zone),
        }
    }

    /// The last time after `after` up to `now`, and whether more than one was missed by so many that it is worth a
    /// word (more than 100).
    pub fn latest(&self, after: Timestamp, now: Timestamp) -> Option<(Timestamp, bool)> {
        let first = self.next(after).filter(|t| *t <= now)?;
        let step = self.next(first)?.duration_since(first).as_secs().max(1);
        let missed = now.duration_since(first).as_secs() / step;
        // From ever farther before `now`, until there is one.
        let mut back = step;
        let mut found = loop {
            let from = Timestamp::from_second(now.as_second() - back).ok().filter(|t| *t > first);
            let Some(from) = from else { break first };
            match self.next(from).filter(|t| *t <= now) {
                Some(time) => break time,
                None => back *= 2,
            }
        };
        while let Some(next) = self.next(found).filter(|t| *t <= now) {
            found = next;
        }
        Some((found, missed > 100))
    }
}

impl Times {
    fn parse(text: &str) -> Result<Self, ScheduleError> {
        if let Some(descriptor) = text.strip_prefix('@') {
            return Self::described(descriptor, text);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(ScheduleError::Fields(fields.len(), fields.join(" ")));
        };
        let (days, any_day) = field(day, 1, 31, "")?;
        let (weekdays, any_weekday) = field(weekday, 0, 6, WEEKDAYS)?;
        Ok(Self::Fields {
            minutes: field(minute, 0, 59, "")?.0,
            hours: field(hour, 0, 23, "")?.0,
            days,
            months: field(month, 1, 12, MONTHS)?.0,
            weekdays,
            both_days: any_day || any_weekday,
        })
    }

    fn described(descriptor: &str, text: &str) -> Result<Self, ScheduleError> {
        let unknown = || ScheduleError::Descriptor(text.into());
        let fields = match descriptor {
            "yearly" | "annually" => "0 0 1 1 *",
            "monthly" => "0 0 1 * *",
            "weekly" => "0 0 * * 0",
            "daily" | "midnight" => "0 0 * * *",
            "hourly" => "0 * * * *",
            other => {
                let every = other.strip_prefix("every ").ok_or_else(unknown)?;
                let step =
                    component_base::flags::GoDuration::from_str(every.trim()).map_err(|_| unknown())?;
                let seconds = i64::try_from(step.0.as_secs()).unwrap_or(i64::MAX).max(1);
                return Ok(Self::Every(SignedDuration::from_secs(seconds)));
            }
        };
        Self::parse(fields)
    }

    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let Self::Fields { minutes, hours, months, .. } = self else { return None };
        let has = |set: &u64, bit: i8| set >> bit & 1 == 1;
        let mut at = after.to_zoned(zone.clone()).round(jiff::Unit::Minute).ok()?;
        while at.timestamp() <= after {
            at = at.checked_add(1.minute()).ok()?;
        }
        let horizon = after.as_second() + HORIZON * 366 * 86_400;
        while at.timestamp().as_second() <= horizon {
            if !has(months, at.month()) || !self.has_day(&at) {
                at = at.tomorrow().and_then(|t| t.start_of_day()).ok()?;
            } else if !has(hours, at.hour()) {
                // In absolute time, so that hours which a zone skips or repeats are met as they come.
                at = at.checked_add((60 - i64::from(at.minute())).minutes()).ok()?;
            } else if !has(minutes, at.minute()) {
                at = at.checked_add(1.minute()).ok()?;
            } else {
                return Some(at.timestamp());
            }
        }
        None
    }

    /// A day of the month and of the week: either will do, where both are restricted.
    fn has_day(&self, at: &jiff::Zoned) -> bool {
        let Self::Fields { days, weekdays, both_days, .. } = self else { return false };
        let day = days >> at.day() & 1 == 1;
        let weekday = weekdays >> at.weekday().to_sunday_zero_offset() & 1 == 1;
        if *both_days { day && weekday } else { day || weekday }
    }
}

/// The bits of a field, and whether it is a star.
fn field(text: &str, min: u32, max: u32, names: &'static str) -> Result<(u64, bool), ScheduleError> {
    let (mut bits, mut star) = (0, false);
    for part in text.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let any = matches!(range, "*" | "?");
        let (first, last) = match range.split_once('-') {
            _ if any => (min, max),
            Some((first, last)) => (number(first, min, names)?, number(last, min, names)?),
            None => {
                let first = number(range, min, names)?;
                (first, if step.is_some() { max } else { first })
            }
        };
        let by: u32 = step.map_or(Ok(1), str::parse).map_err(|_| ScheduleError::Number(text.into()))?;
        let what = if names.is_empty() { "the" } else { "named" };
        match () {
            () if by == 0 => return Err(ScheduleError::Step(text.into())),
            () if first < min => return Err(ScheduleError::Below(text.into(), first, what)),
            () if last > max => return Err(ScheduleError::Above(text.into(), last, what)),
            () if first > last => return Err(ScheduleError::Backwards(text.into())),
            () => {}
        }
        star |= any && by == 1;
        bits |= (first..=last).step_by(usize::try_from(by).unwrap_or(1)).fold(0, |bits, n| bits | 1 << n);
    }
    Ok((bits, star))
}

fn number(text: &str, min: u32, names: &str) -> Result<u32, ScheduleError> {
    let lower = text.to_lowercase();
    let named = names.split(' ').position(|name| !name.is_empty() && name == lower);
    match named.and_then(|at| u32::try_from(at).ok()) {
        Some(at) => Ok(at + min),
        None => text.parse().map_err(|_| ScheduleError::Number(text.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn next_times() {
        for (schedule, after, expected) in [
            ("*/15 * * * *", "2026-03-01T10:07:30Z", "2026-03-01T10:15:00Z"),
            ("*/15 * * * *", "2026-03-01T10:15:00Z", "2026-03-01T10:30:00Z"),
            ("0 0 1 jan *", "2026-03-01T10:07:30Z", "2027-01-01T00:00:00Z"),
            ("30 8 * * MON-FRI", "2026-03-06T09:00:00Z", "2026-03-09T08:30:00Z"),
            ("0 0 13 * 5", "2026-03-01T00:00:00Z", "2026-03-06T00:00:00Z"),
            ("0 0 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 5-9/2,20 * * ?", "2026-03-01T07:30:00Z", "2026-03-01T09:00:00Z"),
            ("@hourly", "2026-03-01T07:30:00Z", "2026-03-01T08:00:00Z"),
            ("@every 90s", "2026-03-01T07:30:00Z", "2026-03-01T07:31:30Z"),
            ("5/20 * * * *", "2026-03-01T07:30:00Z", "2026-03-01T07:45:00Z"),
        ] {
            let found = Schedule::parse(schedule, TimeZone::UTC).unwrap().next(at(after));
            assert_eq!(found, Some(at(expected)), "{schedule}");
        }
        assert_eq!(
            Schedule::parse("0 0 31 2 *", TimeZone::UTC).unwrap().next(at("2026-01-01T00:00:00Z")),
            None
        );
    }

    #[test]
    fn zones() {
        let zone = TimeZone::fixed(jiff::tz::offset(-5));
        let daily = Schedule::parse("30 2 * * *", zone).unwrap();
        assert_eq!(daily.next(at("2026-03-01T00:00:00Z")), Some(at("2026-03-01T07:30:00Z")));
        // New York's clocks go from 2:00 to 3:00: that day has no 2:30.
        let new_york = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap();
        let daily = Schedule::parse("30 2 * * *", new_york).unwrap();
        assert_eq!(daily.next(at("2026-03-07T12:00:00Z")), Some(at("2026-03-09T06:30:00Z")));
        assert!(matches!(zone_error("Nowhere/City"), ScheduleError::Zone(_)));
        assert!(matches!(
            Schedule::parse("TZ=Nowhere/City * * * * *", TimeZone::UTC),
            Err(ScheduleError::Zone(_))
        ));
    }

    fn zone_error(name: &str) -> ScheduleError {
        zone(name).unwrap_err()
    }

    #[test]
    fn what_cannot_be_read() {
        for (schedule, expected) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) beyond the maximum: 60"),
            ("* * 0 * *", "beginning of range (0) below the minimum: 0"),
            ("9-3 * * * *", "beginning of range beyond end of range: 9-3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("x * * * *", "failed to parse int from x"),
            ("@never", "unrecognized descriptor: @never"),
        ] {
            let error = Schedule::parse(schedule, TimeZone::UTC).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn the_latest_that_was_missed() {
        let weekdays = Schedule::parse("0 9 * * 1-5", TimeZone::UTC).unwrap();
        let created = at("2026-03-02T08:00:00Z");
        for (now, expected) in [
            ("2026-03-02T08:30:00Z", None),
            ("2026-03-02T09:00:00Z", Some(("2026-03-02T09:00:00Z", false))),
            ("2026-03-08T23:00:00Z", Some(("2026-03-06T09:00:00Z", false))),
            ("2026-12-31T10:00:00Z", Some(("2026-12-31T09:00:00Z", true))),
        ] {
            let found = weekdays.latest(created, at(now));
            assert_eq!(found, expected.map(|(t, many)| (at(t), many)), "{now}");
        }
    }
}
