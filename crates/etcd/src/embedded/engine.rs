//! What all parts of the embedded engine share, and how it is read. Reads take the index's lock for
//! short steps only, at a fixed revision, and then the values without any lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::directory::Directory;
use super::disk::Disk;
use super::hub::{Hub, pair};
use super::index::{Index, Item, KeyRange, PastChange};
use super::lease::Leases;
use super::rev::Rev;
use crate::{Error, Event, EventType, KeyValue, RangeRequest, RangeResponse, Result};

/// Keys of the index that are visited under one hold of its lock.
pub const INDEX_STEP: usize = 512;
/// Changes that a watch from the past is fed at once.
const HISTORY_CHANGES: usize = 1024;
/// Bytes of values at which such a feeding ends.
const HISTORY_BYTES: usize = 1 << 20;

/// See the module's words.
pub struct Engine {
    // Dropped before the lock that `directory` holds.
    pub disk: Disk,
    pub index: RwLock<Index>,
    pub leases: Mutex<Leases>,
    pub hub: std::sync::Arc<Hub>,
    /// The newest acknowledged revision.
    pub durable: AtomicI64,
    /// The compact revision.
    pub compacted: AtomicI64,
    poison: OnceLock<String>,
    _directory: Directory,
}

impl Engine {
    /// An engine over what was recovered.
    pub fn new(directory: Directory, disk: Disk, recovered: super::recover::Recovered) -> Self {
        Self {
            disk,
            index: RwLock::new(recovered.index),
            leases: Mutex::new(recovered.leases),
            hub: std::sync::Arc::new(Hub::new(recovered.revision)),
            durable: AtomicI64::new(recovered.revision),
            compacted: AtomicI64::new(recovered.compacted),
            poison: OnceLock::new(),
            _directory: directory,
        }
    }

    /// The newest acknowledged revision.
    pub fn durable(&self) -> i64 {
        self.durable.load(Ordering::Acquire)
    }

    /// The compact revision, 0 if there was none.
    pub fn compacted(&self) -> i64 {
        self.compacted.load(Ordering::Acquire)
    }

    /// An error if a write failed earlier.
    pub fn check_healthy(&self) -> Result<()> {
        self.poison.get().map_or(Ok(()), |reason| Err(Error::Poisoned { reason: reason.clone() }))
    }

    /// Refuses everything from here on.
    pub fn poison(&self, reason: String) {
        tracing::error!(%reason, "store is poisoned by a failed write");
        let reason = self.poison.get_or_init(|| reason).clone();
        self.hub.close(&Error::Poisoned { reason });
    }

    /// [`Error::Compacted`] if `rev` is before what is kept.
    pub fn check_kept(&self, rev: i64) -> Result<()> {
        let compact_revision = self.compacted();
        if rev < compact_revision { Err(Error::Compacted { compact_revision }) } else { Ok(()) }
    }

    /// Reads an interval among the acknowledged revisions.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse> {
        loop {
            self.check_healthy()?;
            let durable = self.durable();
            if request.revision > durable {
                return Err(Error::FutureRevision);
            }
            let at = if request.revision > 0 { request.revision } else { durable };
            let answer = self.range_at(request, at, |item| self.load(item));
            match answer {
                // The newest revision was compacted while we read it: take a newer one.
                Err(Error::Compacted { .. }) if request.revision <= 0 => continue,
                Ok(answer) => return Ok(RangeResponse { revision: durable, ..answer }),
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads an interval as of `at`; values come from `load`.
    pub fn range_at(
        &self,
        request: &RangeRequest,
        at: i64,
        load: impl Fn(&Item) -> Result<(i64, Bytes)>,
    ) -> Result<RangeResponse> {
        self.check_kept(at)?;
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let keep = if request.count_only { 0 } else { limit };
        let (found, count) = self.collect(&KeyRange::new(&request.key, &request.range_end), at, keep);
        self.check_kept(at)?;
        let more = !request.count_only && count > found.len();
        let mut kvs = Vec::with_capacity(found.len());
        for (key, item) in found {
            kvs.push(self.pair_of(request, key, &item, &load).map_err(|e| self.or_compacted(e, at))?);
        }
        Ok(RangeResponse { revision: at, kvs, more, count: count as i64 })
    }

    fn pair_of(
        &self,
        request: &RangeRequest,
        key: Bytes,
        item: &Item,
        load: impl Fn(&Item) -> Result<(i64, Bytes)>,
    ) -> Result<KeyValue> {
        if request.keys_only && self.leases.lock().is_idle() {
            return Ok(pair(item, key, Bytes::new(), 0));
        }
        let (lease, value) = load(item)?;
        let value = if request.keys_only { Bytes::new() } else { value };
        Ok(pair(item, key, value, lease))
    }

    /// A value that is missing is a compaction that overtook us, if there was one.
    fn or_compacted(&self, e: Error, at: i64) -> Error {
        self.check_kept(at).err().unwrap_or(e)
    }

    fn collect(&self, range: &KeyRange, at: i64, keep: usize) -> (Vec<(Bytes, Item)>, usize) {
        if range.is_single() {
            let found = self.index.read().at(&range.key, at).map(|item| (range.key.clone(), item));
            let count = usize::from(found.is_some());
            return (found.into_iter().take(keep).collect(), count);
        }
        let (mut found, mut count, mut after) = (Vec::new(), 0, None::<Box<[u8]>>);
        loop {
            after = self.index.read().scan(range, after.as_deref(), at, INDEX_STEP, |key, item| {
                count += 1;
                if found.len() < keep {
                    found.push((Bytes::copy_from_slice(key), item));
                }
            });
            if after.is_none() {
                return (found, count);
            }
        }
    }

    /// The value and lease of a change.
    pub fn load(&self, item: &Item) -> Result<(i64, Bytes)> {
        self.disk.value(item.rev)?.ok_or_else(|| missing(item.rev))
    }

    /// The pair before a change, as far as history reaches.
    pub fn load_prev(&self, key: &Bytes, prev: Option<Item>, before: i64) -> Result<Option<KeyValue>> {
        let Some(prev) = prev.filter(|_| before > self.compacted()) else { return Ok(None) };
        match self.load(&prev) {
            Ok((lease, value)) => Ok(Some(pair(&prev, key.clone(), value, lease))),
            Err(_) if before <= self.compacted() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Feeds a watch from history: its events from `from` on, in order, whole revisions, and the
    /// revision to go on from.
    pub fn history(&self, range: &KeyRange, prev_kv: bool, from: i64) -> Result<(Vec<Event>, i64)> {
        self.check_healthy()?;
        self.check_kept(from)?;
        let to = self.durable();
        let (changes, mut next) = self.collect_changes(range, from, to);
        let (mut events, mut bytes) = (Vec::with_capacity(changes.len()), 0);
        for change in changes {
            let main = change.item.rev.main();
            let begins = events.last().is_some_and(|last: &Event| last.kv.mod_revision != main);
            if begins && bytes > HISTORY_BYTES {
                next = main;
                break;
            }
            let event = self.past_event(change, prev_kv).map_err(|e| self.or_compacted(e, from))?;
            bytes += event.kv.value.len() + event.prev_kv.as_ref().map_or(0, |kv| kv.value.len());
            events.push(event);
        }
        self.check_kept(from)?;
        Ok((events, next))
    }

    fn past_event(&self, change: PastChange, prev_kv: bool) -> Result<Event> {
        let before = change.item.rev.main();
        let prev = if prev_kv { self.load_prev(&change.key, change.prev, before)? } else { None };
        let (kind, (lease, value)) = match change.item.is_delete() {
            true => (EventType::Delete, (0, Bytes::new())),
            false => (EventType::Put, self.load(&change.item)?),
        };
        Ok(Event { kind, kv: pair(&change.item, change.key, value, lease), prev_kv: prev })
    }

    /// The first changes of an interval in `from..=to`, whole revisions only, and where to go on.
    fn collect_changes(&self, range: &KeyRange, from: i64, to: i64) -> (Vec<PastChange>, i64) {
        let mut most = HISTORY_CHANGES;
        loop {
            let (mut changes, cut) = self.first_changes(range, from, to, most);
            if !cut {
                return (changes, to + 1);
            }
            // The last revision may be there in part; the next feeding begins with it.
            let last = changes.last().map_or(to, |change| change.item.rev.main());
            changes.retain(|change| change.item.rev.main() < last);
            if !changes.is_empty() {
                return (changes, last);
            }
            most *= 4;
        }
    }

    fn first_changes(&self, range: &KeyRange, from: i64, to: i64, most: usize) -> (Vec<PastChange>, bool) {
        let (mut changes, mut cut, mut after) = (Vec::new(), false, None::<Box<[u8]>>);
        loop {
            let index = self.index.read();
            after = index.scan_changes(range, after.as_deref(), (from, to), INDEX_STEP, |c| changes.push(c));
            drop(index);
            if changes.len() > 2 * most || after.is_none() {
                changes.sort_unstable_by_key(|change| change.item.rev);
                cut |= changes.len() > most;
                changes.truncate(most);
            }
            if after.is_none() {
                return (changes, cut);
            }
        }
    }
}

fn missing(rev: Rev) -> Error {
    let place = format!("value of revision {}.{}", rev.main(), rev.sub());
    Error::Corrupt { place, what: "it is missing".into() }
}
