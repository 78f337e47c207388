//! One metric of an autoscaler, as v2 has it and as the annotations of a v1 object hold it.

use api::{Map, Value};

/// Where a value lies: (source, path in v1, path in v2).
type Places = &'static [(&'static str, &'static [&'static str], &'static [&'static str])];

const SPEC: Places = &[
    ("resource", &["name"], &["name"]),
    ("resource", &["targetAverageUtilization"], &["target", "averageUtilization"]),
    ("resource", &["targetAverageValue"], &["target", "averageValue"]),
    ("containerResource", &["name"], &["name"]),
    ("containerResource", &["container"], &["container"]),
    ("containerResource", &["targetAverageUtilization"], &["target", "averageUtilization"]),
    ("containerResource", &["targetAverageValue"], &["target", "averageValue"]),
    ("pods", &["metricName"], &["metric", "name"]),
    ("pods", &["selector"], &["metric", "selector"]),
    ("pods", &["targetAverageValue"], &["target", "averageValue"]),
    ("object", &["target"], &["describedObject"]),
    ("object", &["metricName"], &["metric", "name"]),
    ("object", &["selector"], &["metric", "selector"]),
    ("object", &["targetValue"], &["target", "value"]),
    ("object", &["averageValue"], &["target", "averageValue"]),
    ("external", &["metricName"], &["metric", "name"]),
    ("external", &["metricSelector"], &["metric", "selector"]),
    ("external", &["targetValue"], &["target", "value"]),
    ("external", &["targetAverageValue"], &["target", "averageValue"]),
];

const STATUS: Places = &[
    ("resource", &["name"], &["name"]),
    ("resource", &["currentAverageUtilization"], &["current", "averageUtilization"]),
    ("resource", &["currentAverageValue"], &["current", "averageValue"]),
    ("containerResource", &["name"], &["name"]),
    ("containerResource", &["container"], &["container"]),
    ("containerResource", &["currentAverageUtilization"], &["current", "averageUtilization"]),
    ("containerResource", &["currentAverageValue"], &["current", "averageValue"]),
    ("pods", &["metricName"], &["metric", "name"]),
    ("pods", &["selector"], &["metric", "selector"]),
    ("pods", &["currentAverageValue"], &["current", "averageValue"]),
    ("object", &["target"], &["describedObject"]),
    ("object", &["metricName"], &["metric", "name"]),
    ("object", &["selector"], &["metric", "selector"]),
    ("object", &["currentValue"], &["current", "value"]),
    ("object", &["averageValue"], &["current", "averageValue"]),
    ("external", &["metricName"], &["metric", "name"]),
    ("external", &["metricSelector"], &["metric", "selector"]),
    ("external", &["currentValue"], &["current", "value"]),
    ("external", &["currentAverageValue"], &["current", "averageValue"]),
];

fn moved(metric: &Value, places: Places, to_v1: bool) -> Value {
    let mut out = Value::Map(Map::new());
    if let Some(kind) = metric.get("type") {
        out.set_at(&["type"], kind.clone());
    }
    for (source, v1, v2) in places {
        let (from, to) = if to_v1 { (v2, v1) } else { (v1, v2) };
        if let Some(value) = metric.get(source).and_then(|m| m.at(from)) {
            out.set_at(&[&[*source], *to].concat(), value.clone());
        }
    }
    out
}

pub(super) fn spec_to_v1(metric: &Value) -> Value {
    let mut out = moved(metric, SPEC, true);
    // v1 has these by value.
    if out.get("object").is_some_and(|o| o.get("targetValue").is_none()) {
        out.set_at(&["object", "targetValue"], "0");
    }
    out
}

/// The type of a target is what it gives a number for.
pub(super) fn spec_to_v2(metric: &Value) -> Value {
    let mut out = moved(metric, SPEC, false);
    for source in ["resource", "containerResource", "pods", "object", "external"] {
        let Some(target) = out.at_mut(&[source, "target"]) else { continue };
        let has = |key: &str| target.get(key).is_some();
        let kind = if has("averageUtilization") {
            "Utilization"
        } else if has("averageValue") {
            "AverageValue"
        } else {
            "Value"
        };
        target.set_at(&["type"], kind);
        if kind == "AverageValue" && source == "object" {
            target.remove_at(&["value"]);
        }
    }
    out
}

pub(super) fn status_to_v1(metric: &Value) -> Value {
    moved(metric, STATUS, true)
}

pub(super) fn status_to_v2(metric: &Value) -> Value {
    moved(metric, STATUS, false)
}
