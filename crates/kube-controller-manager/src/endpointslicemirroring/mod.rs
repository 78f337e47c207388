//! Mirrors Endpoints that users write for Services without a selector into EndpointSlices.

pub mod plan;

use std::sync::Arc;
use std::time::Duration;

use client::{Error, ObjectKey, Store, WorkQueue};

use crate::context::{Context, on_change};
use crate::endpointslice::plan::{MANAGED_BY, SERVICE_NAME};
use crate::endpointslice::reconcile::Change;
use crate::endpointslice::writer::Writer;
use crate::informers::BY_SERVICE;
use crate::views::{EndpointSlice, Endpoints, Service};
use plan::MANAGER;

struct Controller {
    writer: Writer,
    services: Store<Service>,
    endpoints: Store<Endpoints>,
    slices: Store<EndpointSlice>,
    limit: usize,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("endpointslicemirroring-controller").await;
    let informers = &context.informers;
    let (services, endpoints, slices) =
        (informers.services(), informers.endpoints(), informers.endpoint_slices());
    let controller = Arc::new(Controller {
        writer: Writer::new(api, slices.store()),
        services: services.store(),
        endpoints: endpoints.store(),
        slices: slices.store(),
        limit: context.options.mirroring_max_endpoints_per_subset,
    });
    let queue: WorkQueue<ObjectKey> = WorkQueue::new("endpoint_slice_mirroring");
    let enqueue = queue.clone();
    on_change(&services, move |old, new, deleted| {
        if deleted || old.is_none_or(|old| old.spec.selector.is_empty() != new.spec.selector.is_empty()) {
            enqueue.add(new.metadata.key());
        }
    });
    let enqueue = queue.clone();
    on_change(&endpoints, move |_, new, _| enqueue.add(new.metadata.key()));
    let (own, enqueue) = (controller.clone(), queue.clone());
    on_change(&slices, move |_, slice, _| {
        if is_ours(slice)
            && let Some(service) = slice.metadata.labels.get(SERVICE_NAME)
        {
            let key = ObjectKey::new(&slice.metadata.namespace, service);
            if own.writer.is_settled(&key) {
                enqueue.add(key);
            }
        }
    });
    services.wait_synced().await;
    endpoints.wait_synced().await;
    slices.wait_synced().await;
    let workers = context.options.concurrency.mirroring_concurrent_service_endpoint_syncs;
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    };
    context.work(&queue, workers, "endpointslicemirroring", sync).await;
}

fn is_ours(slice: &EndpointSlice) -> bool {
    slice.metadata.labels.get(MANAGED_BY) == Some(MANAGER)
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        if !self.writer.is_settled(&key) {
            return Ok(Some(Duration::from_secs(1)));
        }
        let existing: Vec<_> =
            self.slices.by_index(BY_SERVICE, key.as_str()).into_iter().filter(|s| is_ours(s)).collect();
        let endpoints = self.endpoints.get_key(&key);
        let service = self.services.get_key(&key);
        let mirrored =
            endpoints.zip(service).filter(|(endpoints, service)| plan::is_mirrored(endpoints, service));
        let changes = match mirrored {
            Some((endpoints, _)) => plan::plan(&endpoints, &existing, self.limit),
            None => existing.iter().map(|s| Change::Delete(s.metadata.name.clone())).collect(),
        };
        self.writer.write(&key, changes).await?;
        Ok(None)
    }
}
