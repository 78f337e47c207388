//! Writes slices, and knows which of its writes its informer has not shown yet: a Service is not looked at again
//! before, as it would get the same slices twice.

use client::{Api, DeleteOptions, Error, ObjectKey, Store, Writes, resource};
use compact_str::CompactString;
use futures::future::join_all;
use serde_json::json;

use super::reconcile::Change;
use crate::views::EndpointSlice;

/// Writes of one controller.
pub struct Writer {
    api: Api,
    shown: Store<EndpointSlice>,
    writes: Writes<EndpointSlice>,
}

impl Writer {
    /// `shown` is the informer's store.
    pub fn new(api: Api, shown: Store<EndpointSlice>) -> Self {
        Self { api, writes: Writes::new(shown.clone()), shown }
    }

    /// Whether the informer has shown every write for the Service.
    pub fn is_settled(&self, service: &ObjectKey) -> bool {
        self.writes.is_settled(service)
    }

    /// Carries the changes out, side by side.
    pub async fn write(&self, service: &ObjectKey, changes: Vec<Change>) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let results = join_all(changes.into_iter().map(|change| self.one(service, change))).await;
        results.into_iter().collect()
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
                return self.delete(service, &name).await;
            }
        };
        match written {
            Ok(slice) => {
                self.writes.written(service, slice.metadata.key(), &slice.metadata.resource_version);
                Ok(())
            }
            Err(e) if e.is_namespace_terminating() => Ok(()),
            Err(e) => Err(e),
        }
    }

    async fn delete(&self, service: &ObjectKey, name: &CompactString) -> Result<(), Error> {
        let (kind, namespace) = (&resource::ENDPOINT_SLICES, service.namespace());
        let uid = self.shown.get(namespace, name).map(|s| s.metadata.uid.clone());
        match self.api.delete(kind, namespace, name, &DeleteOptions::default()).await {
            Err(e) if !e.is_not_found() => Err(e),
            _ => {
                let key = ObjectKey::new(namespace, name);
                self.writes.deleted(service, key, uid.as_deref().unwrap_or_default());
                Ok(())
            }
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
