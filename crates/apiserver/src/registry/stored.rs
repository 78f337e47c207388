//! One resource as it lies in the store, whatever versions it is served in: keys, encoding, decoding, its cache.
//!
//! Deliberately absent: what a request does (see the siblings).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use api::schema::{self, TypeRef};
use api::{Value, json};
use apimachinery::{GroupResource, GroupVersion, Status};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use etcd::{KeyValue, SharedStore, Store};
use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;

use super::fields::{self, Label};
use super::own::OwnWrites;
use super::timers::Timers;
use super::transform::Transformer;
use crate::cache::{Cache, Entry, Selection, Source};
use crate::catalog::Serve;
use crate::codec;
use crate::form::Media;

/// Decoded trees that are kept while they may be asked for again.
const HOT_TREES: usize = 256;

/// Bytes that a thread keeps to write objects in.
const SCRATCH: usize = 64 << 10;

/// Finds the type of a resource's other version, for objects stored in one.
pub type OtherVersions = Box<dyn Fn(&GroupResource, &str) -> Option<TypeRef> + Send + Sync>;

/// See the module.
pub struct Stored {
    pub resource: GroupResource,
    pub namespaced: bool,
    pub lease_seconds: Option<i64>,
    pub cache: Arc<Cache>,
    pub store: SharedStore,
    /// Full, with the final `/`.
    prefix: String,
    pub(super) timers: Timers,
    transformer: Arc<dyn Transformer>,
    shape: ArcSwap<Shape>,
    /// In the order of `Entry::fields`.
    labels: RwLock<Vec<Label>>,
    other_versions: OtherVersions,
    pub(super) own: OwnWrites,
    trees: Mutex<VecDeque<Arc<Value>>>,
    pub(crate) stop: CancellationToken,
}

/// How objects are stored now; replaced when a custom resource's definition changes.
pub struct Shape {
    pub serve: Serve,
    /// Of the storage version.
    pub gv: Arc<GroupVersion>,
    pub api_version: String,
    pub schema: TypeRef,
    pub media: Media,
    /// What all objects begin with and items of lists leave out (see [`Entry`]).
    pub head: Bytes,
}

impl Shape {
    pub fn of(serve: &Serve) -> Self {
        let (group, version) = api::resources::split(&serve.row.storage.api_version);
        let protobuf = serve.row.storage.media.contains("protobuf") && serve.storage_schema.in_proto;
        let row = &serve.row;
        let head = if serve.storage_schema.custom {
            "{".to_owned()
        } else {
            format!("{{\"kind\":\"{}\",\"apiVersion\":\"{}\",", row.storage.kind, row.storage.api_version)
        };
        Self {
            head: head.into(),
            gv: Arc::new(GroupVersion::new(group, version)),
            api_version: serve.row.storage.api_version.to_string(),
            schema: serve.storage_schema.clone(),
            media: if protobuf { Media::Protobuf } else { Media::Json },
            serve: serve.clone(),
        }
    }
}

/// A stored object that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("{0}")]
    Transform(#[from] super::transform::TransformError),
    #[error("{0}")]
    Decode(#[from] api::canonical::DecodeError),
    #[error("{0}")]
    Other(Status),
}

impl Stored {
    pub fn new(
        serve: &Serve,
        store: SharedStore,
        etcd_prefix: &str,
        transformer: Arc<dyn Transformer>,
        other_versions: OtherVersions,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let row = &serve.row;
        let prefix = row.storage.prefix().replacen("/registry", etcd_prefix, 1);
        let labels = fields::labels_of(serve);
        let indexed = serve.strategy.indexed_fields();
        let indexed = labels.iter().enumerate().filter(|(_, l)| indexed.contains(&l.name.as_str()));
        let indexed = indexed.map(|(at, _)| at);
        Arc::new(Self {
            resource: row.group_resource(),
            namespaced: row.namespaced,
            lease_seconds: row.storage.lease_seconds,
            cache: Cache::new(indexed.collect()),
            store,
            prefix,
            timers: Timers::new(&row.group_resource()),
            transformer,
            shape: ArcSwap::from_pointee(Shape::of(serve)),
            labels: RwLock::new(labels),
            other_versions,
            own: OwnWrites::default(),
            trees: Mutex::default(),
            stop,
        })
    }

    pub fn start(self: &Arc<Self>) {
        self.cache.start(self.clone(), self.stop.clone());
    }

    pub fn shape(&self) -> Arc<Shape> {
        self.shape.load_full()
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Another version of the same resource brings its own field labels; what was read without them is read anew.
    pub fn add_labels(&self, serve: &Serve) {
        if fields::add(&mut self.labels.write(), serve) {
            self.cache.restart();
        }
    }

    /// Takes a changed definition: everything is read anew.
    pub fn reshape(&self, serve: &Serve) {
        self.shape.store(Arc::new(Shape::of(serve)));
        *self.labels.write() = fields::labels_of(serve);
        self.own.clear();
        self.cache.restart();
    }

    /// The place of a version's field label in `Entry::fields`.
    pub fn label_position(&self, label: &str, of: &GroupVersion) -> Option<usize> {
        self.labels.read().iter().position(|l| l.is(label, of))
    }

    /// The cache's key.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced { format!("{namespace}/{name}") } else { name.to_owned() }
    }

    /// The store's key.
    pub fn store_key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The object of a stored pair: any version, brought to the storage version, with today's defaults.
    pub async fn read(&self, pair: &KeyValue) -> Result<Value, Unreadable> {
        let shape = self.shape();
        let key = String::from_utf8_lossy(&pair.key);
        let (bytes, _) = self.transformer.transform_from_storage(&key, &pair.value)?;
        let mut value = self.parse(&shape, &bytes).await?;
        api::defaults::apply(&mut value, &shape.schema);
        shape.serve.strategy.default(&shape.gv.version, value.as_map_or_make());
        value.meta_mut().insert("resourceVersion", pair.mod_revision.to_string());
        Ok(value)
    }

    async fn parse(&self, shape: &Shape, bytes: &Bytes) -> Result<Value, Unreadable> {
        let media = if bytes.starts_with(b"k8s\0") { Media::Protobuf } else { Media::Json };
        let (api_version, kind) = codec::type_meta(media, bytes).map_err(Unreadable::Other)?;
        if api_version == shape.api_version {
            return Ok(codec::decode(media, bytes, &shape.schema)?.0);
        }
        let (group, version) = api::resources::split(&api_version);
        let of = schema::by_gvk(group, version, &kind)
            .or_else(|| (self.other_versions)(&self.resource, &api_version));
        let value = codec::decode(media, bytes, of.as_ref().unwrap_or(&shape.schema))?.0;
        let from = GroupVersion::new(group, version);
        let converted = shape.serve.converter.convert(vec![value], &from, &shape.gv).await;
        let mut converted = converted.map_err(Unreadable::Other)?;
        converted.pop().ok_or_else(|| Unreadable::Other(Status::internal("conversion answered nothing")))
    }

    /// What goes into the store for an object in the storage version: no resourceVersion in it. The object itself gets
    /// the defaults that reading it back would give it, so that answers and caches say the same.
    pub fn encode(&self, store_key: &str, value: &mut Value) -> Result<Vec<u8>, Status> {
        let shape = self.shape();
        value.meta_mut().remove("resourceVersion");
        let mut encoded = codec::encode(shape.media, value, &shape.schema)?;
        if shape.media == Media::Json && encoded.last() != Some(&b'\n') {
            encoded.push(b'\n');
        }
        self.complete(value);
        self.transformer.transform_to_storage(store_key, encoded).map_err(Status::internal)
    }

    /// Gives an object the defaults that reading it back gives.
    pub fn complete(&self, value: &mut Value) {
        let shape = self.shape();
        api::defaults::apply(value, &shape.schema);
        shape.serve.strategy.default(&shape.gv.version, value.as_map_or_make());
    }

    /// The cache's entry of an object in the storage version, resourceVersion set.
    pub fn entry(&self, key: Arc<str>, revision: i64, value: Arc<Value>) -> Arc<Entry> {
        let shape = self.shape();
        let (head, body) = written(&value, &shape);
        let labels = value.meta().labels().into_iter().flat_map(|m| m.iter());
        let labels = labels.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.into()))).collect();
        let fields = fields::read_now(&self.labels.read(), &value);
        let version = version_of(&value, &shape);
        let entry = Entry::new(key, self.namespaced, labels, fields, revision, version, (head, body));
        let entry = Arc::new(entry);
        self.keep(&entry, value);
        entry
    }

    fn keep(&self, entry: &Entry, value: Arc<Value>) {
        entry.keep_tree(&value);
        let mut trees = self.trees.lock();
        if trees.len() >= HOT_TREES {
            trees.pop_front();
        }
        trees.push_back(value);
    }

    /// The entry of a stored pair.
    pub async fn entry_of(&self, pair: &KeyValue) -> Result<Arc<Entry>, Unreadable> {
        let key = String::from_utf8_lossy(&pair.key[self.prefix.len().min(pair.key.len())..]).into();
        let value = self.read(pair).await?;
        let entry = self.entry(key, pair.mod_revision, Arc::new(value));
        if self.has_late_fields()
            && let Err(error) = self.read_late(std::slice::from_ref(&entry), None).await
        {
            tracing::warn!(key = %entry.key, %error, "fields of another version cannot be read yet");
        }
        Ok(entry)
    }

    /// The decoded object of an entry, shared with whoever has it and kept for who comes next.
    pub fn tree(&self, entry: &Entry) -> Arc<Value> {
        if let Some(tree) = entry.tree() {
            return tree;
        }
        let value = self.decoded(entry);
        self.keep(entry, value.clone());
        value
    }

    /// As [`Self::tree`], but not kept: for one form of many objects, which must not push out those that are at work.
    pub fn tree_once(&self, entry: &Entry) -> Arc<Value> {
        entry.tree().unwrap_or_else(|| self.decoded(entry))
    }

    fn decoded(&self, entry: &Entry) -> Arc<Value> {
        let shape = self.shape();
        let decoded = if shape.schema.custom {
            let earlier = (entry.version != shape.gv)
                .then(|| (self.other_versions)(&self.resource, &entry.version.to_string()))
                .flatten();
            json::decode(&entry.json(), earlier.as_ref().unwrap_or(&shape.schema))
                .map(|(value, _)| value)
                .map_err(|e| e.to_string())
        } else {
            json::parse_canonical(&entry.json(), &shape.schema).map_err(|e| e.to_string())
        };
        Arc::new(decoded.unwrap_or_else(|error| {
            tracing::error!(key = %entry.key, %error, "an object of the cache cannot be decoded again");
            Value::map()
        }))
    }

    /// Some fields take a conversion by somebody else to be read.
    pub fn has_late_fields(&self) -> bool {
        self.labels.read().iter().any(Label::is_late)
    }

    /// Reads late fields of these entries, all or the one at a position.
    pub async fn read_late(&self, entries: &[Arc<Entry>], at: Option<usize>) -> Result<(), Status> {
        let labels = self.labels.read().clone();
        let late = labels.iter().enumerate().filter(|(i, l)| l.is_late() && at.is_none_or(|at| at == *i));
        for (position, label) in late {
            let unread: Vec<_> = entries.iter().filter(|e| e.field_is(position, "").is_none()).collect();
            let trees = unread.iter().map(|e| Value::clone(&self.tree(e))).collect();
            for (entry, value) in unread.iter().zip(label.read_late(trees, &self.shape().gv).await?) {
                entry.set_late(position, value);
            }
        }
        Ok(())
    }

    /// Makes sure that a selection by late fields finds them read. Fails if a conversion fails.
    pub async fn decide(&self, selection: &Selection) -> Result<(), Status> {
        let late: Vec<usize> = {
            let labels = self.labels.read();
            let positions = selection.fields.iter().map(|(at, ..)| *at);
            positions.filter(|at| labels.get(*at).is_some_and(Label::is_late)).collect()
        };
        for at in late {
            let all = self.cache.select(&selection.without_fields(), None).entries;
            self.read_late(&all, Some(at)).await?;
        }
        Ok(())
    }

    /// Lets go of what nobody has asked for in a while.
    pub fn drop_cold(&self) {
        self.cache.drop_cold();
        self.timers.objects.set(self.cache.len() as f64);
        let mut trees = self.trees.lock();
        let half = trees.len().div_ceil(2);
        trees.drain(..half);
        trees.shrink_to_fit();
    }

    /// An entry that the cache or a recent write has at exactly this revision.
    pub fn known(&self, key: &str, revision: i64) -> Option<Arc<Entry>> {
        let cached = self.current(key).filter(|e| e.revision == revision);
        cached.or_else(|| self.own.known(key, revision).filter(|e| self.is_current(e)))
    }

    /// What the cache has of a key, if it is in today's storage version.
    pub fn current(&self, key: &str) -> Option<Arc<Entry>> {
        self.cache.get(key).filter(|e| self.is_current(e))
    }

    pub(super) fn is_current(&self, entry: &Entry) -> bool {
        entry.version == self.shape.load().gv
    }
}

/// The version that an object is in: it says so itself, as a custom resource may have been given another storage
/// version while the object was on its way.
fn version_of(value: &Value, shape: &Shape) -> Arc<GroupVersion> {
    let own = value.api_version();
    if !shape.schema.custom || own == shape.api_version {
        return shape.gv.clone();
    }
    own.parse().map_or_else(|_| shape.gv.clone(), Arc::new)
}

/// The parts of an entry's JSON (see [`Entry`]), written where earlier ones were and copied once, to their size.
fn written(value: &Value, shape: &Shape) -> (Bytes, Bytes) {
    thread_local! {
        static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    TEXT.with_borrow_mut(|json| {
        json.clear();
        json::write(json, value, &shape.schema);
        let (head, rest) = match json.strip_prefix(&*shape.head) {
            Some(rest) => (shape.head.clone(), rest),
            None => (Bytes::from_static(b"{"), json.get(1..).unwrap_or_default()),
        };
        let body = Bytes::from([b",{", rest, b"\n"].concat());
        if json.capacity() > SCRATCH {
            *json = Vec::new();
        }
        (head, body)
    })
}

#[async_trait]
impl Source for Stored {
    fn store(&self) -> &dyn Store {
        &*self.store
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    async fn decode(&self, pairs: Vec<KeyValue>) -> Vec<Arc<Entry>> {
        let mut out = Vec::with_capacity(pairs.len());
        for pair in &pairs {
            match self.entry_of(pair).await {
                Ok(entry) => out.push(entry),
                Err(error) => {
                    let key = String::from_utf8_lossy(&pair.key);
                    tracing::error!(%key, %error, "a stored object cannot be read and is left out");
                }
            }
        }
        out
    }

    fn made(&self, key: &str, pair: &KeyValue) -> Option<Arc<Entry>> {
        self.own.seen(self, key, pair)
    }
}
