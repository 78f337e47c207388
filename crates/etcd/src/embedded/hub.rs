//! The watch hub: takes each durable group of changes from the committer and puts them into the
//! queues of the watchers that want them. It never waits for a watcher: one whose queue is full is
//! marked as behind, and feeds itself from history (`watcher.rs`) until it has caught up and joins
//! again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::index::{Item, KeyRange};
use super::interest::{Interest, Interested};
use crate::{Error, Event, EventFilter, EventType, KeyValue, Result, WatchRequest};

/// Events that a queue takes before its watcher falls behind.
const QUEUE_EVENTS: usize = 1024;
/// Bytes of them.
const QUEUE_BYTES: usize = 1 << 20;

/// One change, as the committer made it.
#[derive(Debug, Clone)]
pub struct Change {
    /// Revision, creation, version.
    pub item: Item,
    /// The key.
    pub key: Bytes,
    /// The value, empty for a deletion.
    pub value: Bytes,
    /// The lease.
    pub lease: i64,
    /// The change before it, if the key existed.
    pub prev: Option<Item>,
}

impl Change {
    /// The event that a watcher sees, without the pair before.
    pub fn event(&self) -> Event {
        let kind = if self.item.is_delete() { EventType::Delete } else { EventType::Put };
        Event { kind, kv: pair(&self.item, self.key.clone(), self.value.clone(), self.lease), prev_kv: None }
    }
}

/// A pair out of what the index and the disk know.
pub fn pair(item: &Item, key: Bytes, value: Bytes, lease: i64) -> KeyValue {
    let version = i64::from(item.version);
    KeyValue { key, value, create_revision: item.create, mod_revision: item.rev.main(), version, lease }
}

/// The pair before a change, if there was one.
pub type Loaded = Result<Option<KeyValue>>;

#[derive(Debug, Default)]
struct Queue {
    /// Fed by the hub; otherwise behind.
    synced: bool,
    /// The first revision that was not queued yet.
    next: i64,
    events: Vec<Event>,
    bytes: usize,
    /// A progress response is due once everything up to here is sent.
    progress: Option<i64>,
    closed: Option<Error>,
}

/// One watch on the hub's side.
#[derive(Debug)]
pub struct Watcher {
    /// Its interval.
    pub range: KeyRange,
    /// Whether events carry the pair before.
    pub prev_kv: bool,
    filters: Vec<EventFilter>,
    queue: Mutex<Queue>,
    /// Told when there is something to take.
    pub notify: Notify,
}

impl Interested for Watcher {
    fn range(&self) -> &KeyRange {
        &self.range
    }
}

/// What a watcher is to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these events; everything up to the revision is in them.
    Send(i64, Vec<Event>),
    /// Say that everything up to the revision was sent.
    Progress(i64),
    /// Feed from history, from this revision on.
    Behind(i64),
    /// Wait to be notified.
    Wait,
    /// End.
    End(Error),
}

impl Watcher {
    /// Whether its filters leave out this kind.
    pub fn filtered(&self, kind: EventType) -> bool {
        self.filters.iter().any(|filter| match filter {
            EventFilter::NoPut => kind == EventType::Put,
            EventFilter::NoDelete => kind == EventType::Delete,
        })
    }

    /// Takes what is due.
    pub fn step(&self, hub: &Hub) -> Step {
        let published = hub.published();
        let mut queue = self.queue.lock();
        if !queue.events.is_empty() {
            queue.bytes = 0;
            let events = std::mem::take(&mut queue.events);
            let last = events.last().map_or(0, |event| event.kv.mod_revision);
            // While behind, events stop short of what is published.
            let upto = if queue.synced { published.max(last) } else { last };
            return Step::Send(upto, events);
        }
        if let Some(error) = queue.closed.clone() {
            return Step::End(error);
        }
        if !queue.synced {
            return Step::Behind(queue.next);
        }
        match queue.progress {
            Some(at) if at <= published => {
                queue.progress = None;
                Step::Progress(published)
            }
            _ => Step::Wait,
        }
    }

    fn push(&self, revision: i64, event: Event, bytes: usize) {
        let mut queue = self.queue.lock();
        if !queue.synced || revision < queue.next {
            return;
        }
        let same = queue.events.last().is_some_and(|last| last.kv.mod_revision == revision);
        if !same && (queue.events.len() >= QUEUE_EVENTS || queue.bytes >= QUEUE_BYTES) {
            queue.synced = false;
            queue.next = revision;
            return;
        }
        queue.bytes += bytes;
        queue.events.push(event);
        if queue.events.len() == 1 {
            self.notify.notify_one();
        }
    }

    fn wants(&self, revision: i64, kind: EventType) -> bool {
        let queue = self.queue.lock();
        queue.synced && revision >= queue.next && !self.filtered(kind)
    }
}

#[derive(Debug, Default)]
struct Registry {
    interest: Interest<Watcher>,
    waiting_for_progress: Vec<Arc<Watcher>>,
    closed: Option<Error>,
}

/// See the module's words.
#[derive(Debug)]
pub struct Hub {
    registry: Mutex<Registry>,
    published: AtomicI64,
}

impl Hub {
    /// A hub of a store that is at `revision`.
    pub fn new(revision: i64) -> Self {
        Self { registry: Mutex::default(), published: AtomicI64::new(revision) }
    }

    /// Everything up to here is in the queues.
    pub fn published(&self) -> i64 {
        self.published.load(Ordering::Acquire)
    }

    /// Adds a watcher; `durable` is the newest acknowledged revision.
    pub fn add(&self, request: &WatchRequest, durable: i64) -> Arc<Watcher> {
        let mut registry = self.registry.lock();
        let next = if request.start_revision > 0 { request.start_revision } else { durable + 1 };
        let queue = Queue {
            synced: next > self.published(),
            next,
            closed: registry.closed.clone(),
            ..Queue::default()
        };
        let watcher = Arc::new(Watcher {
            range: KeyRange::new(&request.key, &request.range_end),
            prev_kv: request.prev_kv,
            filters: request.filters.clone(),
            queue: Mutex::new(queue),
            notify: Notify::new(),
        });
        registry.interest.add(watcher.clone());
        watcher
    }

    /// Takes a watcher off.
    pub fn remove(&self, watcher: &Arc<Watcher>) {
        let mut registry = self.registry.lock();
        registry.interest.remove(watcher);
        registry.waiting_for_progress.retain(|other| !Arc::ptr_eq(other, watcher));
    }

    /// Lets a watcher that has been fed up to before `next` be fed by the hub again, unless more
    /// was published meanwhile.
    pub fn rejoin(&self, watcher: &Watcher, next: i64) {
        let _no_publishing_meanwhile = self.registry.lock();
        let mut queue = watcher.queue.lock();
        queue.next = next;
        queue.synced = next > self.published();
    }

    /// Asks for progress of a watcher at `durable` at least.
    pub fn request_progress(&self, watcher: &Arc<Watcher>, durable: i64) {
        let mut registry = self.registry.lock();
        let mut queue = watcher.queue.lock();
        queue.progress = Some(queue.progress.unwrap_or_default().max(durable));
        if durable > self.published() {
            registry.waiting_for_progress.push(watcher.clone());
        } else {
            watcher.notify.notify_one();
        }
    }

    /// Puts a group of changes, ascending, into the queues. `load` reads the pair before a change;
    /// if that fails nothing more is published.
    pub fn publish(&self, changes: &[Change], upto: i64, load: impl Fn(&Change) -> Loaded) -> Result<()> {
        let mut registry = self.registry.lock();
        for change in changes {
            publish_one(&registry.interest, change, &load)?;
        }
        self.published.fetch_max(upto, Ordering::Release);
        for watcher in registry.waiting_for_progress.drain(..) {
            watcher.notify.notify_one();
        }
        Ok(())
    }

    /// Ends all watches, those to come as well.
    pub fn close(&self, error: &Error) {
        let mut registry = self.registry.lock();
        registry.closed = Some(error.clone());
        for watcher in registry.interest.all() {
            watcher.queue.lock().closed = Some(error.clone());
            watcher.notify.notify_one();
        }
    }
}

fn publish_one(
    interest: &Interest<Watcher>,
    change: &Change,
    load: impl Fn(&Change) -> Loaded,
) -> Result<()> {
    let revision = change.item.rev.main();
    let event = change.event();
    let mut before: Option<Loaded> = None;
    interest.of_key(&change.key, |watcher| {
        if !watcher.wants(revision, event.kind) {
            return;
        }
        let prev_kv = match watcher.prev_kv {
            true => before.get_or_insert_with(|| load(change)).clone().ok().flatten(),
            false => None,
        };
        let prev = prev_kv.as_ref().map_or(0, |kv| kv.value.len());
        let bytes = change.key.len() + change.value.len() + prev;
        watcher.push(revision, Event { prev_kv, ..event.clone() }, bytes);
    });
    before.unwrap_or(Ok(None)).map(drop)
}
