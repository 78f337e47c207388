//! The contract of a store: etcd v3's key-value, transaction, lease and compaction semantics.
//!
//! - Every change happens at one revision; revisions grow by one a changing transaction and are
//!   never reused. An empty store is at revision 1, so that the first change is revision 2.
//! - A transaction is atomic: all compares see the state before it, all its writes have one
//!   `mod_revision`, and each operation sees the writes of those before it. A transaction that
//!   changes nothing consumes no revision. Writing one key twice is [`Error::DuplicateKey`].
//! - A write is acknowledged after it is durable, and a read sees only acknowledged revisions
//!   (linearizable: it sees every write acknowledged before it began).
//! - History is kept until [`Store::compact`].

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Error, Result, Watch, WatchRequest};

/// A store that is shared by all of a process.
pub type SharedStore = Arc<dyn Store>;

/// One key at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyValue {
    /// The key, never empty.
    pub key: Bytes,
    /// The value; empty with `keys_only`, and in delete events.
    pub value: Bytes,
    /// Revision of the key's creation (after its last deletion).
    pub create_revision: i64,
    /// Revision of its last change.
    pub mod_revision: i64,
    /// Number of changes since its creation, 1 for a new key, 0 in delete events.
    pub version: i64,
    /// The lease it hangs on, 0 for none.
    pub lease: i64,
}

/// Which keys: `range_end` empty means the key alone, `[0]` means all keys from `key` on, otherwise
/// the half-open interval from `key` to `range_end`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RangeRequest {
    /// The first key.
    pub key: Bytes,
    /// The first key beyond.
    pub range_end: Bytes,
    /// The revision to read at, 0 for the newest.
    pub revision: i64,
    /// At most so many keys, 0 for all.
    pub limit: i64,
    /// Answer the count alone.
    pub count_only: bool,
    /// Leave the values out.
    pub keys_only: bool,
}

impl RangeRequest {
    /// One key at the newest revision.
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), ..Self::default() }
    }
    /// All keys that begin with `prefix`, at the newest revision.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let key = prefix.into();
        let range_end = prefix_end(&key);
        Self { key, range_end, ..Self::default() }
    }
}

/// The `range_end` that, with `prefix` as the key, takes all keys that begin with it.
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let keep = prefix.iter().rposition(|b| *b != 0xff);
    match keep {
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end.into()
        }
        None => Bytes::from_static(&[0]),
    }
}

/// Answer of a range.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RangeResponse {
    /// The store's newest revision as of this read. With `RangeRequest::revision` 0 the keys are
    /// those of this revision.
    pub revision: i64,
    /// The keys, ascending.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut the answer.
    pub more: bool,
    /// How many keys the interval has at that revision, whatever the limit.
    pub count: i64,
}

/// What a put writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PutRequest {
    /// The key.
    pub key: Bytes,
    /// The new value.
    pub value: Bytes,
    /// The lease to hang it on, 0 for none (an earlier lease is left).
    pub lease: i64,
    /// Answer the pair that was there before.
    pub prev_kv: bool,
    /// Keep the value (the key must exist).
    pub ignore_value: bool,
    /// Keep the lease (the key must exist).
    pub ignore_lease: bool,
}

impl PutRequest {
    /// A put without lease.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), value: value.into(), ..Self::default() }
    }
}

/// Answer of a put.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PutResponse {
    /// The revision of the change.
    pub revision: i64,
    /// What was there before, if asked for and there was.
    pub prev_kv: Option<KeyValue>,
}

/// Which keys to delete; the interval is as in [`RangeRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteRangeRequest {
    /// The first key.
    pub key: Bytes,
    /// The first key beyond.
    pub range_end: Bytes,
    /// Answer the deleted pairs.
    pub prev_kv: bool,
}

impl DeleteRangeRequest {
    /// One key.
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), ..Self::default() }
    }
}

/// Answer of a delete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteRangeResponse {
    /// The revision of the change, or the current one when nothing was deleted.
    pub revision: i64,
    /// How many keys were deleted.
    pub deleted: i64,
    /// The deleted pairs, if asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// What a compare looks at. A key that does not exist has 0 for all numbers; comparing its value
/// fails whatever the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompareTarget {
    /// Number of changes.
    Version(i64),
    /// Revision of creation.
    CreateRevision(i64),
    /// Revision of the last change.
    ModRevision(i64),
    /// The value, bytewise.
    Value(Bytes),
    /// The lease.
    Lease(i64),
}

/// How the key's own (left) stands to the given (right).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareResult {
    /// Equal.
    Equal,
    /// The key's own is greater.
    Greater,
    /// The key's own is less.
    Less,
    /// Not equal.
    NotEqual,
}

/// One condition of a transaction. With `range_end` it must hold for every key of the interval
/// (and holds for an empty one).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The key.
    pub key: Bytes,
    /// As in [`RangeRequest`].
    pub range_end: Bytes,
    /// The operator.
    pub result: CompareResult,
    /// What is compared, with what.
    pub target: CompareTarget,
}

impl Compare {
    /// A condition on one key.
    pub fn new(key: impl Into<Bytes>, result: CompareResult, target: CompareTarget) -> Self {
        Self { key: key.into(), range_end: Bytes::new(), result, target }
    }
    /// The key was last changed at `revision`; 0 means that it does not exist.
    pub fn mod_revision(key: impl Into<Bytes>, revision: i64) -> Self {
        Self::new(key, CompareResult::Equal, CompareTarget::ModRevision(revision))
    }
    /// The key has had `version` changes since its creation; 0 means that it does not exist.
    pub fn version(key: impl Into<Bytes>, version: i64) -> Self {
        Self::new(key, CompareResult::Equal, CompareTarget::Version(version))
    }
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Read.
    Range(RangeRequest),
    /// Write.
    Put(PutRequest),
    /// Delete.
    DeleteRange(DeleteRangeRequest),
}

/// A transaction: if all `compares` hold, `success` is done, else `failure`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Txn {
    /// The conditions; none means that they hold.
    pub compares: Vec<Compare>,
    /// Done if they hold.
    pub success: Vec<Op>,
    /// Done if one does not.
    pub failure: Vec<Op>,
}

/// Answer of one operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpResponse {
    /// Of a read.
    Range(RangeResponse),
    /// Of a write.
    Put(PutResponse),
    /// Of a delete.
    DeleteRange(DeleteRangeResponse),
}

/// Answer of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TxnResponse {
    /// Its revision if it changed something, else the store's newest.
    pub revision: i64,
    /// Whether the compares held.
    pub succeeded: bool,
    /// One answer an operation that was done, in order.
    pub responses: Vec<OpResponse>,
}

/// A granted lease.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lease {
    /// Its id.
    pub id: i64,
    /// Seconds to live as granted.
    pub ttl: i64,
}

/// How a lease stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaseStatus {
    /// Its id.
    pub id: i64,
    /// Seconds left.
    pub ttl: i64,
    /// Seconds as granted.
    pub granted_ttl: i64,
    /// The keys that hang on it, if asked for, ascending.
    pub keys: Vec<Bytes>,
}

/// How the store stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// The version of the server (etcd's, for feature checks).
    pub version: String,
    /// Its newest revision.
    pub revision: i64,
    /// Bytes on disk.
    pub db_size: i64,
    /// Bytes on disk that hold data.
    pub db_size_in_use: i64,
    /// The endpoint that answered, `embedded` for the embedded engine.
    pub endpoint: String,
}

/// A store with etcd's semantics (see the module's words, and [`Watch`] for watches).
///
/// Errors that every method can give: [`Error::Unavailable`], [`Error::Timeout`],
/// [`Error::Poisoned`], [`Error::Corrupt`].
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads an interval. [`Error::Compacted`] or [`Error::FutureRevision`] for a revision that is
    /// not there.
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse>;

    /// Does a transaction; see [`Txn`]. A failed compare is an answer, not an error.
    async fn txn(&self, txn: Txn) -> Result<TxnResponse>;

    /// Begins a watch. Answers once the store has taken it: every change after that is seen. See
    /// [`Watch`]. A compacted start revision is told by the stream, not here.
    async fn watch(&self, request: WatchRequest) -> Result<Watch>;

    /// Grants a lease of `ttl` seconds; `id` 0 lets the store choose. [`Error::LeaseExists`].
    async fn lease_grant(&self, ttl: i64, id: i64) -> Result<Lease>;

    /// Ends a lease and deletes its keys at one revision. [`Error::LeaseNotFound`].
    async fn lease_revoke(&self, id: i64) -> Result<()>;

    /// Renews a lease once; answers its new seconds to live. [`Error::LeaseNotFound`].
    async fn lease_keep_alive(&self, id: i64) -> Result<i64>;

    /// How a lease stands. [`Error::LeaseNotFound`].
    async fn lease_time_to_live(&self, id: i64, keys: bool) -> Result<LeaseStatus>;

    /// Drops the history before `revision`: of each key stays what was newest at it. Reads of older
    /// revisions, and watches that would start at or before what was dropped, get
    /// [`Error::Compacted`]. Answers the store's newest revision. [`Error::Compacted`] when that
    /// was done already, [`Error::FutureRevision`] beyond the newest.
    async fn compact(&self, revision: i64) -> Result<i64>;

    /// How the store stands; also the health check.
    async fn status(&self) -> Result<Status>;

    /// Writes one key, unconditionally.
    async fn put(&self, request: PutRequest) -> Result<PutResponse> {
        let mut answer = self.txn(Txn { success: vec![Op::Put(request)], ..Txn::default() }).await?;
        match answer.responses.pop() {
            Some(OpResponse::Put(put)) => Ok(put),
            _ => Err(unexpected_answer("put")),
        }
    }

    /// Deletes an interval, unconditionally.
    async fn delete_range(&self, request: DeleteRangeRequest) -> Result<DeleteRangeResponse> {
        let mut answer = self.txn(Txn { success: vec![Op::DeleteRange(request)], ..Txn::default() }).await?;
        match answer.responses.pop() {
            Some(OpResponse::DeleteRange(delete)) => Ok(delete),
            _ => Err(unexpected_answer("delete_range")),
        }
    }
}

fn unexpected_answer(operation: &str) -> Error {
    Error::Refused { reason: format!("{operation} was answered with something else") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_end_is_the_next_key_beyond() {
        for (prefix, end) in [
            (&b"/a/"[..], &b"/a0"[..]),
            (b"a\xff", b"b"),
            (b"\xff\xff", b"\0"),
            (b"", b"\0"),
            (b"\0", b"\x01"),
        ] {
            assert_eq!(prefix_end(prefix), end, "{prefix:?}");
        }
    }
}
