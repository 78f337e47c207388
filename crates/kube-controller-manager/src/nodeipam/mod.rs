//! Gives each node its range of pod addresses (`--allocate-node-cidrs`, upstream's RangeAllocator).

pub mod plan;

use std::sync::Arc;

use client::events::{ObjectReference, Recorder};
use client::{Api, Error, ObjectKey, Patch, Store, WorkQueue, resource};
use parking_lot::Mutex;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::context::{Context, on_change};
use crate::options::Nodes;
use crate::views::Node;
use plan::{Blocks, RangeError};

struct Controller {
    api: Api,
    recorder: Recorder,
    nodes: Store<Node>,
    networks: Mutex<Vec<Blocks>>,
}

/// Runs until shutdown; without `--allocate-node-cidrs` it ends at once.
pub async fn run(context: Context) {
    let options = &context.options.nodes;
    if !options.allocate_node_cidrs {
        return;
    }
    let networks = match networks(options) {
        Ok(networks) => networks,
        Err(e) => return tracing::error!("--cluster-cidr={}: {e}", options.cluster_cidr),
    };
    let api = context.api("node-controller").await;
    let nodes = context.informers.nodes();
    let recorder = context.recorder(&api, "cidrAllocator");
    let controller =
        Arc::new(Controller { api, recorder, nodes: nodes.store(), networks: Mutex::new(networks) });
    let queue: WorkQueue<ObjectKey> = WorkQueue::new("cidrallocator_node");
    nodes.wait_synced().await;
    for node in controller.nodes.list() {
        controller.occupy(&node);
    }
    let (own, enqueue) = (controller.clone(), queue.clone());
    on_change(&nodes, move |_, node, deleted| {
        if deleted {
            own.release(node);
        } else if node.spec.pod_cidrs.is_empty() {
            enqueue.add(node.metadata.key());
        }
    });
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await.map(|()| None) }
    };
    context.work(&queue, 30, "node_ipam", sync).await;
}

fn networks(options: &Nodes) -> Result<Vec<Blocks>, RangeError> {
    let mut networks = Vec::new();
    for network in options.cluster_cidr.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        let (own, default) = match network.contains(':') {
            true => (options.node_cidr_mask_size_ipv6, 64),
            false => (options.node_cidr_mask_size_ipv4, 24),
        };
        let mask = [own, options.node_cidr_mask_size].into_iter().find(|m| *m != 0).unwrap_or(default);
        let mut blocks = Blocks::new(network, mask)?;
        for services in options.service_cluster_ip_range.split(',').filter(|s| !s.is_empty()) {
            // Most often it lies elsewhere.
            let _ = blocks.occupy(services.trim());
        }
        networks.push(blocks);
    }
    if networks.is_empty() { Err(RangeError::Syntax(String::new())) } else { Ok(networks) }
}

impl Controller {
    fn occupy(&self, node: &Node) {
        for (network, given) in self.networks.lock().iter_mut().zip(&node.spec.pod_cidrs) {
            if let Err(e) = network.occupy(given) {
                tracing::error!(node = %node.metadata.name, "its podCIDR: {e}");
            }
        }
    }

    fn release(&self, node: &Node) {
        for (network, given) in self.networks.lock().iter_mut().zip(&node.spec.pod_cidrs) {
            let _ = network.release(given);
        }
    }

    async fn sync(&self, key: ObjectKey) -> Result<(), Error> {
        let Some(node) = self.nodes.get_key(&key).filter(|n| n.spec.pod_cidrs.is_empty()) else {
            return Ok(());
        };
        let given: Result<Vec<String>, RangeError> =
            self.networks.lock().iter_mut().map(|n| n.allocate().map(|block| block.to_string())).collect();
        let given = match given {
            Ok(given) => given,
            Err(e) => {
                let reference = ObjectReference::new(&resource::NODES, &node.metadata);
                let message = format!("Node {} status is now: CIDRNotAvailable ({e})", node.metadata.name);
                self.recorder.normal(&reference, "CIDRNotAvailable", message);
                return Ok(());
            }
        };
        let patch = json!({"spec": {"podCIDR": given[0], "podCIDRs": given}});
        let patched = self
            .api
            .patch::<IgnoredAny>(&resource::NODES, "", &node.metadata.name, "", &Patch::Strategic, &patch)
            .await;
        if patched.is_err() {
            for (network, block) in self.networks.lock().iter_mut().zip(&given) {
                let _ = network.release(block);
            }
        }
        match patched {
            Err(e) if !e.is_not_found() => Err(e),
            _ => Ok(()),
        }
    }
}
