//! Where the pods are that a pod must be near or away from, and those that must be away from it.

use super::Sums;
use crate::cache::{Cache, Moved, Slot};
use crate::framework::{ClusterFilter, Context, Rejection};
use crate::listers::Listers;
use crate::pod::{Kin, Pod, Ties};

pub const REASON_AFFINITY: &str = "node(s) didn't match pod affinity rules";
pub const REASON_ANTI_AFFINITY: &str = "node(s) didn't match pod anti-affinity rules";
pub const REASON_EXISTING: &str = "node(s) didn't satisfy existing pods anti-affinity rules";

/// Counts of pods by domain, for the pods of one kin.
pub(super) struct Domains {
    kin: Kin,
    listers: Listers,
    /// Pods that match all affinity terms, one count a term.
    wanted: Vec<Sums>,
    /// Pods that match an anti-affinity term, one count a term.
    shunned: Vec<Sums>,
    /// Pods that have anti-affinity to this one, by their topology key.
    hostile: Vec<Sums>,
    /// It matches its own affinity, and so may be the first of its group.
    likes_itself: bool,
}

impl Domains {
    pub(super) fn count(context: &Context<'_>, pod: &Pod) -> Self {
        let (cache, kin) = (context.cache, &pod.kin);
        let sums = |terms: &[crate::pod::WantedTerm]| -> Vec<Sums> {
            terms.iter().map(|t| Sums::new(t.key, cache)).collect()
        };
        let mut found = Self {
            wanted: sums(&kin.affinity),
            shunned: sums(&kin.anti_affinity),
            hostile: Vec::new(),
            likes_itself: kin.affinity.iter().all(|t| kin.wants(t, kin, context.listers)),
            kin: kin.clone(),
            listers: context.listers.clone(),
        };
        let own_terms = !(kin.affinity.is_empty() && kin.anti_affinity.is_empty());
        if own_terms || cache.social_pods() > 0 {
            found.count_all(cache, own_terms);
        }
        found
    }

    fn count_all(&mut self, cache: &Cache, own_terms: bool) {
        for slot in cache.order() {
            let node = cache.node(*slot);
            if !own_terms && node.social == 0 {
                continue;
            }
            for other in &node.pods {
                self.add(cache, *slot, &other.kin, 1);
            }
        }
    }

    fn add(&mut self, cache: &Cache, slot: Slot, other: &Ties, by: i64) {
        let (kin, listers) = (&self.kin, &self.listers);
        for term in other.anti_affinity.iter().filter(|t| other.wants(t, kin, listers)) {
            Sums::of_key(&mut self.hostile, term.key, cache).add(slot, by);
        }
        if !kin.affinity.is_empty() && kin.affinity.iter().all(|t| kin.wants(t, other, listers)) {
            self.wanted.iter_mut().for_each(|sums| sums.add(slot, by));
        }
        let hit = kin.anti_affinity.iter().zip(&mut self.shunned);
        hit.filter(|(t, _)| kin.wants(t, other, listers)).for_each(|(_, sums)| sums.add(slot, by));
    }

    /// No pod is there yet that the pod wants to be near, other than its own like.
    fn is_first(&self) -> bool {
        self.likes_itself && self.wanted.iter().all(|s| s.some == 0)
    }
}

impl ClusterFilter for Domains {
    fn filter(&self, slot: Slot) -> Result<(), Rejection> {
        let labelled = self.wanted.iter().all(|s| s.topology.domain(slot).is_some());
        if !labelled || !(self.wanted.iter().all(|s| s.get(slot) > 0) || self.is_first()) {
            return Err(Rejection::unresolvable(REASON_AFFINITY));
        }
        if self.shunned.iter().any(|s| s.get(slot) > 0) {
            return Err(Rejection::unschedulable(REASON_ANTI_AFFINITY));
        }
        if self.hostile.iter().any(|s| s.get(slot) > 0) {
            return Err(Rejection::unschedulable(REASON_EXISTING));
        }
        Ok(())
    }

    fn moved(&mut self, cache: &Cache, moved: &Moved) {
        self.add(cache, moved.slot, &moved.pod.kin, moved.by);
    }
}
