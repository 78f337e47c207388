//! The index in memory: every key with the revisions at which it changed, as far back as history is
//! kept. It holds no values. A key's bytes are kept once, a key with one revision costs no more
//! allocations than its bytes.
//!
//! Readers pass the revision they read at, so changes that are not durable yet do no harm here.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::rev::Rev;

/// One change of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// When.
    pub rev: Rev,
    /// Revision of the key's creation; 0 for a deletion.
    pub create: i64,
    /// Changes since the creation; 0 for a deletion.
    pub version: u32,
}

impl Item {
    /// Whether the key is gone from here on.
    pub fn is_delete(&self) -> bool {
        self.version == 0
    }
}

/// The changes of one key, ascending.
#[derive(Debug)]
enum History {
    One(Item),
    #[allow(clippy::box_collection, reason = "keeps the enum at the size of one item")]
    Many(Box<Vec<Item>>),
}

impl History {
    fn items(&self) -> &[Item] {
        match self {
            History::One(item) => std::slice::from_ref(item),
            History::Many(items) => items,
        }
    }
    fn push(&mut self, item: Item) {
        match self {
            History::One(first) => *self = History::Many(Box::new(vec![*first, item])),
            History::Many(items) => items.push(item),
        }
    }
    /// The newest change at or before `rev`.
    fn at(&self, rev: i64) -> Option<&Item> {
        let items = self.items();
        let end = items.partition_point(|item| item.rev.main() <= rev);
        end.checked_sub(1).map(|last| &items[last])
    }
}

/// An interval of keys as a request gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub key: Bytes,
    /// As in `RangeRequest`: empty for the key alone, `[0]` for all from it on.
    pub end: Bytes,
}

impl KeyRange {
    /// An interval.
    pub fn new(key: &Bytes, end: &Bytes) -> Self {
        Self { key: key.clone(), end: end.clone() }
    }
    /// Whether it is one key.
    pub fn is_single(&self) -> bool {
        self.end.is_empty()
    }
    /// Whether it has no end.
    pub fn is_open(&self) -> bool {
        self.end[..] == [0]
    }
    /// Whether a key lies in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        if self.is_single() {
            return key == self.key;
        }
        key >= &self.key[..] && (self.is_open() || key < &self.end[..])
    }
    fn is_empty(&self) -> bool {
        !self.is_single() && !self.is_open() && self.end <= self.key
    }
    fn upper(&self) -> Bound<&[u8]> {
        match () {
            () if self.is_single() => Bound::Included(&self.key[..]),
            () if self.is_open() => Bound::Unbounded,
            () => Bound::Excluded(&self.end[..]),
        }
    }
}

/// A change that a watch from the past is to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastChange {
    /// The change.
    pub item: Item,
    /// Its key.
    pub key: Bytes,
    /// The change before it, unless the key did not exist then or history does not reach there.
    pub prev: Option<Item>,
}

/// See the module's words.
#[derive(Debug, Default)]
pub struct Index {
    keys: BTreeMap<Box<[u8]>, History>,
    items: usize,
}

impl Index {
    /// How many changes it holds.
    pub fn item_count(&self) -> usize {
        self.items
    }

    /// The newest change of a key, if the key exists.
    pub fn current(&self, key: &[u8]) -> Option<Item> {
        let items = self.keys.get(key)?.items();
        items.last().filter(|item| !item.is_delete()).copied()
    }

    /// The change that a key stands at, as of a revision, if it exists then.
    pub fn at(&self, key: &[u8], rev: i64) -> Option<Item> {
        self.keys.get(key)?.at(rev).filter(|item| !item.is_delete()).copied()
    }

    /// Adds a change; changes come in ascending order.
    pub fn push(&mut self, key: &[u8], item: Item) {
        self.items += 1;
        match self.keys.get_mut(key) {
            Some(history) => history.push(item),
            None => {
                self.keys.insert(key.into(), History::One(item));
            }
        }
    }

    /// Visits the keys of an interval that exist as of `rev`, at most `budget` keys of the index;
    /// answers the key to go on after, or `None` at the end. With `after` it goes on there.
    pub fn scan(
        &self,
        range: &KeyRange,
        after: Option<&[u8]>,
        rev: i64,
        budget: usize,
        mut visit: impl FnMut(&[u8], Item),
    ) -> Option<Box<[u8]>> {
        self.walk(range, after, budget, |key, history| {
            if let Some(item) = history.at(rev).filter(|item| !item.is_delete()) {
                visit(key, *item);
            }
        })
    }

    /// Visits the changes of an interval in `from..=to` in the same manner.
    pub fn scan_changes(
        &self,
        range: &KeyRange,
        after: Option<&[u8]>,
        (from, to): (i64, i64),
        budget: usize,
        mut visit: impl FnMut(PastChange),
    ) -> Option<Box<[u8]>> {
        self.walk(range, after, budget, |key, history| {
            let items = history.items();
            let start = items.partition_point(|item| item.rev.main() < from);
            for at in start..items.len() {
                if items[at].rev.main() > to {
                    break;
                }
                let prev = at.checked_sub(1).map(|before| items[before]).filter(|item| !item.is_delete());
                visit(PastChange { item: items[at], key: Bytes::copy_from_slice(key), prev });
            }
        })
    }

    fn walk(
        &self,
        range: &KeyRange,
        after: Option<&[u8]>,
        budget: usize,
        mut visit: impl FnMut(&[u8], &History),
    ) -> Option<Box<[u8]>> {
        if range.is_empty() {
            return None;
        }
        let lower = after.map_or(Bound::Included(&range.key[..]), Bound::Excluded);
        if range.is_single() && after.is_some() {
            return None;
        }
        let mut left = budget;
        for (key, history) in self.keys.range::<[u8], _>((lower, range.upper())) {
            visit(key, history);
            left -= 1;
            if left == 0 {
                return Some(key.clone());
            }
        }
        None
    }

    /// Drops what history before `rev` needs no more, for at most `budget` keys after `after`:
    /// of each key stays the newest change at or before `rev` (a deletion only if it is exactly at
    /// `rev`, for watches from there) and all after. Dropped changes go to `dropped`.
    pub fn prune(
        &mut self,
        after: Option<&[u8]>,
        rev: i64,
        budget: usize,
        dropped: &mut Vec<Item>,
    ) -> Option<Box<[u8]>> {
        let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut left, mut next, mut gone) = (budget, None, Vec::new());
        let before = dropped.len();
        for (key, history) in self.keys.range_mut::<[u8], _>((lower, Bound::Unbounded)) {
            if prune_history(history, rev, dropped) {
                gone.push(key.clone());
            }
            left -= 1;
            if left == 0 {
                next = Some(key.clone());
                break;
            }
        }
        self.items -= dropped.len() - before;
        gone.iter().for_each(|key| drop(self.keys.remove(key)));
        next
    }
}

/// Answers whether nothing is left of the key.
fn prune_history(history: &mut History, rev: i64, dropped: &mut Vec<Item>) -> bool {
    let items = history.items();
    let upto = items.partition_point(|item| item.rev.main() <= rev);
    let Some(newest) = upto.checked_sub(1) else { return false };
    let keeps_newest = !items[newest].is_delete() || items[newest].rev.main() == rev;
    let cut = if keeps_newest { newest } else { upto };
    dropped.extend_from_slice(&items[..cut]);
    match items.len() - cut {
        0 => return true,
        1 => *history = History::One(items[cut]),
        _ if cut == 0 => {}
        _ => *history = History::Many(Box::new(items[cut..].to_vec())),
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(main: i64, version: u32) -> Item {
        Item { rev: Rev::new(main, 0), create: if version == 0 { 0 } else { 2 }, version }
    }

    fn mains(index: &Index, key: &str) -> Vec<i64> {
        let history = index.keys.get(key.as_bytes());
        history.map(|h| h.items().iter().map(|i| i.rev.main()).collect()).unwrap_or_default()
    }

    #[test]
    fn one_revision_costs_no_more_than_its_item() {
        assert!(size_of::<History>() <= size_of::<Item>() + 8);
        assert_eq!(size_of::<Item>(), 24);
    }

    #[test]
    fn a_key_is_seen_as_of_a_revision() {
        let mut index = Index::default();
        for (main, version) in [(2, 1), (4, 2), (6, 0), (8, 1)] {
            index.push(b"k", item(main, version));
        }
        let seen: Vec<_> = (1..=9).map(|rev| index.at(b"k", rev).map(|i| i.rev.main())).collect();
        assert_eq!(seen, [None, Some(2), Some(2), Some(4), Some(4), None, None, Some(8), Some(8)]);
    }

    #[test]
    fn pruning_keeps_what_the_compacted_revision_still_shows() {
        for (rev, left) in [
            (1, vec![2, 4, 6, 8]),
            (4, vec![4, 6, 8]),
            (5, vec![4, 6, 8]),
            (6, vec![6, 8]), // the deletion itself, for a watch from 6
            (7, vec![8]),
            (8, vec![8]),
        ] {
            let mut index = Index::default();
            for (main, version) in [(2, 1), (4, 2), (6, 0), (8, 1)] {
                index.push(b"k", item(main, version));
            }
            let mut dropped = Vec::new();
            assert_eq!(index.prune(None, rev, 10, &mut dropped), None);
            assert_eq!(mains(&index, "k"), left, "compacted at {rev}");
            assert_eq!(index.item_count(), left.len());
            assert_eq!(dropped.len(), 4 - left.len());
        }
    }

    #[test]
    fn a_deleted_key_goes_altogether() {
        let mut index = Index::default();
        index.push(b"k", item(2, 1));
        index.push(b"k", item(3, 0));
        let mut dropped = Vec::new();
        index.prune(None, 4, 10, &mut dropped);
        assert_eq!((index.keys.len(), index.item_count(), dropped.len()), (0, 0, 2));
    }

    #[test]
    fn scans_go_on_where_their_budget_ended() {
        let mut index = Index::default();
        for n in 0..10 {
            index.push(format!("/a/{n}").as_bytes(), item(2 + n, 1));
        }
        index.push(b"/b", item(20, 1));
        let range = KeyRange { key: Bytes::from_static(b"/a/"), end: Bytes::from_static(b"/a0") };
        let (mut seen, mut after) = (Vec::new(), None::<Box<[u8]>>);
        loop {
            after = index.scan(&range, after.as_deref(), 8, 3, |key, _| seen.push(key.to_vec()));
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 7, "2..=8 exist as of 8");
        assert!(seen.is_sorted());
    }

    #[test]
    fn intervals_contain_as_etcd_says() {
        for (key, end, inside, outside) in [("a", "", "a", "b"), ("a", "\0", "z", "A"), ("a", "c", "b", "c")]
        {
            let range =
                KeyRange { key: Bytes::from_static(key.as_bytes()), end: Bytes::from_static(end.as_bytes()) };
            assert!(
                range.contains(inside.as_bytes()) && !range.contains(outside.as_bytes()),
                "{key} {end:?}"
            );
        }
        let empty = KeyRange { key: Bytes::from_static(b"c"), end: Bytes::from_static(b"a") };
        assert_eq!(Index::default().scan(&empty, None, 1, 1, |_, _| ()), None);
    }
}
