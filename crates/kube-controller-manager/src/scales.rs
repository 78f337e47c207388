//! The `scale` subresource (autoscaling/v1 Scale) of any kind that has one.

use client::discovery::discover;
use client::{Api, Error, ObjectMeta, Resource, resource};
use http::Method;
use serde::Deserialize;
use serde_json::json;

/// What is read of a Scale.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Scale {
    pub metadata: ObjectMeta,
    pub spec: Wanted,
    pub status: There,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    pub replicas: i32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct There {
    pub replicas: i32,
    /// The pods, as the text of a label selector.
    pub selector: String,
}

/// Kinds with a scale that every cluster serves.
const KNOWN: [Resource; 4] = [
    resource::DEPLOYMENTS,
    resource::REPLICA_SETS,
    resource::STATEFUL_SETS,
    resource::REPLICATION_CONTROLLERS,
];

/// The resource of a kind in a group; the server is asked only about those of others. None: it serves none.
pub async fn resource_of(api: &Api, group: &str, kind: &str) -> Result<Option<Resource>, Error> {
    let is = |r: &Resource| r.kind == kind && r.group == group;
    if let Some(known) = KNOWN.iter().find(|r| is(r)) {
        return Ok(Some(known.clone()));
    }
    let served = discover(api).await?.resources.into_iter().map(|d| d.resource);
    Ok(served.into_iter().find(|r| is(r) && !r.plural.contains('/')))
}

pub async fn get(api: &Api, resource: &Resource, namespace: &str, name: &str) -> Result<Scale, Error> {
    api.request(Method::GET, &resource.path(namespace, name, "scale"), None).await
}

/// Asks for so many pods, if the object is still as `scale` showed it.
pub async fn set(api: &Api, resource: &Resource, scale: &Scale, replicas: i32) -> Result<(), Error> {
    let meta = &scale.metadata;
    let body = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": replicas},
        "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid, "resourceVersion": meta.resource_version}});
    api.update::<Scale>(resource, &meta.namespace, &meta.name, "scale", &body).await.map(drop)
}
