//! What the cache knows at one revision: objects in key order, indexes, the window of recent changes, and who
//! watches. All of it changes together, under one lock, by [`State::apply`].

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;

use super::entry::Entry;
use super::history::Past;
use super::select::Selection;
use super::watcher::{Change, EventKind, Watcher};

/// The window holds at most so many changes, and at most so many bytes.
pub(super) const WINDOW: usize = 4096;
const WINDOW_BYTES: usize = 32 << 20;
/// Changes older than this go, but for so many.
const OLD: Duration = Duration::from_secs(300);
const KEPT: usize = 128;
/// Changes are counted from here, so that there is room for those from before the cache began.
const FIRST: u64 = 1 << 32;
/// Frames of changes older than so many changes are dropped.
const HOT: usize = 64;

type Keys = BTreeSet<Arc<str>>;

/// A group of watchers that only some changes can concern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Interest {
    All,
    Namespace(Box<str>),
    Key(Box<str>),
    /// Value of the n-th indexed field.
    Field(usize, CompactString),
}

#[derive(Default)]
pub struct State {
    /// Everything up to this revision of the store is in.
    pub revision: i64,
    /// The revision of the last change.
    pub changed: i64,
    pub ready: bool,
    closed: bool,
    /// Watches can start at this revision or later.
    oldest: i64,
    /// The window has let go of changes.
    forgot: bool,
    /// The store's history was asked for changes after this revision in vain.
    lost: i64,
    seq: u64,
    entries: BTreeMap<Arc<str>, Arc<Entry>>,
    /// Positions of indexed labels in `Entry::fields`.
    indexed: Vec<usize>,
    fields: HashMap<(usize, CompactString), Keys>,
    labels: HashMap<(CompactString, CompactString), Keys>,
    window: VecDeque<Arc<Change>>,
    window_bytes: usize,
    watchers: HashMap<Interest, Vec<Arc<Watcher>>>,
}

/// One thing that the store told.
pub enum Applied {
    Set(Arc<Entry>),
    Gone { key: Arc<str>, revision: i64 },
}

impl State {
    pub fn new(indexed: Vec<usize>) -> Self {
        Self { indexed, seq: FIRST, ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn get(&self, key: &str) -> Option<&Arc<Entry>> {
        self.entries.get(key)
    }

    /// Starts anew with these objects as of `revision`; all watchers are ended.
    pub fn reset(&mut self, entries: Vec<Arc<Entry>>, revision: i64) {
        self.end_watchers();
        let indexed = std::mem::take(&mut self.indexed);
        *self = Self {
            revision,
            changed: revision,
            oldest: revision,
            ready: true,
            seq: self.seq,
            ..Self::new(indexed)
        };
        for entry in entries {
            self.index(&entry);
            self.entries.insert(entry.key.clone(), entry);
        }
    }

    pub fn end_watchers(&mut self) {
        for watcher in self.watchers.drain().flat_map(|(_, list)| list) {
            watcher.end();
        }
    }

    /// Nothing comes any more: watchers are ended, those that come later too.
    pub fn close(&mut self) {
        self.closed = true;
        self.end_watchers();
    }

    pub fn apply(&mut self, what: Applied) {
        let (revision, new, old) = match what {
            Applied::Set(entry) => {
                let old = self.entries.insert(entry.key.clone(), entry.clone());
                (entry.revision, Some(entry), old)
            }
            Applied::Gone { key, revision } => match self.entries.remove(&key) {
                Some(old) => (revision, None, Some(old)),
                None => return,
            },
        };
        if let Some(old) = &old {
            self.unindex(old, new.as_deref());
        }
        if let Some(new) = &new {
            self.index(new);
        }
        self.changed = revision;
        self.seq += 1;
        let change = Arc::new(Change::new(self.seq, revision, new, old));
        self.dispatch(&change);
        self.remember(change);
    }

    fn index(&mut self, entry: &Entry) {
        for &at in &self.indexed {
            if let Some(value) = entry.fields.get(at) {
                self.fields.entry((at, value.clone())).or_default().insert(entry.key.clone());
            }
        }
        for label in &entry.labels {
            self.labels.entry(label.clone()).or_default().insert(entry.key.clone());
        }
    }

    fn unindex(&mut self, old: &Entry, new: Option<&Entry>) {
        for &at in &self.indexed {
            let Some(value) = old.fields.get(at) else { continue };
            if new.is_none_or(|n| n.fields.get(at) != Some(value)) {
                forget(&mut self.fields, &(at, value.clone()), &old.key);
            }
        }
        for label in &old.labels {
            if new.is_none_or(|n| !n.labels.contains(label)) {
                forget(&mut self.labels, label, &old.key);
            }
        }
    }

    fn remember(&mut self, change: Arc<Change>) {
        self.window_bytes += change.weight();
        self.window.push_back(change);
        if let Some(cold) = self.window.len().checked_sub(HOT + 1).and_then(|at| self.window.get(at)) {
            cold.drop_frames();
        }
        while self.window.len() > WINDOW || self.window_bytes > WINDOW_BYTES && self.window.len() > HOT {
            self.forget_oldest();
        }
    }

    fn interests(&self, entry: &Entry, into: &mut Vec<Interest>) {
        let mut add = |interest: Interest| {
            if !into.contains(&interest) {
                into.push(interest);
            }
        };
        if !entry.namespace().is_empty() {
            add(Interest::Namespace(entry.namespace().into()));
        }
        add(Interest::Key((*entry.key).into()));
        for &at in &self.indexed {
            if let Some(value) = entry.fields.get(at) {
                add(Interest::Field(at, value.clone()));
            }
        }
    }

    fn dispatch(&self, change: &Arc<Change>) {
        if self.watchers.is_empty() {
            return;
        }
        let mut concerned = vec![Interest::All];
        for entry in change.new.iter().chain(&change.old) {
            self.interests(entry, &mut concerned);
        }
        for watcher in concerned.iter().filter_map(|i| self.watchers.get(i)).flatten() {
            if change.new.as_ref().is_some_and(|e| watcher.selection.is_undecided(e)) {
                watcher.end();
                continue;
            }
            if let Some(kind) = watcher.sees(change) {
                watcher.push(kind, change);
            }
        }
    }

    fn interest_of(&self, selection: &Selection) -> Interest {
        if let Some(key) = selection.key() {
            return Interest::Key(key.into());
        }
        let field =
            self.indexed.iter().find_map(|&at| Some(Interest::Field(at, selection.field_value(at)?.into())));
        match field {
            Some(field) => field,
            None if selection.namespace.is_empty() => Interest::All,
            None => Interest::Namespace(selection.namespace.as_str().into()),
        }
    }

    pub fn register(&mut self, watcher: Arc<Watcher>) {
        if self.closed {
            watcher.end();
        }
        let interest = self.interest_of(&watcher.selection);
        self.watchers.entry(interest).or_default().push(watcher);
    }

    pub fn unregister(&mut self, watcher: &Arc<Watcher>) {
        let interest = self.interest_of(&watcher.selection);
        if let Some(list) = self.watchers.get_mut(&interest) {
            list.retain(|w| !Arc::ptr_eq(w, watcher));
            if list.is_empty() {
                self.watchers.remove(&interest);
            }
        }
    }

    pub fn watcher_count(&self) -> usize {
        self.watchers.values().map(Vec::len).sum()
    }

    /// The sequence number to go on after for a watch from `revision`; None: too old.
    pub fn cursor_of(&self, revision: i64) -> Option<u64> {
        if revision < self.oldest {
            return None;
        }
        let at = self.window.partition_point(|c| c.revision <= revision);
        Some(self.window.get(at).map_or(self.seq, |c| c.seq - 1))
    }

    pub fn newest_cursor(&self) -> u64 {
        self.seq
    }

    /// The revision up to which the past after `revision` is missing, if the window can take it.
    pub fn recallable(&self, revision: i64) -> Option<i64> {
        (self.ready && !self.forgot && self.lost < revision && revision < self.oldest).then_some(self.oldest)
    }

    pub fn cannot_recall(&mut self, revision: i64) {
        self.lost = self.lost.max(revision);
    }

    /// Puts the changes after `revision` up to `upto` before those that the window has.
    pub fn recall(&mut self, past: Vec<Past>, revision: i64, upto: i64) {
        if self.recallable(revision) != Some(upto) || self.window.len() + past.len() > WINDOW {
            return;
        }
        let mut seq = self.window.front().map_or(self.seq + 1, |c| c.seq);
        for Past { revision, new, old } in past.into_iter().rev() {
            seq -= 1;
            let change = Arc::new(Change::new(seq, revision, new, old));
            self.window_bytes += change.weight();
            self.window.push_front(change);
        }
        self.oldest = revision;
        while self.window_bytes > WINDOW_BYTES && self.window.len() > HOT {
            self.forget_oldest();
        }
    }

    /// What `watcher` has to see after `cursor`; None: the window has passed it.
    pub fn since(&self, watcher: &Watcher, cursor: u64) -> Option<VecDeque<(EventKind, Arc<Change>)>> {
        if self.window.front().is_some_and(|c| c.seq > cursor + 1)
            || (self.window.is_empty() && cursor < self.seq)
        {
            return None;
        }
        let at = self.window.partition_point(|c| c.seq <= cursor);
        let later = self.window.range(at..);
        Some(later.filter_map(|c| Some((watcher.sees(c)?, c.clone()))).collect())
    }

    /// The selected objects in key order, from the index that leaves the fewest to look at.
    pub fn select(&self, selection: &Selection, after: Option<&str>) -> Vec<Arc<Entry>> {
        if let Some(key) = selection.key() {
            let found = self.entries.get(key.as_str()).filter(|e| selection.matches(e));
            return found.into_iter().filter(|e| after.is_none_or(|a| *e.key >= *a)).cloned().collect();
        }
        if let Some(keys) = self.narrowest(selection) {
            let keys = keys.iter().filter(|k| after.is_none_or(|a| ***k >= *a));
            return keys
                .filter_map(|k| self.entries.get(k))
                .filter(|e| selection.matches(e))
                .cloned()
                .collect();
        }
        let prefix = selection.prefix();
        let start = after.filter(|a| *a > prefix.as_str()).unwrap_or(&prefix);
        let range = self.entries.range::<str, _>((Bound::Included(start), Bound::Unbounded));
        let range = range.take_while(|(key, _)| key.starts_with(&prefix));
        range.map(|(_, e)| e).filter(|e| selection.matches(e)).cloned().collect()
    }

    fn narrowest(&self, selection: &Selection) -> Option<&Keys> {
        static NONE: Keys = BTreeSet::new();
        let by_field = self.indexed.iter().filter_map(|&at| {
            Some(self.fields.get(&(at, selection.field_value(at)?.into())).unwrap_or(&NONE))
        });
        let by_label =
            selection.exact_labels().map(|(k, v)| self.labels.get(&(k.into(), v.into())).unwrap_or(&NONE));
        by_field.chain(by_label).min_by_key(|keys| keys.len())
    }

    /// Forms that nobody asks for go, and changes that are older than any watch should be.
    pub fn drop_cold(&mut self) {
        self.entries.values().for_each(|e| e.drop_cold());
        while self.window.len() > KEPT && self.window.front().is_some_and(|c| c.seen.elapsed() > OLD) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(gone) = self.window.pop_front() else { return };
        self.window_bytes = self.window_bytes.saturating_sub(gone.weight());
        self.oldest = gone.revision;
        self.forgot = true;
    }
}

fn forget<K: std::hash::Hash + Eq>(index: &mut HashMap<K, Keys>, at: &K, key: &Arc<str>) {
    if let Some(keys) = index.get_mut(at) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(at);
        }
    }
}
