//! The one error of the store. It says what happened to the operation; it never holds a `Status`,
//! which the API server derives from it in one place.

use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the store refused or failed an operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The asked revision is older than the history that is kept. Reads: choose a revision of at
    /// least `compact_revision`. A watch ends with this; list again and watch from there.
    #[error("required revision has been compacted (compact revision {compact_revision})")]
    Compacted {
        /// The oldest revision that can still be read, and from which a watch can start; 0 if the
        /// store did not tell (etcd does so for watches, and not for reads).
        compact_revision: i64,
    },
    /// The asked revision is newer than the store's current one.
    #[error("required revision is a future revision")]
    FutureRevision,
    /// No such lease, or it expired.
    #[error("requested lease {id} not found")]
    LeaseNotFound {
        /// The lease that was named.
        id: i64,
    },
    /// A lease with this id exists already.
    #[error("lease {id} already exists")]
    LeaseExists {
        /// The lease that was named.
        id: i64,
    },
    /// A put with `ignore_value` or `ignore_lease` named a key that does not exist.
    #[error("key not found")]
    KeyNotFound,
    /// The key is empty.
    #[error("key is not provided")]
    EmptyKey,
    /// One transaction writes the same key twice.
    #[error("duplicate key given in txn request")]
    DuplicateKey,
    /// A transaction has more operations than the store takes.
    #[error("too many operations in txn request ({count}, at most {limit})")]
    TooManyOps {
        /// Operations given.
        count: usize,
        /// Operations allowed.
        limit: usize,
    },
    /// The request is larger than the store takes.
    #[error("request is too large ({size} bytes, at most {limit})")]
    RequestTooLarge {
        /// Bytes given.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The store is full: etcd's NOSPACE alarm, or the disk of the embedded engine at a read.
    #[error("store space exceeded: {reason}")]
    NoSpace {
        /// What was full.
        reason: String,
    },
    /// The store cannot be reached, or has no leader. A write that ends so may or may not have
    /// happened: the caller must read to know.
    #[error("store {endpoint} is unavailable: {reason}")]
    Unavailable {
        /// The last endpoint tried (`embedded` for the embedded engine that was closed).
        endpoint: String,
        /// What was seen there.
        reason: String,
    },
    /// The store did not answer in time. A write that ends so may or may not have happened.
    #[error("store {endpoint} timed out: {reason}")]
    Timeout {
        /// The endpoint asked.
        endpoint: String,
        /// What was seen there.
        reason: String,
    },
    /// A write failed earlier, so what is on disk is not known any more: nothing is read or written
    /// until the store is opened again.
    #[error("store is poisoned by a failed write, open it again: {reason}")]
    Poisoned {
        /// The failure that poisoned it.
        reason: String,
    },
    /// What is on disk is not what was written.
    #[error("store is corrupt at {place}: {what}")]
    Corrupt {
        /// File, table or record.
        place: String,
        /// What was found there.
        what: String,
    },
    /// The data was written by a newer version of this program.
    #[error("store {path:?} has format {found}, newer than {supported}, which this program reads")]
    NewerFormat {
        /// The data directory.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format that this program reads.
        supported: u32,
    },
    /// Another process has the data directory open.
    #[error("store {path:?} is locked by process {pid}")]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, 0 when it could not be read.
        pid: u32,
    },
    /// Reading or writing the data directory failed at open.
    #[error("store cannot {operation} {path:?}: {reason}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The configuration cannot be used (bad URL, unreadable certificate, ...).
    #[error("store configuration: {reason}")]
    Config {
        /// What is wrong with it.
        reason: String,
    },
    /// The store refused the request in a way that this crate knows no better name for.
    #[error("store refused the request: {reason}")]
    Refused {
        /// The store's words.
        reason: String,
    },
}

impl Error {
    /// Whether the same request may succeed elsewhere or later, and surely had no effect on data
    /// if it was a read.
    pub fn is_transient(&self) -> bool {
        matches!(self, Error::Unavailable { .. } | Error::Timeout { .. })
    }
}
