//! Ends pods on nodes with NoExecute taints that they do not tolerate, or no longer.

pub mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::events::{ObjectReference, Recorder};
use client::{Api, DeleteOptions, Error, ObjectKey, Patch, Store, Time, WorkQueue, resource};
use parking_lot::Mutex;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::time::Instant;

use crate::context::{Context, on_change};
use crate::informers::BY_NODE;
use crate::views::{Node, Pod, Taint};
use plan::Fate;

struct Controller {
    api: Api,
    recorder: Recorder,
    pods: Store<Pod>,
    nodes: Store<Node>,
    queue: WorkQueue<ObjectKey>,
    /// Pods that are to end, by uid: since when the taints are seen.
    doomed: Mutex<HashMap<String, Instant>>,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("node-controller").await;
    let (nodes, pods) = (context.informers.nodes(), context.informers.pods());
    let controller = Arc::new(Controller {
        recorder: context.recorder(&api, "taint-eviction-controller"),
        api,
        pods: pods.store(),
        nodes: nodes.store(),
        queue: WorkQueue::new("noexec_taint_pod"),
        doomed: Mutex::default(),
    });
    let own = controller.clone();
    on_change(&nodes, move |old, new, deleted| {
        let before = old.map(|o| evicting(o)).unwrap_or_default();
        let after = if deleted { vec![] } else { evicting(new) };
        if before != after {
            for pod in own.pods.by_index(BY_NODE, &new.metadata.name) {
                own.queue.add(pod.metadata.key());
            }
        }
    });
    let own = controller.clone();
    on_change(&pods, move |old, new, deleted| {
        if deleted {
            own.doomed.lock().remove(new.metadata.uid.as_str());
        } else if old.is_none_or(|o| {
            o.spec.node_name != new.spec.node_name || o.spec.tolerations != new.spec.tolerations
        }) && own.nodes.get("", &new.spec.node_name).is_some_and(|n| !evicting(&n).is_empty())
        {
            own.queue.add(new.metadata.key());
        }
    });
    nodes.wait_synced().await;
    pods.wait_synced().await;
    let queue = controller.queue.clone();
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    };
    context.work(&queue, 8, "taint_eviction", sync).await;
}

fn evicting(node: &Node) -> Vec<&Taint> {
    node.spec.taints.iter().filter(|t| t.effect == "NoExecute").collect()
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        let Some(pod) = self.pods.get_key(&key).filter(|p| !p.metadata.is_being_deleted()) else {
            return Ok(None);
        };
        let node = self.nodes.get("", &pod.spec.node_name);
        let taints = node.as_deref().map(evicting).unwrap_or_default();
        match plan::fate(&taints, &pod.spec.tolerations) {
            Fate::Stays => {
                if self.doomed.lock().remove(pod.metadata.uid.as_str()).is_some() {
                    self.tell(&pod, format!("Cancelling deletion of Pod {key}"));
                }
                Ok(None)
            }
            Fate::Ends(seconds) => {
                let since =
                    *self.doomed.lock().entry(pod.metadata.uid.to_string()).or_insert_with(Instant::now);
                let left = (since + Duration::from_secs(seconds)).saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Ok(Some(left));
                }
                self.end(&pod, &key).await.map(|()| None)
            }
        }
    }

    fn tell(&self, pod: &Pod, message: String) {
        self.recorder.normal(
            &ObjectReference::new(&resource::PODS, &pod.metadata),
            "TaintManagerEviction",
            message,
        );
    }

    async fn end(&self, pod: &Pod, key: &ObjectKey) -> Result<(), Error> {
        self.tell(pod, format!("Marking for deletion Pod {key}"));
        let meta = &pod.metadata;
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": Time::now(),
        });
        let patch = json!({"metadata": {"uid": meta.uid}, "status": {"conditions": [condition]}});
        match self
            .api
            .patch::<IgnoredAny>(
                &resource::PODS,
                &meta.namespace,
                &meta.name,
                "status",
                &Patch::Strategic,
                &patch,
            )
            .await
        {
            Err(e) if e.is_not_found() => return Ok(()),
            other => drop(other?),
        }
        match self
            .api
            .delete(&resource::PODS, &meta.namespace, &meta.name, &DeleteOptions::uid(&meta.uid))
            .await
        {
            Err(e) if !e.is_not_found() => Err(e),
            _ => Ok(()),
        }
    }
}
