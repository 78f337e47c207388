//! PodTopologySpread, InterPodAffinity and DynamicResources as far as they must not be ignored: a pod that requires
//! one of them is refused, by name, until they are built.

use crate::framework::{Context, Plugin, Point, PreFilter, Rejection};
use crate::pod::{Pod, Spec};

/// One of the plugins that are not built yet.
pub struct Required {
    name: &'static str,
    asks: fn(&Spec) -> bool,
    refusal: &'static str,
}

pub const POD_TOPOLOGY_SPREAD: Required = Required {
    name: "PodTopologySpread",
    asks: |spec| !spec.spread.is_empty(),
    refusal: "topologySpreadConstraints with whenUnsatisfiable DoNotSchedule (PodTopologySpread) are not built in this scheduler yet",
};

pub const INTER_POD_AFFINITY: Required = Required {
    name: "InterPodAffinity",
    asks: |spec| !spec.pod_affinity.is_empty() || !spec.pod_anti_affinity.is_empty(),
    refusal: "required podAffinity and podAntiAffinity (InterPodAffinity) are not built in this scheduler yet",
};

pub const DYNAMIC_RESOURCES: Required = Required {
    name: "DynamicResources",
    asks: |spec| spec.has_resource_claims,
    refusal: "resourceClaims (DynamicResources) are not built in this scheduler yet",
};

impl Plugin for Required {
    fn name(&self) -> &'static str {
        self.name
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter]
    }

    fn pre_filter(&self, _: &mut Context<'_>, pod: &Pod) -> PreFilter {
        if (self.asks)(pod.spec()) {
            PreFilter::Reject(Rejection::unresolvable(self.refusal))
        } else {
            PreFilter::Skip
        }
    }
}
