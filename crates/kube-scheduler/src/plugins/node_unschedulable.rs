//! NodeUnschedulable: cordoned nodes.

use crate::cache::NodeInfo;
use crate::framework::events::Subject;
use crate::framework::{Change, Context, Filter, Kinds, Plugin, Point, PreFilter, Rejection};
use crate::plugins::taint_toleration::tolerates;
use crate::pod::Pod;
use crate::views::Taint;

pub const REASON: &str = "node(s) were unschedulable";

pub struct NodeUnschedulable;

struct Schedulable;

impl Filter for Schedulable {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if node.unschedulable { Err(Rejection::unresolvable(REASON)) } else { Ok(()) }
    }
}

/// Whether the pod tolerates the taint that a cordoned node has.
fn tolerates_cordon(pod: &Pod) -> bool {
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        value: "".into(),
        effect: "NoSchedule".into(),
    };
    pod.spec().tolerations.iter().any(|t| tolerates(t, &taint))
}

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::Filter]
    }

    fn pre_filter(&self, _: &mut Context<'_>, pod: &Pod) -> PreFilter {
        if tolerates_cordon(pod) { PreFilter::Skip } else { PreFilter::Filter(Box::new(Schedulable)) }
    }

    fn events(&self) -> Kinds {
        Kinds::NODE_ADD.and(Kinds::NODE_TAINT).and(Kinds::OWN_TOLERATION)
    }

    fn is_schedulable_after(&self, _: &mut Context<'_>, _: &Pod, change: &Change<'_>) -> bool {
        match &change.subject {
            Subject::Node { old, new } => !new.unschedulable && old.is_none_or(|old| old.unschedulable),
            Subject::Own { new, .. } => tolerates_cordon(new),
            _ => true,
        }
    }
}
