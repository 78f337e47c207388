//! Pods that preempted others on a node and wait until these are gone: whoever is not more important must leave them
//! their place.

use std::collections::HashMap;
use std::sync::Arc;

use compact_str::CompactString;

use crate::pod::Pod;

/// Nominated pods, by node and by uid.
#[derive(Debug, Default)]
pub struct Nominations {
    by_node: HashMap<CompactString, Vec<Arc<Pod>>>,
    node_of: HashMap<CompactString, CompactString>,
}

impl Nominations {
    pub fn is_empty(&self) -> bool {
        self.node_of.is_empty()
    }

    /// Nominates a pod for a node, in place of where it was nominated before.
    pub fn set(&mut self, pod: Arc<Pod>, node: &str) {
        self.remove(&pod.uid);
        self.node_of.insert(pod.uid.clone(), node.into());
        self.by_node.entry(node.into()).or_default().push(pod);
    }

    pub fn remove(&mut self, uid: &str) {
        let Some(node) = self.node_of.remove(uid) else { return };
        if let Some(pods) = self.by_node.get_mut(&node) {
            pods.retain(|p| p.uid != uid);
            if pods.is_empty() {
                self.by_node.remove(&node);
            }
        }
    }

    /// Where a pod is nominated.
    pub fn node(&self, uid: &str) -> Option<&CompactString> {
        self.node_of.get(uid)
    }

    /// The pods that are nominated for a node.
    pub fn on(&self, node: &str) -> &[Arc<Pod>] {
        self.by_node.get(node).map_or(&[], Vec::as_slice)
    }

    /// Those for whom `pod` must leave the place on a node.
    pub fn before<'a>(&'a self, pod: &'a Pod, node: &str) -> impl Iterator<Item = &'a Arc<Pod>> {
        self.on(node).iter().filter(|other| other.priority >= pod.priority && other.uid != pod.uid)
    }
}
