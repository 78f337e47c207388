//! Events: one kind in two groups, whose fields have other names. Stored as core/v1.

use api::Value;
use apimachinery::GroupVersion;

/// (core/v1, events.k8s.io/v1).
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

pub(super) fn convert(object: &mut Value, from: &GroupVersion, to: &GroupVersion) -> bool {
    let Some(map) = object.as_map_mut() else { return false };
    let to_core = to.group.is_empty();
    if to_core == from.group.is_empty() || &*from.version != "v1" || &*to.version != "v1" {
        return false;
    }
    for (core, new) in NAMES {
        let (old, name) = if to_core { (new, core) } else { (core, new) };
        if let Some(value) = map.remove(old) {
            map.insert(name, value);
        }
    }
    true
}
