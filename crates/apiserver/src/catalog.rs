//! What is served: one table for built-in and custom resources, replaced as a whole when something is added or
//! taken away at run time, so that requests read it without a lock.
//!
//! Deliberately absent: how a resource is served (see `registry`), and who decides what is served.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::Value;
use api::schema::TypeRef;
use apimachinery::{GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource, Status};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::auth::Peer;
use crate::endpoint::{Body, Endpoint};
use crate::registry::stored::Stored;
use crate::request::RequestContext;
use crate::strategy::Strategy;

pub use api::resources::Resource;

/// Brings objects of one group-kind from one version to another. Called only when the two differ. Conversions that
/// need nothing but the object implement [`Converter::now`] alone, those that ask somebody else the other.
#[async_trait]
pub trait Converter: Send + Sync {
    /// The object with `to` as its apiVersion; None: it cannot be done without waiting.
    fn now(&self, object: &Value, from: &GroupVersion, to: &GroupVersion) -> Option<Result<Value, Status>>;

    /// False: somebody else is asked, so that [`Converter::now`] answers nothing.
    fn is_local(&self) -> bool {
        true
    }

    /// The same objects in the same order, each with `to` as its apiVersion.
    async fn convert(
        &self,
        objects: Vec<Value>,
        from: &GroupVersion,
        to: &GroupVersion,
    ) -> Result<Vec<Value>, Status> {
        let failed = || Status::internal(format!("no conversion from {from} to {to}"));
        objects.iter().map(|o| self.now(o, from, to).unwrap_or_else(|| Err(failed()))).collect()
    }
}

/// Versions that differ in nothing but their name.
pub struct Rename;

impl Converter for Rename {
    fn now(&self, object: &Value, _: &GroupVersion, to: &GroupVersion) -> Option<Result<Value, Status>> {
        let mut object = object.clone();
        object.set_at(&["apiVersion"], to.to_string());
        Some(Ok(object))
    }
}

/// How `scale` reads and writes an object: paths as a CustomResourceDefinition's `scale` gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// `.spec.replicas`
    pub spec_replicas: String,
    /// `.status.replicas`
    pub status_replicas: String,
    /// A selector object (built-in kinds, `.spec.selector`) or a selector as text (custom ones); "" for none.
    pub selector: String,
}

/// What stands at a subresource.
#[derive(Clone)]
pub enum Subresource {
    /// The object itself, of which only `status` (and some metadata) may be changed.
    Status,
    /// The object itself, written by another strategy (`pods/ephemeralcontainers`, `namespaces/finalize`, ...).
    Part(Arc<dyn Strategy>),
    /// autoscaling/v1 Scale.
    Scale(ScalePaths),
    Endpoint(Arc<dyn Endpoint>),
}

/// One resource in one version as it is to be served.
#[derive(Clone)]
pub struct Serve {
    /// Routes, verbs, columns, field labels, storage. Built-in rows come from `api`'s table, custom ones are made.
    pub row: Arc<Resource>,
    /// The type of `row.kind` in this version.
    pub schema: TypeRef,
    /// The type in the storage version (the same as `schema` where this is that version).
    pub storage_schema: TypeRef,
    pub strategy: Arc<dyn Strategy>,
    pub converter: Arc<dyn Converter>,
    /// By the subresource's name. What `row.subresources` lists and this does not is answered with 404.
    pub subresources: BTreeMap<String, Subresource>,
    /// For resources that are not stored (reviews): what answers.
    pub endpoint: Option<Arc<dyn Endpoint>>,
    /// Table columns and cells other than the row's own (custom resources' printer columns).
    pub table: Option<Arc<dyn Columns>>,
    /// Custom resources: this version's `openAPIV3Schema`, for OpenAPI documents.
    pub openapi: Option<Arc<Value>>,
    /// Raised by each change of a custom resource's schema: representations of an older one are not used again.
    pub generation: u64,
}

/// Table columns that are computed, not taken from the row and the strategy.
pub trait Columns: Send + Sync {
    /// `columnDefinitions` of meta.k8s.io Table.
    fn definitions(&self) -> Vec<Value>;
    /// Of an object in the version in which it is served.
    fn cells(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value>;
}

/// A group-version that another server serves (APIService).
#[async_trait]
pub trait Delegate: Send + Sync {
    /// The whole request, after authentication and authorization.
    async fn forward(
        &self,
        cx: &RequestContext,
        request: http::Request<Body>,
        peer: Peer,
    ) -> http::Response<Body>;

    /// What `/apis/GROUP/VERSION` of that server says (APIResourceList), as last seen; None while it is unknown.
    fn resources(&self) -> Option<Bytes>;

    /// That server's answer to GET of one of its OpenAPI paths (query included), asked in this server's own name.
    async fn openapi(&self, path: &str, headers: &http::HeaderMap) -> http::Response<Body>;
}

/// How discovery orders a group-version: greater first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority {
    pub group: i64,
    pub version: i64,
}

/// A [`Serve`] and what the server keeps for it.
pub struct Served {
    pub serve: Serve,
    pub gvr: GroupVersionResource,
    pub gvk: GroupVersionKind,
    pub gv: GroupVersion,
    pub gr: GroupResource,
    /// None for what is not stored.
    pub stored: Option<Arc<Stored>>,
}

impl Serve {
    /// A built-in row with nothing of its own: [`Plain`](crate::strategy::Plain) strategy, versions that differ by
    /// name only, status subresource if the row lists one. None: the table has no type for it.
    pub fn builtin(row: &Arc<Resource>) -> Option<Self> {
        let schema = row.object_type()?;
        let status = row.subresources.iter().filter(|s| &*s.name == "status");
        Some(Self {
            storage_schema: row.stored_type().unwrap_or_else(|| schema.clone()),
            schema,
            strategy: Arc::new(crate::strategy::Plain),
            converter: Arc::new(Rename),
            subresources: status.map(|s| (s.name.to_string(), Subresource::Status)).collect(),
            endpoint: None,
            table: None,
            openapi: None,
            generation: 0,
            row: row.clone(),
        })
    }
}

impl Served {
    /// The kind in errors: of the group that stores it (events of both groups are one kind).
    pub fn error_kind(&self) -> apimachinery::GroupKind {
        let own = self.gvk.group_kind();
        if !self.row.storage.is_stored() {
            return own;
        }
        let (group, _) = api::resources::split(&self.row.storage.api_version);
        apimachinery::GroupKind { group: group.into(), ..own }
    }
}

impl std::ops::Deref for Served {
    type Target = Serve;

    fn deref(&self) -> &Serve {
        &self.serve
    }
}

/// One state of the table.
#[derive(Clone, Default)]
pub struct Table {
    pub resources: HashMap<GroupVersionResource, Arc<Served>>,
    /// The version that `Objects` and storage use of each resource: its storage version if that is served, else any.
    pub preferred: HashMap<GroupResource, Arc<Served>>,
    pub priorities: BTreeMap<GroupVersion, Priority>,
    pub delegates: HashMap<GroupVersion, Arc<dyn Delegate>>,
    /// Raised by every change: what is derived from the table (discovery) is kept under it.
    pub revision: u64,
}

/// The run-time replaceable table.
pub struct Catalog {
    table: ArcSwap<Table>,
    writing: Mutex<()>,
    changed: tokio::sync::watch::Sender<u64>,
    /// Resources that the store knows are not all in the table yet.
    filling: tokio::sync::watch::Sender<bool>,
    /// The server has ended: the table stays empty.
    closed: AtomicBool,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            table: ArcSwap::default(),
            writing: Mutex::default(),
            changed: tokio::sync::watch::channel(0).0,
            filling: tokio::sync::watch::channel(false).0,
            closed: AtomicBool::new(false),
        }
    }
}

impl Catalog {
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    pub fn find(&self, group: &str, version: &str, resource: &str) -> Option<Arc<Served>> {
        self.table.load().resources.get(&GroupVersionResource::new(group, version, resource)).cloned()
    }

    /// While it is filling, a resource that is not in the table may still come: it is unavailable, not unknown. A
    /// client that takes a 404 for an answer (the garbage collector) would draw wrong conclusions.
    pub fn set_filling(&self, filling: bool) {
        self.filling.send_replace(filling);
    }

    pub fn is_filling(&self) -> bool {
        *self.filling.borrow()
    }

    /// Until it is filled. False where it is not within `limit`.
    pub async fn filled(&self, limit: std::time::Duration) -> bool {
        let mut filling = self.filling.subscribe();
        let filled = filling.wait_for(|filling| !filling);
        tokio::time::timeout(limit, filled).await.is_ok_and(|r| r.is_ok())
    }

    /// Sees every change of the table.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let _writing = self.writing.lock();
        let mut table = Table::clone(&self.table.load());
        let out = change(&mut table);
        if self.is_closed() {
            table = Table { revision: table.revision, ..Table::default() };
        }
        table.revision += 1;
        let revision = table.revision;
        self.table.store(Arc::new(table));
        self.changed.send_replace(revision);
        out
    }

    /// Empties the table for good, and with it lets go of what its strategies and endpoints hold: they reach back to
    /// the registry that holds this table.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.change(|_| ());
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Gives a group-version its place in discovery (rows of the table bring their own).
    pub fn set_priority(&self, gv: GroupVersion, priority: Priority) {
        self.change(|t| t.priorities.insert(gv, priority));
    }

    /// Lets another server answer for a group-version.
    pub fn delegate(&self, gv: GroupVersion, priority: Priority, to: Arc<dyn Delegate>) {
        self.change(|t| {
            t.priorities.insert(gv.clone(), priority);
            t.delegates.insert(gv, to)
        });
    }

    pub fn undelegate(&self, gv: &GroupVersion) {
        self.change(|t| {
            t.delegates.remove(gv);
            t.priorities.remove(gv)
        });
    }
}
