//! Parts of table rows that many kinds share.

use api::{Map, Value};
use jiff::Timestamp;

use super::fields::{Fields, map_at};
use super::times;

pub fn name(object: &Value) -> Value {
    object.str_at(&["metadata", "name"]).into()
}

/// The object's age; `<unknown>` without a creation time.
pub fn age(object: &Value, now: Timestamp) -> Value {
    times::age(object.str_at(&["metadata", "creationTimestamp"]), now).into()
}

pub fn age_of(time: &str, now: Timestamp) -> Value {
    times::age(time, now).into()
}

pub fn created(object: &Value) -> Value {
    object.str_at(&["metadata", "creationTimestamp"]).into()
}

/// The text, or `<none>`.
pub fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

pub fn or_unset(text: &str) -> Value {
    if text.is_empty() { "<unset>".into() } else { text.into() }
}

/// The number at a path, 0 where there is none.
pub fn int(object: &Value, path: &[&str]) -> Value {
    object.int_at(path).unwrap_or(0).into()
}

/// Names and images of a pod spec's containers, comma separated.
pub fn containers(spec: &Map) -> [Value; 2] {
    let join = |key: &str| spec.items("containers").map(|c| c.text(key)).collect::<Vec<_>>().join(",");
    [join("name").into(), join("image").into()]
}

/// Of a workload: the containers of `spec.template.spec`.
pub fn template_containers(object: &Value) -> [Value; 2] {
    containers(map_at(object, &["spec", "template", "spec"]))
}

/// `a=b,c=d` with sorted keys, `<none>` for none: labels and plain selectors.
pub fn labels(map: &Map) -> Value {
    let mut pairs: Vec<String> =
        map.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    pairs.sort();
    or_none(&pairs.join(","))
}

/// A LabelSelector as kubectl writes it.
pub fn selector(object: &Value, path: &[&str]) -> Value {
    let Some(selector) = object.at(path).and_then(Value::as_map) else { return "<none>".into() };
    let mut parts: Vec<String> = selector
        .sub("matchLabels")
        .into_iter()
        .flat_map(|m| m.iter())
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    parts.extend(selector.items("matchExpressions").map(requirement));
    parts.sort();
    or_none(&parts.join(","))
}

fn requirement(r: &Map) -> String {
    let key = r.text("key");
    let mut values: Vec<&str> = r.list("values").iter().filter_map(Value::as_str).collect();
    values.sort_unstable();
    match r.text("operator") {
        "In" => format!("{key} in ({})", values.join(",")),
        "NotIn" => format!("{key} notin ({})", values.join(",")),
        "Exists" => key.to_owned(),
        _ => format!("!{key}"),
    }
}

/// A number or a string (IntOrString), or `otherwise`.
pub fn int_or_string(value: Option<&Value>, otherwise: &str) -> String {
    match value {
        Some(Value::Int(n)) => n.to_string(),
        Some(Value::String(s)) => s.to_string(),
        _ => otherwise.to_owned(),
    }
}

/// `true` or `false`, for columns of type boolean.
pub fn flag(object: &Value, path: &[&str]) -> Value {
    object.bool_at(path).unwrap_or(false).into()
}

/// The strings of a list, joined.
pub fn joined(list: &[Value], by: &str) -> String {
    list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(by)
}
