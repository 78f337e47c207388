//! Which Events are written: the spam filter, the gathering of similar ones, the count of equal ones.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Occurrence;

/// Tokens an object has at first, and seconds until it has another.
const BURST: f64 = 25.0;
const REFILL_SECONDS: f64 = 300.0;
/// Similar events within the interval, above which they are gathered.
const SIMILAR: usize = 10;
const SIMILAR_SECONDS: i64 = 600;
/// Entries a table may have; a full one is emptied.
const ENTRIES: usize = 4096;

struct Bucket {
    tokens: f64,
    at: i64,
}

#[derive(Default)]
struct Similar {
    messages: Vec<u64>,
    last: i64,
}

struct Known {
    name: String,
    count: i64,
}

/// The tables of one source.
#[derive(Default)]
pub(super) struct Correlator {
    buckets: HashMap<u64, Bucket>,
    similar: HashMap<u64, Similar>,
    known: HashMap<u64, Known>,
}

/// How an occurrence is to be written.
pub(super) struct Found {
    pub message: String,
    /// The Event that has it already, and its new count.
    pub known: Option<(String, i64)>,
    key: u64,
}

fn hash(parts: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

impl Correlator {
    /// None: the spam filter drops it.
    pub(super) fn correlate(&mut self, new: &Occurrence) -> Option<Found> {
        let object = &new.object;
        let parts = [&*object.kind, &*object.namespace, &*object.name, &*object.uid, &*object.api_version];
        let now = new.time.seconds();
        if !self.take_token(hash(&parts), now) {
            return None;
        }
        let group = hash(&[&parts[..], &[new.kind.as_str(), &new.reason, &object.field_path]].concat());
        let (key, message) = match self.gather(group, &new.message, now) {
            true => (group, format!("(combined from similar events): {}", new.message)),
            false => (group ^ hash(&[&new.message]), new.message.clone()),
        };
        let known = self.known.get_mut(&key).map(|known| {
            known.count += 1;
            (known.name.clone(), known.count)
        });
        Some(Found { message, known, key })
    }

    /// The Event was created under this name.
    pub(super) fn written(&mut self, _new: &Occurrence, found: &Found, name: String) {
        make_room(&mut self.known);
        self.known.insert(found.key, Known { name, count: 1 });
    }

    fn take_token(&mut self, object: u64, now: i64) -> bool {
        make_room(&mut self.buckets);
        let bucket = self.buckets.entry(object).or_insert(Bucket { tokens: BURST, at: now });
        bucket.tokens = BURST.min(bucket.tokens + (now - bucket.at) as f64 / REFILL_SECONDS);
        bucket.at = now;
        let enough = bucket.tokens >= 1.0;
        if enough {
            bucket.tokens -= 1.0;
        }
        enough
    }

    fn gather(&mut self, group: u64, message: &str, now: i64) -> bool {
        make_room(&mut self.similar);
        let similar = self.similar.entry(group).or_default();
        if now - similar.last > SIMILAR_SECONDS {
            similar.messages.clear();
        }
        similar.last = now;
        let message = hash(&[message]);
        if !similar.messages.contains(&message) && similar.messages.len() < SIMILAR {
            similar.messages.push(message);
        }
        similar.messages.len() >= SIMILAR
    }
}

fn make_room<V>(table: &mut HashMap<u64, V>) {
    if table.len() >= ENTRIES {
        table.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EventType, ObjectReference};
    use super::*;
    use crate::meta::Time;

    fn occurrence(message: &str, second: i64) -> Occurrence {
        Occurrence {
            object: ObjectReference { name: "a".into(), ..ObjectReference::default() },
            kind: EventType::Normal,
            reason: "R".into(),
            message: message.into(),
            time: Time(jiff::Timestamp::from_second(second).unwrap()),
        }
    }

    #[test]
    fn equal_events_are_counted() {
        let mut all = Correlator::default();
        let first = all.correlate(&occurrence("m", 1)).unwrap();
        assert!(first.known.is_none());
        all.written(&occurrence("m", 1), &first, "e".into());
        assert_eq!(all.correlate(&occurrence("m", 2)).unwrap().known, Some(("e".into(), 2)));
        assert!(all.correlate(&occurrence("other", 2)).unwrap().known.is_none());
    }

    #[test]
    fn similar_events_are_gathered() {
        let mut all = Correlator::default();
        let messages: Vec<_> =
            (0..11).map(|i| all.correlate(&occurrence(&i.to_string(), 1)).unwrap().message).collect();
        assert_eq!(messages[8], "8");
        assert_eq!(messages[10], "(combined from similar events): 10");
    }

    #[test]
    fn spam_is_dropped() {
        let mut all = Correlator::default();
        let passed = (0..40).filter(|_| all.correlate(&occurrence("m", 1)).is_some()).count();
        assert_eq!(passed, 25);
        assert!(all.correlate(&occurrence("m", 302)).is_some());
        assert!(all.correlate(&occurrence("m", 303)).is_none());
    }
}
