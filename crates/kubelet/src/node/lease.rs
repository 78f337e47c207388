//! The node's heartbeat: a Lease that is renewed four times in its life.

use std::sync::Arc;
use std::time::Duration;

use client::{Patch, Resource};
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::context::Context;

const LEASES: Resource = Resource::of("coordination.k8s.io", "v1", "leases", "Lease", true);
const NAMESPACE: &str = "kube-node-lease";

/// Renews until the kubelet ends. `uid` is the node's.
pub async fn run(cx: Arc<Context>, uid: String) {
    let seconds = u64::try_from(cx.config.node_lease_duration_seconds).unwrap_or(40).max(4);
    let mut tick = tokio::time::interval(Duration::from_secs(seconds) / 4);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cx.shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        let mut pause = Duration::from_millis(200);
        while let Err(error) = renew(&cx, seconds, &uid).await {
            tracing::warn!(%error, "renew node lease");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(7));
        }
    }
}

async fn renew(cx: &Context, seconds: u64, uid: &str) -> Result<(), client::Error> {
    let Some(api) = &cx.api else { return Ok(()) };
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": cx.node_name, "uid": uid}]);
    let spec = json!({"holderIdentity": cx.node_name, "leaseDurationSeconds": seconds, "renewTime": now});
    let patch = json!({"spec": spec});
    match api.patch::<IgnoredAny>(&LEASES, NAMESPACE, &cx.node_name, "", &Patch::Merge, &patch).await {
        Err(error) if error.is_not_found() => {}
        other => return other.map(drop),
    }
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": cx.node_name, "namespace": NAMESPACE, "ownerReferences": owner}, "spec": spec,
    });
    match api.create::<IgnoredAny>(&LEASES, NAMESPACE, &lease).await {
        Err(error) if error.is_already_exists() => Ok(()),
        other => other.map(drop),
    }
}
