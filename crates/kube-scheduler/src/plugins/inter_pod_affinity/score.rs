//! How much the pods near a node are wanted near, or away, by a pod and by themselves.

use super::Sums;
use crate::cache::{Cache, Moved, Slot};
use crate::framework::{ClusterScore, Context, MAX_SCORE};
use crate::listers::Listers;
use crate::pod::{Kin, Pod, Ties, WantedTerm};

/// Sums of weights by topology key and domain, for the pods of one kin.
pub(super) struct Preferences {
    kin: Kin,
    listers: Listers,
    hard_weight: i64,
    sums: Vec<Sums>,
}

impl Preferences {
    pub(super) fn count(context: &Context<'_>, pod: &Pod, hard_weight: i64) -> Self {
        let (cache, kin) = (context.cache, &pod.kin);
        let mut found =
            Self { kin: kin.clone(), listers: context.listers.clone(), hard_weight, sums: Vec::new() };
        let own = !kin.preferred.is_empty();
        if own || cache.social_pods() > 0 {
            found.count_all(cache, own);
        }
        found
    }

    fn count_all(&mut self, cache: &Cache, own: bool) {
        for slot in cache.order() {
            let node = cache.node(*slot);
            if !own && node.social == 0 {
                continue;
            }
            for other in node.pods.iter().filter(|p| own || p.kin.is_social) {
                self.add(cache, *slot, &other.kin, 1);
            }
        }
    }

    fn add(&mut self, cache: &Cache, slot: Slot, other: &Ties, by: i64) {
        let Self { kin, listers, sums, hard_weight } = self;
        let mut sum = |term: &WantedTerm, weight: i64| {
            Sums::of_key(sums, term.key, cache).add(slot, weight * by);
        };
        for (weight, term) in kin.preferred.iter().filter(|(_, t)| kin.wants(t, other, listers)) {
            sum(term, *weight);
        }
        if *hard_weight > 0 {
            for term in other.affinity.iter().filter(|t| other.wants(t, kin, listers)) {
                sum(term, *hard_weight);
            }
        }
        for (weight, term) in other.preferred.iter().filter(|(_, t)| other.wants(t, kin, listers)) {
            sum(term, *weight);
        }
    }
}

impl ClusterScore for Preferences {
    fn moved(&mut self, cache: &Cache, moved: &Moved) {
        self.add(cache, moved.slot, &moved.pod.kin, moved.by);
    }

    fn scores(&mut self, _: &Cache, feasible: &[Slot]) -> Option<Vec<i64>> {
        if self.sums.iter().all(|s| s.some == 0) {
            return None;
        }
        let mut scores: Vec<i64> =
            feasible.iter().map(|slot| self.sums.iter().map(|s| s.get(*slot)).sum()).collect();
        let (least, most) = (*scores.iter().min()?, *scores.iter().max()?);
        for score in &mut scores {
            let share = if most > least { (*score - least) as f64 / (most - least) as f64 } else { 0.0 };
            *score = (MAX_SCORE as f64 * share) as i64;
        }
        Some(scores)
    }
}
