//! The embedded engine: the store in one process, on fjall. See `DESIGN.md` of this crate for the
//! files, the way of a write and recovery. It does no consensus: one process owns the directory.

mod apply;
mod check;
mod committer;
mod directory;
mod disk;
mod engine;
mod gc;
mod hub;
mod index;
mod interest;
mod journal;
mod lease;
mod record;
mod recover;
mod rev;
#[cfg(test)]
mod tests;
mod watcher;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use check::{MAX_REQUEST_BYTES, MAX_TXN_OPS};
use committer::{Command, Committer};
use directory::Directory;
use disk::Disk;
pub use disk::Sizes;
use engine::Engine;

use crate::{
    Error, Lease, LeaseStatus, RangeRequest, RangeResponse, Result, Status, Store, Txn, TxnResponse, Watch,
    WatchRequest,
};

/// The version of etcd whose behaviour this has, for feature checks of its clients.
pub const ETCD_VERSION: &str = "3.7.0";
/// Groups that may wait for the watch hub.
const HUB_BACKLOG: usize = 256;

/// How to open the embedded engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory; made if there is none.
    pub path: PathBuf,
    /// Memory and files.
    pub sizes: Sizes,
    /// The largest request in bytes.
    pub max_request_bytes: usize,
    /// How often watches with `progress_notify` are told how far they are while nothing happens.
    pub progress_every: Duration,
    /// Bytes of tables below which compaction leaves dropped history on disk.
    pub reclaim_above: u64,
}

impl Options {
    /// The defaults, for a directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            sizes: Sizes::default(),
            max_request_bytes: MAX_REQUEST_BYTES,
            progress_every: Duration::from_secs(60),
            reclaim_above: 16 << 20,
        }
    }
}

/// The embedded engine. Dropping it closes the store: what was queued is written first.
pub struct Embedded {
    engine: Option<Arc<Engine>>,
    queue: Sender<Command>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    max_request_bytes: usize,
    progress_every: Duration,
}

impl Embedded {
    /// Opens a data directory and recovers. Blocks for the time that takes.
    ///
    /// [`Error::Locked`], [`Error::NewerFormat`], [`Error::Corrupt`], [`Error::Io`].
    pub fn open(options: Options) -> Result<Self> {
        let directory = Directory::open(&options.path)?;
        let (disk, mut recovered) = open_disk(&directory.db(), options.sizes)?;
        let garbage = std::mem::take(&mut recovered.garbage);
        let engine = Arc::new(Engine::new(directory, disk, recovered));
        let (queue, commands) = channel();
        let (publish, groups) = sync_channel(HUB_BACKLOG);
        let (compactions, decided) = channel();
        let committer = Committer { engine: engine.clone(), queue: commands, publish, compactions };
        let (hub_engine, gc_engine) = (engine.clone(), engine.clone());
        let collector = gc::Collector::new(options.reclaim_above);
        let threads = vec![
            spawn("etcd-commit", engine.clone(), move || committer.run())?,
            spawn("etcd-watch", engine.clone(), move || committer::run_publisher(&hub_engine, &groups))?,
            spawn("etcd-compact", engine.clone(), move || collector.run(&gc_engine, &garbage, &decided))?,
        ];
        Ok(Self {
            engine: Some(engine),
            queue,
            threads: Mutex::new(threads),
            max_request_bytes: options.max_request_bytes,
            progress_every: options.progress_every,
        })
    }

    fn engine(&self) -> Result<&Arc<Engine>> {
        let engine = self.engine.as_ref().ok_or_else(closed)?;
        engine.check_healthy()?;
        Ok(engine)
    }

    /// Queues a command and waits for its answer.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
        let engine = self.engine()?;
        let (reply, answer) = oneshot::channel();
        self.queue.send(command(reply)).map_err(|_| closed())?;
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(engine.check_healthy().err().unwrap_or_else(closed)),
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let _ = self.queue.send(Command::Stop); // it has ended already if nobody takes it
        self.engine = None;
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

fn closed() -> Error {
    Error::Unavailable { endpoint: "embedded".into(), reason: "the store was closed".into() }
}

/// Starts a thread whose panic poisons the store.
fn spawn(name: &str, engine: Arc<Engine>, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = name.to_owned();
    let guarded = move || {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
            engine.poison(format!("thread {thread} panicked"));
        }
    };
    let io = |e: std::io::Error| Error::Io {
        operation: "start a thread for",
        path: PathBuf::from(name),
        reason: e.to_string(),
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(guarded).map_err(io)
}

/// Opens fjall's files behind the journal check, and reads the metadata.
fn open_disk(db: &Path, sizes: Sizes) -> Result<(Disk, recover::Recovered)> {
    let check = journal::check(db)?;
    let attempt = || {
        let disk = Disk::open(db, sizes)?;
        let recovered = recover::recover(&disk, Instant::now())?;
        if recovered.revision < check.durable {
            let place = check.place().unwrap_or_else(|| db.display().to_string());
            let what = format!("revisions {} to {} are lost", recovered.revision + 1, check.durable);
            return Err(Error::Corrupt { place, what });
        }
        Ok((disk, recovered))
    };
    match attempt() {
        Ok(opened) => {
            if let Some(place) = check.place() {
                tracing::warn!(%place, "cut off a torn write that was never acknowledged");
            }
            Ok(opened)
        }
        Err(e) => {
            check.restore()?;
            Err(e)
        }
    }
}

#[async_trait]
impl Store for Embedded {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse> {
        if request.key.is_empty() {
            return Err(Error::EmptyKey);
        }
        let engine = self.engine()?;
        if request.range_end.is_empty() {
            return engine.range(&request);
        }
        let engine = engine.clone();
        tokio::task::spawn_blocking(move || engine.range(&request)).await.map_err(|_| closed())?
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        check::check_txn(&txn, self.max_request_bytes)?;
        self.ask(|reply| Command::Txn(txn, reply)).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<Watch> {
        if request.key.is_empty() {
            return Err(Error::EmptyKey);
        }
        Ok(watcher::open(self.engine()?, &request, self.progress_every))
    }

    async fn lease_grant(&self, ttl: i64, id: i64) -> Result<Lease> {
        if ttl > MAX_LEASE_SECONDS {
            return Err(Error::Refused { reason: "too large lease TTL".into() });
        }
        self.ask(|reply| Command::Grant(ttl.max(1), id, reply)).await
    }

    async fn lease_revoke(&self, id: i64) -> Result<()> {
        self.ask(|reply| Command::Revoke(id, reply)).await
    }

    async fn lease_keep_alive(&self, id: i64) -> Result<i64> {
        self.engine()?.leases.lock().keep_alive(id, Instant::now())
    }

    async fn lease_time_to_live(&self, id: i64, keys: bool) -> Result<LeaseStatus> {
        self.engine()?.leases.lock().status(id, keys, Instant::now())
    }

    async fn compact(&self, revision: i64) -> Result<i64> {
        self.ask(|reply| Command::Compact(revision, reply)).await
    }

    async fn status(&self) -> Result<Status> {
        let engine = self.engine()?;
        let size = i64::try_from(engine.disk.bytes()).unwrap_or(i64::MAX);
        Ok(Status {
            version: ETCD_VERSION.into(),
            revision: engine.durable(),
            db_size: size,
            db_size_in_use: size,
            endpoint: "embedded".into(),
        })
    }
}

/// The longest lease, as etcd has it.
const MAX_LEASE_SECONDS: i64 = 9_000_000_000;
