//! Constraints that forbid to schedule.

use super::Constraint;
use super::counts::{Counts, Inclusion};
use crate::cache::{Cache, Moved, Slot};
use crate::framework::{ClusterFilter, Context, Rejection};
use crate::pod::Pod;

pub const REASON: &str = "node(s) didn't match pod topology spread constraints";
pub const REASON_LABEL: &str =
    "node(s) didn't match pod topology spread constraints (missing required label)";

struct One {
    counts: Counts,
    max_skew: i64,
    /// 1 if the pod counts itself.
    itself: i64,
    /// The fewest pods of a domain; 0 with fewer domains than there should be.
    fewest: i64,
    too_few_domains: bool,
}

impl One {
    fn find_fewest(&mut self) {
        let included = self.counts.pods.iter().zip(&self.counts.included).filter(|(_, i)| **i);
        self.fewest = match included.map(|(count, _)| *count).min() {
            Some(fewest) if !self.too_few_domains => fewest,
            _ => 0,
        };
    }
}

pub(super) struct Hard(Vec<One>);

impl Hard {
    pub(super) fn new(context: &mut Context<'_>, pod: &Pod, constraints: Vec<Constraint>) -> Self {
        let inclusion = Inclusion::new(context, pod, true, &constraints);
        let mut one = |constraint: &Constraint| {
            let counts = Counts::new(context, constraint, &inclusion, false);
            let domains = counts.included.iter().filter(|i| **i).count();
            let least = constraint.given.min_domains.unwrap_or(1);
            let mut one = One {
                max_skew: constraint.given.max_skew.into(),
                itself: i64::from(counts.selects(pod.labels())),
                fewest: 0,
                too_few_domains: usize::try_from(least).is_ok_and(|least| domains < least),
                counts,
            };
            one.find_fewest();
            one
        };
        Self(constraints.iter().map(&mut one).collect())
    }
}

impl ClusterFilter for Hard {
    fn filter(&self, slot: Slot) -> Result<(), Rejection> {
        for one in &self.0 {
            let Some(pods) = one.counts.at(slot) else { return Err(Rejection::unresolvable(REASON_LABEL)) };
            if pods + one.itself - one.fewest > one.max_skew {
                return Err(Rejection::unschedulable(REASON));
            }
        }
        Ok(())
    }

    fn moved(&mut self, cache: &Cache, moved: &Moved) {
        for one in &mut self.0 {
            let Some(domain) = one.counts.moved(cache, moved) else { continue };
            let now = one.counts.pods[domain];
            if moved.by > 0 && now - moved.by > one.fewest {
                // It was not one of those with the fewest.
                continue;
            }
            one.find_fewest();
        }
    }
}
