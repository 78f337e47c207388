//! Events of both groups; stored as those of the core group.

use api::Value;
use apimachinery::field::{Error, ErrorList, Path};
use jiff::Timestamp;

use crate::strategies::cells;
use crate::strategies::fields::map_at;
use crate::strategies::kind::{Kind, PLAIN};

pub const EVENT: Kind =
    Kind { validate, cells: Some(row), create_on_update: true, field: Some(field), ..PLAIN };

fn validate(object: &Value, errors: &mut ErrorList) {
    let (own, involved) =
        (object.str_at(&["metadata", "namespace"]), object.str_at(&["involvedObject", "namespace"]));
    let at = Path::new("involvedObject").child("namespace");
    // An event about a cluster-wide object lies in `default` or in `kube-system`.
    if involved.is_empty() {
        if !matches!(own, "" | "default" | "kube-system") {
            errors.push(Error::invalid(&at, involved, "does not match event.namespace"));
        }
    } else if own != involved {
        errors.push(Error::invalid(&at, involved, "does not match event.namespace"));
    }
}

fn first<'a>(object: &'a Value, paths: &[&[&str]]) -> &'a str {
    paths.iter().map(|p| object.str_at(p)).find(|t| !t.is_empty()).unwrap_or_default()
}

fn field(object: &Value, label: &str) -> Option<String> {
    let text = match label {
        "source" => first(object, &[&["source", "component"], &["reportingComponent"]]),
        // The name in the core group, and that in events.k8s.io.
        "reportingComponent" | "reportingController" => object.str_at(&["reportingComponent"]),
        "reason" | "type" => object.str_at(&[label]),
        _ => object.str_at(&["involvedObject", label.strip_prefix("regarding.")?]),
    };
    Some(text.to_owned())
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let began = first(object, &[&["firstTimestamp"], &["eventTime"]]);
    let series = object.str_at(&["series", "lastObservedTime"]);
    let last = if series.is_empty() {
        first(object, &[&["lastTimestamp"], &["firstTimestamp"], &["eventTime"]])
    } else {
        series
    };
    let count =
        object.int_at(&["series", "count"]).or(object.int_at(&["count"])).filter(|n| *n > 0).unwrap_or(1);
    let involved = map_at(object, &["involvedObject"]);
    let name = |key: &str| involved.get(key).and_then(Value::as_str).unwrap_or_default();
    let component = first(object, &[&["source", "component"], &["reportingComponent"]]);
    let host = first(object, &[&["source", "host"], &["reportingInstance"]]);
    let source = if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") };
    vec![
        cells::age_of(last, now),
        object.str_at(&["type"]).into(),
        object.str_at(&["reason"]).into(),
        format!("{}/{}", name("kind").to_lowercase(), name("name")).into(),
        name("fieldPath").into(),
        source.into(),
        object.str_at(&["message"]).trim().into(),
        cells::age_of(began, now),
        count.into(),
        cells::name(object),
    ]
}
