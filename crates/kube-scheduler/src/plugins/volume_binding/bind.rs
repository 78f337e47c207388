//! Carries a plan out: volumes are given to claims, claims are told their node, and all are awaited.

use std::sync::Arc;

use client::resource::{PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES};
use client::{Api, Patch};
use serde::de::IgnoredAny;
use serde_json::json;

use super::find::Plan;
use super::is_bound;
use crate::listers::Listers;
use crate::views::{ClaimView, VolumeView};

/// Writes what the plan says; the binder of the controller manager does the rest.
pub(super) async fn write(api: &Api, plan: &Plan, node: &str) -> Result<(), String> {
    for (claim, volume) in &plan.bind {
        give(api, claim, volume).await.map_err(|e| e.to_string())?;
    }
    for claim in &plan.provision {
        select(api, claim, node).await.map_err(|e| e.to_string())?;
    }
    Ok(())
}

async fn give(api: &Api, claim: &ClaimView, volume: &VolumeView) -> client::Result<()> {
    let of = &claim.metadata;
    let patch = json!({
        "metadata": {
            "uid": volume.metadata.uid, "resourceVersion": volume.metadata.resource_version,
            "annotations": {"pv.kubernetes.io/bound-by-controller": "yes"},
        },
        "spec": {"claimRef": {
            "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": of.namespace, "name": of.name,
            "uid": of.uid, "resourceVersion": of.resource_version,
        }},
    });
    api.patch::<IgnoredAny>(&PERSISTENT_VOLUMES, "", &volume.metadata.name, "", &Patch::Merge, &patch)
        .await
        .map(drop)
}

async fn select(api: &Api, claim: &ClaimView, node: &str) -> client::Result<()> {
    let of = &claim.metadata;
    let patch = json!({"metadata": {
        "uid": of.uid, "resourceVersion": of.resource_version,
        "annotations": {"volume.kubernetes.io/selected-node": node},
    }});
    api.patch::<IgnoredAny>(&PERSISTENT_VOLUME_CLAIMS, &of.namespace, &of.name, "", &Patch::Merge, &patch)
        .await
        .map(drop)
}

/// Waits until all claims of the plan are bound. An error: one of them cannot be any more.
pub(super) async fn wait(listers: &Listers, plan: &Plan, node: &str) -> Result<(), String> {
    let mut changed = listers.volume_changes.subscribe();
    loop {
        changed.mark_unchanged();
        let claims = plan.bind.iter().map(|(claim, _)| (claim, false));
        let mut claims = claims.chain(plan.provision.iter().map(|claim| (claim, true)));
        if claims.try_fold(true, |all, (claim, provisioned)| {
            is_done(listers, claim, provisioned.then_some(node)).map(|done| all && done)
        })? {
            return Ok(());
        }
        if changed.changed().await.is_err() {
            return Err("the scheduler ends".into());
        }
    }
}

/// `selected`: the node that a claim was told, and must still name while its volume is provisioned.
fn is_done(listers: &Listers, claim: &Arc<ClaimView>, selected: Option<&str>) -> Result<bool, String> {
    let of = &claim.metadata;
    let Some(now) = listers.claims.get(&of.namespace, &of.name).filter(|c| c.metadata.uid == of.uid) else {
        return Err(format!("error getting updated PVC {}/{}: not found", of.namespace, of.name));
    };
    if is_bound(&now) {
        return Ok(true);
    }
    let known = now.metadata.resource_version != of.resource_version;
    if selected.is_some_and(|node| known && now.metadata.annotations.selected_node.as_deref() != Some(node)) {
        return Err(format!("selectedNode annotation reset for PVC {:?}", of.name));
    }
    Ok(false)
}
