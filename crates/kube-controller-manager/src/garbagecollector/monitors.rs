//! A watch on every kind that can be deleted, metadata only; kinds that other controllers watch anyway share their
//! informers. The set follows discovery, which is asked again when custom resources come and go.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use client::discovery::{Discovered, Discovery};
use client::{
    Api, Event, Informer, InformerOptions, ObjectMeta, OwnerReference, Resource, View, resource, view,
};
use compact_str::CompactString;
use futures::future::BoxFuture;
use parking_lot::RwLock;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::graph::Object;
use crate::context::Context;
use crate::views::{ClusterRole, ControllerRevision, DaemonSet};
use crate::views::{
    Deployment, EndpointSlice, Endpoints, Namespace, Node, Pod, ReplicaSet, Service, ServiceAccount,
};

/// What the collector reads of an object.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Lean {
    metadata: LeanMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LeanMeta {
    name: CompactString,
    namespace: CompactString,
    uid: CompactString,
    resource_version: CompactString,
    owner_references: Vec<OwnerReference>,
    finalizers: Vec<CompactString>,
    deletion_timestamp: Option<serde::de::IgnoredAny>,
}

view!(Lean);

/// An object's metadata as far as it concerns the collector, borrowed from a view.
pub struct Parts<'a> {
    namespace: &'a CompactString,
    name: &'a CompactString,
    uid: &'a CompactString,
    resource_version: &'a CompactString,
    owners: &'a [OwnerReference],
    finalizers: &'a [CompactString],
    deleting: bool,
}

impl Parts<'_> {
    fn object(&self, kind: &Arc<Resource>) -> Object {
        Object {
            kind: kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            resource_version: self.resource_version.clone(),
            owners: self.owners.to_vec(),
            finalizers: self.finalizers.to_vec(),
            deleting: self.deleting,
        }
    }

    fn stands_as(&self, other: &Self) -> bool {
        (self.uid, self.deleting) == (other.uid, other.deleting)
            && self.owners == other.owners
            && self.finalizers == other.finalizers
    }
}

/// Views that have an object's whole metadata.
pub trait HasMeta: View {
    fn parts(&self) -> Parts<'_>;
}

impl HasMeta for Lean {
    fn parts(&self) -> Parts<'_> {
        let meta = &self.metadata;
        Parts {
            namespace: &meta.namespace,
            name: &meta.name,
            uid: &meta.uid,
            resource_version: &meta.resource_version,
            owners: &meta.owner_references,
            finalizers: &meta.finalizers,
            deleting: meta.deletion_timestamp.is_some(),
        }
    }
}

macro_rules! has_meta {
    ($($view:ty),*) => {
        $(impl HasMeta for $view {
            fn parts(&self) -> Parts<'_> {
                let meta: &ObjectMeta = &self.metadata;
                Parts {
                    namespace: &meta.namespace,
                    name: &meta.name,
                    uid: &meta.uid,
                    resource_version: &meta.resource_version,
                    owners: &meta.owner_references,
                    finalizers: &meta.finalizers,
                    deleting: meta.is_being_deleted(),
                }
            }
        })*
    };
}

has_meta!(
    Pod,
    Node,
    ReplicaSet,
    Deployment,
    DaemonSet,
    ControllerRevision,
    Service,
    Endpoints,
    EndpointSlice,
    Namespace,
    ServiceAccount,
    ClusterRole
);

/// What happened to an object.
pub enum Change<'a> {
    Upsert(Object),
    /// Nothing but its version changed, as far as the collector is concerned: by far the most frequent case.
    Version(&'a CompactString, &'a CompactString),
    Gone(&'a CompactString),
    /// A custom resource or an aggregated API changed: other kinds may be served.
    Kinds,
}

/// Told of each change.
pub type Sink = Arc<dyn Fn(Change<'_>) + Send + Sync>;

/// The watches, by group and plural.
pub struct Monitors {
    context: Context,
    api: Api,
    sink: Sink,
    running: RwLock<HashMap<(String, String), Monitor>>,
    /// By group and kind.
    kinds: RwLock<HashMap<(String, String), Arc<Resource>>>,
}

struct Monitor {
    resource: Arc<Resource>,
    /// Ends it; shared informers go on.
    stop: Option<CancellationToken>,
}

type Synced = BoxFuture<'static, ()>;

impl Monitors {
    pub fn new(context: Context, sink: Sink) -> Self {
        let api = context.manager.with_user_agent("kube-controller-manager/generic-garbage-collector");
        Self { context, api, sink, running: RwLock::default(), kinds: RwLock::default() }
    }

    /// The resource of an owner's kind.
    pub fn resource_of(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.kinds.read().get(&(group.to_owned(), kind.to_owned())).cloned()
    }

    /// Starts and stops watches so that they are those of `discovery`; what to wait for until the new ones have
    /// their first list.
    pub fn follow(&self, discovery: &Discovery) -> Vec<Synced> {
        self.note_kinds(discovery);
        let wanted: HashMap<_, _> =
            discovery.resources.iter().filter(|d| is_watched(d)).map(|d| (key(&d.resource), d)).collect();
        let mut running = self.running.write();
        running.retain(|key, monitor| {
            // What a server that does not answer had is not gone.
            let version = format!("{}/{}", monitor.resource.group, monitor.resource.version);
            let keep = wanted.contains_key(key) || discovery.stale.contains(&version);
            if let (false, Some(stop)) = (keep, &monitor.stop) {
                stop.cancel();
            }
            keep
        });
        let mut waiting = Vec::new();
        for (key, found) in wanted {
            if let Entry::Vacant(place) = running.entry(key) {
                let (monitor, synced) = self.start(&found.resource);
                place.insert(monitor);
                waiting.push(synced);
            }
        }
        waiting
    }

    fn note_kinds(&self, discovery: &Discovery) {
        let mut kinds = self.kinds.write();
        for found in &discovery.resources {
            let key = (found.resource.group.to_string(), found.resource.kind.to_string());
            // Several resources may answer with one kind; the one that lists its objects is meant.
            if found.has("get") && (found.has("list") || !kinds.contains_key(&key)) {
                kinds.insert(key, Arc::new(found.resource.clone()));
            }
        }
    }

    fn start(&self, found: &Resource) -> (Monitor, Synced) {
        let resource = Arc::new(found.clone());
        if let Some(synced) = self.share(&resource) {
            return (Monitor { resource, stop: None }, synced);
        }
        let options = InformerOptions { metadata_only: true, ..InformerOptions::default() };
        let informer: Informer<Lean> = Informer::new(self.api.clone(), found.clone(), options);
        let stop = self.context.shutdown.child_token();
        let synced = self.attach(&informer, &resource);
        informer.start(stop.clone());
        (Monitor { resource, stop: Some(stop) }, synced)
    }

    /// Joins an informer that the controllers have anyway.
    fn share(&self, resource: &Arc<Resource>) -> Option<Synced> {
        let informers = &self.context.informers;
        let is =
            |other: &resource::Resource| resource.group == other.group && resource.plural == other.plural;
        Some(match () {
            () if is(&resource::PODS) => self.attach(&informers.pods(), resource),
            () if is(&resource::NODES) => self.attach(&informers.nodes(), resource),
            () if is(&resource::REPLICA_SETS) => self.attach(&informers.replica_sets(), resource),
            () if is(&resource::REPLICATION_CONTROLLERS) => {
                self.attach(&informers.replication_controllers(), resource)
            }
            () if is(&resource::DEPLOYMENTS) => self.attach(&informers.deployments(), resource),
            () if is(&resource::DAEMON_SETS) => self.attach(&informers.daemon_sets(), resource),
            () if is(&resource::CONTROLLER_REVISIONS) => {
                self.attach(&informers.controller_revisions(), resource)
            }
            () if is(&resource::SERVICES) => self.attach(&informers.services(), resource),
            () if is(&resource::ENDPOINTS) => self.attach(&informers.endpoints(), resource),
            () if is(&resource::ENDPOINT_SLICES) => self.attach(&informers.endpoint_slices(), resource),
            () if is(&resource::NAMESPACES) => self.attach(&informers.namespaces(), resource),
            () if is(&resource::SERVICE_ACCOUNTS) => self.attach(&informers.service_accounts(), resource),
            () if is(&resource::CLUSTER_ROLES) => self.attach(&informers.cluster_roles(), resource),
            () => return None,
        })
    }

    fn attach<V: HasMeta>(&self, informer: &Informer<V>, resource: &Arc<Resource>) -> Synced {
        let (sink, kind) = (self.sink.clone(), resource.clone());
        let makes_kinds = matches!(&*resource.plural, "customresourcedefinitions" | "apiservices");
        informer.add_handler(move |event| {
            if makes_kinds {
                sink(Change::Kinds);
            }
            match event {
                Event::Modified { old, new } if old.parts().stands_as(&new.parts()) => {
                    let parts = new.parts();
                    sink(Change::Version(parts.uid, parts.resource_version));
                }
                Event::Added(v) | Event::Modified { new: v, .. } => {
                    sink(Change::Upsert(v.parts().object(&kind)))
                }
                Event::Deleted(v) => sink(Change::Gone(v.parts().uid)),
            }
        });
        let informer = informer.clone();
        Box::pin(async move { informer.wait_synced().await })
    }
}

fn key(resource: &Resource) -> (String, String) {
    (resource.group.to_string(), resource.plural.to_string())
}

/// Events have no owners worth a watch.
fn is_watched(found: &Discovered) -> bool {
    let events = found.resource.plural == "events" && matches!(&*found.resource.group, "" | "events.k8s.io");
    !events && ["list", "watch", "delete"].iter().all(|verb| found.has(verb))
}
