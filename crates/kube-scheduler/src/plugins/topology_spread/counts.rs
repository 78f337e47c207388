//! How many pods that a constraint counts are in each domain.

use std::sync::Arc;

use client::StringMap;
use compact_str::CompactString;

use super::{Constraint, Selector};
use crate::cache::{Cache, Moved, NodeInfo, Slot, Topology};
use crate::framework::Context;
use crate::plugins::node_affinity::Required;
use crate::plugins::taint_toleration::is_tolerated;
use crate::pod::Pod;
use crate::views::NodeAffinity;

/// The counts of one constraint.
pub(super) struct Counts {
    pub topology: Arc<Topology>,
    /// Pods by domain, of the nodes that are included.
    pub pods: Vec<i64>,
    /// Domains with included nodes.
    pub included: Vec<bool>,
    selector: Selector,
    namespace: CompactString,
    /// By slot.
    nodes: Vec<bool>,
}

/// Which nodes a pod's constraints look at.
pub(super) struct Inclusion<'a> {
    required: Required,
    pod: &'a Pod,
    /// Without any of these labels a node is left out.
    topologies: Vec<Arc<Topology>>,
}

impl<'a> Inclusion<'a> {
    pub(super) fn new(
        context: &mut Context<'_>,
        pod: &'a Pod,
        all_keys: bool,
        constraints: &[Constraint],
    ) -> Self {
        let required = Required::new(&NodeAffinity::default(), pod, context.symbols);
        let of = |c: &Constraint| context.cache.topology(context.symbols.intern(&c.given.topology_key));
        let topologies = if all_keys { constraints.iter().map(of).collect() } else { Vec::new() };
        Self { required, pod, topologies }
    }

    /// Whether a node has all the labels.
    pub(super) fn is_labelled(&self, slot: Slot) -> bool {
        self.topologies.iter().all(|t| t.domain(slot).is_some())
    }

    fn includes(&self, constraint: &Constraint, slot: Slot, node: &NodeInfo) -> bool {
        let given = &constraint.given;
        self.is_labelled(slot)
            && (given.node_affinity_policy == "Ignore" || self.required.matches(node))
            && (given.node_taints_policy != "Honor"
                || is_tolerated(&self.pod.spec().tolerations, &node.taints))
    }
}

impl Counts {
    /// `every` counts the pods of all nodes, whatever the constraint's policies say.
    pub(super) fn new(
        context: &mut Context<'_>,
        constraint: &Constraint,
        inclusion: &Inclusion<'_>,
        every: bool,
    ) -> Self {
        let cache = context.cache;
        let topology = cache.topology(context.symbols.intern(&constraint.given.topology_key));
        let domains = topology.domains();
        let mut made = Self {
            pods: vec![0; domains],
            included: vec![false; domains],
            selector: constraint.selector.clone(),
            namespace: inclusion.pod.kin.namespace.clone(),
            nodes: vec![false; cache.nodes().len()],
            topology,
        };
        for slot in cache.order() {
            let node = cache.node(*slot);
            if every || inclusion.includes(constraint, *slot, node) {
                made.include(*slot, node);
            }
        }
        made
    }

    fn include(&mut self, slot: Slot, node: &NodeInfo) {
        let Some(domain) = self.topology.domain(slot) else { return };
        self.nodes[slot as usize] = true;
        self.included[domain] = true;
        if !self.selector.is_empty() {
            let counted = node.pods.iter().filter(|p| self.counts(p)).count();
            self.pods[domain] += i64::try_from(counted).unwrap_or(i64::MAX);
        }
    }

    fn counts(&self, pod: &Pod) -> bool {
        !pod.is_being_deleted && pod.kin.namespace == self.namespace && self.selector.matches(pod.labels())
    }

    /// The domain whose count changes with a pod that comes or goes.
    pub(super) fn moved(&mut self, _: &Cache, moved: &Moved) -> Option<usize> {
        if !*self.nodes.get(moved.slot as usize)? || self.selector.is_empty() || !self.counts(&moved.pod) {
            return None;
        }
        let domain = self.topology.domain(moved.slot)?;
        self.pods[domain] += moved.by;
        Some(domain)
    }

    /// Pods in a node's domain.
    pub(super) fn at(&self, slot: Slot) -> Option<i64> {
        self.topology.domain(slot).map(|domain| self.pods[domain])
    }

    pub(super) fn selects(&self, labels: &StringMap) -> bool {
        self.selector.matches(labels)
    }
}
