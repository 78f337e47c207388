//! HorizontalPodAutoscaler: v2 (stored) and v1, which knows one CPU target and keeps the rest in annotations.

use api::{Map, Value, value};
use apimachinery::GroupVersion;

use super::hpa_metrics as metrics;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CPU_TARGET: &str = "targetCPUUtilizationPercentage";
const CPU_CURRENT: &str = "currentCPUUtilizationPercentage";
/// What a v1 autoscaler without any metric aims at.
const DEFAULT_CPU: i64 = 80;

pub(super) fn convert(object: &mut Value, from: &GroupVersion, to: &GroupVersion) -> bool {
    match (&*from.version, &*to.version) {
        ("v1", "v2") => to_v2(object),
        ("v2", "v1") => to_v1(object),
        _ => return false,
    }
    true
}

fn annotation(object: &Value, key: &str) -> Option<Value> {
    let text = object.at(&["metadata", "annotations", key])?.as_str()?;
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    Some(json.into())
}

fn annotate(object: &mut Value, key: &str, value: &Value) {
    object.set_at(&["metadata", "annotations", key], serde_json::Value::from(value).to_string());
}

fn cpu(target: i64) -> Value {
    value!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}})
}

/// A CPU utilization target, which v1 has a field for.
fn cpu_target(metric: &Value) -> Option<i64> {
    let of_cpu = metric.str_at(&["type"]) == "Resource" && metric.str_at(&["resource", "name"]) == "cpu";
    metric.int_at(&["resource", "target", "averageUtilization"]).filter(|_| of_cpu)
}

fn to_v2(object: &mut Value) {
    let mut all: Vec<Value> = Vec::new();
    if let Some(target) = object.remove_at(&["spec", CPU_TARGET]).and_then(|v| v.as_int()) {
        all.push(cpu(target));
    }
    if let Some(Value::List(others)) = annotation(object, METRICS) {
        all.extend(others.iter().map(metrics::spec_to_v2));
    }
    if all.is_empty() {
        all.push(cpu(DEFAULT_CPU));
    }
    object.set_at(&["spec", "metrics"], all);
    if let Some(behavior) = annotation(object, BEHAVIOR) {
        object.set_at(&["spec", "behavior"], renamed(behavior, lower_first));
    }
    status_to_v2(object);
    if let Some(annotations) = object.at_mut(&["metadata", "annotations"]).and_then(Value::as_map_mut) {
        annotations.retain(|key, _| ![METRICS, CURRENT, CONDITIONS, BEHAVIOR].contains(&key.as_str()));
    }
}

fn status_to_v2(object: &mut Value) {
    let current = object.remove_at(&["status", CPU_CURRENT]).and_then(|v| v.as_int());
    let known: Option<Vec<Value>> = match annotation(object, CURRENT) {
        Some(Value::List(list)) => Some(list.iter().map(metrics::status_to_v2).collect()),
        _ => None,
    };
    let from_field = current.map(|n| {
        vec![value!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": n, "averageValue": "0"}}})]
    });
    if let Some(list) = known.or(from_field) {
        object.set_at(&["status", "currentMetrics"], list);
    }
    if let Some(conditions) = annotation(object, CONDITIONS) {
        object.set_at(&["status", "conditions"], conditions);
    }
}

fn to_v1(object: &mut Value) {
    let all = object.remove_at(&["spec", "metrics"]).unwrap_or_default();
    let all = all.as_list().unwrap_or_default();
    if let Some(target) = all.iter().find_map(cpu_target) {
        object.set_at(&["spec", CPU_TARGET], target);
    }
    let others: Vec<Value> =
        all.iter().filter(|m| cpu_target(m).is_none()).map(metrics::spec_to_v1).collect();
    if !others.is_empty() {
        annotate(object, METRICS, &Value::List(others));
    }
    if let Some(behavior) = object.remove_at(&["spec", "behavior"]).filter(|b| !b.is_null()) {
        annotate(object, BEHAVIOR, &renamed(behavior, upper_first));
    }
    let current = object.remove_at(&["status", "currentMetrics"]).unwrap_or_default();
    let current = current.as_list().unwrap_or_default();
    let of_cpu = |m: &&Value| m.str_at(&["type"]) == "Resource" && m.str_at(&["resource", "name"]) == "cpu";
    if let Some(now) =
        current.iter().filter(of_cpu).find_map(|m| m.int_at(&["resource", "current", "averageUtilization"]))
    {
        object.set_at(&["status", CPU_CURRENT], now);
    }
    if !current.is_empty() {
        annotate(object, CURRENT, &current.iter().map(metrics::status_to_v1).collect());
    }
    if let Some(conditions) =
        object.remove_at(&["status", "conditions"]).filter(|c| !c.list_at(&[]).is_empty())
    {
        annotate(object, CONDITIONS, &conditions);
    }
}

/// The behavior annotation holds Go's field names.
fn renamed(value: Value, name: fn(&str) -> String) -> Value {
    match value {
        Value::Map(map) => {
            Value::Map(map.into_iter().map(|(k, v)| (name(&k).into(), renamed(v, name))).collect::<Map>())
        }
        Value::List(list) => Value::List(list.into_iter().map(|v| renamed(v, name)).collect()),
        other => other,
    }
}

fn upper_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}
