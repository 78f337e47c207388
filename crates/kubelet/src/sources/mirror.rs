//! Mirror pods: static pods as the API server shows them.

use std::sync::Arc;

use client::{DeleteOptions, Preconditions};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::context::Context;
use crate::pod::PodExt;
use crate::pod::view::{HASH_ANNOTATION, MIRROR_ANNOTATION};
use crate::status::manager::PODS;

/// Makes the mirror of a static pod, or replaces one that mirrors something else. Before the node is registered
/// there is no mirror; all pods are looked at again then. False: the API server did not take it, try again.
pub async fn ensure(cx: &Arc<Context>, pod: &Pod, mirror: Option<&Pod>) -> bool {
    let (Some(api), Some(owner)) = (&cx.api, node_owner(cx)) else { return true };
    let hash = pod.annotation(HASH_ANNOTATION).unwrap_or_default();
    if let Some(mirror) = mirror {
        let current = mirror.annotation(MIRROR_ANNOTATION) == Some(hash);
        if current && mirror.metadata.deletion_timestamp.is_none() {
            return true;
        }
        delete(cx, mirror).await;
    }
    match api.create::<Pod>(&PODS, pod.namespace(), &mirror_of(pod, hash, owner)).await {
        Ok(made) => cx.pods.set_mirror(&Arc::new(made), true),
        Err(error) if error.is_already_exists() => {}
        Err(error) => {
            tracing::warn!(pod = pod.shown(), %error, "create mirror pod");
            return false;
        }
    }
    true
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

/// The node as the owner of its mirrors; `None` before it is registered.
fn node_owner(cx: &Context) -> Option<OwnerReference> {
    let uid = Some(cx.node.read().uid.clone()).filter(|uid| !uid.is_empty())?;
    Some(OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: cx.node_name.clone(),
        uid,
        controller: Some(true),
        block_owner_deletion: None,
    })
}
