//! InterPodAffinity: required and preferred affinity and anti-affinity between pods, those of the pods that are there
//! included.

mod filter;
mod score;

use std::sync::Arc;

use crate::cache::{Cache, Slot, Topology};
use crate::framework::events::Subject;
use crate::framework::{Change, ClusterFilter, ClusterScore, Context, Kinds, Plugin, Point};
use crate::listers::Listers;
use crate::pod::Pod;
use crate::resources::Symbol;

pub use filter::{REASON_AFFINITY, REASON_ANTI_AFFINITY, REASON_EXISTING};

/// The plugin with its arguments.
pub struct InterPodAffinity {
    /// What a required affinity of a pod that is there counts for a pod that it wants near: 0 to 100.
    pub hard_weight: i64,
    /// Preferences of the pods that are there do not count for pods without their own.
    pub ignore_existing_preferences: bool,
}

impl Default for InterPodAffinity {
    fn default() -> Self {
        Self { hard_weight: 1, ignore_existing_preferences: false }
    }
}

/// A sum a domain of one topology key.
struct Sums {
    key: Symbol,
    topology: Arc<Topology>,
    of: Vec<i64>,
    /// Domains whose sum is not zero.
    some: usize,
}

impl Sums {
    fn new(key: Symbol, cache: &Cache) -> Self {
        let topology = cache.topology(key);
        Self { key, of: vec![0; topology.domains()], topology, some: 0 }
    }

    /// The sums of a key, which may be new.
    fn of_key<'a>(all: &'a mut Vec<Self>, key: Symbol, cache: &Cache) -> &'a mut Self {
        let at = all.iter().position(|s| s.key == key).unwrap_or_else(|| {
            all.push(Self::new(key, cache));
            all.len() - 1
        });
        &mut all[at]
    }

    fn add(&mut self, slot: Slot, amount: i64) {
        let Some(sum) = self.topology.domain(slot).and_then(|domain| self.of.get_mut(domain)) else { return };
        let was = *sum != 0;
        *sum += amount;
        match (was, *sum != 0) {
            (false, true) => self.some += 1,
            (true, false) => self.some -= 1,
            _ => {}
        }
    }

    fn get(&self, slot: Slot) -> i64 {
        self.topology.domain(slot).and_then(|domain| self.of.get(domain)).copied().unwrap_or(0)
    }
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter, Point::PreScore, Point::Score]
    }

    fn cluster_filter(&self, context: &mut Context<'_>, pod: &Pod) -> Option<Box<dyn ClusterFilter>> {
        Some(Box::new(filter::Domains::count(context, pod)))
    }

    fn cluster_score(&self, context: &mut Context<'_>, pod: &Pod) -> Option<Box<dyn ClusterScore>> {
        if self.ignore_existing_preferences && pod.kin.preferred.is_empty() {
            return None;
        }
        Some(Box::new(score::Preferences::count(context, pod, self.hard_weight)))
    }

    fn events(&self) -> Kinds {
        Kinds::ASSIGNED_POD_ADD
            .and(Kinds::ASSIGNED_POD_DELETE)
            .and(Kinds::ASSIGNED_POD_LABEL)
            .and(Kinds::OWN_LABEL)
            .and(Kinds::NODE_ADD)
            .and(Kinds::NODE_LABEL)
    }

    fn is_schedulable_after(&self, context: &mut Context<'_>, pod: &Pod, change: &Change<'_>) -> bool {
        let listers = context.listers;
        match &change.subject {
            Subject::PodAdded(other) => is_wanted(pod, other, listers),
            Subject::PodChanged { old, new } => {
                let comes = is_wanted(pod, new, listers) && !is_wanted(pod, old, listers);
                comes || (shuns(pod, old, listers) && !shuns(pod, new, listers))
            }
            Subject::PodDeleted(gone) => shuns(pod, gone, listers) || shuns(gone, pod, listers),
            _ => true,
        }
    }
}

/// Whether a pod has affinity, and another is what it wants to be near.
fn is_wanted(pod: &Pod, other: &Pod, listers: &Listers) -> bool {
    let terms = &pod.kin.affinity;
    !terms.is_empty() && terms.iter().all(|t| pod.kin.wants(t, &other.kin, listers))
}

/// Whether a pod has anti-affinity to another.
fn shuns(pod: &Pod, other: &Pod, listers: &Listers) -> bool {
    pod.kin.anti_affinity.iter().any(|t| pod.kin.wants(t, &other.kin, listers))
}
