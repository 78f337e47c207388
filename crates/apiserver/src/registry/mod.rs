//! The registry: the one way to read and write stored objects of any kind. What differs between kinds comes from
//! their rows and strategies.
//!
//! Deliberately absent: HTTP, encodings of answers (see `handlers`), any kind.

pub mod convert;
mod create;
mod delete;
mod fields;
mod lease;
pub mod meta;
mod objects;
mod own;
pub mod read;
pub mod stored;
mod timers;
pub mod token;
pub mod transform;
mod unchanged;
mod update;

use std::collections::HashMap;
use std::sync::Arc;

use apimachinery::{GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource, Reason, Status};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::admission::Plugin;
use crate::catalog::{Catalog, Priority, Serve, Served};
use crate::server::{Error, Options};

pub use create::{Create, reset_of};
pub use delete::{DeleteOptions, Deleted, Propagation};
pub use unchanged::Fingerprint;
pub use update::{Part, Update};

use lease::Leases;
use stored::Stored;
use transform::Transformer;

/// Between two looks at what is cold.
const SWEEP: std::time::Duration = std::time::Duration::from_secs(60);

type Transformers = Box<dyn Fn(&GroupResource) -> Arc<dyn Transformer> + Send + Sync>;

/// See the module.
pub struct Registry {
    pub catalog: Arc<Catalog>,
    pub store: etcd::SharedStore,
    pub options: Options,
    pub plugins: ArcSwap<Vec<Arc<dyn Plugin>>>,
    pub stop: CancellationToken,
    stored: Mutex<HashMap<String, Arc<Stored>>>,
    transformers: Transformers,
    leases: Leases,
    unchanged: unchanged::Unchanged,
    pub(crate) compressed: Mutex<crate::handlers::list::Compressed>,
}

impl Registry {
    pub fn new(store: etcd::SharedStore, options: Options, transformers: Transformers) -> Arc<Self> {
        Arc::new(Self {
            catalog: Arc::default(),
            leases: Leases::new(store.clone()),
            store,
            options,
            plugins: ArcSwap::default(),
            stop: CancellationToken::new(),
            stored: Mutex::default(),
            transformers,
            unchanged: unchanged::Unchanged::default(),
            compressed: Mutex::default(),
        })
    }

    /// Adds a resource in one version, or replaces it (a changed definition: its watchers are ended if the stored
    /// form changes). The watch cache starts at once.
    pub fn serve(&self, serve: Serve) -> Result<(), Error> {
        let (gvr, gvk) = (serve.row.gvr(), serve.row.gvk());
        let stored = if serve.row.storage.is_stored() { Some(self.stored_of(&serve)?) } else { None };
        let (gv, gr) = (gvr.group_version(), gvr.group_resource());
        let priority = serve
            .row
            .priority
            .map(|(group, version)| Priority { group: group.into(), version: version.into() });
        let stores = *serve.row.storage.api_version == *gv.to_string();
        let served =
            Arc::new(Served { gv: gv.clone(), gr: gr.clone(), gvr: gvr.clone(), gvk, stored, serve });
        self.catalog.change(|table| {
            if let Some(priority) = priority {
                table.priorities.insert(gv, priority);
            }
            let same_version = table.preferred.get(&gr).is_none_or(|p| p.gvr == gvr);
            if stores || same_version {
                table.preferred.insert(gr, served.clone());
            }
            table.resources.insert(gvr, served);
        });
        Ok(())
    }

    fn stored_of(&self, serve: &Serve) -> Result<Arc<Stored>, Error> {
        let mut all = self.stored.lock();
        let key = serve.row.storage.prefix().to_owned();
        if let Some(found) = all.get(&key) {
            let shape = found.shape();
            if serve.generation > shape.serve.generation {
                found.reshape(serve);
            } else {
                found.add_labels(serve);
            }
            return Ok(found.clone());
        }
        let resource = serve.row.group_resource();
        let catalog = Arc::downgrade(&self.catalog);
        let others = Box::new(move |gr: &GroupResource, api_version: &str| {
            let (group, version) = api::resources::split(api_version);
            Some(catalog.upgrade()?.find(group, version, &gr.resource)?.schema.clone())
        });
        let transformer = (self.transformers)(&resource);
        let stop = self.stop.child_token();
        let stored =
            Stored::new(serve, self.store.clone(), &self.options.etcd_prefix, transformer, others, stop);
        stored.start();
        all.insert(key, stored.clone());
        Ok(stored)
    }

    /// Takes a version of a resource away; with the last one its cache goes and its watchers are ended.
    pub fn withdraw(&self, gvr: &GroupVersionResource) {
        let gone = self.catalog.change(|table| {
            let gone = table.resources.remove(gvr)?;
            let gr = gvr.group_resource();
            let other = table.resources.values().find(|s| s.gr == gr).cloned();
            match other {
                Some(other) if table.preferred.get(&gr).is_some_and(|p| p.gvr == *gvr) => {
                    table.preferred.insert(gr, other);
                }
                Some(_) => {}
                None => {
                    table.preferred.remove(&gr);
                }
            }
            if !table.resources.keys().any(|k| k.group == gvr.group && k.version == gvr.version) {
                table.priorities.remove(&gvr.group_version());
            }
            Some(gone)
        });
        let Some(stored) = gone.and_then(|g| g.stored.clone()) else { return };
        let table = self.catalog.table();
        let used =
            table.resources.values().any(|s| s.stored.as_ref().is_some_and(|o| Arc::ptr_eq(o, &stored)));
        if !used {
            self.stored.lock().retain(|_, s| !Arc::ptr_eq(s, &stored));
            stored.stop.cancel();
        }
    }

    /// Whether every cache has its first state; the resources that have not.
    pub fn unready(&self) -> Vec<String> {
        let stored = self.stored.lock();
        stored.values().filter(|s| !s.cache.is_ready()).map(|s| s.resource.to_string()).collect()
    }

    /// Until every cache that there is now has its first state.
    pub async fn synced(&self) {
        let all: Vec<Arc<Stored>> = self.stored.lock().values().cloned().collect();
        for stored in all {
            while stored.cache.ready().await.is_err() {}
        }
    }

    /// Keeps memory to what is in use: once a minute until the server stops.
    pub async fn sweep(self: Arc<Self>) {
        let mut minute = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = minute.tick() => {}
            }
            let all: Vec<Arc<Stored>> = self.stored.lock().values().cloned().collect();
            all.iter().for_each(|stored| stored.drop_cold());
            self.compressed.lock().drop_cold();
        }
    }

    /// Lets go of everything that was put into it, once no request runs any more: strategies, endpoints and plugins hold
    /// the registry, so that otherwise neither they nor the store would ever go. Its watches end.
    pub(crate) fn close(&self) {
        self.stop.cancel();
        self.catalog.close();
        self.plugins.store(Arc::default());
        self.stored.lock().clear();
    }

    /// What `Objects` and internal calls use for a resource, whatever its version.
    pub fn preferred(&self, resource: &GroupResource) -> Result<Arc<Served>, Status> {
        self.catalog.table().preferred.get(resource).cloned().ok_or_else(Status::no_route)
    }

    /// The served resource of a kind.
    pub fn of_kind(&self, kind: &GroupVersionKind) -> Option<Arc<Served>> {
        self.catalog.table().resources.values().find(|s| s.gvk == *kind).cloned()
    }

    /// The store's newest revision.
    pub async fn current_revision(&self, stored: &Stored) -> Result<i64, Status> {
        let request = etcd::RangeRequest {
            limit: 1,
            count_only: true,
            ..etcd::RangeRequest::key(stored.store_key(""))
        };
        Ok(self.store.range(request).await.map_err(store_error)?.revision)
    }
}

/// The store's error as the API's.
pub fn store_error(error: etcd::Error) -> Status {
    match &error {
        etcd::Error::Compacted { .. } => {
            Status::expired("The resourceVersion for the provided watch is too old.")
        }
        etcd::Error::Timeout { .. } => Status::timeout(error.to_string(), 1),
        etcd::Error::Unavailable { .. } => Status::new(500, Reason::InternalError, error.to_string()),
        etcd::Error::RequestTooLarge { .. } => Status::too_large(format!("etcdserver: {error}")),
        _ => Status::internal(error),
    }
}

/// The type of a kind in another version, and conversions between versions, for managedFields.
pub struct KindVersions<'a> {
    pub catalog: &'a Catalog,
    pub served: &'a Served,
}

impl api::merge::Versions for KindVersions<'_> {
    fn type_of(&self, api_version: &str) -> Option<api::schema::TypeRef> {
        let (group, version) = api::resources::split(api_version);
        if self.served.gv.group.as_ref() == group && self.served.gv.version.as_ref() == version {
            return Some(self.served.schema.clone());
        }
        let table = self.catalog.table();
        let mut same = table.resources.values().filter(|s| s.gvk.kind == self.served.gvk.kind);
        same.find(|s| *s.gv.group == *group && *s.gv.version == *version).map(|s| s.schema.clone())
    }

    fn convert(&self, object: &api::Value, api_version: &str) -> Option<api::Value> {
        let (from_group, from_version) = api::resources::split(object.api_version());
        let (group, version) = api::resources::split(api_version);
        if (from_group, from_version) == (group, version) {
            return Some(object.clone());
        }
        let from = GroupVersion::new(from_group, from_version);
        self.served.converter.now(object, &from, &GroupVersion::new(group, version))?.ok()
    }
}

/// The declarative rules of a type.
fn rules(
    gates: &component_base::FeatureGates,
    of: &api::schema::Type,
    object: &api::Value,
    old: Option<&api::Value>,
) -> apimachinery::field::ErrorList {
    let enabled = |gate: &str| gates.enabled(gate);
    let beta = gates.enabled("DeclarativeValidationBeta");
    api::validate::validate(object, old, of, api::validate::Options { beta, enabled: &enabled })
}

/// Where code and table refuse the same value, the error stands once.
fn dedup(errors: &mut apimachinery::field::ErrorList) {
    let mut seen = Vec::new();
    errors.retain(|e| {
        let key = (e.kind, e.field.clone(), e.value.clone(), e.detail.clone());
        let new = !seen.contains(&key);
        seen.push(key);
        new
    });
}
