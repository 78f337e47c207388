//! A node as filters and scores read it.

use std::sync::Arc;

use compact_str::CompactString;

use crate::pod::{HostPort, Pod};
use crate::resources::{Resources, Symbol, Symbols};
use crate::views::{NodeView, Taint};

/// A node's label. `number` is the value where it is a decimal integer, for Gt and Lt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    pub key: Symbol,
    pub value: Symbol,
    pub number: Option<i64>,
}

/// A node with what its pods take. It also stands for a node that is not there (not yet, or no more) but has pods.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    pub name: CompactString,
    /// There is a Node object.
    pub present: bool,
    /// Sorted by key.
    pub labels: Vec<Label>,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    /// Region and zone, as one text.
    pub zone: CompactString,
    pub allocatable: Resources,
    /// Sum over the pods, without defaults.
    pub requested: Resources,
    /// Thousandths of a CPU and bytes, with defaults.
    pub nonzero_milli_cpu: i64,
    pub nonzero_memory: i64,
    /// Name and bytes, sorted by name.
    pub images: Vec<(Symbol, i64)>,
    pub pods: Vec<Arc<Pod>>,
    /// How many of the pods have affinity or anti-affinity to others.
    pub social: usize,
    /// Host ports of the pods; few.
    pub ports: Vec<HostPort>,
}

impl NodeInfo {
    pub fn label(&self, key: Symbol) -> Option<&Label> {
        self.labels.binary_search_by_key(&key, |l| l.key).ok().map(|at| &self.labels[at])
    }

    /// Bytes of an image, if the node has it.
    pub fn image(&self, name: Symbol) -> Option<i64> {
        self.images.binary_search_by_key(&name, |(n, _)| *n).ok().map(|at| self.images[at].1)
    }

    /// Takes over what the object says.
    pub fn set(&mut self, view: &NodeView, symbols: &mut Symbols) {
        self.present = true;
        self.labels = labels(view, symbols);
        self.taints = view.spec.taints.clone();
        self.unschedulable = view.spec.unschedulable;
        self.allocatable = Resources::parse(&view.status.allocatable, symbols);
        self.images = images(view, symbols);
    }

    /// Forgets the object, but not the pods.
    pub fn unset(&mut self) {
        let kept = Self {
            name: std::mem::take(&mut self.name),
            requested: std::mem::take(&mut self.requested),
            pods: std::mem::take(&mut self.pods),
            ports: std::mem::take(&mut self.ports),
            social: self.social,
            nonzero_milli_cpu: self.nonzero_milli_cpu,
            nonzero_memory: self.nonzero_memory,
            ..Self::default()
        };
        *self = kept;
    }

    pub fn add_pod(&mut self, pod: Arc<Pod>) {
        let taken = pod.requests();
        self.requested.add(&taken.requests);
        self.nonzero_milli_cpu += taken.nonzero_milli_cpu;
        self.nonzero_memory += taken.nonzero_memory;
        self.ports.extend_from_slice(&pod.spec().ports);
        self.social += usize::from(pod.kin.is_social);
        self.pods.push(pod);
    }

    /// Takes a newer state of a pod that takes the same.
    pub fn replace_pod(&mut self, pod: &Arc<Pod>) {
        if let Some(known) = self.pods.iter_mut().find(|p| p.uid == pod.uid) {
            known.clone_from(pod);
        }
    }

    pub fn remove_pod(&mut self, uid: &str) {
        let Some(at) = self.pods.iter().position(|p| p.uid == uid) else { return };
        let pod = self.pods.swap_remove(at);
        let taken = pod.requests();
        self.social -= usize::from(pod.kin.is_social);
        self.requested.subtract(&taken.requests);
        self.nonzero_milli_cpu -= taken.nonzero_milli_cpu;
        self.nonzero_memory -= taken.nonzero_memory;
        for port in &pod.spec().ports {
            if let Some(at) = self.ports.iter().position(|p| p == port) {
                self.ports.swap_remove(at);
            }
        }
    }
}

fn labels(view: &NodeView, symbols: &mut Symbols) -> Vec<Label> {
    let of = |(key, value): (&str, &str)| Label {
        key: symbols.intern(key),
        value: symbols.intern(value),
        number: value.parse().ok(),
    };
    let mut labels: Vec<Label> = view.metadata.labels.iter().map(of).collect();
    labels.sort_unstable_by_key(|l| l.key);
    labels
}

fn images(view: &NodeView, symbols: &mut Symbols) -> Vec<(Symbol, i64)> {
    let mut images = Vec::new();
    for image in &view.status.images {
        for name in &image.names {
            images.push((symbols.intern(name), image.size_bytes));
        }
    }
    images.sort_unstable_by_key(|(name, _)| *name);
    images.dedup_by_key(|(name, _)| *name);
    images
}
