//! TaintToleration: NoSchedule and NoExecute taints keep pods off, PreferNoSchedule ones lower the score.

use crate::cache::{Cache, NodeInfo};
use crate::framework::events::Subject;
use crate::framework::{
    Change, Context, Filter, Kinds, Normalize, Plugin, Point, PreFilter, Rejection, Score,
};
use crate::pod::Pod;
use crate::views::{Taint, Toleration};

pub const REASON: &str = "node(s) had untolerated taint(s)";

/// Whether a toleration covers a taint: an empty effect covers all effects, an empty key with Exists all taints.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.is_empty() || toleration.effect == taint.effect;
    let key = toleration.key.is_empty() || toleration.key == taint.key;
    effect
        && key
        && match toleration.operator.as_str() {
            "Exists" => true,
            "" | "Equal" => toleration.value == taint.value,
            _ => false,
        }
}

/// Whether all taints of a node that keep pods off are tolerated.
pub fn is_tolerated(tolerations: &[Toleration], taints: &[Taint]) -> bool {
    let mut hard = taints.iter().filter(|t| t.effect == "NoSchedule" || t.effect == "NoExecute");
    hard.all(|taint| tolerations.iter().any(|t| tolerates(t, taint)))
}

pub struct TaintToleration;

struct Tolerations(Vec<Toleration>);

impl Filter for Tolerations {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if is_tolerated(&self.0, &node.taints) { Ok(()) } else { Err(Rejection::unresolvable(REASON)) }
    }
}

/// Those that cover PreferNoSchedule.
struct Preferences(Vec<Toleration>);

impl Score for Preferences {
    fn score(&self, _: &Cache, node: &NodeInfo) -> i64 {
        let soft = node.taints.iter().filter(|t| t.effect == "PreferNoSchedule");
        let count = soft.filter(|taint| !self.0.iter().any(|t| tolerates(t, taint))).count();
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    fn normalize(&self) -> Normalize {
        Normalize::Lowest
    }
}

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter, Point::PreScore, Point::Score]
    }

    fn pre_filter(&self, _: &mut Context<'_>, pod: &Pod) -> PreFilter {
        PreFilter::Filter(Box::new(Tolerations(pod.spec().tolerations.clone())))
    }

    fn pre_score(&self, _: &mut Context<'_>, pod: &Pod) -> Option<Box<dyn Score>> {
        let soft =
            pod.spec().tolerations.iter().filter(|t| t.effect.is_empty() || t.effect == "PreferNoSchedule");
        Some(Box::new(Preferences(soft.cloned().collect())))
    }

    fn events(&self) -> Kinds {
        Kinds::NODE_ADD.and(Kinds::NODE_TAINT).and(Kinds::OWN_TOLERATION)
    }

    fn is_schedulable_after(&self, _: &mut Context<'_>, pod: &Pod, change: &Change<'_>) -> bool {
        let fits = |node: &NodeInfo| is_tolerated(&pod.spec().tolerations, &node.taints);
        match &change.subject {
            Subject::Node { old, new } => fits(new) && old.is_none_or(|old| !fits(old)),
            _ => true,
        }
    }
}
