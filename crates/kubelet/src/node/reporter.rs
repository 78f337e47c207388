//! Registers the node and keeps its status up to date.

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Event, Informer, InformerOptions, Patch, View};
use cri::v1;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeSpec, NodeStatus};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::describe::{self, Input, Pressure};
use super::machine::Machine;
use super::{NODES, lease};
use crate::context::{Context, NodeFacts};
use crate::events::Kind;
use crate::eviction::thresholds::Condition;
use crate::status::patch;

/// Pauses between looks at the runtime's own conditions, which have no watch: short until it is ready.
const LOOK_UNREADY: Duration = Duration::from_millis(200);
const LOOK_READY: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(200);

/// The node's object, as an informer holds it.
#[derive(Debug)]
struct NodeView(Node);

impl<'de> Deserialize<'de> for NodeView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Node::deserialize(deserializer).map(Self)
    }
}

impl View for NodeView {
    fn namespace(&self) -> &str {
        ""
    }
    fn name(&self) -> &str {
        self.0.metadata.name.as_deref().unwrap_or_default()
    }
    fn uid(&self) -> &str {
        self.0.metadata.uid.as_deref().unwrap_or_default()
    }
    fn resource_version(&self) -> &str {
        self.0.metadata.resource_version.as_deref().unwrap_or_default()
    }
}

/// Reports the node.
pub struct Reporter {
    cx: Arc<Context>,
    machine: Machine,
    labels: Vec<(String, String)>,
}

impl Reporter {
    /// `labels` are set when the node registers.
    #[must_use]
    pub fn new(cx: Arc<Context>, machine: Machine, labels: Vec<(String, String)>) -> Self {
        Self { cx, machine, labels }
    }

    /// Works until the kubelet ends. Without an API server only the runtime is looked at.
    pub async fn run(self) {
        let shutdown = self.cx.shutdown.clone();
        let work = async {
            tokio::join!(self.watch_runtime(), self.report());
        };
        let _ = shutdown.run_until_cancelled(work).await;
    }

    /// Keeps `network` up to date.
    async fn watch_runtime(&self) {
        loop {
            let reason = match self.runtime_status().await {
                Ok(status) => not_ready(&status, "NetworkReady"),
                Err(error) => Some(error.to_string()),
            };
            let ready = reason.is_none();
            let changed = self.cx.network.send_if_modified(|old| {
                let changed = *old != reason;
                *old = reason;
                changed
            });
            if changed {
                self.cx.pods.wake_all();
                self.cx.node_news.notify_one();
            }
            tokio::time::sleep(if ready { LOOK_READY } else { LOOK_UNREADY }).await;
        }
    }

    async fn runtime_status(&self) -> Result<v1::StatusResponse, cri::Error> {
        self.cx.runtime.status(v1::StatusRequest { verbose: false }).await
    }

    async fn report(&self) {
        let Some(api) = &self.cx.api else { return };
        let informer = self.informer(api);
        let uid = if self.cx.config.register_node == Some(false) {
            self.uid_of_registered().await
        } else {
            self.register().await
        };
        self.cx.events.emit_node(Kind::Normal, "Starting", "Starting kubelet.");
        drop(informer.start(self.cx.shutdown.clone()));
        let lease = lease::run(self.cx.clone(), uid);
        tokio::join!(lease, self.keep_status(&informer));
    }

    fn informer(&self, api: &client::Api) -> Informer<NodeView> {
        let options = InformerOptions {
            field_selector: format!("metadata.name={}", self.cx.node_name),
            ..InformerOptions::default()
        };
        let informer = Informer::<NodeView>::new(api.clone(), NODES, options);
        let cx = Arc::downgrade(&self.cx);
        informer.add_handler(move |event| {
            if let (Some(cx), Event::Added(node) | Event::Modified { new: node, .. }) = (cx.upgrade(), event)
            {
                learn(&cx, &node.0);
            }
        });
        informer
    }

    /// Creates the node, or takes the one that is there; its UID.
    async fn register(&self) -> String {
        let mut pause = RETRY;
        loop {
            match self.try_register().await {
                Ok(uid) => return uid,
                Err(error) => tracing::warn!(%error, node = self.cx.node_name, "register node"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(7));
        }
    }

    async fn try_register(&self) -> Result<String, client::Error> {
        let Some(api) = &self.cx.api else { return Ok(String::new()) };
        let node = self.initial().await;
        match api.create::<Node>(&NODES, "", &node).await {
            Ok(made) => {
                learn(&self.cx, &made);
                return Ok(made.metadata.uid.unwrap_or_default());
            }
            Err(error) if error.is_already_exists() => {}
            Err(error) => return Err(error),
        }
        let labels = node.metadata.labels.clone().unwrap_or_default();
        let annotations = node.metadata.annotations.clone().unwrap_or_default();
        let patch = json!({"metadata": {"labels": labels, "annotations": annotations}});
        let there: Node = api.patch(&NODES, "", &self.cx.node_name, "", &Patch::Strategic, &patch).await?;
        learn(&self.cx, &there);
        Ok(there.metadata.uid.unwrap_or_default())
    }

    async fn uid_of_registered(&self) -> String {
        loop {
            if let Some(api) = &self.cx.api {
                match api.get::<Node>(&NODES, "", &self.cx.node_name).await {
                    Ok(node) => return node.metadata.uid.unwrap_or_default(),
                    Err(error) => tracing::warn!(%error, "the node is not registered yet"),
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn initial(&self) -> Node {
        let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let own = [
            ("beta.kubernetes.io/arch", arch),
            ("beta.kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", arch),
            ("kubernetes.io/hostname", &self.cx.node_name),
            ("kubernetes.io/os", "linux"),
        ];
        let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut node = Node::default();
        node.metadata.name = Some(self.cx.node_name.clone());
        node.metadata.labels = Some(own.into_iter().chain(self.labels.iter().cloned()).collect());
        if self.cx.config.enable_controller_attach_detach != Some(false) {
            let key = "volumes.kubernetes.io/controller-managed-attach-detach".to_owned();
            node.metadata.annotations = Some([(key, "true".to_owned())].into());
        }
        let provider = Some(self.cx.config.provider_id.clone()).filter(|id| !id.is_empty());
        let taints = self.cx.config.register_with_taints.clone();
        node.spec = Some(NodeSpec { provider_id: provider, taints, ..NodeSpec::default() });
        node.status = Some(self.current(&[]).await);
        node
    }

    /// The status as of now.
    async fn current(&self, old: &[NodeCondition]) -> NodeStatus {
        let version = self.cx.runtime.version(v1::VersionRequest::default());
        let (status, version, images) =
            tokio::join!(self.runtime_status(), version, self.cx.runtime.list_images(None));
        let failed = status.as_ref().err().map(ToString::to_string);
        let status = status.unwrap_or_default();
        let not_ready = match failed {
            Some(error) => Some(format!("container runtime is down: {error}")),
            None => not_ready(&status, "RuntimeReady")
                .map(|why| format!("container runtime not ready: {why}"))
                .or_else(|| {
                    not_ready(&status, "NetworkReady")
                        .map(|why| format!("container runtime network not ready: {why}"))
                }),
        };
        let conditions = describe::conditions(self.pressure(), not_ready.as_deref(), old, Timestamp::now());
        let version = version.unwrap_or_default();
        let limit = self.cx.config.node_status_max_images.unwrap_or(50);
        describe::status(Input {
            machine: &self.machine,
            config: &self.cx.config,
            name: &self.cx.node_name,
            ips: &self.cx.host_ips(),
            runtime: format!(
                "{}://{}",
                version.runtime_name,
                version.runtime_version.trim_start_matches('v')
            ),
            runtime_status: &status,
            images: describe::images(images.unwrap_or_default(), limit),
            conditions,
        })
    }

    fn pressure(&self) -> Pressure {
        let has = |condition| self.cx.pressure.has(condition);
        Pressure {
            memory: has(Condition::Memory),
            disk: has(Condition::Disk),
            processes: has(Condition::Processes),
        }
    }

    /// Reports at every change, looked for every ten seconds and at news, and every five minutes at least.
    async fn keep_status(&self, informer: &Informer<NodeView>) {
        informer.wait_synced().await;
        let update = self.cx.config.node_status_update_frequency.map_or(Duration::from_secs(10), |d| d.0);
        let report = self.cx.config.node_status_report_frequency.map_or(Duration::from_secs(300), |d| d.0);
        let mut reported: Option<Instant> = None;
        let mut was_ready = None;
        loop {
            let due = reported.is_none_or(|at| at.elapsed() >= report);
            let pause = match self.send(informer, due).await {
                Ok((sent, ready)) => {
                    if sent {
                        reported = Some(Instant::now());
                    }
                    self.tell_ready(&mut was_ready, ready);
                    update
                }
                Err(error) => {
                    tracing::warn!(%error, "update node status");
                    RETRY
                }
            };
            let _ = tokio::time::timeout(pause, self.cx.node_news.notified()).await;
        }
    }

    fn tell_ready(&self, was: &mut Option<bool>, ready: bool) {
        if was.replace(ready) != Some(ready) {
            let reason = if ready { "NodeReady" } else { "NodeNotReady" };
            let message = format!("Node {} status is now: {reason}", self.cx.node_name);
            self.cx.events.emit_node(Kind::Normal, reason, &message);
        }
    }

    /// Sends the status if it is due or differs. Whether it was sent, and whether the node is ready.
    async fn send(&self, informer: &Informer<NodeView>, due: bool) -> Result<(bool, bool), client::Error> {
        let Some(api) = &self.cx.api else { return Ok((false, false)) };
        let there = match informer.store().get("", &self.cx.node_name) {
            Some(node) => node.0.status.clone().unwrap_or_default(),
            None => api.get::<Node>(&NODES, "", &self.cx.node_name).await?.status.unwrap_or_default(),
        };
        let old = there.conditions.clone().unwrap_or_default();
        let new = self.current(&old).await;
        let ready = new.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
        let (before, now) = (to_value(&there), own(&to_value(&there), to_value(&new)));
        if !due
            && patch::between(&without_heartbeat(before.clone()), &without_heartbeat(now.clone())).is_none()
        {
            return Ok((false, ready));
        }
        if let Some(status) = patch::between(&before, &now) {
            let body = json!({"status": status});
            let node: Node =
                api.patch(&NODES, "", &self.cx.node_name, "status", &Patch::Strategic, &body).await?;
            learn(&self.cx, &node);
        }
        Ok((true, ready))
    }
}

/// `None` if a condition of the runtime holds, else its words.
fn not_ready(status: &v1::StatusResponse, kind: &str) -> Option<String> {
    let conditions = status.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    match conditions.iter().find(|condition| condition.r#type == kind) {
        Some(condition) if condition.status => None,
        Some(condition) => {
            Some(format!("{kind}=false reason:{} message:{}", condition.reason, condition.message))
        }
        None => Some(format!("{kind} is unknown")),
    }
}

/// Takes over what the API says about the node.
fn learn(cx: &Context, node: &Node) {
    let spec = node.spec.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    let mut facts = cx.node.write();
    let registered = facts.uid.is_empty();
    *facts = NodeFacts {
        uid: node.metadata.uid.clone().unwrap_or_default(),
        ips: std::mem::take(&mut facts.ips),
        labels: node.metadata.labels.clone().unwrap_or_default(),
        taints: spec.taints.unwrap_or_default(),
        allocatable: match status.allocatable {
            Some(list) => list.into_iter().map(|(name, amount)| (name, amount.0)).collect(),
            None => std::mem::take(&mut facts.allocatable),
        },
    };
    drop(facts);
    if registered {
        // mirrors of static pods waited for their owner
        cx.pods.wake_all();
    }
}

fn to_value(status: &NodeStatus) -> Value {
    serde_json::to_value(status).unwrap_or_default()
}

/// Fields and conditions of others stay as they are, and so does the capacity of resources that others have added
/// (`example.com/gpu`); all of it is allocatable.
fn own(old: &Value, mut new: Value) -> Value {
    let Some(map) = new.as_object_mut() else { return new };
    for (name, value) in old.as_object().into_iter().flatten() {
        if !map.contains_key(name) {
            map.insert(name.clone(), value.clone());
        }
    }
    let known: Vec<Value> = map["conditions"].as_array().cloned().unwrap_or_default();
    let foreign = old["conditions"].as_array().into_iter().flatten();
    let foreign = foreign.filter(|c| !known.iter().any(|k| k["type"] == c["type"])).cloned();
    let all = foreign.chain(known.iter().cloned()).collect();
    map.insert("conditions".to_owned(), Value::Array(all));
    let added = old["capacity"].as_object().into_iter().flatten();
    let added: Vec<_> = added.filter(|(name, _)| map["capacity"].get(name.as_str()).is_none()).collect();
    for list in ["capacity", "allocatable"] {
        if let Some(list) = map.get_mut(list).and_then(Value::as_object_mut) {
            list.extend(added.iter().map(|(name, amount)| ((*name).clone(), (*amount).clone())));
        }
    }
    new
}

fn without_heartbeat(mut status: Value) -> Value {
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        if let Some(condition) = condition.as_object_mut() {
            condition.remove("lastHeartbeatTime");
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_put_into_the_status_stays() {
        let old = json!({"capacity": {"cpu": "1", "example.com/gpu": "4"}, "allocatable": {"cpu": "1"},
            "conditions": [{"type": "Foreign", "status": "True"}], "volumesInUse": ["v"]});
        let new = json!({"capacity": {"cpu": "2"}, "allocatable": {"cpu": "2"},
            "conditions": [{"type": "Ready", "status": "True"}]});
        let expected = json!({"capacity": {"cpu": "2", "example.com/gpu": "4"},
            "allocatable": {"cpu": "2", "example.com/gpu": "4"},
            "conditions": [{"type": "Foreign", "status": "True"}, {"type": "Ready", "status": "True"}],
            "volumesInUse": ["v"]});
        assert_eq!(own(&old, new), expected);
    }
}
