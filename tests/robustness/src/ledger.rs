//! What is known of every object from the answers of the server: the state last acknowledged, and the one write
//! whose answer never came. Each object has one writer, so that its history is a line.

use std::collections::BTreeMap;

/// Kind and name.
pub type Key = (Kind, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    ConfigMap,
    Custom,
}

/// An object as it was acknowledged or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub value: u64,
    pub version: u64,
    pub uid: String,
}

/// A write on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Create, or apply: the value.
    Set(u64),
    Delete,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// None: acknowledged to be absent, or never written.
    pub known: Option<Object>,
    /// Its answer did not come: it may have happened or not.
    pub pending: Option<Write>,
}

/// Everything that is known.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<Key, Entry>,
    /// The newest resourceVersion that any answer carried.
    pub newest: u64,
}

impl Ledger {
    pub fn known(&self, key: &Key) -> Option<&Object> {
        self.entries.get(key)?.known.as_ref()
    }

    /// A request leaves.
    pub fn begin(&mut self, key: &Key, write: Write) {
        self.entries.entry(key.clone()).or_default().pending = Some(write);
    }

    /// The server answered that nothing was done.
    pub fn refused(&mut self, key: &Key) {
        self.entries.entry(key.clone()).or_default().pending = None;
    }

    /// The server answered that it is done; `object` is what a set left. Says what is wrong with the answer.
    pub fn acknowledged(&mut self, key: &Key, object: Option<Object>) -> Option<String> {
        let wrong = object.as_ref().and_then(|new| self.contradicts(key, new));
        self.newest = self.newest.max(object.as_ref().map_or(0, |o| o.version));
        *self.entries.entry(key.clone()).or_default() = Entry { known: object, pending: None };
        wrong
    }

    fn contradicts(&self, key: &Key, new: &Object) -> Option<String> {
        let entry = self.entries.get(key)?;
        if let (Some(Write::Set(value)), got) = (entry.pending, new.value)
            && value != got
        {
            return Some(format!("{key:?}: wrote {value}, the answer has {got}"));
        }
        let old = entry.known.as_ref()?;
        let same = old.value == new.value && old.version == new.version;
        (new.version <= old.version && !same)
            .then(|| format!("{key:?}: version {} after {}", new.version, old.version))
    }

    /// True where a read may give this: the state known, or the pending write's.
    fn allows(entry: &Entry, found: Option<&Object>) -> bool {
        if entry.known.as_ref() == found {
            return true;
        }
        match (entry.pending, found) {
            (Some(Write::Delete), None) => true,
            (Some(Write::Set(value)), Some(found)) => {
                let after = entry
                    .known
                    .as_ref()
                    .is_none_or(|old| found.version > old.version && found.uid == old.uid);
                found.value == value && after
            }
            _ => false,
        }
    }

    /// What a read of one object says that cannot be.
    pub fn check(&self, key: &Key, found: Option<&Object>) -> Option<String> {
        let nothing = Entry::default();
        let entry = self.entries.get(key).unwrap_or(&nothing);
        if Self::allows(entry, found) {
            return None;
        }
        Some(match (entry, found) {
            (Entry { known: Some(old), .. }, None) => format!("{key:?}: acknowledged as {old:?} and lost"),
            (Entry { known: None, pending: None }, Some(found)) => {
                format!("{key:?}: {found:?} is there, which was deleted or never written")
            }
            (entry, found) => format!("{key:?}: {found:?} is there, known is {entry:?}"),
        })
    }

    /// Compares everything of a kind with a list of it, at rest, and takes over what the list says of pending writes.
    pub fn settle(&mut self, kind: Kind, list: &BTreeMap<String, Object>, list_version: u64) -> Vec<String> {
        let mut wrong = Vec::new();
        if list_version < self.newest {
            wrong.push(format!("a list of {kind:?} at version {list_version} after {}", self.newest));
        }
        let mut keys: Vec<Key> = self.entries.keys().filter(|k| k.0 == kind).cloned().collect();
        keys.extend(list.keys().map(|name| (kind, name.clone())).filter(|k| !self.entries.contains_key(k)));
        for key in keys {
            let found = list.get(&key.1);
            wrong.extend(self.check(&key, found));
            self.newest = self.newest.max(found.map_or(0, |o| o.version));
            self.entries.insert(key, Entry { known: found.cloned(), pending: None });
        }
        wrong
    }

    pub fn pending(&self) -> usize {
        self.entries.values().filter(|e| e.pending.is_some()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: u64, version: u64) -> Object {
        Object { value, version, uid: "u".into() }
    }

    fn key() -> Key {
        (Kind::ConfigMap, "a".into())
    }

    fn list(found: Option<Object>) -> BTreeMap<String, Object> {
        found.into_iter().map(|o| ("a".to_owned(), o)).collect()
    }

    /// Acknowledged 1 at version 5, then perhaps a write without answer.
    fn ledger(pending: Option<Write>) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.begin(&key(), Write::Set(1));
        assert_eq!(ledger.acknowledged(&key(), Some(object(1, 5))), None);
        if let Some(write) = pending {
            ledger.begin(&key(), write);
        }
        ledger
    }

    #[test]
    fn what_may_be_found_after_a_kill() {
        let other = Object { uid: "v".into(), ..object(1, 5) };
        for (pending, found, fine) in [
            (None, Some(object(1, 5)), true),
            (None, None, false),
            (None, Some(object(1, 6)), false),
            (None, Some(object(2, 6)), false),
            (None, Some(other), false),
            (Some(Write::Set(2)), Some(object(1, 5)), true),
            (Some(Write::Set(2)), Some(object(2, 6)), true),
            (Some(Write::Set(2)), Some(object(2, 4)), false),
            (Some(Write::Set(2)), Some(object(3, 6)), false),
            (Some(Write::Set(2)), None, false),
            (Some(Write::Delete), None, true),
            (Some(Write::Delete), Some(object(1, 5)), true),
            (Some(Write::Delete), Some(object(2, 6)), false),
        ] {
            let wrong = ledger(pending).settle(Kind::ConfigMap, &list(found.clone()), 9);
            assert_eq!(wrong.is_empty(), fine, "{pending:?} {found:?}: {wrong:?}");
        }
    }

    #[test]
    fn what_nobody_wrote_and_what_was_deleted() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.settle(Kind::Custom, &list(Some(object(1, 5))), 9).len(), 1);
        let mut ledger = self::ledger(None);
        ledger.begin(&key(), Write::Delete);
        assert_eq!(ledger.acknowledged(&key(), None), None);
        assert_eq!(ledger.settle(Kind::ConfigMap, &list(Some(object(1, 5))), 9).len(), 1);
    }

    #[test]
    fn versions_only_grow() {
        let mut ledger = ledger(Some(Write::Set(2)));
        assert!(ledger.acknowledged(&key(), Some(object(2, 5))).is_some());
        assert!(ledger.settle(Kind::Custom, &BTreeMap::new(), 4).len() == 1);
    }

    #[test]
    fn a_pending_write_is_settled_once() {
        let mut ledger = ledger(Some(Write::Set(2)));
        assert!(ledger.settle(Kind::ConfigMap, &list(Some(object(2, 6))), 9).is_empty());
        assert_eq!(ledger.pending(), 0);
        assert_eq!(ledger.settle(Kind::ConfigMap, &list(Some(object(1, 5))), 9).len(), 1);
    }
}
