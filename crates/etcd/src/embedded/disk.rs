//! What the engine needs of fjall, and nothing more: batches that end in a marker, values by
//! revision, and all of the metadata once at open. fjall's errors become ours here.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use fjall::compaction::Leveled;
use fjall::config::{FilterPolicy, PinningPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use super::record::{self, MARKER, Marker};
use super::rev::Rev;
use crate::{Error, Result};

/// How much memory and disk the engine takes; part of the data directory once it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of values that are gathered in memory before they become a table. Up to four times
    /// that under the heaviest load.
    pub values_memtable: u64,
    /// The same for metadata.
    pub meta_memtable: u64,
    /// Bytes of table blocks kept in memory.
    pub block_cache: u64,
    /// Table files kept open.
    pub open_files: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { values_memtable: 4 << 20, meta_memtable: 1 << 20, block_cache: 4 << 20, open_files: 64 }
    }
}

/// A table is about so large.
const TABLE_BYTES: u64 = 16 << 20;
/// fjall's least; beyond it, it flushes early to let a journal go.
const JOURNAL_BYTES: u64 = 64 << 20;

/// See the module's words.
pub struct Disk {
    // Dropped before the database, whose drop waits for its workers.
    meta: Keyspace,
    values: Keyspace,
    db: Database,
    /// Set by tests to make the next commits fail, as a full or broken disk does.
    pub fail_commits: AtomicBool,
}

/// Records that are written at once.
pub struct Batch {
    inner: OwnedWriteBatch,
    sum: crc32fast::Hasher,
    meta: Keyspace,
    values: Keyspace,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, key: &[u8], record: &[u8]) {
        self.sum.update(key);
        self.sum.update(record);
        self.bytes += key.len() + record.len();
    }
    /// Adds a record of metadata.
    pub fn put_meta(&mut self, key: &[u8], record: Vec<u8>) {
        self.add(key, &record);
        self.inner.insert(&self.meta, key, record);
    }
    /// Adds a value.
    pub fn put_value(&mut self, rev: Rev, record: Vec<u8>) {
        let key = record::value_key(rev);
        self.add(&key, &record);
        self.inner.insert(&self.values, key, record);
    }
    /// Removes a record of metadata.
    pub fn remove_meta(&mut self, key: &[u8]) {
        self.add(key, &[]);
        self.inner.remove(&self.meta, key);
    }
    /// Removes a value.
    pub fn remove_value(&mut self, rev: Rev) {
        let key = record::value_key(rev);
        self.add(&key, &[]);
        self.inner.remove(&self.values, key);
    }
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }
    /// Bytes of keys and records so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn fjall_error(place: impl Into<String>) -> impl FnOnce(fjall::Error) -> Error {
    let place = place.into();
    move |e| Error::Corrupt { place, what: e.to_string() }
}

/// What opening fjall's files can meet that is no damage.
fn open_error(path: &Path) -> impl FnOnce(fjall::Error) -> Error {
    let path = path.to_owned();
    move |e| {
        let io = match &e {
            fjall::Error::Io(io) | fjall::Error::Storage(fjall::LsmError::Io(io)) => Some(io.kind()),
            _ => None,
        };
        use std::io::ErrorKind;
        match io {
            None | Some(ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::NotFound) => {
                Error::Corrupt { place: path.display().to_string(), what: e.to_string() }
            }
            Some(_) => Error::Io { operation: "open", path, reason: e.to_string() },
        }
    }
}

impl Disk {
    /// Opens or makes fjall's files. fjall gives up on some damage with a panic, which is damage too.
    pub fn open(path: &Path, sizes: Sizes) -> Result<Self> {
        let attempt = std::panic::AssertUnwindSafe(|| Self::try_open(path, sizes));
        std::panic::catch_unwind(attempt).unwrap_or_else(|_| {
            Err(Error::Corrupt {
                place: path.display().to_string(),
                what: "fjall cannot read its own files".into(),
            })
        })
    }

    fn try_open(path: &Path, sizes: Sizes) -> Result<Self> {
        let db = Database::builder(path)
            .cache_size(sizes.block_cache)
            .max_cached_files(Some(sizes.open_files))
            .max_journaling_size(JOURNAL_BYTES)
            .manual_journal_persist(true)
            // One flushes while the other exchanges memtables.
            .worker_threads(2)
            .open()
            .map_err(open_error(path))?;
        let keyspace = |name: &str, memtable: u64| {
            db.keyspace(name, || keyspace_options(memtable)).map_err(open_error(path))
        };
        let meta = keyspace("meta", sizes.meta_memtable)?;
        let values = keyspace("values", sizes.values_memtable)?;
        Ok(Self { meta, values, db, fail_commits: AtomicBool::new(false) })
    }

    /// An empty batch.
    pub fn batch(&self) -> Batch {
        Batch {
            inner: self.db.batch(),
            sum: crc32fast::Hasher::new(),
            meta: self.meta.clone(),
            values: self.values.clone(),
            bytes: 0,
        }
    }

    /// Writes a batch, with its marker; `sync` waits until it is on disk. `durable` is the newest
    /// revision known to be on disk before.
    pub fn commit(&self, mut batch: Batch, durable: i64, sync: bool) -> Result<()> {
        if self.fail_commits.load(Ordering::Relaxed) {
            return Err(Error::Poisoned { reason: "a commit was made to fail".into() });
        }
        let marker = Marker { durable, sum: batch.sum.finalize() };
        batch.inner.insert(&self.meta, MARKER, marker.encode());
        let durability = sync.then_some(PersistMode::SyncData);
        batch.inner.durability(durability).commit().map_err(|e| Error::Poisoned { reason: e.to_string() })
    }

    /// The value written at a revision, and its lease; `None` if it is not there.
    pub fn value(&self, rev: Rev) -> Result<Option<(i64, Bytes)>> {
        let place = || format!("value of revision {}.{}", rev.main(), rev.sub());
        let Some(record) = self.values.get(record::value_key(rev)).map_err(fjall_error(place()))? else {
            return Ok(None);
        };
        let decoded = record::decode_value(rev, &record);
        decoded.map(Some).map_err(|what| Error::Corrupt { place: place(), what: what.to_owned() })
    }

    /// Visits all metadata whose key begins with `prefix`, ascending.
    pub fn each_meta(&self, prefix: u8, mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        for entry in self.meta.prefix([prefix]) {
            let (key, record) = entry.into_inner().map_err(fjall_error("metadata"))?;
            visit(&key, &record)?;
        }
        Ok(())
    }

    /// The single number under a key of metadata.
    pub fn number(&self, key: &[u8]) -> Result<Option<i64>> {
        let place = format!("metadata {:?}", String::from_utf8_lossy(key));
        let Some(record) = self.meta.get(key).map_err(fjall_error(place.clone()))? else {
            return Ok(None);
        };
        let number = record::decode_number(key, &record);
        number.map(Some).map_err(|what| Error::Corrupt { place, what: what.to_owned() })
    }

    /// Rewrites the tables without what was removed. Takes as long as reading and writing them.
    pub fn reclaim(&self) -> Result<()> {
        for keyspace in [&self.values, &self.meta] {
            let place = || format!("reclaiming {}", &**keyspace.name());
            keyspace.rotate_memtable_and_wait().map_err(fjall_error(place()))?;
            keyspace.major_compact().map_err(fjall_error(place()))?;
        }
        Ok(())
    }

    /// Bytes on disk in tables and journals.
    pub fn bytes(&self) -> u64 {
        // Journals are long files with holes; they are bounded and hold little beyond the tables.
        self.meta.disk_space() + self.values.disk_space()
    }

    #[cfg(test)]
    /// Bytes in memory now: values memtable, metadata memtable; and what the cache may hold.
    pub fn memory(&self) -> (u64, u64, u64) {
        use fjall::AbstractTree;
        let memtable = |keyspace: &Keyspace| keyspace.tree.active_memtable().size();
        (memtable(&self.values), memtable(&self.meta), self.db.cache_capacity())
    }
}

fn keyspace_options(memtable: u64) -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(memtable)
        .manual_journal_persist(true)
        // Keys are revisions: tables hardly overlap and what is asked for exists.
        .filter_policy(FilterPolicy::disabled())
        .expect_point_read_hits(true)
        .index_block_pinning_policy(PinningPolicy::all(false))
        .compaction_strategy(std::sync::Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES)))
}
