//! A list and a watch of one resource, kept up, whose state is a [`Store`] of views and whose changes go to
//! handlers. Streams the initial list (WatchList, KEP-3157) and falls back to LIST and WATCH where the server
//! does not; resumes at the last resourceVersion; after a 410 lists again and hands out only the difference.
//!
//! Handlers run in the informer's own task, in order, after the store has the change: they must be quick, such
//! as adding a key to a work queue.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use parking_lot::RwLock;
use tokio::sync::{mpsc, watch as signal};
use tokio_util::sync::CancellationToken;

use crate::api::{Api, List, PARTIAL_LIST, PARTIAL_OBJECT, encode, with_query};
use crate::decode;
use crate::error::{Error, Result};
use crate::meta::View;
use crate::resource::{ObjectKey, Resource};
use crate::store::{IndexFn, Store};
use crate::watch::{Frame, Frames, WatchError};

/// A change of one object.
#[derive(Debug)]
pub enum Event<V> {
    Added(Arc<V>),
    Modified {
        old: Arc<V>,
        new: Arc<V>,
    },
    /// The last known state, or the final one where the watch told it.
    Deleted(Arc<V>),
}

impl<V> Clone for Event<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Added(v) => Self::Added(v.clone()),
            Self::Modified { old, new } => Self::Modified { old: old.clone(), new: new.clone() },
            Self::Deleted(v) => Self::Deleted(v.clone()),
        }
    }
}

impl<V> Event<V> {
    /// The object after the change; for a delete its last state.
    pub fn object(&self) -> &Arc<V> {
        match self {
            Self::Added(v) | Self::Modified { new: v, .. } | Self::Deleted(v) => v,
        }
    }
}

/// What is watched of a resource.
#[derive(Clone, Debug, Default)]
pub struct InformerOptions {
    /// Empty: every namespace.
    pub namespace: String,
    pub label_selector: String,
    pub field_selector: String,
    /// Metadata only (PartialObjectMetadata); the view must read nothing else.
    pub metadata_only: bool,
}

type Handler<V> = Box<dyn Fn(&Event<V>) + Send + Sync>;

struct Inner<V> {
    api: Api,
    resource: Resource,
    options: InformerOptions,
    store: Store<V>,
    handlers: RwLock<Vec<Handler<V>>>,
    synced: signal::Sender<bool>,
}

/// The informer of one resource. Clones are handles of the same one.
pub struct Informer<V> {
    inner: Arc<Inner<V>>,
}

impl<V> Clone for Informer<V> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<V: View> Informer<V> {
    /// An informer that does nothing yet: add indexes and handlers, then [`Informer::start`] it.
    pub fn new(api: Api, resource: Resource, options: InformerOptions) -> Self {
        let (synced, _) = signal::channel(false);
        let (store, handlers) = (Store::default(), RwLock::new(Vec::new()));
        Self { inner: Arc::new(Inner { api, resource, options, store, handlers, synced }) }
    }

    /// Adds a secondary index; see [`Store::by_index`].
    #[must_use]
    pub fn with_index(
        self,
        name: &'static str,
        keys_of: impl Fn(&V) -> Vec<String> + Send + Sync + 'static,
    ) -> Self {
        self.inner.store.add_index(name, Box::new(keys_of) as IndexFn<V>);
        self
    }

    /// Adds a handler. It is told of the objects that are already known first.
    pub fn add_handler(&self, handler: impl Fn(&Event<V>) + Send + Sync + 'static) {
        let mut handlers = self.inner.handlers.write();
        for object in self.inner.store.list() {
            handler(&Event::Added(object));
        }
        handlers.push(Box::new(handler));
    }

    /// Changes as a stream, those that are known first. Unbounded: read it.
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<Event<V>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.add_handler(move |event| drop(sender.send(event.clone())));
        receiver
    }

    pub fn store(&self) -> Store<V> {
        self.inner.store.clone()
    }

    pub fn resource(&self) -> &Resource {
        &self.inner.resource
    }

    /// Whether the first list is in the store and went to the handlers.
    pub fn has_synced(&self) -> bool {
        *self.inner.synced.borrow()
    }

    /// Waits until [`Informer::has_synced`]; at the end of the process (sender gone) it just returns.
    pub async fn wait_synced(&self) {
        let mut synced = self.inner.synced.subscribe();
        let _ = synced.wait_for(|done| *done).await;
    }

    /// Begins, in a task of its own that ends with `shutdown`.
    pub fn start(&self, shutdown: CancellationToken) -> tokio::task::JoinHandle<()> {
        let inner = self.inner.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = Reflector::new(inner).run() => {}
            }
        })
    }
}

impl<V: View> Inner<V> {
    fn tell(&self, event: &Event<V>) {
        for handler in &*self.handlers.read() {
            handler(event);
        }
    }

    fn upsert(&self, object: V) {
        let new = Arc::new(object);
        // The lock is held from the change of the store to its handlers, so that a handler which is added
        // meanwhile hears of each object exactly once.
        let handlers = self.handlers.read();
        let events = match self.store.insert(new.clone()) {
            Some(old) if old.uid() != new.uid() => [Some(Event::Deleted(old)), Some(Event::Added(new))],
            Some(old) => [Some(Event::Modified { old, new }), None],
            None => [Some(Event::Added(new)), None],
        };
        for event in events.iter().flatten() {
            for handler in &*handlers {
                handler(event);
            }
        }
    }

    fn delete(&self, object: V) {
        let handlers = self.handlers.read();
        let known = self.store.remove(&object.key()).is_some();
        self.store.advance(object.resource_version());
        if known {
            let event = Event::Deleted(Arc::new(object));
            for handler in &*handlers {
                handler(&event);
            }
        }
    }

    /// Makes the store equal to a list, telling the differences. An object of the same name and another uid is
    /// told as deleted and added.
    fn replace(&self, objects: impl IntoIterator<Item = V>) {
        let mut listed = HashSet::new();
        for object in objects {
            listed.insert(object.key());
            match self.store.get(object.namespace(), object.name()) {
                Some(old) if old.resource_version() == object.resource_version() => {}
                _ => self.upsert(object),
            }
        }
        for key in self.store.keys() {
            if !listed.contains(&key)
                && let Some(old) = self.store.remove(&key)
            {
                self.tell(&Event::Deleted(old));
            }
        }
    }

    fn accept(&self, list: bool) -> &'static str {
        match (self.options.metadata_only, list) {
            (false, _) => "application/json",
            (true, true) => PARTIAL_LIST,
            (true, false) => PARTIAL_OBJECT,
        }
    }

    /// The path with selectors and `more` parameters.
    fn path(&self, more: &str) -> String {
        let mut query = String::from(more);
        for (name, value) in
            [("labelSelector", &self.options.label_selector), ("fieldSelector", &self.options.field_selector)]
        {
            if !value.is_empty() {
                let separator = if query.is_empty() { "" } else { "&" };
                query.push_str(&format!("{separator}{name}={}", encode(value)));
            }
        }
        with_query(self.resource.path(&self.options.namespace, "", ""), &query)
    }
}

#[derive(Debug, thiserror::Error)]
enum ReflectError {
    #[error(transparent)]
    Request(#[from] Error),
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error("the watch ended before its initial events did")]
    Incomplete,
}

impl ReflectError {
    fn is_expired(&self) -> bool {
        matches!(self, Self::Request(e) if e.is_expired())
    }
}

/// The state of one informer's connection.
struct Reflector<V> {
    inner: Arc<Inner<V>>,
    /// Where the store is; None: it must be listed anew.
    resource_version: Option<String>,
    /// The server refused to stream lists.
    no_watch_list: bool,
    failures: u32,
}

impl<V: View> Reflector<V> {
    fn new(inner: Arc<Inner<V>>) -> Self {
        Self { inner, resource_version: None, no_watch_list: false, failures: 0 }
    }

    async fn run(mut self) {
        loop {
            let result = match self.resource_version.clone() {
                Some(version) => self.watch(&version).await,
                None => self.list_and_watch().await,
            };
            match result {
                Ok(()) => self.failures = 0,
                Err(e) if e.is_expired() => {
                    tracing::debug!(resource = %self.inner.resource.plural, "too old, listing again: {e}");
                    self.resource_version = None;
                }
                Err(e) => {
                    tracing::debug!(resource = %self.inner.resource.plural, "list or watch failed: {e}");
                    if self.failures == 3 {
                        tracing::warn!(resource = %self.inner.resource.plural, "list or watch keeps failing: {e}");
                    }
                    tokio::time::sleep(backoff(self.failures)).await;
                    self.failures = self.failures.saturating_add(1);
                }
            }
        }
    }

    async fn list_and_watch(&mut self) -> Result<(), ReflectError> {
        if !self.no_watch_list {
            match self.watch_list().await {
                Err(ReflectError::Request(e)) if e.is_invalid() || e.is(apimachinery::Reason::BadRequest) => {
                    self.no_watch_list = true;
                }
                other => return other,
            }
        }
        let path = self.inner.path("resourceVersion=0");
        let bytes = self.inner.api.bytes(Method::GET, &path, self.inner.accept(true), None).await?;
        let list: List<V> = decode::from_slice(&bytes).map_err(WatchError::from)?;
        drop(bytes);
        self.listed(list.items, list.metadata.resource_version);
        Ok(())
    }

    fn listed(&mut self, objects: impl IntoIterator<Item = V>, version: String) {
        self.inner.replace(objects);
        self.inner.store.advance(&version);
        self.resource_version = Some(version);
        self.failures = 0;
        self.inner.synced.send_replace(true);
    }

    /// Streams the list, then goes on in the same watch.
    async fn watch_list(&mut self) -> Result<(), ReflectError> {
        let query =
            "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        let mut frames = self.open(query).await?;
        let mut objects: HashMap<ObjectKey, V> = HashMap::new();
        loop {
            match frames.next::<V>().await? {
                Some(Frame::Added(v) | Frame::Modified(v)) => drop(objects.insert(v.key(), v)),
                Some(Frame::Deleted(v)) => drop(objects.remove(&v.key())),
                Some(Frame::Bookmark { resource_version, initial_events_end: true }) => {
                    self.listed(objects.into_values(), resource_version);
                    return self.follow(frames).await;
                }
                Some(Frame::Bookmark { .. }) => {}
                Some(Frame::Error(status)) => return Err(Error::Api(status).into()),
                None => return Err(ReflectError::Incomplete),
            }
        }
    }

    async fn watch(&mut self, version: &str) -> Result<(), ReflectError> {
        let frames =
            self.open(&format!("watch=true&allowWatchBookmarks=true&resourceVersion={version}")).await?;
        self.follow(frames).await
    }

    async fn open(&self, query: &str) -> Result<Frames> {
        // Between five and ten minutes, so that informers do not all come back at once.
        let timeout = rand::random_range(300..600);
        let path = self.inner.path(&format!("{query}&timeoutSeconds={timeout}"));
        Ok(Frames::new(self.inner.api.open(Method::GET, &path, self.inner.accept(false), None).await?))
    }

    /// Takes in events until the watch ends.
    async fn follow(&mut self, mut frames: Frames) -> Result<(), ReflectError> {
        while let Some(frame) = frames.next::<V>().await? {
            match frame {
                Frame::Added(v) | Frame::Modified(v) => {
                    self.resource_version = Some(v.resource_version().to_owned());
                    self.inner.upsert(v);
                }
                Frame::Deleted(v) => {
                    self.resource_version = Some(v.resource_version().to_owned());
                    self.inner.delete(v);
                }
                Frame::Bookmark { resource_version, .. } => {
                    self.inner.store.advance(&resource_version);
                    self.resource_version = Some(resource_version);
                }
                Frame::Error(status) => return Err(Error::Api(status).into()),
            }
            self.failures = 0;
        }
        Ok(())
    }
}

/// 0.8 s doubling to 30 s, half of it random; a first failure waits shorter, as servers restart quickly.
fn backoff(failures: u32) -> Duration {
    let base = (200_u64 << failures.min(8)).min(30_000);
    Duration::from_millis(base / 2 + rand::random_range(0..=base / 2))
}
