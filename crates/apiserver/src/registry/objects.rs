//! [`Objects`] for the rest of the server: reads from the watch cache, writes through the same pipeline as requests.

use std::collections::HashMap;
use std::sync::Arc;

use api::Value;
use api::schema::TypeRef;
use apimachinery::{GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource, Status};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::stored::Stored;
use super::{Create, DeleteOptions, Part, Registry, Update};
use crate::cache::{Cache, Entry, Selection, Subscription};
use crate::catalog::Catalog;
use crate::request::RequestContext;
use crate::resource::{Change, Object, Objects, Preconditions};

fn object(stored: &Stored, entry: &Entry) -> Object {
    Object { value: stored.tree(entry), resource_version: entry.revision }
}

impl Registry {
    fn served_version(&self, resource: &GroupVersionResource) -> Result<Arc<crate::catalog::Served>, Status> {
        self.catalog.find(&resource.group, &resource.version, &resource.resource).ok_or_else(Status::no_route)
    }

    fn stored_of_resource(&self, resource: &GroupResource) -> Option<Arc<Stored>> {
        self.catalog.table().preferred.get(resource)?.stored.clone()
    }
}

#[async_trait]
impl Objects for Registry {
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Object> {
        let stored = self.stored_of_resource(resource)?;
        let entry = stored.cache.get(&stored.key(namespace, name))?;
        Some(object(&stored, &entry))
    }

    fn list(&self, resource: &GroupResource, namespace: &str) -> Vec<Object> {
        let Some(stored) = self.stored_of_resource(resource) else { return Vec::new() };
        let selection = Selection::new(stored.namespaced, namespace, "");
        stored.cache.select(&selection, None).entries.iter().map(|e| object(&stored, e)).collect()
    }

    fn watch(&self, resource: &GroupResource) -> BoxStream<'static, Change> {
        let follow = Follow {
            catalog: self.catalog.clone(),
            resource: resource.clone(),
            known: HashMap::new(),
            live: None,
            waiting: Vec::new(),
            synced: false,
        };
        stream::unfold(follow, |mut follow| async move {
            let change = follow.next().await?;
            Some((change, follow))
        })
        .boxed()
    }

    fn complete(&self, resource: &GroupVersionResource, mut object: Value) -> Result<Value, Status> {
        let served = self.served_version(resource)?;
        let mut found = api::canonical::Found::default();
        api::canonical::canonicalize(&mut object, &served.schema, &mut found).map_err(Status::internal)?;
        api::defaults::apply(&mut object, &served.schema);
        served.strategy.default(&served.gv.version, object.as_map_or_make());
        Ok(object)
    }

    fn resource_of(&self, kind: &GroupVersionKind) -> Option<(GroupVersionResource, bool)> {
        let table = self.catalog.table();
        let found = table.resources.values().find(|s| s.gvk == *kind && s.stored.is_some())?;
        Some((found.gvr.clone(), found.row.namespaced))
    }

    fn schema(&self, resource: &GroupVersionResource) -> Option<TypeRef> {
        self.served_version(resource).ok().map(|served| served.schema.clone())
    }

    fn versions(&self, resource: &GroupResource) -> Vec<GroupVersionKind> {
        let table = self.catalog.table();
        table.resources.values().filter(|s| s.gr == *resource).map(|s| s.gvk.clone()).collect()
    }

    async fn convert(
        &self,
        resource: &GroupVersionResource,
        object: Value,
        to: &GroupVersion,
    ) -> Result<Value, Status> {
        let served = self.served_version(resource)?;
        let mut out = served.converter.convert(vec![object], &served.gv, to).await?;
        out.pop().ok_or_else(|| Status::internal("conversion answered nothing"))
    }

    async fn get_latest(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Object, Status> {
        let served = self.preferred(resource)?;
        let entry = Registry::get(self, &served, (namespace, name), None).await?;
        let stored = served.stored.as_ref().ok_or_else(Status::no_route)?;
        Ok(object(stored, &entry))
    }

    async fn create(
        &self,
        cx: &RequestContext,
        resource: &GroupResource,
        namespace: &str,
        object: Value,
    ) -> Result<Object, Status> {
        let served = self.preferred(resource)?;
        let stored = served.stored.clone().ok_or_else(Status::no_route)?;
        let mut object = object;
        crate::handlers::decode::complete(&served, &mut object);
        let request =
            Create { cx, served: &served, namespace, object, options: Value::map(), manage_fields: true };
        let entry = Registry::create(self, request).await?;
        Ok(self::object(&stored, &entry))
    }

    async fn update(
        &self,
        cx: &RequestContext,
        resource: &GroupResource,
        subresource: &str,
        namespace: &str,
        name: &str,
        change: &(dyn for<'a> Fn(&'a mut Value) -> Result<(), Status> + Send + Sync),
    ) -> Result<Object, Status> {
        let served = self.preferred(resource)?;
        let stored = served.stored.clone().ok_or_else(Status::no_route)?;
        let make = |live: Option<&Value>| {
            let mut new = live.cloned().unwrap_or_default();
            change(&mut new)?;
            Ok(new)
        };
        let request = Update {
            cx,
            served: &served,
            subresource,
            part: if subresource == "status" { Part::Status } else { Part::Main },
            namespace,
            name,
            make: &make,
            options: Value::map(),
            preconditions: Preconditions::default(),
            create: false,
            whole: false,
            // Upstream writes a status through a client, everything else below whoever keeps managedFields.
            manage_fields: subresource == "status",
            admit: false,
            fingerprint: None,
        };
        let updated = Registry::update(self, request).await?;
        Ok(object(&stored, &updated.entry))
    }

    async fn delete(
        &self,
        cx: &RequestContext,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        grace_seconds: Option<i64>,
        preconditions: Preconditions,
    ) -> Result<(), Status> {
        let served = self.preferred(resource)?;
        let options =
            DeleteOptions { grace_seconds, preconditions, object: Value::map(), ..DeleteOptions::default() };
        Registry::delete(self, cx, &served, (namespace, name), &options, false).await.map(drop)
    }
}

struct Live {
    stored: Arc<Stored>,
    watch: Subscription,
}

/// One internal watch: it survives restarts of the cache, telling only what has changed meanwhile.
struct Follow {
    catalog: Arc<Catalog>,
    resource: GroupResource,
    known: HashMap<Arc<str>, Arc<Entry>>,
    live: Option<Live>,
    /// In reverse order.
    waiting: Vec<Change>,
    synced: bool,
}

impl Follow {
    async fn next(&mut self) -> Option<Change> {
        loop {
            if let Some(change) = self.waiting.pop() {
                return Some(change);
            }
            let Some(live) = &mut self.live else {
                self.connect().await?;
                continue;
            };
            match live.watch.next().await {
                Ok((_, change)) => {
                    let stored = live.stored.clone();
                    return Some(self.told(&stored, change.new.clone(), change.old.clone()));
                }
                Err(_) => self.live = None,
            }
        }
    }

    fn told(&mut self, stored: &Stored, new: Option<Arc<Entry>>, old: Option<Arc<Entry>>) -> Change {
        match (new, old) {
            (Some(new), old) => {
                self.known.insert(new.key.clone(), new.clone());
                Change::Set { object: object(stored, &new), old: old.map(|o| object(stored, &o)) }
            }
            (None, Some(old)) => {
                self.known.remove(&old.key);
                Change::Deleted { old: object(stored, &old) }
            }
            (None, None) => Change::Synced,
        }
    }

    /// None: the server has stopped.
    async fn connect(&mut self) -> Option<()> {
        let mut changes = self.catalog.changes();
        let stored = loop {
            if self.catalog.is_closed() {
                return None;
            }
            let found = self.catalog.table().preferred.get(&self.resource).and_then(|s| s.stored.clone());
            match found {
                Some(stored) if !stored.stop.is_cancelled() => break stored,
                Some(stored) => {
                    drop(stored);
                    changes.changed().await.ok()?;
                }
                None => changes.changed().await.ok()?,
            }
        };
        while stored.cache.ready().await.is_err() {
            if stored.stop.is_cancelled() {
                return Some(());
            }
        }
        let (snapshot, watch) =
            Cache::list_and_watch(&stored.cache, Selection::new(stored.namespaced, "", ""));
        let mut out = Vec::new();
        let mut gone = std::mem::take(&mut self.known);
        for entry in snapshot.entries {
            let old = gone.remove(&entry.key);
            let same = old.as_ref().is_some_and(|o| o.revision == entry.revision);
            self.known.insert(entry.key.clone(), entry.clone());
            if !same {
                out.push(Change::Set {
                    object: object(&stored, &entry),
                    old: old.map(|o| object(&stored, &o)),
                });
            }
        }
        out.extend(gone.into_values().map(|old| Change::Deleted { old: object(&stored, &old) }));
        if !std::mem::replace(&mut self.synced, true) {
            out.push(Change::Synced);
        }
        out.reverse();
        self.waiting = out;
        self.live = Some(Live { stored, watch });
        Some(())
    }
}
