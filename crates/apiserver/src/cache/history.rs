//! The window's past: changes from before this cache began, read from the store when a watch asks for them, so that
//! clients go on over a restart of the server without a list.
//!
//! Nothing is read before somebody asks. The past is as long as the store has it and the window holds it; a window
//! that has forgotten changes takes none back, as cursors of slow watchers count from them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use etcd::{Event, EventType, KeyValue, WatchRequest};
use futures::StreamExt;

use super::entry::Entry;
use super::feed::Source;
use super::state::WINDOW;
use super::{Cache, Selection, Subscription};

/// How long a watch waits for the store to tell the past.
const WITHIN: Duration = Duration::from_secs(5);

/// One change of the past: what is there after it and what was there before.
pub(super) struct Past {
    pub revision: i64,
    pub new: Option<Arc<Entry>>,
    pub old: Option<Arc<Entry>>,
}

impl Cache {
    /// Watches from after `revision`, if need be out of the store's history. None: too old (410).
    pub async fn watch_from(
        self: &Arc<Self>,
        source: &dyn Source,
        selection: Selection,
        revision: i64,
    ) -> Option<Subscription> {
        if let Some(watch) = self.watch_after(selection.clone(), revision) {
            return Some(watch);
        }
        // One reads, and the others that wait find what they need.
        let _one = self.recalling.lock().await;
        if let Some(watch) = self.watch_after(selection.clone(), revision) {
            return Some(watch);
        }
        let upto = self.state.read().recallable(revision)?;
        let read = tokio::time::timeout(WITHIN, past(source, revision, upto)).await;
        let Some(past) = read.ok().flatten() else {
            self.state.write().cannot_recall(revision);
            return None;
        };
        self.state.write().recall(past, revision, upto);
        self.watch_after(selection, revision)
    }
}

/// All changes after `revision` up to `upto`; None where the store or the window's size does not allow it.
async fn past(source: &dyn Source, revision: i64, upto: i64) -> Option<Vec<Past>> {
    let request = WatchRequest::prefix(source.prefix().to_owned(), revision + 1);
    let mut watch = source.store().watch(request).await.ok()?;
    watch.request_progress();
    let mut events = Vec::new();
    while let Some(response) = watch.next().await {
        let response = response.ok()?;
        let whole = response.is_progress() && response.revision >= upto;
        let beyond = response.events.last().is_some_and(|e| e.kv.mod_revision >= upto);
        events.extend(response.events.into_iter().filter(|e| e.kv.mod_revision <= upto));
        if events.len() >= WINDOW {
            return None;
        }
        if whole || beyond {
            return decode(source, events).await;
        }
    }
    None
}

/// None where one of the objects is not to be had: a gap would be worse than a list.
async fn decode(source: &dyn Source, events: Vec<Event>) -> Option<Vec<Past>> {
    let skip = source.prefix().len();
    let place = |kv: &KeyValue| (kv.key.clone(), kv.mod_revision);
    let mut pairs = HashMap::new();
    for event in &events {
        let own = (event.kind == EventType::Put).then_some(&event.kv);
        for kv in own.into_iter().chain(&event.prev_kv) {
            pairs.entry(place(kv)).or_insert_with(|| kv.clone());
        }
    }
    let entries = source.decode(pairs.into_values().collect()).await;
    let entries: HashMap<(&str, i64), &Arc<Entry>> =
        entries.iter().map(|e| ((&*e.key, e.revision), e)).collect();
    let find = |kv: &KeyValue| {
        let key = std::str::from_utf8(kv.key.get(skip..)?).ok()?;
        entries.get(&(key, kv.mod_revision)).map(|e| Arc::clone(e))
    };
    let mut out = Vec::with_capacity(events.len());
    for event in &events {
        let put = event.kind == EventType::Put;
        let new = if put { Some(find(&event.kv)?) } else { None };
        let old = match &event.prev_kv {
            Some(kv) => Some(find(kv)?),
            None if event.is_create() => None,
            None => return None,
        };
        out.push(Past { revision: event.kv.mod_revision, new, old });
    }
    Some(out)
}
