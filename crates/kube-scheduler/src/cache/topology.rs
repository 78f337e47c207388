//! The nodes by the value of a label, as small numbers that counts can be indexed by.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{NodeInfo, Slot};
use crate::resources::Symbol;

/// A domain's number; [`NOWHERE`] for a node without the label.
pub type Domain = u32;

/// The number of no domain.
pub const NOWHERE: Domain = Domain::MAX;

/// The domains of one topology key.
#[derive(Debug, Default)]
pub struct Topology {
    of: Vec<Domain>,
    domains: usize,
}

impl Topology {
    fn new(key: Symbol, nodes: &[NodeInfo]) -> Self {
        let mut numbers: HashMap<Symbol, Domain> = HashMap::new();
        let number = |node: &NodeInfo| {
            let Some(label) = node.label(key).filter(|_| node.present) else { return NOWHERE };
            let next = Domain::try_from(numbers.len()).unwrap_or(NOWHERE);
            *numbers.entry(label.value).or_insert(next)
        };
        let of = nodes.iter().map(number).collect();
        Self { of, domains: numbers.len() }
    }

    /// How many domains there are.
    pub fn domains(&self) -> usize {
        self.domains
    }

    /// Where a node is.
    pub fn domain(&self, slot: Slot) -> Option<usize> {
        self.of.get(slot as usize).filter(|d| **d != NOWHERE).map(|d| *d as usize)
    }
}

/// The topologies that were asked for, until the layout changes.
#[derive(Debug, Default)]
pub(super) struct Topologies(Mutex<(u64, HashMap<Symbol, Arc<Topology>>)>);

impl Topologies {
    pub(super) fn get(&self, key: Symbol, layout: u64, nodes: &[NodeInfo]) -> Arc<Topology> {
        let mut known = self.0.lock();
        if known.0 != layout {
            *known = (layout, HashMap::new());
        }
        known.1.entry(key).or_insert_with(|| Arc::new(Topology::new(key, nodes))).clone()
    }
}
