//! VolumeZone: a pod goes where the zone and region labels of its volumes say, where these have any.

use crate::cache::NodeInfo;
use crate::framework::{Context, Filter, Kinds, Plugin, Point, PreFilter, Rejection};
use crate::pod::Pod;
use crate::resources::Symbol;

pub const REASON: &str = "node(s) had no available volume zone";

/// The labels, and what a node may have in their place.
const LABELS: [(&str, &str); 4] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("topology.kubernetes.io/zone", ""),
    ("topology.kubernetes.io/region", ""),
];
/// Between the zones of one label.
const SEPARATOR: &str = "__";

pub struct VolumeZone;

/// A label by its names, and the values that it may have.
struct Zone {
    keys: Vec<Symbol>,
    values: Vec<Symbol>,
}

struct Zones(Vec<Zone>);

impl Filter for Zones {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        let is_in = |zone: &Zone| {
            let label = zone.keys.iter().find_map(|key| node.label(*key));
            label.is_some_and(|l| zone.values.contains(&l.value))
        };
        if self.0.iter().all(is_in) { Ok(()) } else { Err(Rejection::unresolvable(REASON)) }
    }

    fn is_lasting(&self) -> bool {
        false
    }
}

impl Plugin for VolumeZone {
    fn name(&self) -> &'static str {
        "VolumeZone"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter]
    }

    fn pre_filter(&self, context: &mut Context<'_>, pod: &Pod) -> PreFilter {
        let mut zones = Vec::new();
        for name in &pod.spec().claims {
            let claim = context.listers.claims.get(pod.key.namespace(), name);
            let bound = claim.filter(|c| !c.spec.volume_name.is_empty());
            let Some(volume) = bound.and_then(|c| context.listers.volumes.get("", &c.spec.volume_name))
            else {
                continue;
            };
            for (key, other) in LABELS {
                let Some(value) = volume.metadata.labels.get(key) else { continue };
                let names = [key, other].into_iter().filter(|k| !k.is_empty());
                let keys = names.map(|k| context.symbols.intern(k)).collect();
                let values = value.split(SEPARATOR).map(|v| context.symbols.intern(v)).collect();
                zones.push(Zone { keys, values });
            }
        }
        if zones.is_empty() { PreFilter::Skip } else { PreFilter::Filter(Box::new(Zones(zones))) }
    }

    fn events(&self) -> Kinds {
        Kinds::VOLUME.and(Kinds::NODE_ADD).and(Kinds::NODE_LABEL)
    }
}
