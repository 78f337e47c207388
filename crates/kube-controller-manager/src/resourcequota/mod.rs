//! Counts what a namespace uses of its ResourceQuotas. What comes is counted by the API server's admission plugin; here
//! all is counted anew when a quota changes, when something that it counts goes, and now and then.

pub mod plan;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::GroupResource;
use client::discovery::discover;
use client::meta::Partial;
use client::{
    Api, Error, Event, Informer, InformerOptions, ObjectKey, Resource, Store, Time, WorkQueue, resource,
};
use parking_lot::Mutex;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::context::{Context, on_change};
use crate::informers::BY_NAMESPACE;
use crate::views::quota::ResourceQuota;

struct Controller {
    api: Api,
    quotas: Store<ResourceQuota>,
    queue: WorkQueue<ObjectKey>,
    /// All is counted anew after so long.
    period: Duration,
    /// The resources that are watched for what goes, because a quota counts them.
    watched: Mutex<BTreeSet<(String, String)>>,
    shutdown: CancellationToken,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("resourcequota-controller").await;
    let informers = &context.informers;
    let (quotas, pods, services) = (informers.resource_quotas(), informers.pods(), informers.services());
    let controller = Arc::new(Controller {
        api,
        quotas: quotas.store(),
        queue: WorkQueue::new("resource_quota_controller_resource_changes"),
        period: context.options.resource_quota_sync_period.0,
        // These two are watched anyway, and do not only count by being there.
        watched: Mutex::new([("", "pods"), ("", "services")].map(|(g, r)| (g.into(), r.into())).into()),
        shutdown: context.shutdown.clone(),
    });
    let own = controller.clone();
    on_change(&quotas, move |old, new, deleted| {
        if !deleted && plan::is_new(old.map(|o| &**o), new) {
            own.queue.add(new.metadata.key());
        }
    });
    let own = controller.clone();
    on_change(&pods, move |old, new, deleted| {
        if deleted || old.is_some_and(|old| plan::pod_frees(old, new)) {
            own.freed(&new.metadata.namespace, &GroupResource::new("", "pods"));
        }
    });
    let own = controller.clone();
    on_change(&services, move |old, new, deleted| {
        if deleted || old.is_some_and(|old| plan::service_frees(old, new)) {
            own.freed(&new.metadata.namespace, &GroupResource::new("", "services"));
        }
    });
    quotas.wait_synced().await;
    let (queue, workers) =
        (controller.queue.clone(), context.options.concurrency.concurrent_resource_quota_syncs);
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    };
    context.work(&queue, workers, "resourcequota", sync).await;
}

impl Controller {
    /// An object of this resource uses less now, or is gone.
    fn freed(&self, namespace: &str, resource: &GroupResource) {
        let counts = |q: &ResourceQuota| {
            q.spec.hard.keys().any(|name| quota::resource_of(name).as_ref() == Some(resource))
        };
        for quota in self.quotas.by_index(BY_NAMESPACE, namespace) {
            if counts(&quota) {
                self.queue.add(quota.metadata.key());
            }
        }
    }

    async fn sync(self: &Arc<Self>, key: ObjectKey) -> Result<Option<Duration>, Error> {
        let Some(quota) = self.quotas.get_key(&key).filter(|q| !q.metadata.is_being_deleted()) else {
            return Ok(None);
        };
        let mut listed = Vec::new();
        for resource in self.resources_of(&quota).await? {
            self.watch(&resource);
            let name = GroupResource::new(&*resource.group, &*resource.plural);
            let list = self.api.list::<quota::Object>(&resource, key.namespace(), "").await?;
            listed.extend(list.items.into_iter().map(|object| (name.clone(), object)));
        }
        let used = plan::used(&quota, listed.iter().map(|(r, o)| (r, o)), Time::now().seconds());
        if let Some(status) = plan::status(&quota, &used) {
            let body = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": quota.metadata, "status": status});
            let kind = &resource::RESOURCE_QUOTAS;
            match self.api.update::<IgnoredAny>(kind, key.namespace(), key.name(), "status", &body).await {
                Err(e) if !e.is_not_found() => return Err(e),
                _ => {}
            }
        }
        Ok(Some(self.period))
    }

    /// What the server serves of the resources that the quota counts.
    async fn resources_of(&self, quota: &ResourceQuota) -> Result<Vec<Resource>, Error> {
        let wanted = plan::resources(quota);
        let known = [
            resource::PODS,
            resource::SERVICES,
            resource::SECRETS,
            resource::CONFIG_MAPS,
            resource::PERSISTENT_VOLUME_CLAIMS,
            resource::REPLICATION_CONTROLLERS,
            resource::RESOURCE_QUOTAS,
        ];
        let is_wanted = |r: &Resource| wanted.contains(&(r.group.to_string(), r.plural.to_string()));
        let mut found: Vec<Resource> = known.into_iter().filter(is_wanted).collect();
        if found.len() < wanted.len() {
            let served = discover(&self.api).await?.resources.into_iter();
            let others = served.filter(|d| d.has("list") && d.has("watch") && d.resource.namespaced);
            let others: Vec<_> =
                others.map(|d| d.resource).filter(|r| is_wanted(r) && !found.contains(r)).collect();
            found.extend(others);
        }
        Ok(found)
    }

    /// Looks from now on at what goes of a resource.
    fn watch(self: &Arc<Self>, resource: &Resource) {
        if !self.watched.lock().insert((resource.group.to_string(), resource.plural.to_string())) {
            return;
        }
        let options = InformerOptions { metadata_only: true, ..InformerOptions::default() };
        let informer: Informer<Partial> = Informer::new(self.api.clone(), resource.clone(), options);
        let (own, name) = (self.clone(), GroupResource::new(&*resource.group, &*resource.plural));
        informer.add_handler(move |event| {
            if let Event::Deleted(object) = event {
                own.freed(&object.metadata.namespace, &name);
            }
        });
        informer.start(self.shutdown.clone());
    }
}
