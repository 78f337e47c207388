//! NodeName: `spec.nodeName`, for a pod that names its node and yet comes here.

use compact_str::CompactString;

use crate::cache::NodeInfo;
use crate::framework::{Context, Filter, Kinds, Plugin, Point, PreFilter, Rejection};
use crate::pod::Pod;

pub const REASON: &str = "node(s) didn't match the requested node name";

pub struct NodeName;

struct Named(CompactString);

impl Filter for Named {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if node.name == self.0 { Ok(()) } else { Err(Rejection::unresolvable(REASON)) }
    }
}

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::Filter]
    }

    fn pre_filter(&self, _: &mut Context<'_>, pod: &Pod) -> PreFilter {
        match &pod.spec().node_name {
            name if name.is_empty() => PreFilter::Skip,
            name => PreFilter::Filter(Box::new(Named(name.clone()))),
        }
    }

    fn events(&self) -> Kinds {
        Kinds::NODE_ADD
    }
}
