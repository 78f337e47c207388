//! What an autoscaler's metrics and behavior must be like. The words are upstream's, since users know them.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};

use crate::strategies::fields::Fields;
use crate::strategies::{names, quantities, validation};

/// The longest time that recommendations may count, and the longest period of a policy, in seconds.
const MOST_STABILIZATION: i64 = 3600;
const MOST_PERIOD: i64 = 1800;

/// `spec` of an autoscaler, in the form of autoscaling/v2.
pub fn spec(spec: &Map, path: &Path, errors: &mut ErrorList) {
    let (min, max) = (spec.int("minReplicas"), spec.int("maxReplicas").unwrap_or(0));
    if let Some(min) = min.filter(|min| *min < 0) {
        errors.push(Error::invalid(&path.child("minReplicas"), &min, "must be greater than or equal to 0"));
    }
    if min.is_some_and(|min| max < min) {
        let why = "must be greater than or equal to `minReplicas`";
        errors.push(Error::invalid(&path.child("maxReplicas"), &max, why));
    }
    let empty = Map::new();
    let target = spec.sub("scaleTargetRef").unwrap_or(&empty);
    reference(target, &path.child("scaleTargetRef"), errors);
    group(target.text("apiVersion"), &path.child("scaleTargetRef").child("apiVersion"), errors);
    for (i, metric) in spec.items("metrics").enumerate() {
        self::metric(metric, &path.child("metrics").index(i), errors);
    }
    let measures_others = |metric: &Map| matches!(metric.text("type"), "Object" | "External");
    if min == Some(0) && !spec.items("metrics").any(measures_others) {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(Error::forbidden(&path.child("metrics"), why));
    }
    let behavior = spec.sub("behavior").unwrap_or(&empty);
    for name in ["scaleUp", "scaleDown"] {
        if let Some(rules) = behavior.sub(name) {
            self::rules(rules, &path.child("behavior").child(name), errors);
        }
    }
}

/// `status`, as its subresource writes it.
pub fn status(status: &Map, path: &Path, errors: &mut ErrorList) {
    for name in ["currentReplicas", "desiredReplicas"] {
        validation::non_negative(errors, status.int(name).unwrap_or(0), &path.child(name));
    }
}

fn reference(object: &Map, path: &Path, errors: &mut ErrorList) {
    for name in ["kind", "name"] {
        let (text, at) = (object.text(name), path.child(name));
        if text.is_empty() {
            errors.push(Error::required(&at, ""));
        }
        errors.extend(names::path_segment(text).into_iter().map(|why| Error::invalid(&at, text, why)));
    }
}

/// The group of the target has to be known, since any kind may have a scale.
fn group(api_version: &str, at: &Path, errors: &mut ErrorList) {
    if api_version.is_empty() {
        errors.push(Error::invalid(at, api_version, "apiVersion must specify API group"));
    } else if api_version.matches('/').count() > 1 {
        errors.push(Error::invalid(
            at,
            api_version,
            format!("unexpected GroupVersion string: {api_version}"),
        ));
    }
}

/// Each type of metric, the field that holds it, and what that field must be like.
type Source = (&'static str, &'static str, fn(&Map, &Path, &mut ErrorList));
const SOURCES: [Source; 5] = [
    ("Object", "object", object),
    ("External", "external", external),
    ("Pods", "pods", pods),
    ("Resource", "resource", resource),
    ("ContainerResource", "containerResource", container_resource),
];

fn metric(metric: &Map, path: &Path, errors: &mut ErrorList) {
    let kind = metric.text("type");
    if kind.is_empty() {
        errors.push(Error::required(&path.child("type"), "must specify a metric source type"));
    }
    let meant = SOURCES.iter().find(|(name, ..)| *name == kind);
    if meant.is_none() {
        let mut supported = SOURCES.map(|(name, ..)| name);
        supported.sort_unstable();
        errors.push(Error::not_supported(&path.child("type"), kind, &supported));
    }
    let present = SOURCES.iter().filter(|(_, field, _)| metric.has(field));
    if let Some((_, field, check)) = present.clone().next()
        && let Some(source) = metric.sub(field)
    {
        check(source, &path.child(field), errors);
    }
    let Some((_, expected, _)) = meant else { return };
    if !metric.has(expected) {
        let why = "must populate information for the given metric source";
        errors.push(Error::required(&path.child(expected), why));
    }
    if present.clone().count() < 2 {
        return;
    }
    for (_, field, _) in present.filter(|(_, field, _)| field != expected) {
        errors.push(Error::forbidden(&path.child(field), "must populate the given metric source only"));
    }
}

fn resource(source: &Map, path: &Path, errors: &mut ErrorList) {
    if source.text("name").is_empty() {
        errors.push(Error::required(&path.child("name"), "must specify a resource name"));
    }
    resource_target(source, path, errors);
}

fn container_resource(source: &Map, path: &Path, errors: &mut ErrorList) {
    if source.text("name").is_empty() {
        errors.push(Error::required(&path.child("name"), "must specify a resource name"));
    }
    if source.text("container").is_empty() {
        errors.push(Error::required(&path.child("container"), "must specify a container"));
    }
    resource_target(source, path, errors);
}

fn resource_target(source: &Map, path: &Path, errors: &mut ErrorList) {
    let (target, at) = target(source, path, errors);
    match (target.has("averageUtilization"), target.has("averageValue")) {
        (false, false) => {
            let why = "must set either a target raw value or a target utilization";
            errors.push(Error::required(&at.child("averageUtilization"), why));
        }
        (true, true) => {
            let why = "may not set both a target raw value and a target utilization";
            errors.push(Error::forbidden(&at.child("averageValue"), why));
        }
        _ => {}
    }
}

fn object(source: &Map, path: &Path, errors: &mut ErrorList) {
    let described = source.sub("describedObject").cloned().unwrap_or_default();
    reference(&described, &path.child("describedObject"), errors);
    identifier(source, path, errors);
    let (target, at) = target(source, path, errors);
    if !target.has("value") && !target.has("averageValue") {
        let why = "must set either a target value or averageValue";
        errors.push(Error::required(&at.child("averageValue"), why));
    }
}

fn external(source: &Map, path: &Path, errors: &mut ErrorList) {
    identifier(source, path, errors);
    let (target, at) = target(source, path, errors);
    match (target.has("value"), target.has("averageValue")) {
        (false, false) => {
            let why = "must set either a target value for metric or a per-pod target";
            errors.push(Error::required(&at.child("averageValue"), why));
        }
        (true, true) => {
            let why = "may not set both a target value for metric and a per-pod target";
            errors.push(Error::forbidden(&at.child("value"), why));
        }
        _ => {}
    }
}

fn pods(source: &Map, path: &Path, errors: &mut ErrorList) {
    identifier(source, path, errors);
    let (target, at) = target(source, path, errors);
    if !target.get("averageValue").is_some_and(is_positive) {
        errors
            .push(Error::required(&at.child("averageValue"), "must specify a positive target averageValue"));
    }
}

fn identifier(source: &Map, path: &Path, errors: &mut ErrorList) {
    let metric = source.sub("metric").cloned().unwrap_or_default();
    let (name, at) = (metric.text("name"), path.child("metric").child("name"));
    if name.is_empty() {
        errors.push(Error::required(&at, "must specify a metric name"));
    }
    errors.extend(names::path_segment(name).into_iter().map(|why| Error::invalid(&at, name, why)));
}

/// The target, checked by itself.
fn target(source: &Map, path: &Path, errors: &mut ErrorList) -> (Map, Path) {
    let (target, at) = (source.sub("target").cloned().unwrap_or_default(), path.child("target"));
    let kind = target.text("type");
    if kind.is_empty() {
        errors.push(Error::required(&at.child("type"), "must specify a metric target type"));
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        let why = "must be either Utilization, Value, or AverageValue";
        errors.push(Error::invalid(&at.child("type"), kind, why));
    }
    let mut positive = |name: &str| {
        if let Some(value) = target.get(name).filter(|v| !is_positive(v)) {
            let shown = quantities::parse(value).map(|q| q.to_string()).unwrap_or_default();
            errors.push(Error::invalid(&at.child(name), shown.as_str(), "must be positive"));
        }
    };
    positive("value");
    positive("averageValue");
    if let Some(percent) = target.int("averageUtilization").filter(|n| *n < 1) {
        errors.push(Error::invalid(&at.child("averageUtilization"), &percent, "must be greater than 0"));
    }
    (target, at)
}

fn is_positive(value: &Value) -> bool {
    !quantities::is_negative(value) && !quantities::is_zero(value)
}

fn rules(rules: &Map, path: &Path, errors: &mut ErrorList) {
    if let Some(window) = rules.int("stabilizationWindowSeconds") {
        let at = path.child("stabilizationWindowSeconds");
        let most = format!("must be less than or equal to {MOST_STABILIZATION}");
        if window < 0 {
            errors.push(Error::invalid(&at, &window, "must be greater than or equal to zero"));
        }
        if window > MOST_STABILIZATION {
            errors.push(Error::invalid(&at, &window, most));
        }
    }
    if rules.has("selectPolicy") {
        let supported = ["Disabled", "Max", "Min"];
        let at = path.child("selectPolicy");
        if !supported.contains(&rules.text("selectPolicy")) {
            errors.push(Error::not_supported(&at, rules.text("selectPolicy"), &supported));
        }
    }
    let at = path.child("policies");
    if rules.list("policies").is_empty() {
        errors.push(Error::required(&at, "must specify at least one Policy"));
    }
    for (i, policy) in rules.items("policies").enumerate() {
        self::policy(policy, &at.index(i), errors);
    }
    if let Some(share) = rules.get("tolerance").filter(|q| quantities::is_negative(q)) {
        let shown = quantities::parse(share).map(|q| q.to_string()).unwrap_or_default();
        errors.push(Error::invalid(&path.child("tolerance"), shown.as_str(), validation::NON_NEGATIVE));
    }
}

fn policy(policy: &Map, path: &Path, errors: &mut ErrorList) {
    let supported = ["Percent", "Pods"];
    if !supported.contains(&policy.text("type")) {
        errors.push(Error::not_supported(&path.child("type"), policy.text("type"), &supported));
    }
    for name in ["value", "periodSeconds"] {
        validation::positive(errors, policy.int(name).unwrap_or(0), &path.child(name));
    }
    let period = policy.int("periodSeconds").unwrap_or(0);
    if period > MOST_PERIOD {
        let why = format!("must be less than or equal to {MOST_PERIOD}");
        errors.push(Error::invalid(&path.child("periodSeconds"), &period, why));
    }
}
