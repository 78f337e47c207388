//! Watches over the nodes: a node that is not heard of becomes Unknown, conditions become taints, and the pods of
//! a node that is lost are no longer ready. Heartbeats are leases and statuses as they come in; a timer looks for
//! those that do not.

pub mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::events::{ObjectReference, Recorder};
use client::{Api, Error, ObjectKey, Patch, Store, Time, WorkQueue, resource};
use futures::future::join_all;
use parking_lot::Mutex;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::time::Instant;

use crate::context::{Context, on_change};
use crate::endpointslice::ZONE;
use crate::informers::BY_NODE;
use crate::options::Nodes;
use crate::views::{Node, Pod};
use plan::{Pace, Rates};

const REGION: &str = "topology.kubernetes.io/region";

struct Controller {
    api: Api,
    recorder: Recorder,
    nodes: Store<Node>,
    pods: Store<Pod>,
    queue: WorkQueue<ObjectKey>,
    options: Nodes,
    /// When each node was last heard of, by this process's clock.
    heard: Mutex<HashMap<String, Instant>>,
    /// By zone: when the next node may get its NoExecute taint.
    next_eviction: Mutex<HashMap<String, Instant>>,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("node-controller").await;
    let (nodes, pods, leases) =
        (context.informers.nodes(), context.informers.pods(), context.informers.node_leases());
    let controller = Arc::new(Controller {
        recorder: context.recorder(&api, "node-controller"),
        api,
        nodes: nodes.store(),
        pods: pods.store(),
        queue: WorkQueue::new("node_lifecycle_controller"),
        options: context.options.nodes.clone(),
        heard: Mutex::default(),
        next_eviction: Mutex::default(),
    });
    let own = controller.clone();
    on_change(&nodes, move |old, new, deleted| own.node_changed(old.map(|o| &**o), new, deleted));
    let own = controller.clone();
    on_change(&leases, move |_, lease, deleted| {
        if !deleted {
            own.heard.lock().insert(lease.metadata.name.to_string(), Instant::now());
        }
    });
    nodes.wait_synced().await;
    pods.wait_synced().await;
    leases.wait_synced().await;
    let watcher = tokio::spawn(controller.clone().watch_over());
    let queue = controller.queue.clone();
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    };
    context.work(&queue, 8, "node_lifecycle", sync).await;
    watcher.abort();
}

impl Controller {
    fn node_changed(&self, old: Option<&Node>, new: &Node, deleted: bool) {
        let name = new.metadata.name.as_str();
        if deleted {
            self.heard.lock().remove(name);
            self.tell(
                new,
                "RemovingNode",
                format!("Node {name} event: Removing Node {name} from Controller"),
            );
            return;
        }
        if old.is_none() {
            self.tell(
                new,
                "RegisteredNode",
                format!("Node {name} event: Registered Node {name} in Controller"),
            );
        }
        if old.is_none_or(|old| heartbeat(old) != heartbeat(new)) {
            self.heard.lock().insert(name.to_owned(), Instant::now());
        }
        let facts = |n: &Node| {
            let conditions: Vec<_> =
                n.status.conditions.iter().map(|c| (c.kind.clone(), c.status.clone())).collect();
            (conditions, n.spec.taints.clone(), n.spec.unschedulable)
        };
        if old.is_none_or(|old| facts(old) != facts(new)) {
            self.queue.add(new.metadata.key());
        }
        if old.is_some_and(plan::is_ready) && !plan::is_ready(new) {
            self.tell(new, "NodeNotReady", format!("Node {name} status is now: NodeNotReady"));
            self.mark_pods(new);
        }
    }

    fn tell(&self, node: &Node, reason: &str, message: String) {
        self.recorder.normal(&ObjectReference::new(&resource::NODES, &node.metadata), reason, message);
    }

    /// The pods of a lost node take no more traffic.
    fn mark_pods(&self, node: &Node) {
        let pods: Vec<Arc<Pod>> =
            self.pods.by_index(BY_NODE, &node.metadata.name).into_iter().filter(|p| p.is_ready()).collect();
        let (api, recorder) = (self.api.clone(), self.recorder.clone());
        tokio::spawn(async move {
            let patch = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": Time::now()}]}});
            let marked = pods.iter().map(|pod| async {
                let meta = &pod.metadata;
                recorder.warning(
                    &ObjectReference::new(&resource::PODS, meta),
                    "NodeNotReady",
                    "Node is not ready",
                );
                let patched = api
                    .patch::<IgnoredAny>(
                        &resource::PODS,
                        &meta.namespace,
                        &meta.name,
                        "status",
                        &Patch::Strategic,
                        &patch,
                    )
                    .await;
                if let Err(e) = patched.map(drop) {
                    tracing::debug!(pod = %meta.key(), "marking it as not ready: {e}");
                }
            });
            join_all(marked).await;
        });
    }

    /// Looks for nodes that have fallen silent.
    async fn watch_over(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.options.node_monitor_period.0).await;
            for node in self.nodes.list() {
                if self.is_silent(&node)
                    && let Some(conditions) = plan::unknown_conditions(&node, Time::now())
                {
                    let patch = json!({"status": {"conditions": conditions}});
                    let name = &node.metadata.name;
                    let patched = self
                        .api
                        .patch::<IgnoredAny>(&resource::NODES, "", name, "status", &Patch::Strategic, &patch)
                        .await;
                    if let Err(e) = patched.map(drop) {
                        tracing::warn!(node = %name, "telling that it is not heard of: {e}");
                    }
                }
            }
        }
    }

    fn is_silent(&self, node: &Node) -> bool {
        // A new node may take a little longer to say its first word.
        let never = plan::ready_status(node).is_none();
        let grace = if never {
            self.options.node_startup_grace_period
        } else {
            self.options.node_monitor_grace_period
        };
        let heard = self.heard.lock().get(node.metadata.name.as_str()).copied();
        heard.is_none_or(|at| at.elapsed() > grace.0)
    }

    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        let Some(node) = self.nodes.get_key(&key) else { return Ok(None) };
        // Taken only where it is needed: a node that is lost and not tainted yet.
        let lost = plan::evicting_taint(&node).is_some();
        let tainted = node
            .spec
            .taints
            .iter()
            .any(|t| t.effect == "NoExecute" && [plan::NOT_READY, plan::UNREACHABLE].contains(&&*t.key));
        let wait = if lost && !tainted { self.eviction_wait(&node) } else { None };
        if let Some(taints) = plan::taints(&node, wait.is_none(), Time::now()) {
            let version = &node.metadata.resource_version;
            let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"taints": taints}});
            match self
                .api
                .patch::<IgnoredAny>(&resource::NODES, "", &node.metadata.name, "", &Patch::Merge, &patch)
                .await
            {
                Err(e) if !e.is_not_found() => return Err(e),
                _ => {}
            }
        }
        Ok(wait)
    }

    /// How long until the node may be tainted for eviction; None: now, and the zone's next one later.
    fn eviction_wait(&self, node: &Node) -> Option<Duration> {
        let zone = zone_of(node);
        let rate = match self.pace(&zone) {
            Pace::PerSecond(rate) if rate > 0.0 => rate,
            _ => return Some(self.options.node_monitor_period.0),
        };
        let mut next = self.next_eviction.lock();
        let now = Instant::now();
        match next.get(&zone).filter(|at| **at > now) {
            Some(at) => Some(*at - now),
            None => {
                next.insert(zone, now + Duration::from_secs_f32(1.0 / rate));
                None
            }
        }
    }

    fn pace(&self, zone: &str) -> Pace {
        let options = &self.options;
        let (mut ready, mut total, mut other_ready) = (0, 0, false);
        for node in self.nodes.list() {
            if zone_of(&node) == zone {
                total += 1;
                ready += usize::from(plan::is_ready(&node));
            } else {
                other_ready |= plan::is_ready(&node);
            }
        }
        let rates = Rates {
            normal: options.node_eviction_rate,
            reduced: options.secondary_node_eviction_rate,
            unhealthy_share: options.unhealthy_zone_threshold,
            large_cluster: usize::try_from(options.large_cluster_size_threshold).unwrap_or(0),
        };
        plan::pace(ready, total, other_ready, rates)
    }
}

/// Changes with each status that the kubelet posts.
fn heartbeat(node: &Node) -> Option<Time> {
    node.status.conditions.iter().filter_map(|c| c.last_heartbeat_time).max()
}

fn zone_of(node: &Node) -> String {
    let label = |key| node.metadata.labels.get(key).unwrap_or_default();
    format!("{}:{}", label(REGION), label(ZONE))
}
