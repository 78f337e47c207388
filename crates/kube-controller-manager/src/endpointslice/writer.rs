//! Writes slices, and knows which of its writes its informer has not shown yet: a Service is not looked at again
//! before, as it would get the same slices twice.

use std::collections::HashMap;
use std::time::Duration;

use client::{Api, DeleteOptions, Error, ObjectKey, Store, resource};
use compact_str::CompactString;
use futures::future::join_all;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use super::reconcile::Change;
use crate::views::EndpointSlice;

/// After so long a write counts as seen.
const FORGET: Duration = Duration::from_secs(10);

struct Pending {
    /// By the slice's name: its generation, or None for one that was deleted.
    slices: HashMap<CompactString, Option<i64>>,
    since: Instant,
}

/// Writes of one controller.
pub struct Writer {
    api: Api,
    /// What the informer has shown.
    shown: Store<EndpointSlice>,
    pending: Mutex<HashMap<ObjectKey, Pending>>,
}

impl Writer {
    pub fn new(api: Api, shown: Store<EndpointSlice>) -> Self {
        Self { api, shown, pending: Mutex::default() }
    }

    /// Whether the informer has shown every write for the Service.
    pub fn is_settled(&self, service: &ObjectKey) -> bool {
        self.pending.lock().get(service).is_none_or(|p| p.since.elapsed() > FORGET)
    }

    /// The informer shows a slice. Whether that was what the Service waited for.
    pub fn seen(&self, service: &ObjectKey, slice: &EndpointSlice, deleted: bool) -> bool {
        let mut all = self.pending.lock();
        let Some(pending) = all.get_mut(service) else { return true };
        let name = &slice.metadata.name;
        match pending.slices.get(name) {
            Some(Some(generation)) if !deleted && slice.metadata.generation < *generation => {}
            Some(None) if !deleted => {}
            _ => drop(pending.slices.remove(name)),
        }
        let settled = pending.slices.is_empty();
        if settled {
            all.remove(service);
        }
        settled
    }

    /// Carries the changes out, side by side.
    pub async fn write(&self, service: &ObjectKey, changes: Vec<Change>) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let results = join_all(changes.into_iter().map(|change| self.one(service, change))).await;
        results.into_iter().collect()
    }

    fn expect(&self, service: &ObjectKey, slice: CompactString, generation: Option<i64>) {
        let mut all = self.pending.lock();
        // In one process the watch often tells of a write before its answer comes. The lock keeps `seen` out
        // meanwhile, which comes after the store has the change.
        let now = self.shown.get(service.namespace(), &slice).map(|s| s.metadata.generation);
        let already = match generation {
            Some(wanted) => now.is_some_and(|n| n >= wanted),
            None => now.is_none(),
        };
        if already {
            return;
        }
        let pending = all
            .entry(service.clone())
            .or_insert_with(|| Pending { slices: HashMap::new(), since: Instant::now() });
        pending.since = Instant::now();
        pending.slices.insert(slice, generation);
    }

    async fn one(&self, service: &ObjectKey, change: Change) -> Result<(), Error> {
        let (kind, namespace) = (&resource::ENDPOINT_SLICES, service.namespace());
        let written: Result<EndpointSlice, Error> = match change {
            Change::Create(slice) => self.api.create(kind, namespace, &body(&slice)).await,
            Change::Update(slice) => {
                let name = slice.metadata.name.clone();
                self.api.update(kind, namespace, &name, "", &body(&slice)).await
            }
            Change::Delete(name) => {
                return match self.api.delete(kind, namespace, &name, &DeleteOptions::default()).await {
                    Err(e) if !e.is_not_found() => Err(e),
                    _ => {
                        self.expect(service, name, None);
                        Ok(())
                    }
                };
            }
        };
        match written {
            Ok(slice) => {
                self.expect(service, slice.metadata.name, Some(slice.metadata.generation));
                Ok(())
            }
            Err(e) if e.is_namespace_terminating() => Ok(()),
            Err(e) => Err(e),
        }
    }
}

fn body(slice: &EndpointSlice) -> serde_json::Value {
    let mut body = json!(slice);
    body["apiVersion"] = "discovery.k8s.io/v1".into();
    body["kind"] = "EndpointSlice".into();
    if slice.metadata.name.is_empty()
        && let Some(meta) = body["metadata"].as_object_mut()
    {
        meta.remove("name");
    }
    body
}
