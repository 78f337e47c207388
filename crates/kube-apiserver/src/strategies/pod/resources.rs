//! Requests, limits and what follows from them: requests that default to limits, the requests of a whole pod, its
//! QoS class.

use std::cmp::Ordering;

use api::{Map, Value};

use super::super::fields::{Fields, one};
use super::super::quantities;

/// Requests that are not given are the limits; those of the pod as a whole are its containers' or its limits.
pub fn default_requests(spec: &mut Map) {
    for list in ["containers", "initContainers"] {
        for resources in spec.items_mut(list).filter_map(|c| c.sub_mut("resources")) {
            requests_from_limits(resources);
        }
    }
    default_pod_requests(spec);
}

fn requests_from_limits(resources: &mut Map) {
    let Some(limits) = resources.sub("limits").filter(|l| !l.is_empty()).cloned() else { return };
    let requests = resources.map_mut("requests");
    for (name, value) in limits {
        if !requests.contains_key(&name) {
            requests.push(name, value);
        }
    }
}

fn is_pod_level(name: &str) -> bool {
    name == "cpu" || name == "memory" || name.starts_with("hugepages-")
}

fn default_pod_requests(spec: &mut Map) {
    if spec.sub("resources").is_none() {
        return;
    }
    let mut defaults: Vec<(api::value::Key, Value)> = aggregate(spec, "requests").into_iter().collect();
    let Some(resources) = spec.sub_mut("resources") else { return };
    defaults.extend(
        resources.sub("limits").into_iter().flat_map(|l| l.iter().map(|(k, v)| (k.clone(), v.clone()))),
    );
    defaults.retain(|(name, _)| is_pod_level(name));
    if defaults.is_empty() {
        return;
    }
    let requests = resources.map_mut("requests");
    for (name, value) in defaults {
        if !requests.contains_key(&name) {
            requests.push(name, value);
        }
    }
}

/// The sum over containers, or what the init containers need while they run if that is more. Sidecars (init
/// containers that restart always) run beside all that come after them.
pub fn aggregate(spec: &Map, part: &str) -> Map {
    let list_of = |c: &Map| c.sub("resources").and_then(|r| r.sub(part)).cloned().unwrap_or_default();
    let mut total = Map::new();
    for c in spec.items("containers") {
        quantities::add(&mut total, &list_of(c));
    }
    let (mut sidecars, mut peak) = (Map::new(), Map::new());
    for c in spec.items("initContainers") {
        let own = list_of(c);
        if c.text("restartPolicy") == "Always" {
            quantities::add(&mut total, &own);
            quantities::add(&mut sidecars, &own);
            quantities::raise(&mut peak, &sidecars);
        } else {
            let mut now = sidecars.clone();
            quantities::add(&mut now, &own);
            quantities::raise(&mut peak, &now);
        }
    }
    quantities::raise(&mut total, &peak);
    total
}

/// `Guaranteed` when each container limits cpu and memory to what it requests, `BestEffort` when none asks for
/// anything, else `Burstable`. The pod's own resources, when it has some, decide alone.
pub fn qos_class(spec: &Map) -> &'static str {
    if let Some(pod) = spec.sub("resources").filter(|r| has_any(r)) {
        return class_of(&mut std::iter::once(pod));
    }
    let empty = one("", Value::Null);
    let mut all = spec
        .items("containers")
        .chain(spec.items("initContainers"))
        .map(|c| c.sub("resources").unwrap_or(&empty));
    class_of(&mut all)
}

fn has_any(resources: &Map) -> bool {
    ["requests", "limits"].iter().any(|p| resources.sub(p).is_some_and(|m| !m.is_empty()))
}

fn class_of(all: &mut dyn Iterator<Item = &Map>) -> &'static str {
    let (mut requests, mut limits, mut guaranteed) = (Map::new(), Map::new(), true);
    for resources in all {
        let part = |name: &str| resources.sub(name).map(compute_only).unwrap_or_default();
        let (r, l) = (part("requests"), part("limits"));
        guaranteed &= l.len() == 2;
        quantities::add(&mut requests, &r);
        quantities::add(&mut limits, &l);
    }
    if requests.is_empty() && limits.is_empty() {
        return "BestEffort";
    }
    let equal = requests.len() == limits.len()
        && requests
            .iter()
            .all(|(k, v)| limits.get(k).is_some_and(|l| quantities::compare(l, v) == Ordering::Equal));
    if guaranteed && equal { "Guaranteed" } else { "Burstable" }
}

fn compute_only(list: &Map) -> Map {
    list.iter()
        .filter(|(k, v)| {
            (*k == "cpu" || *k == "memory") && !quantities::is_zero(v) && !quantities::is_negative(v)
        })
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}
