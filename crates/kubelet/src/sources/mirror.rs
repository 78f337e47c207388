//! Mirror pods: static pods as the API server shows them.

use std::sync::Arc;

use client::{DeleteOptions, Preconditions};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Deserialize;

use crate::context::Context;
use crate::node::NODES;
use crate::pod::PodExt;
use crate::pod::view::{HASH_ANNOTATION, MIRROR_ANNOTATION};
use crate::status::manager::PODS;

/// Makes the mirror of a static pod, or replaces one that mirrors something else.
pub async fn ensure(cx: &Arc<Context>, pod: &Pod, mirror: Option<&Pod>) {
    let Some(api) = &cx.api else { return };
    let hash = pod.annotation(HASH_ANNOTATION).unwrap_or_default();
    if let Some(mirror) = mirror {
        let current = mirror.annotation(MIRROR_ANNOTATION) == Some(hash);
        if current && mirror.metadata.deletion_timestamp.is_none() {
            return;
        }
        delete(cx, mirror).await;
    }
    let Some(owner) = node_owner(cx).await else { return };
    match api.create::<serde::de::IgnoredAny>(&PODS, pod.namespace(), &mirror_of(pod, hash, owner)).await {
        Ok(_) => {}
        Err(error) if error.is_already_exists() => {}
        Err(error) => tracing::warn!(pod = pod.shown(), %error, "create mirror pod"),
    }
}

/// Deletes a mirror pod at once.
pub async fn delete(cx: &Context, mirror: &Pod) {
    let Some(api) = &cx.api else { return };
    let preconditions = Preconditions { uid: Some(mirror.uid().to_owned()), resource_version: None };
    let options = DeleteOptions {
        grace_period_seconds: Some(0),
        preconditions: Some(preconditions),
        ..DeleteOptions::default()
    };
    match api.delete(&PODS, mirror.namespace(), mirror.name(), &options).await {
        Ok(()) => {}
        Err(error) if error.is_not_found() || error.is_conflict() => {}
        Err(error) => tracing::warn!(pod = mirror.shown(), %error, "delete mirror pod"),
    }
}

fn mirror_of(pod: &Pod, hash: &str, owner: OwnerReference) -> Pod {
    let mut mirror = pod.clone();
    mirror.metadata.uid = None;
    mirror.metadata.resource_version = None;
    mirror.metadata.owner_references = Some(vec![owner]);
    mirror.status = None;
    let annotations = mirror.metadata.annotations.get_or_insert_default();
    annotations.insert(MIRROR_ANNOTATION.to_owned(), hash.to_owned());
    mirror
}

async fn node_owner(cx: &Context) -> Option<OwnerReference> {
    #[derive(Deserialize)]
    struct Node {
        metadata: client::ObjectMeta,
    }
    let api = cx.api.as_ref()?;
    match api.get::<Node>(&NODES, "", &cx.node_name).await {
        Ok(node) => Some(OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: cx.node_name.clone(),
            uid: node.metadata.uid.to_string(),
            controller: Some(true),
            block_owner_deletion: None,
        }),
        Err(error) => {
            tracing::warn!(%error, "the node is not registered yet; mirror pods wait");
            None
        }
    }
}
