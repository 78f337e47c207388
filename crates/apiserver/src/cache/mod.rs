//! The watch cache: all objects of one prefix of the store, fed by one watch, for all readers and watchers.
//!
//! - It lags behind the store by the time of a watch event; [`Cache::fresh`] waits until it does not.
//! - A watcher gets every change that concerns it, in order, or is ended; see [`watcher`].
//! - A watch from before the server's start is fed from the store's history; see [`history`].
//! - After a gap (the store compacted what it had not seen) it starts anew, and all watchers with it.
//!
//! Deliberately absent: encodings other than the canonical one (see `handlers`), conversion, authorization.

mod entry;
mod feed;
mod history;
#[cfg(test)]
mod history_tests;
mod scan;
mod select;
mod state;
#[cfg(test)]
mod tests;
mod watcher;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use apimachinery::Status;
use etcd::ProgressHandle;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use entry::Entry;
pub use feed::Source;
pub use select::Selection;
pub use state::Applied;
pub use watcher::{Change, EventKind, Next, Watcher};

use state::State;

/// How long a reader waits for the cache to reach a revision.
const FRESH_WITHIN: Duration = Duration::from_secs(3);

/// One watch cache.
pub struct Cache {
    state: RwLock<State>,
    revision: watch::Sender<i64>,
    progress: Mutex<Option<ProgressHandle>>,
    started: AtomicBool,
    restart: tokio::sync::Notify,
    /// What is in it is out of date as a whole: readers wait until it is read anew.
    stale: AtomicBool,
    /// Held by who reads the store's history.
    recalling: tokio::sync::Mutex<()>,
}

/// A selected part of the cache.
pub struct Snapshot {
    pub entries: Vec<Arc<Entry>>,
    /// What is in it is as of this revision.
    pub revision: i64,
    /// The last revision at which something of this cache changed.
    pub changed: i64,
}

impl Cache {
    /// `indexed`: which positions of `Entry::fields` are looked up by value.
    pub fn new(indexed: Vec<usize>) -> Arc<Self> {
        Arc::new(Self {
            state: RwLock::new(State::new(indexed)),
            revision: watch::channel(0).0,
            progress: Mutex::default(),
            started: AtomicBool::new(false),
            restart: tokio::sync::Notify::new(),
            stale: AtomicBool::new(false),
            recalling: tokio::sync::Mutex::default(),
        })
    }

    /// Begins to follow the store, once; later calls do nothing.
    pub fn start(self: &Arc<Self>, source: Arc<dyn Source>, stop: CancellationToken) {
        if !self.started.swap(true, Ordering::AcqRel) {
            tokio::spawn(feed::run(Arc::downgrade(self), source, stop));
        }
    }

    /// Forgets everything and reads the store again (the schema changed). Watchers are ended.
    pub fn restart(&self) {
        self.stale.store(true, Ordering::Release);
        self.revision.send_replace(0);
        self.restart.notify_one();
    }

    pub fn is_ready(&self) -> bool {
        self.state.read().ready
    }

    /// Everything up to this revision is in.
    pub fn revision(&self) -> i64 {
        *self.revision.borrow()
    }

    pub fn len(&self) -> usize {
        self.state.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn watchers(&self) -> usize {
        self.state.read().watcher_count()
    }

    pub fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.state.read().get(key).cloned()
    }

    /// `after`: the first key to look at, for continued lists.
    pub fn select(&self, selection: &Selection, after: Option<&str>) -> Snapshot {
        let state = self.state.read();
        Snapshot { entries: state.select(selection, after), revision: state.revision, changed: state.changed }
    }

    /// Waits until everything up to `revision` is in.
    pub async fn fresh(&self, revision: i64) -> Result<(), Status> {
        let mut seen = self.revision.subscribe();
        if *seen.borrow() >= revision.max(1) {
            return Ok(());
        }
        self.ask_progress();
        let wait = seen.wait_for(|now| *now >= revision.max(1));
        match tokio::time::timeout(FRESH_WITHIN, wait).await {
            Ok(Ok(_)) => Ok(()),
            _ if revision <= 1 => Err(Status::too_many_requests("storage is (re)initializing", 1)),
            _ => Err(too_large(revision, self.revision())),
        }
    }

    /// Waits until there is a first state.
    pub async fn ready(&self) -> Result<(), Status> {
        self.fresh(0).await
    }

    pub fn ask_progress(&self) {
        if let Some(handle) = self.progress.lock().as_ref() {
            handle.request_progress();
        }
    }

    /// Lets go of what nobody has asked for since the last call.
    pub fn drop_cold(&self) {
        self.state.write().drop_cold();
    }

    /// Watches from after `revision`. None: the window does not reach back so far.
    pub fn watch_after(self: &Arc<Self>, selection: Selection, revision: i64) -> Option<Subscription> {
        let watcher = Arc::new(Watcher::new(selection));
        let mut state = self.state.write();
        let cursor = state.cursor_of(revision)?;
        let backlog = state.since(&watcher, cursor)?;
        state.register(watcher.clone());
        let cursor = state.newest_cursor();
        Some(Subscription { cache: self.clone(), watcher, backlog, cursor, revision: state.revision })
    }

    /// The selected objects, and a watch of what comes after them.
    pub fn list_and_watch(self: &Arc<Self>, selection: Selection) -> (Snapshot, Subscription) {
        let watcher = Arc::new(Watcher::new(selection));
        let mut state = self.state.write();
        let entries = state.select(&watcher.selection, None);
        state.register(watcher.clone());
        let snapshot = Snapshot { entries, revision: state.revision, changed: state.changed };
        let (cursor, revision) = (state.newest_cursor(), state.revision);
        (snapshot, Subscription { cache: self.clone(), watcher, backlog: VecDeque::new(), cursor, revision })
    }
}

/// The 504 for a resourceVersion that is ahead of the server.
pub fn too_large(wanted: i64, current: i64) -> Status {
    let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
    let mut status = Status::timeout(message, 1);
    if let Some(details) = &mut status.details {
        details.causes.push(apimachinery::status::Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            field: String::new(),
        });
    }
    status
}

/// A watch on the cache. Dropping it ends it.
pub struct Subscription {
    cache: Arc<Cache>,
    watcher: Arc<Watcher>,
    /// Taken from the window when it began or caught up.
    backlog: VecDeque<(EventKind, Arc<Change>)>,
    /// The last change that was handed out or cannot concern this watch.
    cursor: u64,
    revision: i64,
}

/// Why a watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The window passed it: 410.
    TooSlow,
    /// The cache started anew, or the server stops.
    Closed,
}

impl Subscription {
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// The next change and what it is to this watch.
    pub fn poll_next(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(EventKind, Arc<Change>), End>> {
        use std::task::Poll;
        loop {
            if let Some((kind, change)) = self.backlog.pop_front() {
                self.seen(&change);
                return Poll::Ready(Ok((kind, change)));
            }
            match self.watcher.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Next::Event(kind, change)) => {
                    self.seen(&change);
                    return Poll::Ready(Ok((kind, change)));
                }
                Poll::Ready(Next::Ended) => return Poll::Ready(Err(End::Closed)),
                Poll::Ready(Next::Behind) => {
                    if !self.catch_up() {
                        return Poll::Ready(Err(End::TooSlow));
                    }
                }
            }
        }
    }

    pub async fn next(&mut self) -> Result<(EventKind, Arc<Change>), End> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Nothing waits for it.
    pub fn is_idle(&self) -> bool {
        self.backlog.is_empty() && self.watcher.is_empty()
    }

    fn seen(&mut self, change: &Change) {
        self.cursor = change.seq;
        self.revision = self.revision.max(change.revision);
    }

    fn catch_up(&mut self) -> bool {
        let state = self.cache.state.write();
        let Some(backlog) = state.since(&self.watcher, self.cursor) else { return false };
        self.backlog = backlog;
        self.watcher.resume();
        true
    }

    /// The revision up to which everything that concerns this watch has been handed out: what a bookmark says.
    pub fn bookmark(&mut self) -> i64 {
        let state = self.cache.state.read();
        if self.is_idle() {
            self.revision = self.revision.max(state.revision);
        }
        self.revision
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.cache.state.write().unregister(&self.watcher);
    }
}
