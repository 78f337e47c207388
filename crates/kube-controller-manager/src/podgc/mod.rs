//! Removes pods that nobody will ever run or end. Looks around every 20 seconds, as what it looks for is the
//! absence of something.

pub mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Api, DeleteOptions, Error, Patch, Store, Time, resource};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::context::Context;
use crate::views::{Node, Pod};
use plan::{Snapshot, Why};

const PERIOD: Duration = Duration::from_secs(20);

struct Controller {
    api: Api,
    pods: Store<Pod>,
    nodes: Store<Node>,
    threshold: i32,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("pod-garbage-collector").await;
    let (pods, nodes) = (context.informers.pods(), context.informers.nodes());
    pods.wait_synced().await;
    nodes.wait_synced().await;
    let threshold = context.options.terminated_pod_gc_threshold;
    let controller = Controller { api, pods: pods.store(), nodes: nodes.store(), threshold };
    let mut missing = HashMap::new();
    loop {
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => controller.collect(&mut missing).await,
        }
    }
}

impl Controller {
    async fn collect(&self, missing: &mut HashMap<String, Time>) {
        let (pods, nodes) = (self.pods.list(), self.nodes.list());
        let snapshot = Snapshot { pods: &pods, nodes: &nodes, threshold: self.threshold, now: Time::now() };
        for (pod, why) in plan::plan(&snapshot, missing) {
            if why == Why::Orphaned && self.node_exists(&pod.spec.node_name).await {
                continue;
            }
            if let Err(e) = self.remove(&pod, why).await {
                tracing::warn!(pod = %pod.metadata.key(), "collecting a pod: {e}");
            }
        }
    }

    /// Whether the server knows the node after all. An error counts as yes.
    async fn node_exists(&self, name: &str) -> bool {
        !matches!(self.api.get::<IgnoredAny>(&resource::NODES, "", name).await, Err(e) if e.is_not_found())
    }

    async fn remove(&self, pod: &Arc<Pod>, why: Why) -> Result<(), Error> {
        let meta = &pod.metadata;
        if !pod.is_terminal() {
            self.api
                .patch::<IgnoredAny>(
                    &resource::PODS,
                    &meta.namespace,
                    &meta.name,
                    "status",
                    &Patch::Strategic,
                    &failed(pod, why),
                )
                .await?;
        }
        let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::uid(&meta.uid) };
        match self.api.delete(&resource::PODS, &meta.namespace, &meta.name, &options).await {
            Err(e) if !e.is_not_found() => Err(e),
            _ => Ok(()),
        }
    }
}

/// The pod's end as its status shows it.
fn failed(pod: &Pod, why: Why) -> Value {
    let mut status = json!({"phase": "Failed"});
    if why == Why::Orphaned {
        status["conditions"] = json!([{
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists", "lastTransitionTime": Time::now(),
        }]);
    }
    json!({"metadata": {"uid": pod.metadata.uid}, "status": status})
}
