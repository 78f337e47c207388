//! Watches: what a client asks, what it gets, and the stream itself.
//!
//! A watch gets every change of its keys from `start_revision` on, in order, each once, and all
//! changes of one revision in one response. It never skips one: a slow watcher never holds up
//! writers, it falls behind and is then fed from history; when compaction takes that history away
//! first, its stream ends with [`Error::Compacted`](crate::Error::Compacted). Any error is the
//! stream's last item. Dropping the [`Watch`] ends it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;

use crate::{KeyValue, Result};

/// What to watch; the interval is as in [`crate::RangeRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchRequest {
    /// The first key.
    pub key: Bytes,
    /// The first key beyond.
    pub range_end: Bytes,
    /// The first revision to see, which may lie in the past or in the future; 0 for the next one.
    pub start_revision: i64,
    /// Give each event the pair before it (absent if compaction took it).
    pub prev_kv: bool,
    /// Send a progress response now and then while nothing happens.
    pub progress_notify: bool,
    /// Kinds of events to leave out.
    pub filters: Vec<EventFilter>,
}

impl WatchRequest {
    /// All keys that begin with `prefix`, from `start_revision` on, with the pairs before.
    pub fn prefix(prefix: impl Into<Bytes>, start_revision: i64) -> Self {
        let key = prefix.into();
        let range_end = crate::prefix_end(&key);
        Self { key, range_end, start_revision, prev_kv: true, ..Self::default() }
    }
}

/// A kind of events that a watch leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventFilter {
    /// No puts.
    NoPut,
    /// No deletes.
    NoDelete,
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// It was written.
    Put,
    /// It was deleted, or its lease ended.
    Delete,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventType,
    /// The pair after it. For a delete: the key and the `mod_revision` of the deletion alone.
    pub kv: KeyValue,
    /// The pair before it, if asked for, if there was one, and if compaction did not take it.
    pub prev_kv: Option<KeyValue>,
}

impl Event {
    /// Whether this event made the key (after its last deletion).
    pub fn is_create(&self) -> bool {
        self.kind == EventType::Put && self.kv.create_revision == self.kv.mod_revision
    }
}

/// Some changes, or a progress notification.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchResponse {
    /// With events: at least the revision of the last one. Without: everything up to this revision
    /// has been sent.
    pub revision: i64,
    /// The changes in order; none in a progress notification.
    pub events: Vec<Event>,
}

impl WatchResponse {
    /// Whether this says only how far the watch has come.
    pub fn is_progress(&self) -> bool {
        self.events.is_empty()
    }
}

/// Asks for progress notifications of one open watch; cheap to clone, usable from any task.
#[derive(Clone)]
pub struct ProgressHandle(Arc<dyn Fn() + Send + Sync>);

impl ProgressHandle {
    /// A handle that calls `ask`.
    pub fn new(ask: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }
    /// Asks for one progress response on the watch, at a revision no older than the store's newest
    /// as of this call. It comes after all events up to that revision; several requests may be
    /// answered by one response.
    pub fn request_progress(&self) {
        (self.0)();
    }
}

impl fmt::Debug for ProgressHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressHandle")
    }
}

/// An open watch: a stream of responses (see the module's words for what it promises).
pub struct Watch {
    responses: Pin<Box<dyn Stream<Item = Result<WatchResponse>> + Send>>,
    progress: ProgressHandle,
}

impl Watch {
    /// A watch out of its parts, for implementations of the store.
    pub fn new(
        responses: impl Stream<Item = Result<WatchResponse>> + Send + 'static,
        progress: ProgressHandle,
    ) -> Self {
        Self { responses: Box::pin(responses), progress }
    }
    /// Asks for a progress response; see [`ProgressHandle::request_progress`].
    pub fn request_progress(&self) {
        self.progress.request_progress();
    }
    /// A handle to ask for progress from elsewhere while the stream is being read.
    pub fn progress_handle(&self) -> ProgressHandle {
        self.progress.clone()
    }
}

impl Stream for Watch {
    type Item = Result<WatchResponse>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.responses.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}
