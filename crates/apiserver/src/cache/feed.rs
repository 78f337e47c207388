//! Follows the store: reads the prefix once, then its watch from there, for as long as the server runs.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd::{Event, EventType, KeyValue, RangeRequest, Store, WatchRequest};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::entry::Entry;
use super::{Applied, Cache};

/// Objects a page of the first read.
const PAGE: i64 = 10_000;
const RETRY: Duration = Duration::from_millis(200);

/// Where a cache's objects come from, and how they are read.
#[async_trait]
pub trait Source: Send + Sync {
    fn store(&self) -> &dyn Store;

    /// With the final `/`.
    fn prefix(&self) -> &str;

    /// Reads stored pairs; what cannot be read is left out (and logged).
    async fn decode(&self, pairs: Vec<KeyValue>) -> Vec<Arc<Entry>>;

    /// The entry of a pair that this server wrote itself.
    fn made(&self, key: &str, pair: &KeyValue) -> Option<Arc<Entry>>;

    /// A change that has just become visible.
    fn count_event(&self) {}
}

/// Ends when the cache is dropped or `stop` is called.
pub(super) async fn run(cache: Weak<Cache>, source: Arc<dyn Source>, stop: CancellationToken) {
    let mut from: Option<i64> = None;
    loop {
        let Some(strong) = cache.upgrade() else { return };
        let outcome = tokio::select! {
            () = stop.cancelled() => {
                strong.state.write().close();
                return;
            }
            () = strong.restart.notified() => {
                from = None;
                continue;
            }
            outcome = follow(&strong, &*source, &mut from) => outcome,
        };
        if let Err(error) = outcome {
            match error {
                etcd::Error::Compacted { .. } => from = None,
                error => {
                    tracing::warn!(prefix = source.prefix(), %error, "the watch of the store broke off, trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

async fn follow(cache: &Arc<Cache>, source: &dyn Source, from: &mut Option<i64>) -> etcd::Result<()> {
    let revision = match *from {
        Some(revision) => revision,
        None => load(cache, source).await?,
    };
    *from = Some(revision);
    let request = WatchRequest {
        prev_kv: false,
        progress_notify: true,
        ..WatchRequest::prefix(source.prefix().to_owned(), revision + 1)
    };
    let mut watch = source.store().watch(request).await?;
    *cache.progress.lock() = Some(watch.progress_handle());
    if cache.revision.receiver_count() > 0 {
        watch.request_progress();
    }
    while let Some(response) = watch.next().await {
        let response = response?;
        let last =
            response.events.last().map_or(response.revision, |e| e.kv.mod_revision.max(response.revision));
        take(cache, source, response.events, last).await;
        *from = Some(last);
    }
    Ok(())
}

/// Reads everything; the revision that it is of.
async fn load(cache: &Cache, source: &dyn Source) -> etcd::Result<i64> {
    cache.stale.store(false, Ordering::Release);
    let mut request = RangeRequest { limit: PAGE, ..RangeRequest::prefix(source.prefix().to_owned()) };
    let mut entries = Vec::new();
    loop {
        let page = source.store().range(request.clone()).await?;
        if request.revision == 0 {
            request.revision = page.revision;
        }
        let next = page.kvs.last().map(|kv| [&kv.key, &[0][..]].concat());
        entries.extend(source.decode(page.kvs).await);
        match next {
            Some(next) if page.more => request.key = next.into(),
            _ => break,
        }
    }
    let revision = request.revision;
    cache.state.write().reset(entries, revision);
    if !cache.stale.load(Ordering::Acquire) {
        cache.revision.send_replace(revision);
    }
    Ok(revision)
}

async fn take(cache: &Cache, source: &dyn Source, events: Vec<Event>, revision: i64) {
    if !events.is_empty() {
        let applied = read(source, events).await;
        let mut state = cache.state.write();
        for one in applied {
            source.count_event();
            state.apply(one);
        }
        state.revision = state.revision.max(revision);
    } else {
        let mut state = cache.state.write();
        state.revision = state.revision.max(revision);
    }
    if !cache.stale.load(Ordering::Acquire) {
        cache.revision.send_if_modified(|now| std::mem::replace(now, revision.max(*now)) < revision);
    }
}

/// Decodes what this server has not made itself.
async fn read(source: &dyn Source, events: Vec<Event>) -> Vec<Applied> {
    let skip = source.prefix().len();
    let key_of = |key: &Bytes| -> Arc<str> { String::from_utf8_lossy(&key[skip.min(key.len())..]).into() };
    let mut out: Vec<Option<Applied>> = Vec::with_capacity(events.len());
    let mut undecoded = Vec::new();
    let mut places: HashMap<(Arc<str>, i64), usize> = HashMap::new();
    for event in events {
        let key = key_of(&event.kv.key);
        if event.kind == EventType::Delete {
            out.push(Some(Applied::Gone { key, revision: event.kv.mod_revision }));
        } else if let Some(entry) = source.made(&key, &event.kv) {
            out.push(Some(Applied::Set(entry)));
        } else {
            places.insert((key, event.kv.mod_revision), out.len());
            undecoded.push(event.kv);
            out.push(None);
        }
    }
    for entry in source.decode(undecoded).await {
        if let Some(slot) = places.get(&(entry.key.clone(), entry.revision)).and_then(|at| out.get_mut(*at)) {
            *slot = Some(Applied::Set(entry));
        }
    }
    out.into_iter().flatten().collect()
}
