//! One watcher's side of the cache: a bounded queue that the cache pushes into and a stream takes from.
//!
//! A watcher that falls behind loses its queue and goes on from the window of recent events by its cursor; when
//! the window has passed it too, it is ended with 410. It never misses an event silently.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use super::entry::Entry;
use super::select::Selection;
use crate::form::Form;
use bytes::Bytes;
use smallvec::SmallVec;

/// One change of one object.
#[derive(Debug)]
pub struct Change {
    /// Counts all changes of this cache: the cursor of watchers.
    pub seq: u64,
    pub revision: i64,
    pub seen: Instant,
    /// None: deleted.
    pub new: Option<Arc<Entry>>,
    pub old: Option<Arc<Entry>>,
    /// Watch frames made of it, shared by all watchers; dropped when it is no longer new.
    frames: Mutex<SmallVec<[(EventKind, Form, Bytes); 2]>>,
}

impl Change {
    pub fn new(seq: u64, revision: i64, new: Option<Arc<Entry>>, old: Option<Arc<Entry>>) -> Self {
        Self { seq, revision, seen: Instant::now(), new, old, frames: Mutex::default() }
    }

    pub fn frame(&self, kind: EventKind, form: &Form) -> Option<Bytes> {
        self.frames.lock().iter().find(|(k, f, _)| *k == kind && f == form).map(|(_, _, b)| b.clone())
    }

    pub fn keep_frame(&self, kind: EventKind, form: Form, frame: Bytes) {
        self.frames.lock().push((kind, form, frame));
    }

    pub fn drop_frames(&self) {
        *self.frames.lock() = SmallVec::new();
    }

    pub fn weight(&self) -> usize {
        self.new.as_ref().or(self.old.as_ref()).map_or(64, |e| e.weight())
    }
}

/// What a change is to one watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Added,
    Modified,
    Deleted,
}

impl EventKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// How many events wait for a watcher before it has to catch up from the window.
const QUEUE: usize = 1024;

#[derive(Default, Debug)]
struct Queue {
    events: VecDeque<(EventKind, Arc<Change>)>,
    overflowed: bool,
}

/// Registered with the cache while its stream lives.
#[derive(Debug)]
pub struct Watcher {
    pub selection: Selection,
    queue: Mutex<Queue>,
    waker: AtomicWaker,
    ended: AtomicBool,
}

/// What a watcher finds in its queue.
pub enum Next {
    Event(EventKind, Arc<Change>),
    /// It was too slow: go on from the window.
    Behind,
    /// The cache starts anew or the server stops.
    Ended,
}

impl Watcher {
    pub fn new(selection: Selection) -> Self {
        Self { selection, queue: Mutex::default(), waker: AtomicWaker::new(), ended: AtomicBool::new(false) }
    }

    /// What the change is to this watcher; None: nothing.
    pub fn sees(&self, change: &Change) -> Option<EventKind> {
        let new = change.new.as_ref().is_some_and(|e| self.selection.matches(e));
        let old = change.old.as_ref().is_some_and(|e| self.selection.matches(e));
        match (new, old) {
            (true, false) => Some(EventKind::Added),
            (true, true) => Some(EventKind::Modified),
            (false, true) => Some(EventKind::Deleted),
            (false, false) => None,
        }
    }

    pub(super) fn push(&self, kind: EventKind, change: &Arc<Change>) {
        let mut queue = self.queue.lock();
        if queue.overflowed {
            return;
        }
        if queue.events.len() >= QUEUE {
            queue.overflowed = true;
            queue.events = VecDeque::new();
        } else {
            queue.events.push_back((kind, change.clone()));
        }
        drop(queue);
        self.waker.wake();
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Takes up again after [`Next::Behind`]; called under the cache's lock.
    pub(super) fn resume(&self) {
        self.queue.lock().overflowed = false;
    }

    pub fn is_empty(&self) -> bool {
        let queue = self.queue.lock();
        queue.events.is_empty() && !queue.overflowed
    }

    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Next> {
        if let Some(next) = self.take() {
            return Poll::Ready(next);
        }
        self.waker.register(cx.waker());
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    fn take(&self) -> Option<Next> {
        let mut queue = self.queue.lock();
        if let Some((kind, change)) = queue.events.pop_front() {
            return Some(Next::Event(kind, change));
        }
        if queue.overflowed {
            return Some(Next::Behind);
        }
        self.ended.load(Ordering::Acquire).then_some(Next::Ended)
    }
}
