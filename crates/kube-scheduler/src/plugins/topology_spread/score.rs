//! Constraints that prefer: fewer pods in a node's domains score higher, domains of a kind with many weigh more.

use super::counts::{Counts, Inclusion};
use super::{Constraint, HOSTNAME};
use crate::cache::{Cache, Moved, Slot};
use crate::framework::{ClusterScore, Context, MAX_SCORE};
use crate::pod::Pod;

struct One {
    counts: Counts,
    max_skew: i64,
    /// Every node is a domain of its own, so that the nodes are its number.
    by_node: bool,
}

pub(super) struct Soft {
    constraints: Vec<One>,
    /// Nodes that lack a label and therefore score nothing, by slot; empty if that is no matter.
    unlabelled: Vec<bool>,
}

impl Soft {
    pub(super) fn new(
        context: &mut Context<'_>,
        pod: &Pod,
        constraints: Vec<Constraint>,
        all_keys: bool,
    ) -> Self {
        let inclusion = Inclusion::new(context, pod, all_keys, &constraints);
        let mut unlabelled = Vec::new();
        if all_keys {
            let slots = 0..u32::try_from(context.cache.nodes().len()).unwrap_or(u32::MAX);
            unlabelled.extend(slots.map(|slot| !inclusion.is_labelled(slot)));
        }
        let mut one = |constraint: &Constraint| {
            let by_node = constraint.given.topology_key == HOSTNAME;
            One {
                counts: Counts::new(context, constraint, &inclusion, by_node),
                max_skew: constraint.given.max_skew.into(),
                by_node,
            }
        };
        Self { constraints: constraints.iter().map(&mut one).collect(), unlabelled }
    }

    fn is_ignored(&self, slot: Slot) -> bool {
        self.unlabelled.get(slot as usize).copied().unwrap_or(false)
    }

    /// The logarithm of how many domains the feasible nodes are in.
    fn weight(&self, one: &One, feasible: &[Slot]) -> f64 {
        let counted = feasible.iter().filter(|slot| !self.is_ignored(**slot));
        let size = if one.by_node { counted.count() } else { one.domains(counted) };
        (size as f64 + 2.0).ln()
    }
}

impl One {
    /// In how many domains these nodes are; those without the label are one more.
    fn domains<'a>(&self, slots: impl Iterator<Item = &'a Slot>) -> usize {
        let all = self.counts.topology.domains();
        let mut seen = vec![false; all + 1];
        let mut found = 0;
        for slot in slots {
            let domain = self.counts.topology.domain(*slot).unwrap_or(all);
            found += usize::from(!std::mem::replace(&mut seen[domain], true));
        }
        found
    }
}

impl ClusterScore for Soft {
    fn moved(&mut self, cache: &Cache, moved: &Moved) {
        for one in &mut self.constraints {
            one.counts.moved(cache, moved);
        }
    }

    fn scores(&mut self, _: &Cache, feasible: &[Slot]) -> Option<Vec<i64>> {
        let weights: Vec<f64> = self.constraints.iter().map(|one| self.weight(one, feasible)).collect();
        let raw = |slot: &Slot| -> Option<i64> {
            let parts = self.constraints.iter().zip(&weights).filter_map(|(one, weight)| {
                Some(one.counts.at(*slot)? as f64 * weight + (one.max_skew - 1) as f64)
            });
            (!self.is_ignored(*slot)).then(|| parts.sum::<f64>().round() as i64)
        };
        let raw: Vec<Option<i64>> = feasible.iter().map(raw).collect();
        let least = raw.iter().flatten().min().copied().unwrap_or(i64::MAX);
        let most = raw.iter().flatten().max().copied().unwrap_or(0);
        let normalized = |raw: &Option<i64>| match raw {
            None => 0,
            Some(_) if most == 0 => MAX_SCORE,
            Some(raw) => MAX_SCORE * (most + least - raw) / most,
        };
        Some(raw.iter().map(normalized).collect())
    }
}
