//! Keeps the EndpointSlices of Services that have a selector.

pub mod plan;
pub mod reconcile;
#[cfg(test)]
mod tests;
pub mod writer;

use std::sync::Arc;
use std::time::Duration;

use client::{Error, ObjectKey, Store, WorkQueue};

use crate::context::{Context, on_change};
use crate::informers::{BY_NAMESPACE, BY_SERVICE};
use crate::views::{EndpointSlice, Node, Pod, Service};
use plan::{MANAGED_BY, MANAGER};
use writer::Writer;

pub const ZONE: &str = "topology.kubernetes.io/zone";

struct Controller {
    writer: Writer,
    services: Store<Service>,
    pods: Store<Pod>,
    nodes: Store<Node>,
    slices: Store<EndpointSlice>,
    queue: WorkQueue<ObjectKey>,
    max: usize,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("endpointslice-controller").await;
    let informers = &context.informers;
    let (services, pods, nodes, slices) =
        (informers.services(), informers.pods(), informers.nodes(), informers.endpoint_slices());
    let controller = Arc::new(Controller {
        writer: Writer::new(api, slices.store()),
        services: services.store(),
        pods: pods.store(),
        nodes: nodes.store(),
        slices: slices.store(),
        queue: WorkQueue::new("endpoint_slice"),
        max: context.options.max_endpoints_per_slice,
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
    on_change(&nodes, move |old, new, deleted| own.node_changed(old.map(|o| &**o), new, deleted));
    let own = controller.clone();
    on_change(&slices, move |_, new, _| own.slice_changed(new));
    services.wait_synced().await;
    pods.wait_synced().await;
    nodes.wait_synced().await;
    slices.wait_synced().await;
    let (queue, workers) =
        (controller.queue.clone(), context.options.concurrency.concurrent_service_endpoint_syncs);
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    };
    context.work(&queue, workers, "endpointslice", sync).await;
}

/// The Services whose endpoints a change of a pod may concern.
pub fn selecting(services: &Store<Service>, old: Option<&Pod>, new: &Pod, deleted: bool) -> Vec<ObjectKey> {
    if !deleted && old.is_some_and(|old| is_same_endpoint(old, new)) {
        return vec![];
    }
    let matches = |service: &Service| {
        let selector = &service.spec.selector;
        !selector.is_empty()
            && (selector.is_subset_of(&new.metadata.labels)
                || old.is_some_and(|o| selector.is_subset_of(&o.metadata.labels)))
    };
    let all = services.by_index(BY_NAMESPACE, &new.metadata.namespace);
    all.into_iter().filter(|s| matches(s)).map(|s| s.metadata.key()).collect()
}

fn is_same_endpoint(old: &Pod, new: &Pod) -> bool {
    let facts = |p: &Pod| (p.is_ready(), p.metadata.is_being_deleted(), p.is_terminal());
    facts(old) == facts(new)
        && old.metadata.labels == new.metadata.labels
        && old.status.pod_ips == new.status.pod_ips
        && old.status.pod_ip == new.status.pod_ip
        && old.spec.node_name == new.spec.node_name
        && (&old.spec.hostname, &old.spec.subdomain) == (&new.spec.hostname, &new.spec.subdomain)
}

impl Controller {
    /// A node's zone stands in the endpoints of its pods.
    fn node_changed(&self, old: Option<&Node>, new: &Node, deleted: bool) {
        let zone = |n: &Node| n.metadata.labels.get(ZONE).map(str::to_owned);
        if zone(new).is_none() && old.is_none_or(|o| zone(o).is_none()) {
            return;
        }
        if deleted || old.is_none_or(|old| zone(old) != zone(new)) {
            for service in self.services.select(|s| !s.spec.selector.is_empty()) {
                self.queue.add(service.metadata.key());
            }
        }
    }

    fn slice_changed(&self, slice: &EndpointSlice) {
        let labels = &slice.metadata.labels;
        let Some(service) =
            labels.get(plan::SERVICE_NAME).filter(|_| labels.get(MANAGED_BY) == Some(MANAGER))
        else {
            return;
        };
        let key = ObjectKey::new(&slice.metadata.namespace, service);
        if self.writer.is_settled(&key) {
            self.queue.add(key);
        }
    }

    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        let Some(service) = self.services.get_key(&key) else { return Ok(None) };
        if service.spec.selector.is_empty()
            || service.spec.kind == "ExternalName"
            || service.metadata.is_being_deleted()
        {
            return Ok(None);
        }
        if !self.writer.is_settled(&key) {
            return Ok(Some(Duration::from_secs(1)));
        }
        let pods: Vec<_> = self
            .pods
            .by_index(BY_NAMESPACE, key.namespace())
            .into_iter()
            .filter(|p| service.spec.selector.is_subset_of(&p.metadata.labels))
            .collect();
        let ours = |s: &Arc<EndpointSlice>| {
            s.metadata.labels.get(MANAGED_BY) == Some(MANAGER) && !s.metadata.is_being_deleted()
        };
        let existing: Vec<_> =
            self.slices.by_index(BY_SERVICE, key.as_str()).into_iter().filter(ours).collect();
        let zone_of = |node: &str| self.nodes.get("", node)?.metadata.labels.get(ZONE).map(str::to_owned);
        let changes = plan::plan(&service, &pods, &existing, zone_of, self.max);
        self.writer.write(&key, changes).await?;
        Ok(None)
    }
}
