//! The plugins by name: those that are built, those that upstream has beside them, and the default profile.

use std::sync::Arc;
use std::time::Duration;

use client::Api;

use super::Plugin;
use crate::plugins::binder::DefaultBinder;
use crate::plugins::dynamic_resources::DynamicResources;
use crate::plugins::gates::SchedulingGates;
use crate::plugins::image_locality::ImageLocality;
use crate::plugins::inter_pod_affinity::InterPodAffinity;
use crate::plugins::node_affinity::NodeAffinity;
use crate::plugins::node_name::NodeName;
use crate::plugins::node_ports::NodePorts;
use crate::plugins::node_resources::{NodeResourcesBalancedAllocation, NodeResourcesFit};
use crate::plugins::node_unschedulable::NodeUnschedulable;
use crate::plugins::preemption::DefaultPreemption;
use crate::plugins::priority_sort::PrioritySort;
use crate::plugins::taint_toleration::TaintToleration;
use crate::plugins::topology_spread::PodTopologySpread;
use crate::plugins::volume_binding::{BIND_TIMEOUT, VolumeBinding};
use crate::plugins::volume_restrictions::VolumeRestrictions;
use crate::plugins::volume_zone::VolumeZone;

/// A name of upstream's, its weight in the default profile (0: does not score), and whether it is on by default.
pub struct Known {
    pub name: &'static str,
    pub weight: i64,
    pub by_default: bool,
    /// What is built of it judges pods as upstream's does; the others may not be enabled or configured by name.
    pub built: bool,
}

const fn known(name: &'static str, weight: i64, by_default: bool, built: bool) -> Known {
    Known { name, weight, by_default, built }
}

/// In the order of upstream's default profile.
pub const KNOWN: &[Known] = &[
    known("SchedulingGates", 0, true, true),
    known("PrioritySort", 0, true, true),
    known("NodeName", 0, true, true),
    known("NodeUnschedulable", 0, true, true),
    known("TaintToleration", 3, true, true),
    known("NodeAffinity", 2, true, true),
    known("NodePorts", 0, true, true),
    known("NodeResourcesFit", 1, true, true),
    known("VolumeRestrictions", 0, true, true),
    known("NodeVolumeLimits", 0, true, false),
    known("VolumeBinding", 0, true, true),
    known("VolumeZone", 0, true, true),
    known("PodTopologySpread", 2, true, true),
    known("InterPodAffinity", 2, true, true),
    known("DynamicResources", 2, true, false),
    known("DefaultPreemption", 0, true, true),
    known("NodeResourcesBalancedAllocation", 1, true, true),
    known("ImageLocality", 1, true, true),
    known("DefaultBinder", 0, true, true),
    known("NodeDeclaredFeatures", 0, true, false),
    known("GangScheduling", 0, false, false),
    known("DeferredPodScheduling", 0, false, false),
    known("TopologyPlacementGenerator", 0, false, false),
    known("PodGroupPodsCount", 1, false, false),
];

pub fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|k| k.name == name)
}

/// Arguments of the plugins that take some.
#[derive(Default)]
pub struct Arguments {
    pub fit: NodeResourcesFit,
    pub balanced: NodeResourcesBalancedAllocation,
    pub affinity: NodeAffinity,
    pub pods: InterPodAffinity,
    pub spread: PodTopologySpread,
    pub preemption: DefaultPreemption,
    /// VolumeBinding waits for claims so long.
    pub bind_timeout: Option<Duration>,
}

/// The plugin of a name; None where there is nothing of it yet.
pub fn build(name: &str, arguments: &mut Arguments, api: Option<&Api>) -> Option<Arc<dyn Plugin>> {
    Some(match name {
        "SchedulingGates" => Arc::new(SchedulingGates),
        "PrioritySort" => Arc::new(PrioritySort),
        "NodeName" => Arc::new(NodeName),
        "NodeUnschedulable" => Arc::new(NodeUnschedulable),
        "TaintToleration" => Arc::new(TaintToleration),
        "NodeAffinity" => Arc::new(std::mem::take(&mut arguments.affinity)),
        "NodePorts" => Arc::new(NodePorts),
        "NodeResourcesFit" => Arc::new(std::mem::take(&mut arguments.fit)),
        "NodeResourcesBalancedAllocation" => Arc::new(std::mem::take(&mut arguments.balanced)),
        "ImageLocality" => Arc::new(ImageLocality),
        "VolumeBinding" => {
            let bind_timeout = arguments.bind_timeout.unwrap_or(BIND_TIMEOUT);
            Arc::new(VolumeBinding::new(api.cloned(), bind_timeout))
        }
        "VolumeZone" => Arc::new(VolumeZone),
        "VolumeRestrictions" => Arc::new(VolumeRestrictions),
        "PodTopologySpread" => Arc::new(std::mem::take(&mut arguments.spread)),
        "InterPodAffinity" => Arc::new(std::mem::take(&mut arguments.pods)),
        "DynamicResources" => Arc::new(DynamicResources),
        "DefaultPreemption" => Arc::new(std::mem::take(&mut arguments.preemption)),
        "DefaultBinder" => Arc::new(DefaultBinder { api: api.cloned() }),
        _ => return None,
    })
}
