//! The cluster as the scheduler sees it: nodes in an array, the pods on them, and the pods that it has just placed
//! and of which the API does not tell yet (assumed). A cycle reads it directly: nothing is copied, and what a node's
//! generation says is unchanged need not be looked at again.
//!
//! Deliberately absent: locks. One task owns the cache; changes reach it between two cycles.

mod journal;
mod node;
mod nominations;
mod topology;

use std::collections::HashMap;
use std::sync::Arc;

use compact_str::CompactString;
use tokio::time::Instant;

pub use journal::{Journal, Moved};
pub use node::{Label, NodeInfo};
pub use nominations::Nominations;
pub use topology::Topology;

use crate::pod::Pod;
use crate::resources::{Symbol, Symbols};
use crate::views::NodeView;

/// Where a node lies in the array.
pub type Slot = u32;

const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";

#[derive(Debug)]
struct Placed {
    pod: Arc<Pod>,
    slot: Slot,
    assumed: Option<Assumed>,
}

#[derive(Clone, Copy, Debug)]
struct Assumed {
    /// When to forget the pod, once its binding was written and if the informer never tells of it.
    deadline: Option<Instant>,
}

/// Nodes and the pods on them.
#[derive(Default)]
pub struct Cache {
    pub symbols: Symbols,
    nodes: Vec<NodeInfo>,
    /// Of each of them; see [`Cache::generation`].
    generations: Vec<u64>,
    free: Vec<Slot>,
    by_name: HashMap<CompactString, Slot>,
    /// Slots of the nodes that are there, the zones by turns; see [`Cache::order`].
    order: Vec<Slot>,
    /// In the order in which zones and their nodes came.
    zones: Vec<(CompactString, Vec<Slot>)>,
    pods: HashMap<CompactString, Placed>,
    assumed: usize,
    social: usize,
    journal: Journal,
    /// Pods that preempted others and wait for these to go.
    pub nominations: Nominations,
    topologies: topology::Topologies,
    /// On how many nodes an image is.
    images: HashMap<Symbol, u32>,
    generation: u64,
    epoch: u64,
    layout: u64,
}

impl Cache {
    /// Every node that is or was there; look only at those of [`Cache::order`].
    pub fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    pub fn node(&self, slot: Slot) -> &NodeInfo {
        &self.nodes[slot as usize]
    }

    /// Changes with anything that a filter or a score can see of a node, and is never used twice. Not 0.
    pub fn generation(&self, slot: Slot) -> u64 {
        self.generations[slot as usize]
    }

    /// Slots in the order in which cycles go through them: one of each zone, then the next of each.
    pub fn order(&self) -> &[Slot] {
        &self.order
    }

    pub fn slot(&self, name: &str) -> Option<Slot> {
        self.by_name.get(name).copied().filter(|slot| self.node(*slot).present)
    }

    /// Changes when nodes come, go or change their images: what no single node's generation tells.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// On how many nodes an image is.
    pub fn nodes_with_image(&self, image: Symbol) -> u32 {
        self.images.get(&image).copied().unwrap_or(0)
    }

    pub fn pods(&self) -> usize {
        self.pods.len()
    }

    pub fn assumed_pods(&self) -> usize {
        self.assumed
    }

    /// How many pods have affinity or anti-affinity to others.
    pub fn social_pods(&self) -> usize {
        self.social
    }

    /// Changes when nodes come or go, or their labels or taints change: what verdicts that look at other nodes' pods
    /// are made of, beside the pods themselves.
    pub fn layout(&self) -> u64 {
        self.layout
    }

    /// Which pods came and went lately.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The nodes by a label's value; as of [`Cache::layout`].
    pub fn topology(&self, key: Symbol) -> Arc<Topology> {
        self.topologies.get(key, self.layout, &self.nodes)
    }

    pub fn is_assumed(&self, uid: &str) -> bool {
        self.pods.get(uid).is_some_and(|p| p.assumed.is_some())
    }

    /// The pod as it is on its node.
    pub fn pod(&self, uid: &str) -> Option<&Arc<Pod>> {
        self.pods.get(uid).map(|p| &p.pod)
    }

    fn touch(&mut self, slot: Slot) -> &mut NodeInfo {
        self.generation += 1;
        self.generations[slot as usize] = self.generation;
        &mut self.nodes[slot as usize]
    }

    fn slot_or_new(&mut self, name: &str) -> Slot {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(NodeInfo::default());
            self.generations.push(0);
            u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
        });
        self.by_name.insert(name.into(), slot);
        self.touch(slot).name = name.into();
        slot
    }

    /// Adds or changes a node.
    pub fn set_node(&mut self, view: &NodeView) {
        let slot = self.slot_or_new(&view.metadata.name);
        let (was_present, old_images) = (self.node(slot).present, self.node(slot).images.clone());
        let old_labels = std::mem::take(&mut self.nodes[slot as usize].labels);
        let old_taints = std::mem::take(&mut self.nodes[slot as usize].taints);
        let mut symbols = std::mem::take(&mut self.symbols);
        let node = self.touch(slot);
        node.set(view, &mut symbols);
        let same = was_present && node.labels == old_labels && node.taints == old_taints;
        self.layout += u64::from(!same);
        self.symbols = symbols;
        self.count_images(&old_images, slot);
        let zone = zone(view);
        if !was_present || self.node(slot).zone != zone {
            self.leave_zone(slot);
            self.nodes[slot as usize].zone = zone.clone();
            self.join_zone(slot, zone);
            self.reorder();
        }
    }

    /// Takes a node away. Its pods stay until they are told to be gone.
    pub fn remove_node(&mut self, name: &str) {
        let Some(slot) = self.slot(name) else { return };
        let old_images = self.node(slot).images.clone();
        self.touch(slot).unset();
        self.layout += 1;
        self.count_images(&old_images, slot);
        self.leave_zone(slot);
        self.reorder();
        self.release_if_empty(slot);
    }

    fn release_if_empty(&mut self, slot: Slot) {
        let node = &self.nodes[slot as usize];
        if !node.present && node.pods.is_empty() {
            self.by_name.remove(&node.name);
            self.nodes[slot as usize] = NodeInfo::default();
            self.touch(slot);
            self.free.push(slot);
        }
    }

    fn count_images(&mut self, old: &[(Symbol, i64)], slot: Slot) {
        let new = &self.nodes[slot as usize].images;
        if old == new.as_slice() {
            return;
        }
        for (name, _) in new {
            *self.images.entry(*name).or_default() += 1;
        }
        for (name, _) in old {
            if let Some(count) = self.images.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.images.remove(name);
                }
            }
        }
        self.epoch += 1;
    }

    fn join_zone(&mut self, slot: Slot, zone: CompactString) {
        match self.zones.iter_mut().find(|(z, _)| *z == zone) {
            Some((_, slots)) => slots.push(slot),
            None => self.zones.push((zone, vec![slot])),
        }
    }

    fn leave_zone(&mut self, slot: Slot) {
        for (_, slots) in &mut self.zones {
            slots.retain(|s| *s != slot);
        }
        self.zones.retain(|(_, slots)| !slots.is_empty());
    }

    fn reorder(&mut self) {
        self.epoch += 1;
        let longest = self.zones.iter().map(|(_, slots)| slots.len()).max().unwrap_or(0);
        self.order.clear();
        for turn in 0..longest {
            self.order.extend(self.zones.iter().filter_map(|(_, slots)| slots.get(turn)));
        }
    }

    /// Adds or changes a pod that the API says is on a node. An assumed pod is confirmed by it.
    pub fn set_pod(&mut self, pod: Arc<Pod>) {
        if let Some(known) = self.pods.get_mut(&pod.uid)
            && known.pod.node_name == pod.node_name
            && known.pod.is_alike(&pod)
        {
            // Nothing that a cycle reads is different.
            self.assumed -= usize::from(known.assumed.take().is_some());
            self.nodes[known.slot as usize].replace_pod(&pod);
            known.pod = pod;
            return;
        }
        self.remove_pod(&pod.uid);
        self.place(pod, None);
    }

    fn place(&mut self, pod: Arc<Pod>, assumed: Option<Assumed>) {
        let slot = self.slot_or_new(&pod.node_name);
        self.touch(slot).add_pod(pod.clone());
        self.assumed += usize::from(assumed.is_some());
        self.social += usize::from(pod.kin.is_social);
        self.nominations.remove(&pod.uid);
        self.journal.push(Moved { slot, pod: pod.clone(), by: 1 });
        self.pods.insert(pod.uid.clone(), Placed { pod, slot, assumed });
    }

    /// Takes a pod from its node.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<Pod>> {
        let placed = self.pods.remove(uid)?;
        self.assumed -= usize::from(placed.assumed.is_some());
        self.social -= usize::from(placed.pod.kin.is_social);
        self.touch(placed.slot).remove_pod(uid);
        self.journal.push(Moved { slot: placed.slot, pod: placed.pod.clone(), by: -1 });
        self.release_if_empty(placed.slot);
        Some(placed.pod)
    }

    /// Puts a pod on the node that was chosen for it, before the API knows. Its `node_name` must be set.
    pub fn assume(&mut self, pod: Arc<Pod>) {
        self.remove_pod(&pod.uid);
        self.place(pod, Some(Assumed { deadline: None }));
    }

    /// The binding was written: the pod is forgotten at `deadline` unless the informer tells of it before.
    pub fn finish_binding(&mut self, uid: &str, deadline: Option<Instant>) {
        if let Some(Placed { assumed: Some(assumed), .. }) = self.pods.get_mut(uid) {
            assumed.deadline = deadline;
        }
    }

    /// Undoes [`Cache::assume`]. Returns false if the pod is not assumed (any more).
    pub fn forget(&mut self, uid: &str) -> bool {
        self.is_assumed(uid) && self.remove_pod(uid).is_some()
    }

    /// Forgets the assumed pods whose deadline has come.
    pub fn expire(&mut self, now: Instant) -> Vec<Arc<Pod>> {
        if self.assumed == 0 {
            return Vec::new();
        }
        let late = |p: &Placed| p.assumed.is_some_and(|a| a.deadline.is_some_and(|at| at <= now));
        let uids: Vec<CompactString> =
            self.pods.iter().filter(|(_, p)| late(p)).map(|(uid, _)| uid.clone()).collect();
        uids.iter().filter_map(|uid| self.remove_pod(uid)).collect()
    }
}

fn zone(view: &NodeView) -> CompactString {
    let label = |key| view.metadata.labels.get(key).unwrap_or_default();
    let mut zone = CompactString::from(label(REGION));
    zone.push('\0');
    zone.push_str(label(ZONE));
    zone
}

#[cfg(test)]
mod tests;
