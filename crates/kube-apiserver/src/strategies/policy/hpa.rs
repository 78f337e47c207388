//! HorizontalPodAutoscalers; stored as v2, and in that form except while a v1 object is defaulted.

use api::{Map, Value};
use apimachinery::field::{ErrorList, Path};
use apiserver::request::RequestContext;
use apiserver::strategy::Strategy;
use async_trait::async_trait;
use jiff::Timestamp;

use super::hpa_validation;
use crate::strategies::cells;
use crate::strategies::fields::{self, Fields, map, map_at};

pub struct HorizontalPodAutoscaler;

#[async_trait]
impl Strategy for HorizontalPodAutoscaler {
    fn default(&self, version: &str, object: &mut Map) {
        let Some(spec) = object.sub_mut("spec") else { return };
        spec.default("minReplicas", 1i64);
        if version == "v1" {
            default_target(object);
            return;
        }
        if spec.list("metrics").is_empty() {
            spec.insert("metrics", vec![Value::Map(cpu(80))]);
        }
        if let Some(behavior) = spec.sub_mut("behavior") {
            default_behavior(behavior);
        }
    }

    fn prepare_for_create(&self, _cx: &RequestContext, object: &mut Map) {
        object.insert("status", Value::map());
        fields::first_generation(object);
    }

    fn prepare_for_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        fields::keep_status_count_spec(object, old);
    }

    fn prepare_for_status_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        fields::keep_all_but_status(object, old);
    }

    fn validate(&self, _cx: &RequestContext, object: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        hpa_validation::spec(map_at(object, &["spec"]), &Path::new("spec"), &mut errors);
        errors
    }

    fn validate_update(&self, cx: &RequestContext, object: &Value, _old: &Value) -> ErrorList {
        self.validate(cx, object)
    }

    fn validate_status_update(&self, _cx: &RequestContext, object: &Value, _old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        hpa_validation::status(map_at(object, &["status"]), &Path::new("status"), &mut errors);
        errors
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Option<Vec<Value>> {
        let spec = map_at(object, &["spec"]);
        let target = map_at(object, &["spec", "scaleTargetRef"]);
        Some(vec![
            cells::name(object),
            format!("{}/{}", target.text("kind"), target.text("name")).into(),
            targets(object).into(),
            spec.int("minReplicas").map_or("<unset>".to_owned(), |n| n.to_string()).into(),
            spec.int("maxReplicas").unwrap_or(0).into(),
            object.int_at(&["status", "currentReplicas"]).unwrap_or(0).into(),
            cells::age(object, now),
        ])
    }
}

/// A v1 autoscaler without any metric aims at 80% of CPU; other metrics are in an annotation.
fn default_target(object: &mut Map) {
    const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
    let others = object.sub("metadata").and_then(|m| m.sub("annotations")).is_some_and(|a| a.has(METRICS));
    if let Some(spec) = object.sub_mut("spec").filter(|_| !others) {
        spec.default("targetCPUUtilizationPercentage", 80i64);
    }
}

fn cpu(percent: i64) -> Map {
    let target = map([("averageUtilization", percent.into()), ("type", "Utilization".into())]);
    let resource = map([("name", "cpu".into()), ("target", target.into())]);
    map([("resource", resource.into()), ("type", "Resource".into())])
}

fn policy(kind: &str, value: i64) -> Value {
    Value::Map(map([("type", kind.into()), ("value", value.into()), ("periodSeconds", 15i64.into())]))
}

fn default_behavior(behavior: &mut Map) {
    let up = behavior.map_mut("scaleUp");
    up.default("selectPolicy", "Max");
    up.default("stabilizationWindowSeconds", 0i64);
    if up.list("policies").is_empty() {
        up.insert("policies", vec![policy("Pods", 4), policy("Percent", 100)]);
    }
    let down = behavior.map_mut("scaleDown");
    down.default("selectPolicy", "Max");
    if down.list("policies").is_empty() {
        down.insert("policies", vec![policy("Percent", 100)]);
    }
}

/// `cpu: 12%/80%, ...`: what each metric is, and should be.
fn targets(object: &Value) -> String {
    let metrics: Vec<&Map> = map_at(object, &["spec"]).items("metrics").collect();
    if metrics.is_empty() {
        return "<none>".into();
    }
    let current: Vec<&Map> = map_at(object, &["status"]).items("currentMetrics").collect();
    let text = |(i, m): (usize, &&Map)| metric(m, current.get(i).copied());
    let shown: Vec<String> = metrics.iter().enumerate().take(2).map(text).collect();
    match metrics.len() {
        n if n > 2 => format!("{} + {} more...", shown.join(", "), n - 2),
        _ => shown.join(", "),
    }
}

fn metric(metric: &Map, current: Option<&Map>) -> String {
    let (part, labelled) = match metric.text("type") {
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "External" => ("external", false),
        _ => return "<unknown type>".into(),
    };
    let empty = Map::new();
    let source = metric.sub(part).unwrap_or(&empty);
    let wanted = source.sub("target").unwrap_or(&empty);
    let now = current.and_then(|c| c.sub(part)).and_then(|c| c.sub("current")).unwrap_or(&empty);
    let text = |m: &Map, otherwise: &str| match m.int("averageUtilization") {
        Some(n) => format!("{n}%"),
        None => match (m.text("averageValue"), m.text("value")) {
            ("", "") => otherwise.to_owned(),
            ("", v) => v.to_owned(),
            (v, _) => v.to_owned(),
        },
    };
    let pair = format!("{}/{}", text(now, "<unknown>"), text(wanted, "<auto>"));
    if labelled { format!("{}: {pair}", source.text("name")) } else { pair }
}
