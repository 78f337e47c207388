//! A transaction on the engine's state, as the committer does it: compares, then operations, each
//! seeing those before it. The index is changed at once, since readers look no further than the
//! acknowledged revision; values and metadata go into the group's batch.

use std::collections::HashMap;

use bytes::Bytes;

use super::disk::Batch;
use super::engine::Engine;
use super::hub::{Change, pair};
use super::index::{Item, KeyRange};
use super::record;
use super::rev::{MAX_MAIN, MAX_SUB, Rev};
use crate::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, DeleteRangeResponse, Error, KeyValue, Op,
    OpResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, Result, Txn, TxnResponse,
};

/// The changes of a group that are not durable yet.
pub struct Stage<'a> {
    pub engine: &'a Engine,
    pub batch: Batch,
    /// The newest revision, durable or not.
    pub revision: i64,
    /// The compact revision, durable or not.
    pub compacted: i64,
    /// All changes of the group, ascending.
    pub changes: Vec<Change>,
    /// Where in `changes` a revision that is not durable yet lies.
    pending: HashMap<Rev, usize>,
    /// Where in `changes` the current transaction began.
    begun: usize,
}

impl<'a> Stage<'a> {
    /// An empty group on top of the acknowledged state.
    pub fn new(engine: &'a Engine) -> Self {
        Self {
            engine,
            batch: engine.disk.batch(),
            revision: engine.durable(),
            compacted: engine.compacted(),
            changes: Vec::new(),
            pending: HashMap::new(),
            begun: 0,
        }
    }

    /// Does a transaction. An error that is not [`Error::Poisoned`] left everything as it was.
    pub fn txn(&mut self, txn: &Txn) -> Result<TxnResponse> {
        let mut succeeded = true;
        for compare in &txn.compares {
            succeeded = succeeded && self.compare(compare).map_err(poisoned)?;
        }
        let ops = if succeeded { &txn.success } else { &txn.failure };
        self.check(ops)?;
        let mut responses = Vec::with_capacity(ops.len());
        for op in ops {
            responses.push(self.op(op)?);
        }
        let revision = self.end_txn();
        Ok(TxnResponse { revision, succeeded, responses })
    }

    /// Deletes all keys of a lease, and it.
    pub fn revoke(&mut self, id: i64) -> Result<()> {
        let keys = self.engine.leases.lock().remove(id);
        self.batch.remove_meta(&record::lease_key(id));
        for key in keys {
            self.delete(&DeleteRangeRequest::key(key))?;
        }
        self.end_txn();
        Ok(())
    }

    /// Writes what the current transaction changed into the batch; answers its revision.
    pub fn end_txn(&mut self) -> i64 {
        let changes = &self.changes[self.begun..];
        let Some(last) = changes.last() else { return self.revision };
        let last = last.item.rev;
        for change in changes {
            let rev = change.item.rev;
            let meta = record::encode_change(&change.item, change.lease, rev == last, &change.key);
            self.batch.put_meta(&record::change_key(rev), meta);
            if !change.item.is_delete() {
                self.batch.put_value(rev, record::encode_value(rev, change.lease, &change.value));
            }
        }
        self.begun = self.changes.len();
        self.revision = last.main();
        self.revision
    }

    /// Everything that can refuse an operation, before any is done.
    fn check(&self, ops: &[Op]) -> Result<()> {
        if self.revision >= MAX_MAIN {
            return Err(Error::NoSpace { reason: "the revisions are used up".into() });
        }
        for op in ops {
            match op {
                Op::Range(range) if range.revision > self.revision => return Err(Error::FutureRevision),
                Op::Range(range) if range.revision > 0 && range.revision < self.compacted => {
                    return Err(Error::Compacted { compact_revision: self.compacted });
                }
                Op::Put(put) => self.check_put(put)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn check_put(&self, put: &PutRequest) -> Result<()> {
        let ignores = put.ignore_value || put.ignore_lease;
        if ignores && self.engine.index.read().current(&put.key).is_none() {
            return Err(Error::KeyNotFound);
        }
        if put.lease != 0 && !self.engine.leases.lock().contains(put.lease) {
            return Err(Error::LeaseNotFound { id: put.lease });
        }
        Ok(())
    }

    fn compare(&self, compare: &Compare) -> Result<bool> {
        let range = KeyRange::new(&compare.key, &compare.range_end);
        if range.is_single() {
            let current = self.engine.index.read().current(&compare.key);
            return self.compare_one(compare, &compare.key, current);
        }
        for (key, item) in self.keys(&range) {
            if !self.compare_one(compare, &key, Some(item))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn compare_one(&self, compare: &Compare, key: &[u8], current: Option<Item>) -> Result<bool> {
        let ordering = match &compare.target {
            CompareTarget::Version(right) => current.map_or(0, |item| i64::from(item.version)).cmp(right),
            CompareTarget::CreateRevision(right) => current.map_or(0, |item| item.create).cmp(right),
            CompareTarget::ModRevision(right) => current.map_or(0, |item| item.rev.main()).cmp(right),
            CompareTarget::Lease(right) => self.engine.leases.lock().of_key(key).cmp(right),
            CompareTarget::Value(right) => match current {
                Some(item) => self.load(&item)?.1.cmp(right),
                None => return Ok(false),
            },
        };
        Ok(match compare.result {
            CompareResult::Equal => ordering.is_eq(),
            CompareResult::Greater => ordering.is_gt(),
            CompareResult::Less => ordering.is_lt(),
            CompareResult::NotEqual => ordering.is_ne(),
        })
    }

    fn op(&mut self, op: &Op) -> Result<OpResponse> {
        match op {
            Op::Range(range) => self.range(range).map(OpResponse::Range),
            Op::Put(put) => self.put(put).map(OpResponse::Put).map_err(poisoned),
            Op::DeleteRange(delete) => self.delete(delete).map(OpResponse::DeleteRange).map_err(poisoned),
        }
    }

    fn range(&self, request: &RangeRequest) -> Result<RangeResponse> {
        // With revision 0 a read also sees what this transaction wrote, one revision ahead.
        let at = if request.revision > 0 { request.revision } else { self.revision + 1 };
        let answer = self.engine.range_at(request, at, |item| self.load(item)).map_err(poisoned)?;
        Ok(RangeResponse { revision: self.upcoming(), ..answer })
    }

    fn put(&mut self, put: &PutRequest) -> Result<PutResponse> {
        let current = self.engine.index.read().current(&put.key);
        let before = match current {
            Some(item) if put.prev_kv || put.ignore_value => Some(self.pair(&put.key, &item)?),
            _ => None,
        };
        let lease = match put.ignore_lease {
            true => self.engine.leases.lock().of_key(&put.key),
            false => put.lease,
        };
        let value = match &before {
            Some(before) if put.ignore_value => before.value.clone(),
            _ => put.value.clone(),
        };
        let rev = self.next_rev()?;
        let item = match current {
            Some(item) => Item { rev, create: item.create, version: item.version.saturating_add(1) },
            None => Item { rev, create: rev.main(), version: 1 },
        };
        self.stage(Change { item, key: put.key.clone(), value, lease, prev: current });
        Ok(PutResponse { revision: rev.main(), prev_kv: before.filter(|_| put.prev_kv) })
    }

    fn delete(&mut self, request: &DeleteRangeRequest) -> Result<DeleteRangeResponse> {
        let mut answer = DeleteRangeResponse::default();
        for (key, current) in self.keys(&KeyRange::new(&request.key, &request.range_end)) {
            if request.prev_kv {
                answer.prev_kvs.push(self.pair(&key, &current)?);
            }
            let item = Item { rev: self.next_rev()?, create: 0, version: 0 };
            self.stage(Change { item, key, value: Bytes::new(), lease: 0, prev: Some(current) });
            answer.deleted += 1;
        }
        answer.revision = self.upcoming();
        Ok(answer)
    }

    /// The revision that answers tell: that of this transaction once it has changed something.
    fn upcoming(&self) -> i64 {
        self.revision + i64::from(self.changes.len() > self.begun)
    }

    fn next_rev(&self) -> Result<Rev> {
        let sub = self.changes.len() - self.begun;
        match u32::try_from(sub) {
            Ok(sub) if sub <= MAX_SUB => Ok(Rev::new(self.revision + 1, sub)),
            _ => Err(Error::Poisoned { reason: format!("one transaction with more than {MAX_SUB} changes") }),
        }
    }

    fn stage(&mut self, change: Change) {
        self.engine.index.write().push(&change.key, change.item);
        let mut leases = self.engine.leases.lock();
        if change.lease != 0 || !leases.is_idle() {
            leases.attach(&change.key, change.lease);
        }
        drop(leases);
        self.pending.insert(change.item.rev, self.changes.len());
        self.changes.push(change);
    }

    /// The keys of an interval that exist now, durable or not.
    fn keys(&self, range: &KeyRange) -> Vec<(Bytes, Item)> {
        let (mut keys, index) = (Vec::new(), self.engine.index.read());
        if range.is_single() {
            keys.extend(index.current(&range.key).map(|item| (range.key.clone(), item)));
        } else {
            index.scan(range, None, i64::MAX, usize::MAX, |key, item| {
                keys.push((Bytes::copy_from_slice(key), item));
            });
        }
        keys
    }

    fn pair(&self, key: &Bytes, item: &Item) -> Result<KeyValue> {
        let (lease, value) = self.load(item)?;
        Ok(pair(item, key.clone(), value, lease))
    }

    fn load(&self, item: &Item) -> Result<(i64, Bytes)> {
        match self.pending.get(&item.rev) {
            Some(at) => Ok((self.changes[*at].lease, self.changes[*at].value.clone())),
            None => self.engine.load(item),
        }
    }
}

/// A failure in the middle of a transaction leaves its first half in the index: nothing goes on.
fn poisoned(e: Error) -> Error {
    match e {
        Error::Poisoned { .. } => e,
        e => Error::Poisoned { reason: e.to_string() },
    }
}
