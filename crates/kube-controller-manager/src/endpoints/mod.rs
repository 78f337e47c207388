//! Keeps the Endpoints of Services that have a selector, for clients that do not read EndpointSlices.

pub mod plan;

use std::sync::Arc;
use std::time::Duration;

use client::{Api, DeleteOptions, Error, ObjectKey, Store, StringMap, WorkQueue, resource};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::context::{Context, on_change};
use crate::endpointslice::selecting;
use crate::informers::BY_NAMESPACE;
use crate::views::network::Subset;
use crate::views::{Endpoints, Pod, Service};

pub const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Of Endpoints that are a lock of older components.
pub const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

struct Controller {
    api: Api,
    services: Store<Service>,
    pods: Store<Pod>,
    endpoints: Store<Endpoints>,
    queue: WorkQueue<ObjectKey>,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("endpoint-controller").await;
    let (services, pods, endpoints) =
        (context.informers.services(), context.informers.pods(), context.informers.endpoints());
    let controller = Arc::new(Controller {
        api,
        services: services.store(),
        pods: pods.store(),
        endpoints: endpoints.store(),
        queue: WorkQueue::new("endpoint"),
    });
    let own = controller.clone();
    on_change(&services, move |_, new, _| own.queue.add(new.metadata.key()));
    let own = controller.clone();
    on_change(&pods, move |old, new, deleted| {
        for service in selecting(&own.services, old.map(|o| &**o), new, deleted) {
            own.queue.add(service);
        }
    });
    let own = controller.clone();
    on_change(&endpoints, move |_, last, deleted| {
        if deleted {
            own.queue.add(last.metadata.key());
        }
    });
    services.wait_synced().await;
    pods.wait_synced().await;
    endpoints.wait_synced().await;
    // What Services left behind while nobody watched.
    for left in controller.endpoints.select(|e| !e.metadata.annotations.contains_key(LEADER)) {
        controller.queue.add(left.metadata.key());
    }
    let (queue, workers) = (controller.queue.clone(), context.options.concurrency.concurrent_endpoint_syncs);
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    };
    context.work(&queue, workers, "endpoint", sync).await;
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        let (kind, namespace, name) = (&resource::ENDPOINTS, key.namespace(), key.name());
        let Some(service) = self.services.get_key(&key) else {
            if self.endpoints.get_key(&key).is_none() {
                return Ok(None);
            }
            return match self.api.delete(kind, namespace, name, &DeleteOptions::default()).await {
                Err(e) if !e.is_not_found() => Err(e),
                _ => Ok(None),
            };
        };
        if service.spec.selector.is_empty()
            || service.spec.kind == "ExternalName"
            || service.metadata.is_being_deleted()
        {
            return Ok(None);
        }
        let pods: Vec<_> = self
            .pods
            .by_index(BY_NAMESPACE, namespace)
            .into_iter()
            .filter(|p| service.spec.selector.is_subset_of(&p.metadata.labels))
            .collect();
        let (subsets, truncated) = plan::plan(&service, &pods);
        let present = self.endpoints.get_key(&key);
        let Some(body) = body(&service, present.as_deref(), subsets, truncated) else { return Ok(None) };
        let written = match present {
            Some(_) => self.api.update::<IgnoredAny>(kind, namespace, name, "", &body).await,
            None => self.api.create::<IgnoredAny>(kind, namespace, &body).await,
        };
        match written {
            Err(e) if e.is_namespace_terminating() => Ok(None),
            other => other.map(|_| None),
        }
    }
}

/// The object to write, unless the present one says the same.
fn body(
    service: &Service,
    present: Option<&Endpoints>,
    subsets: Vec<Subset>,
    truncated: bool,
) -> Option<Value> {
    let labels = labels(service);
    let over = |annotations: &StringMap| annotations.contains_key(OVER_CAPACITY);
    if let Some(present) = present {
        let mut known = present.subsets.clone();
        plan::sort(&mut known);
        if known == subsets
            && present.metadata.labels == labels
            && over(&present.metadata.annotations) == truncated
        {
            return None;
        }
    }
    let mut meta = match present {
        Some(present) => json!(present.metadata),
        None => json!({"name": service.metadata.name, "namespace": service.metadata.namespace}),
    };
    meta["labels"] = json!(labels);
    let annotations = present.map(|p| p.metadata.annotations.clone()).unwrap_or_default();
    meta["annotations"] = match truncated {
        true => json!(annotations.with(OVER_CAPACITY, "truncated")),
        false => json!(annotations.without(OVER_CAPACITY)),
    };
    Some(json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": subsets}))
}

fn labels(service: &Service) -> StringMap {
    let labels = service.metadata.labels.without(HEADLESS).with(MANAGED_BY, MANAGER);
    if service.is_headless() { labels.with(HEADLESS, "") } else { labels }
}
