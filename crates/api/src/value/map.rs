//! The map of the object tree: a list of entries in their order, with an index once it is long.

use std::hash::BuildHasher;
use std::sync::LazyLock;

use super::{Key, Value};

/// Up to here a scan is as fast as an index.
const SHORT: usize = 24;

/// An object or a map. Keeps the order of insertion; the canonical form brings it into Go's.
#[derive(Clone, Debug, Default)]
pub struct Map {
    entries: Vec<(Key, Value)>,
    index: Option<Box<Index>>,
}

/// Open addressing: positions of entries by a seeded hash of the key.
#[derive(Clone, Debug)]
struct Index {
    slots: Vec<u32>,
}

const FREE: u32 = u32::MAX;

static SEED: LazyLock<std::hash::RandomState> = LazyLock::new(std::hash::RandomState::new);

fn hash(key: &str) -> usize {
    SEED.hash_one(key) as usize
}

impl Index {
    fn of(entries: &[(Key, Value)]) -> Self {
        let mut index = Self { slots: vec![FREE; (entries.len() * 4).next_power_of_two()] };
        for (at, (key, _)) in entries.iter().enumerate() {
            index.add(key, at);
        }
        index
    }

    fn add(&mut self, key: &str, at: usize) {
        let mask = self.slots.len() - 1;
        let mut slot = hash(key) & mask;
        while self.slots[slot] != FREE {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = at as u32;
    }

    fn find(&self, key: &str, entries: &[(Key, Value)]) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut slot = hash(key) & mask;
        loop {
            let at = self.slots[slot];
            if at == FREE {
                return None;
            }
            if entries[at as usize].0 == key {
                return Some(at as usize);
            }
            slot = (slot + 1) & mask;
        }
    }
}

impl PartialEq for Map {
    /// Order does not count.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.iter().enumerate().all(|(at, (k, v))| match other.entries.get(at) {
                Some((key, value)) if key == k => value == v,
                _ => other.get(k) == Some(v),
            })
    }
}

impl Map {
    pub const fn new() -> Self {
        Self { entries: Vec::new(), index: None }
    }

    pub fn with_capacity(n: usize) -> Self {
        Self { entries: Vec::with_capacity(n), index: None }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where `key` stands.
    pub fn position(&self, key: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.find(key, &self.entries),
            None => self.entries.iter().position(|(k, _)| k == key),
        }
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.position(key).map(|at| &self.entries[at].1)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        let at = self.position(key)?;
        Some(&mut self.entries[at].1)
    }

    /// The entry at a position.
    pub fn entry_at(&self, at: usize) -> Option<(&Key, &Value)> {
        self.entries.get(at).map(|(k, v)| (k, v))
    }

    pub fn contains_key(&self, key: &str) -> bool {
        self.position(key).is_some()
    }

    /// Sets `key`, in its old place if it was there; the old value.
    pub fn insert(&mut self, key: impl Into<Key>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        match self.get_mut(&key) {
            Some(old) => Some(std::mem::replace(old, value)),
            None => {
                self.push(key, value);
                None
            }
        }
    }

    /// Adds an entry whose key is known to be absent.
    pub fn push(&mut self, key: impl Into<Key>, value: impl Into<Value>) {
        self.entries.push((key.into(), value.into()));
        let n = self.entries.len();
        match &mut self.index {
            Some(index) if index.slots.len() >= n * 2 => index.add(&self.entries[n - 1].0, n - 1),
            Some(_) => self.reindex(),
            None if n > SHORT => self.reindex(),
            None => {}
        }
    }

    fn reindex(&mut self) {
        self.index = (self.entries.len() > SHORT).then(|| Box::new(Index::of(&self.entries)));
    }

    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.position(key)?;
        let (_, value) = self.entries.remove(at);
        if self.index.is_some() {
            self.reindex();
        }
        Some(value)
    }

    /// The value of `key`, set to `default()` first if absent.
    pub fn or_insert_with(&mut self, key: &str, default: impl FnOnce() -> Value) -> &mut Value {
        let at = match self.position(key) {
            Some(at) => at,
            None => {
                self.push(key, default());
                self.entries.len() - 1
            }
        };
        &mut self.entries[at].1
    }

    /// The map under `key`; what is absent or no map becomes an empty map first.
    pub fn map_mut(&mut self, key: &str) -> &mut Map {
        let value = self.or_insert_with(key, || Value::Map(Map::new()));
        value.as_map_or_make()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Key, &Value)> + ExactSizeIterator + Clone {
        self.entries.iter().map(|(k, v)| (k, v))
    }

    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&Key, &mut Value)> + ExactSizeIterator {
        self.entries.iter_mut().map(|(k, v)| (&*k, v))
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.entries.iter().map(|(k, _)| k)
    }

    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.entries.iter().map(|(_, v)| v)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.entries.iter_mut().map(|(_, v)| v)
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&Key, &mut Value) -> bool) {
        let before = self.entries.len();
        self.entries.retain_mut(|(k, v)| keep(k, v));
        if self.index.is_some() && self.entries.len() != before {
            self.reindex();
        }
    }

    /// By bytes of the key, as Go writes maps.
    pub fn sort_keys(&mut self) {
        if !self.is_sorted() {
            self.entries.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            self.index.is_some().then(|| self.reindex());
        }
    }

    pub fn is_sorted(&self) -> bool {
        self.entries.is_sorted_by(|a, b| a.0.as_bytes() <= b.0.as_bytes())
    }

    /// By any order, such as that of a struct's fields.
    pub fn sort_by_key<K: Ord>(&mut self, mut rank: impl FnMut(&Key) -> K) {
        self.entries.sort_by_key(|(k, _)| rank(k));
        self.index.is_some().then(|| self.reindex());
    }

    /// The entries alone, to be changed as a list and brought back by [`Map::from_entries`].
    pub fn into_entries(self) -> Vec<(Key, Value)> {
        self.entries
    }

    /// From entries whose keys are known to differ.
    pub fn from_entries(entries: Vec<(Key, Value)>) -> Self {
        let mut map = Self { entries, index: None };
        map.reindex();
        map
    }
}

impl FromIterator<(Key, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (Key, Value)>>(iter: I) -> Self {
        let mut map = Self::new();
        for (key, value) in iter {
            map.insert(key, value);
        }
        map
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = &'a (Key, Value);
    type IntoIter = std::slice::Iter<'a, (Key, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter()
    }
}

impl IntoIterator for Map {
    type Item = (Key, Value);
    type IntoIter = std::vec::IntoIter<(Key, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_maps_find_and_forget_like_short_ones() {
        let mut map = Map::new();
        for i in 0..2000 {
            map.insert(format!("key-{i}"), i64::from(i));
        }
        assert_eq!(map.get("key-1234").unwrap().as_int(), Some(1234));
        assert_eq!(map.insert("key-7", 8i64), Some(Value::Int(7)));
        assert!(map.remove("key-0").is_some() && !map.contains_key("key-0"));
        map.retain(|_, v| v.as_int().unwrap() % 2 == 0);
        map.sort_keys();
        assert_eq!(map.get("key-1998").unwrap().as_int(), Some(1998));
        assert!(map.get("key-1999").is_none());
        assert_eq!(map.len(), 1000);
    }

    #[test]
    fn a_value_is_small() {
        assert_eq!(std::mem::size_of::<Value>(), 32);
    }
}
