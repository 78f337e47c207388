//! Watches CustomResourceDefinitions and keeps the registry's table as they say: grants names, serves established
//! versions, takes away what is gone, and removes the objects of a definition that is being deleted.
//!
//! Deliberately absent: what a definition means as a row (see `serve`), who may write definitions.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use api::Value;
use apimachinery::{GroupResource, GroupVersionResource, Reason, Status};
use apiserver::registry::Registry;
use apiserver::request::RequestContext;
use apiserver::resource::{Change, Objects, Preconditions};
use futures::StreamExt;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::definition::{self, Definition};
use super::naming::{self, Condition};
use super::{FINALIZER, serve};
use crate::aggregator::resolve::Resolver;

/// See the module.
pub struct Controller {
    registry: Arc<Registry>,
    objects: Arc<dyn Objects>,
    resolver: Resolver,
    known: BTreeMap<String, Known>,
    served: HashMap<String, Served>,
    cleaning: HashSet<String>,
    synced: watch::Sender<bool>,
    stop: CancellationToken,
}

struct Known {
    definition: Definition,
    object: Arc<Value>,
}

/// What of a definition is in the table.
struct Served {
    uid: String,
    generation: i64,
    resources: Vec<GroupVersionResource>,
}

impl Controller {
    /// Starts it. The answer turns true when every definition that was there is served.
    pub fn start(
        registry: Arc<Registry>,
        objects: Arc<dyn Objects>,
        resolver: Resolver,
        stop: CancellationToken,
    ) -> watch::Receiver<bool> {
        let (synced, receiver) = watch::channel(false);
        let controller = Self {
            registry,
            objects,
            resolver,
            known: BTreeMap::new(),
            served: HashMap::new(),
            cleaning: HashSet::new(),
            synced,
            stop: stop.clone(),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = controller.run() => {}
            }
        });
        receiver
    }

    async fn run(mut self) {
        loop {
            let mut changes = self.objects.watch(&definition::resource());
            let mut present: HashSet<String> = HashSet::new();
            let mut fresh = true;
            while let Some(change) = changes.next().await {
                match change {
                    Change::Set { object, .. } => {
                        let name = object.value.name().to_owned();
                        if fresh {
                            present.insert(name.clone());
                        }
                        self.set(&name, object.value).await;
                    }
                    Change::Deleted { old } => self.deleted(old.value.name()).await,
                    Change::Synced => {
                        fresh = false;
                        self.forget_all_but(&present).await;
                        self.synced.send_replace(true);
                        self.plan_all().await;
                    }
                }
            }
            tracing::warn!("the watch of CustomResourceDefinitions ended; starting it anew");
            tokio::task::yield_now().await;
        }
    }

    async fn set(&mut self, name: &str, object: Arc<Value>) {
        let definition = Definition::read(&object);
        self.show(&definition);
        self.known.insert(name.to_owned(), Known { definition, object });
        if *self.synced.borrow() {
            self.plan(name).await;
        }
    }

    async fn deleted(&mut self, name: &str) {
        self.known.remove(name);
        self.hide(name);
        self.cleaning.remove(name);
        if *self.synced.borrow() {
            // Names that it held may be what another one waits for.
            self.plan_all().await;
        }
    }

    async fn forget_all_but(&mut self, present: &HashSet<String>) {
        let gone: Vec<String> = self.known.keys().filter(|n| !present.contains(*n)).cloned().collect();
        for name in gone {
            self.deleted(&name).await;
        }
    }

    async fn plan_all(&mut self) {
        let names: Vec<String> = self.known.keys().cloned().collect();
        for name in names {
            self.plan(&name).await;
        }
    }

    /// Writes names and conditions where they are not as they should be; or cleans up.
    async fn plan(&mut self, name: &str) {
        let Some(known) = self.known.get(name) else { return };
        if known.definition.deleting {
            self.clean(name);
            return;
        }
        let plan = naming::plan(&known.definition, self.known.values().map(|k| &k.definition));
        if naming::is_done(&known.object, &plan) {
            return;
        }
        let now = Timestamp::now();
        let change = move |object: &mut Value| {
            naming::apply(object, &plan, now);
            Ok(())
        };
        let cx = RequestContext::internal(now);
        let done = self.objects.update(&cx, &definition::resource(), "status", "", name, &change).await;
        if let Err(error) = done.filter_missing() {
            tracing::error!(name, %error, "the status of a CustomResourceDefinition was not written");
        }
    }

    /// Serves what an established definition says, and stops serving what it no longer says.
    fn show(&mut self, of: &Definition) {
        if !of.established {
            self.hide(&of.name);
            return;
        }
        if let Some(served) = self.served.get(&of.name) {
            if served.uid == of.uid && served.generation == of.generation {
                return;
            }
            if served.uid != of.uid {
                self.hide(&of.name);
            }
        }
        let mut resources = Vec::new();
        for serve in serve::serve(of, &self.resolver) {
            let gvr = serve.row.gvr();
            match self.registry.serve(serve) {
                Ok(()) => resources.push(gvr),
                Err(error) => tracing::error!(name = of.name, %error, "a custom resource is not served"),
            }
        }
        let new = Served { uid: of.uid.clone(), generation: of.generation, resources };
        let old = self.served.insert(of.name.clone(), new);
        let now = self.served.get(&of.name).map(|s| s.resources.as_slice()).unwrap_or_default();
        for gone in old.into_iter().flat_map(|o| o.resources).filter(|r| !now.contains(r)) {
            self.registry.withdraw(&gone);
        }
    }

    fn hide(&mut self, name: &str) {
        for gone in self.served.remove(name).into_iter().flat_map(|s| s.resources) {
            self.registry.withdraw(&gone);
        }
    }

    /// Removes the objects, then the finalizer; once at a time for each definition.
    fn clean(&mut self, name: &str) {
        let Some(known) = self.known.get(name) else { return };
        if !known.object.meta().has_finalizer(FINALIZER) || !self.cleaning.insert(name.to_owned()) {
            return;
        }
        let resource = self.served.contains_key(name).then(|| known.definition.resource());
        let cleaner = Cleaner { objects: self.objects.clone(), name: name.to_owned(), resource };
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                done = cleaner.run() => if let Err(error) = done {
                    tracing::error!(name = cleaner.name, %error, "the objects of a CustomResourceDefinition were not removed");
                }
            }
        });
    }
}

/// Errors of writes to what has gone meanwhile are none.
trait FilterMissing {
    fn filter_missing(self) -> Result<(), Status>;
}

impl<T> FilterMissing for Result<T, Status> {
    fn filter_missing(self) -> Result<(), Status> {
        match self {
            Err(status) if !status.is(Reason::NotFound) => Err(status),
            _ => Ok(()),
        }
    }
}

/// Deletes the objects of one definition.
struct Cleaner {
    objects: Arc<dyn Objects>,
    name: String,
    /// None: nothing of it was ever served.
    resource: Option<GroupResource>,
}

impl Cleaner {
    async fn run(&self) -> Result<(), Status> {
        if let Some(resource) = &self.resource {
            self.say(true, "InstanceDeletionInProgress", "CustomResource deletion is in progress").await?;
            self.empty(resource).await?;
        }
        self.say(false, "InstanceDeletionCompleted", "removed all instances").await?;
        let change = |object: &mut Value| {
            let list = object.list_at(&["metadata", "finalizers"]).to_vec();
            let left: Vec<Value> = list.into_iter().filter(|f| f.as_str() != Some(FINALIZER)).collect();
            if left.is_empty() {
                object.meta_mut().remove("finalizers");
            } else {
                object.meta_mut().insert("finalizers", left);
            }
            Ok(())
        };
        let cx = RequestContext::internal(Timestamp::now());
        self.objects.update(&cx, &definition::resource(), "", "", &self.name, &change).await.filter_missing()
    }

    async fn say(&self, status: bool, reason: &'static str, message: &'static str) -> Result<(), Status> {
        let now = Timestamp::now();
        let condition = Condition { kind: "Terminating", status, reason, message: message.into() };
        let change = move |object: &mut Value| {
            naming::set(object, &condition, now);
            Ok(())
        };
        let cx = RequestContext::internal(now);
        self.objects
            .update(&cx, &definition::resource(), "status", "", &self.name, &change)
            .await
            .filter_missing()
    }

    /// Deletes every object and waits until the last has gone, which its finalizers may delay.
    async fn empty(&self, resource: &GroupResource) -> Result<(), Status> {
        let mut left: HashSet<(String, String)> = HashSet::new();
        let mut changes = self.objects.watch(resource);
        let mut synced = false;
        while let Some(change) = changes.next().await {
            match change {
                Change::Set { object, .. } => {
                    let (namespace, name) =
                        (object.value.namespace().to_owned(), object.value.name().to_owned());
                    if object.value.meta().deletion_timestamp().is_none() {
                        let cx = RequestContext::internal(Timestamp::now());
                        let options = Preconditions::default();
                        let deleted =
                            self.objects.delete(&cx, resource, &namespace, &name, Some(0), options).await;
                        deleted.filter_missing()?;
                    }
                    left.insert((namespace, name));
                }
                Change::Deleted { old } => {
                    left.remove(&(old.value.namespace().to_owned(), old.value.name().to_owned()));
                }
                Change::Synced => synced = true,
            }
            if synced && left.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }
}
