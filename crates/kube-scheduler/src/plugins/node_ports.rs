//! NodePorts: host ports that other pods on the node occupy.

use crate::cache::NodeInfo;
use crate::framework::events::Subject;
use crate::framework::{Change, Context, Filter, Kinds, Plugin, Point, PreFilter, Rejection};
use crate::pod::{HostPort, Pod};

pub const REASON: &str = "node(s) didn't have free ports for the requested pod ports";

pub struct NodePorts;

struct Wanted(Vec<HostPort>);

impl Filter for Wanted {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        let taken = self.0.iter().any(|wanted| node.ports.iter().any(|used| used.conflicts(wanted)));
        if taken { Err(Rejection::unschedulable(REASON)) } else { Ok(()) }
    }
}

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter]
    }

    fn pre_filter(&self, _: &mut Context<'_>, pod: &Pod) -> PreFilter {
        match &pod.spec().ports {
            ports if ports.is_empty() => PreFilter::Skip,
            ports => PreFilter::Filter(Box::new(Wanted(ports.clone()))),
        }
    }

    fn events(&self) -> Kinds {
        Kinds::ASSIGNED_POD_DELETE.and(Kinds::NODE_ADD)
    }

    fn is_schedulable_after(&self, _: &mut Context<'_>, pod: &Pod, change: &Change<'_>) -> bool {
        match &change.subject {
            Subject::PodDeleted(gone) => {
                gone.spec().ports.iter().any(|used| pod.spec().ports.iter().any(|p| p.conflicts(used)))
            }
            _ => true,
        }
    }
}
