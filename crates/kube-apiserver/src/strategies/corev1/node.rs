//! Nodes.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use jiff::Timestamp;

use crate::strategies::fields::{Fields, map_at};
use crate::strategies::kind::{Kind, PLAIN};
use crate::strategies::{cells, names, validation};

pub const NODE: Kind = Kind {
    defaults,
    update: |_, object, old| object.copy_from(old, "status"),
    validate,
    validate_update,
    cells: Some(row),
    ..PLAIN
};

fn defaults(object: &mut Map) {
    if let Some(spec) = object.sub_mut("spec") {
        let cidr = spec.text("podCIDR").to_owned();
        if !cidr.is_empty() && spec.list("podCIDRs").is_empty() {
            spec.insert("podCIDRs", vec![Value::from(cidr)]);
        } else if cidr.is_empty()
            && let Some(first) = spec.list("podCIDRs").first().cloned()
        {
            spec.insert("podCIDR", first);
        }
    }
    // What a node has it can give, unless it says otherwise.
    let capacity = object.sub("status").and_then(|s| s.sub("capacity")).cloned();
    if let Some(capacity) = capacity.filter(|c| !c.is_empty()) {
        let status = object.map_mut("status");
        if status.sub("allocatable").is_none_or(Map::is_empty) {
            status.insert("allocatable", capacity);
        }
    }
}

fn validate(object: &Value, errors: &mut ErrorList) {
    // Upstream says `metadata` here.
    let at = Path::new("metadata").child("taints");
    let mut seen = std::collections::HashSet::new();
    for (i, t) in map_at(object, &["spec"]).items("taints").enumerate() {
        let at = at.index(i);
        let (key, effect) = (t.text("key"), t.text("effect"));
        errors.extend(
            names::qualified_name(key).into_iter().map(|why| Error::invalid(&at.child("key"), key, why)),
        );
        let value = t.text("value");
        errors.extend(
            names::label_value(value).into_iter().map(|why| Error::invalid(&at.child("value"), value, why)),
        );
        validation::one_of(
            errors,
            effect,
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            &at.child("effect"),
            true,
        );
        if !seen.insert((key, effect)) {
            errors.push(Error::duplicate(&at, &validation::Json(&Value::Map(t.clone()))));
        }
    }
}

fn validate_update(object: &Value, old: &Value, errors: &mut ErrorList) {
    let spec = |o: &Value, name: &str| map_at(o, &["spec"]).get(name).cloned();
    if !map_at(old, &["spec"]).list("podCIDRs").is_empty()
        && spec(object, "podCIDRs") != spec(old, "podCIDRs")
    {
        errors.push(Error::forbidden(
            &Path::new("spec").child("podCIDRs"),
            "node updates may not change podCIDR except from \"\" to valid",
        ));
    }
    let before = old.str_at(&["spec", "providerID"]);
    if !before.is_empty() && before != object.str_at(&["spec", "providerID"]) {
        let at = Path::new("spec").child("providerID");
        errors.push(Error {
            value: Some("null".into()),
            ..Error::invalid(&at, "", "field cannot be modified once set")
        });
    }
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let info = |name: &str| {
        let text = object.str_at(&["status", "nodeInfo", name]);
        if text.is_empty() { "<unknown>".into() } else { Value::from(text) }
    };
    vec![
        cells::name(object),
        conditions(object).into(),
        cells::or_none(&roles(object)),
        cells::age(object, now),
        object.str_at(&["status", "nodeInfo", "kubeletVersion"]).into(),
        cells::or_none(address(object, "InternalIP")),
        cells::or_none(address(object, "ExternalIP")),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn address<'a>(object: &'a Value, kind: &str) -> &'a str {
    let found = map_at(object, &["status"]).items("addresses").find(|a| a.text("type") == kind);
    found.map(|a| a.text("address")).unwrap_or_default()
}

fn conditions(object: &Value) -> String {
    let ready = map_at(object, &["status"]).items("conditions").find(|c| c.text("type") == "Ready");
    let mut words = vec![match ready {
        Some(c) if c.text("status") == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }];
    if map_at(object, &["spec"]).flag("unschedulable") {
        words.push("SchedulingDisabled");
    }
    words.join(",")
}

fn roles(object: &Value) -> String {
    let mut roles: Vec<&str> = map_at(object, &["metadata", "labels"])
        .iter()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => Some(role),
            Some(_) => None,
            None if key == "kubernetes.io/role" => value.as_str().filter(|v| !v.is_empty()),
            None => None,
        })
        .collect();
    roles.sort_unstable();
    roles.join(",")
}
