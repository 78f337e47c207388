//! NodeResourcesFit: the filter, and the score of how full a node gets.

use compact_str::CompactString;

use super::score::{Allocation, Scorer};
use super::{Resource, Weighted};
use crate::cache::NodeInfo;
use crate::framework::events::Subject;
use crate::framework::{Change, Context, Filter, Kinds, Plugin, Point, PreFilter, Rejection, Score};
use crate::pod::Pod;
use crate::resources::{Resources, Symbol};

/// `scoringStrategy.type`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Strategy {
    #[default]
    LeastAllocated,
    MostAllocated,
    /// Points of utilisation (0 to 100) and score (0 to 100).
    RequestedToCapacityRatio(Vec<(i64, i64)>),
}

pub struct NodeResourcesFit {
    pub strategy: Strategy,
    pub resources: Vec<Weighted>,
    /// Extended resources that the filter leaves to others.
    pub ignored: Vec<CompactString>,
    /// The same by what stands before `/`.
    pub ignored_groups: Vec<CompactString>,
}

impl Default for NodeResourcesFit {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            resources: Weighted::defaults(),
            ignored: Vec::new(),
            ignored_groups: Vec::new(),
        }
    }
}

impl NodeResourcesFit {
    fn is_ignored(&self, name: &str) -> bool {
        name.contains('/')
            && !name.starts_with("kubernetes.io/")
            && (self.ignored.iter().any(|i| i == name)
                || self.ignored_groups.iter().any(|g| name.split('/').next() == Some(g)))
    }
}

/// What must be free.
struct Needed {
    requests: Resources,
    scalars: Vec<(Symbol, i64, String)>,
}

impl Filter for Needed {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        let mut found = Rejection { unresolvable: false, reasons: Default::default() };
        let (all, taken, need) = (&node.allocatable, &node.requested, &self.requests);
        if i64::try_from(node.pods.len()).unwrap_or(i64::MAX) + 1 > all.pods {
            found.reasons.push("Too many pods".into());
        }
        for (need, all, taken, reason) in [
            (need.milli_cpu, all.milli_cpu, taken.milli_cpu, "Insufficient cpu"),
            (need.memory, all.memory, taken.memory, "Insufficient memory"),
            (
                need.ephemeral_storage,
                all.ephemeral_storage,
                taken.ephemeral_storage,
                "Insufficient ephemeral-storage",
            ),
        ] {
            if need > 0 && need > all - taken {
                found.reasons.push(reason.into());
                found.unresolvable |= need > all;
            }
        }
        for (name, need, reason) in &self.scalars {
            let all = all.scalar(*name);
            if *need > all - taken.scalar(*name) {
                found.reasons.push(reason.clone().into());
                found.unresolvable |= *need > all;
            }
        }
        if found.reasons.is_empty() { Ok(()) } else { Err(found) }
    }
}

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter, Point::PreScore, Point::Score]
    }

    fn pre_filter(&self, context: &mut Context<'_>, pod: &Pod) -> PreFilter {
        let requests = pod.requests().requests.clone();
        let wanted = requests.scalars.iter().filter(|(_, amount)| *amount > 0);
        let named = wanted.map(|(name, amount)| (*name, *amount, context.symbols.text(*name).to_owned()));
        let kept = named.filter(|(_, _, name)| !self.is_ignored(name));
        let scalars =
            kept.map(|(symbol, amount, name)| (symbol, amount, format!("Insufficient {name}"))).collect();
        PreFilter::Filter(Box::new(Needed { requests, scalars }))
    }

    fn pre_score(&self, context: &mut Context<'_>, pod: &Pod) -> Option<Box<dyn Score>> {
        let resources =
            self.resources.iter().map(|r| (Resource::new(&r.name, context.symbols), r.weight)).collect();
        let scorer = match &self.strategy {
            Strategy::LeastAllocated => Scorer::Least,
            Strategy::MostAllocated => Scorer::Most,
            Strategy::RequestedToCapacityRatio(shape) => Scorer::Shape(shape.clone()),
        };
        Some(Box::new(Allocation::new(resources, pod.requests(), true, scorer)))
    }

    fn events(&self) -> Kinds {
        Kinds::ASSIGNED_POD_DELETE
            .and(Kinds::NODE_ADD)
            .and(Kinds::NODE_ALLOCATABLE)
            .and(Kinds::ASSIGNED_POD_SCALE_DOWN)
            .and(Kinds::OWN_SCALE_DOWN)
    }

    fn is_schedulable_after(&self, _: &mut Context<'_>, pod: &Pod, change: &Change<'_>) -> bool {
        let need = &pod.requests().requests;
        match &change.subject {
            Subject::PodDeleted(gone) => gone.is_assigned() || !gone.nominated_node_name.is_empty(),
            Subject::Node { old, new } => {
                fits_empty(need, &new.allocatable)
                    && old.is_none_or(|old| has_grown(need, &old.allocatable, &new.allocatable))
            }
            Subject::PodChanged { old, new } => {
                gives_back(need, &old.requests().requests, &new.requests().requests)
            }
            _ => true,
        }
    }
}

/// Whether a node would take the pod if it had no others.
fn fits_empty(need: &Resources, all: &Resources) -> bool {
    all.pods >= 1
        && need.milli_cpu <= all.milli_cpu
        && need.memory <= all.memory
        && need.ephemeral_storage <= all.ephemeral_storage
        && need.scalars.iter().all(|(name, amount)| *amount <= all.scalar(*name))
}

/// Whether there is more of anything that the pod asks for.
fn has_grown(need: &Resources, old: &Resources, new: &Resources) -> bool {
    new.pods > old.pods || gives_back(need, new, old)
}

/// Whether `more` has more than `less` of anything that is needed.
fn gives_back(need: &Resources, more: &Resources, less: &Resources) -> bool {
    (need.milli_cpu > 0 && more.milli_cpu > less.milli_cpu)
        || (need.memory > 0 && more.memory > less.memory)
        || (need.ephemeral_storage > 0 && more.ephemeral_storage > less.ephemeral_storage)
        || need.scalars.iter().any(|(name, amount)| *amount > 0 && more.scalar(*name) > less.scalar(*name))
}
