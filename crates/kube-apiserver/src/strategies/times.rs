//! Ages and durations as tables print them: `38s`, `5m2s`, `3d4h`, `2y10d`.

use jiff::Timestamp;

/// How long ago an RFC 3339 time was; `<unknown>` for none, `<invalid>` for one in the future.
pub fn age(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(then) => duration(now.as_second() - then.as_second()),
        Err(_) => "<unknown>".into(),
    }
}

/// Seconds between two RFC 3339 times, in words.
pub fn between(start: &str, end: &str) -> Option<String> {
    let (start, end) = (start.parse::<Timestamp>().ok()?, end.parse::<Timestamp>().ok()?);
    Some(duration(end.as_second() - start.as_second()))
}

/// The two greatest units that still say something, as kubectl's ages.
pub fn duration(seconds: i64) -> String {
    apimachinery::time::human(seconds)
}
