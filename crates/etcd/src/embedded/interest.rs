//! Which watchers want which keys. Watches on one key are found by it; watches on intervals by a
//! table of the distinct intervals, sorted by their beginning, with the farthest end so far, so that
//! a key meets only the intervals that may hold it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::index::KeyRange;

/// Something that watches an interval.
pub trait Interested {
    /// Its interval.
    fn range(&self) -> &KeyRange;
}

#[derive(Debug)]
struct Slot<W> {
    range: KeyRange,
    /// Whether an interval up to here reaches beyond any end, or else the farthest end.
    reach: Option<Bytes>,
    watchers: Vec<Arc<W>>,
}

/// See the module's words.
#[derive(Debug)]
pub struct Interest<W> {
    single: HashMap<Bytes, Vec<Arc<W>>>,
    slots: Vec<Slot<W>>,
}

impl<W> Default for Interest<W> {
    fn default() -> Self {
        Self { single: HashMap::new(), slots: Vec::new() }
    }
}

impl<W: Interested> Interest<W> {
    /// Adds a watcher.
    pub fn add(&mut self, watcher: Arc<W>) {
        let range = watcher.range().clone();
        if range.is_single() {
            self.single.entry(range.key).or_default().push(watcher);
            return;
        }
        match self.find(&range) {
            Ok(at) => self.slots[at].watchers.push(watcher),
            Err(at) => {
                self.slots.insert(at, Slot { range, reach: None, watchers: vec![watcher] });
                self.set_reach();
            }
        }
    }

    /// Removes a watcher.
    pub fn remove(&mut self, watcher: &Arc<W>) {
        let range = watcher.range();
        if range.is_single() {
            if let Some(watchers) = self.single.get_mut(&range.key) {
                watchers.retain(|other| !Arc::ptr_eq(other, watcher));
                if watchers.is_empty() {
                    self.single.remove(&range.key);
                }
            }
        } else if let Ok(at) = self.find(range) {
            self.slots[at].watchers.retain(|other| !Arc::ptr_eq(other, watcher));
            if self.slots[at].watchers.is_empty() {
                self.slots.remove(at);
                self.set_reach();
            }
        }
    }

    fn find(&self, range: &KeyRange) -> Result<usize, usize> {
        self.slots.binary_search_by(|slot| (&slot.range.key, &slot.range.end).cmp(&(&range.key, &range.end)))
    }

    fn set_reach(&mut self) {
        let mut reach = Some(Bytes::new());
        for slot in &mut self.slots {
            reach = match reach {
                Some(end) if !slot.range.is_open() => Some(end.max(slot.range.end.clone())),
                _ => None,
            };
            slot.reach = reach.clone();
        }
    }

    /// Calls `each` with every watcher of a key.
    pub fn of_key(&self, key: &[u8], mut each: impl FnMut(&Arc<W>)) {
        self.single.get(key).into_iter().flatten().for_each(&mut each);
        let beyond = self.slots.partition_point(|slot| &slot.range.key[..] <= key);
        for slot in self.slots[..beyond].iter().rev() {
            if slot.reach.as_ref().is_some_and(|reach| &reach[..] <= key) {
                break;
            }
            if slot.range.contains(key) {
                slot.watchers.iter().for_each(&mut each);
            }
        }
    }

    /// All watchers.
    pub fn all(&self) -> impl Iterator<Item = &Arc<W>> {
        let ranges = self.slots.iter().flat_map(|slot| &slot.watchers);
        self.single.values().flatten().chain(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Named(&'static str, KeyRange);
    impl Interested for Named {
        fn range(&self) -> &KeyRange {
            &self.1
        }
    }

    fn watcher(name: &'static str, key: &'static str, end: &'static str) -> Arc<Named> {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        Arc::new(Named(name, KeyRange { key: bytes(key), end: bytes(end) }))
    }

    fn names(interest: &Interest<Named>, key: &str) -> Vec<&'static str> {
        let mut names = Vec::new();
        interest.of_key(key.as_bytes(), |watcher| names.push(watcher.0));
        names.sort_unstable();
        names
    }

    #[test]
    fn a_key_finds_its_watchers_and_no_others() {
        let mut interest = Interest::default();
        let wide = watcher("wide", "/a", "/z");
        for w in [
            wide.clone(),
            watcher("pods", "/pods/", "/pods0"),
            watcher("pods2", "/pods/", "/pods0"),
            watcher("nodes", "/nodes/", "/nodes0"),
            watcher("one", "/pods/x", ""),
            watcher("from", "/s", "\0"),
        ] {
            interest.add(w);
        }
        assert_eq!(names(&interest, "/pods/x"), ["one", "pods", "pods2", "wide"]);
        assert_eq!(names(&interest, "/nodes/x"), ["nodes", "wide"]);
        assert_eq!(names(&interest, "/zz"), ["from"]);
        assert_eq!(names(&interest, "/"), [""; 0]);
        interest.remove(&wide);
        assert_eq!(names(&interest, "/pods/y"), ["pods", "pods2"]);
        assert_eq!(interest.all().count(), 5);
    }
}
