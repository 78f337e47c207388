//! Node ports: one bitmap in the store, changed by compare and swap, so that several masters share it.

use std::collections::HashSet;

use bytes::Bytes;
use etcd::{Compare, Op, PutRequest, RangeRequest, SharedStore, Txn};
use rand::RngExt as _;

use super::bitmap::{Bitmap, Stored};

/// The lower part of a range is left to those who choose ports by hand.
fn reserved_for_static(size: usize) -> usize {
    if size < 16 { 0 } else { (size / 32).clamp(16, 128) }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("provided port is already allocated")]
    Allocated,
    #[error("provided port is not in the valid range. The range of valid ports is {0}")]
    OutOfRange(String),
    #[error("range is full")]
    Full,
    #[error(transparent)]
    Store(#[from] etcd::Error),
    #[error(transparent)]
    Unreadable(#[from] super::envelope::Unreadable),
}

/// The ports of `--service-node-port-range`.
pub struct Ports {
    store: SharedStore,
    key: Bytes,
    base: i64,
    size: usize,
}

impl Ports {
    /// `key` is `/registry/ranges/servicenodeports`.
    pub fn new(store: SharedStore, key: impl Into<Bytes>, base: u16, size: u16) -> Self {
        Self { store, key: key.into(), base: base.into(), size: size.into() }
    }

    pub fn contains(&self, port: i64) -> bool {
        self.offset(port).is_some()
    }

    pub fn range(&self) -> String {
        format!("{}-{}", self.base, self.base + self.size as i64 - 1)
    }

    fn offset(&self, port: i64) -> Option<usize> {
        usize::try_from(port - self.base).ok().filter(|o| *o < self.size)
    }

    /// Takes this port.
    pub async fn take(&self, port: i64) -> Result<(), Error> {
        let offset = self.offset(port).ok_or_else(|| Error::OutOfRange(self.range()))?;
        self.change(|map| {
            if map.has(offset) {
                return Err(Error::Allocated);
            }
            map.set(offset, true);
            Ok(((), true))
        })
        .await
    }

    /// Takes any free port, from the upper part while it has one.
    pub async fn take_any(&self) -> Result<i64, Error> {
        let low = reserved_for_static(self.size);
        let random = rand::rng().random_range(0..self.size.max(1));
        let offset = self
            .change(|map| {
                let upper = (low..map.size()).filter(|i| !map.has(*i)).count();
                let found = match upper {
                    0 => map.free_after(0, random % map.free().max(1)),
                    n => map.free_after(low, random % n),
                };
                let offset = found.ok_or(Error::Full)?;
                map.set(offset, true);
                Ok((offset, true))
            })
            .await?;
        Ok(self.base + offset as i64)
    }

    pub async fn release(&self, ports: &[i64]) -> Result<(), Error> {
        let offsets: Vec<usize> = ports.iter().filter_map(|p| self.offset(*p)).collect();
        if offsets.is_empty() {
            return Ok(());
        }
        self.change(|map| {
            offsets.iter().for_each(|o| map.set(*o, false));
            Ok(((), true))
        })
        .await
    }

    /// Marks what is in use; frees what was in `suspects` (marked but unused in the run before) and still is
    /// unused. Answers the suspects of this run.
    pub async fn repair(&self, used: &HashSet<i64>, suspects: &HashSet<i64>) -> Result<HashSet<i64>, Error> {
        self.change(|map| {
            let (mut next, mut changed) = (HashSet::new(), false);
            for offset in 0..map.size() {
                let port = self.base + offset as i64;
                match (used.contains(&port), map.has(offset)) {
                    (true, false) => {
                        map.set(offset, true);
                        changed = true;
                    }
                    (false, true) if suspects.contains(&port) => {
                        map.set(offset, false);
                        changed = true;
                    }
                    (false, true) => {
                        next.insert(port);
                    }
                    _ => {}
                }
            }
            Ok((next, changed))
        })
        .await
    }

    /// Reads, changes, writes if `change` says so, again when somebody else was faster.
    async fn change<T>(
        &self,
        mut change: impl FnMut(&mut Bitmap) -> Result<(T, bool), Error>,
    ) -> Result<T, Error> {
        loop {
            let found = self.store.range(RangeRequest::key(self.key.clone())).await?;
            let kv = found.kvs.into_iter().next();
            let revision = kv.as_ref().map_or(0, |kv| kv.mod_revision);
            let mut stored = match &kv {
                Some(kv) => Stored::decode(&kv.value)?,
                None => Stored::new(&self.range()),
            };
            // Another range than before: what was taken in the old one is found again by the repair.
            let same = stored.range == self.range();
            let mut map =
                if same { Bitmap::from_bytes(self.size, &stored.data) } else { Bitmap::new(self.size) };
            stored.range = self.range();
            let (out, write) = change(&mut map)?;
            if !write {
                return Ok(out);
            }
            stored.data = map.to_bytes();
            let txn = Txn {
                compares: vec![Compare::mod_revision(self.key.clone(), revision)],
                success: vec![Op::Put(PutRequest::new(self.key.clone(), stored.encode()))],
                failure: Vec::new(),
            };
            if self.store.txn(txn).await?.succeeded {
                return Ok(out);
            }
        }
    }
}
