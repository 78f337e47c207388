//! ReplicaSets and ReplicationControllers: defaults, generation, rows.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use apiserver::request::RequestContext;
use apiserver::strategy::Strategy;
use async_trait::async_trait;
use jiff::Timestamp;

use super::super::fields::{self, Fields, one};
use super::super::{cells, pod, validation};

pub struct ReplicaSet;

#[async_trait]
impl Strategy for ReplicaSet {
    fn default(&self, _version: &str, object: &mut Map) {
        if let Some(spec) = object.sub_mut("spec") {
            spec.default("replicas", 1i64);
        }
        pod::defaults::template_of(object);
    }

    fn prepare_for_create(&self, _cx: &RequestContext, object: &mut Map) {
        object.insert("status", one("replicas", 0i64));
        fields::first_generation(object);
    }

    fn prepare_for_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        fields::keep_status_count_spec(object, old);
    }

    fn prepare_for_status_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        fields::keep_all_but_status(object, old);
    }

    fn validate(&self, _cx: &RequestContext, object: &Value) -> ErrorList {
        super::validate_workload(object, &super::Rules { restart: &["Always"], ..super::Rules::default() })
    }

    fn validate_update(&self, cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(cx, object);
        errors.extend(validation::immutable(object, old, &["spec", "selector"]));
        errors
    }

    fn validate_status_update(&self, _cx: &RequestContext, object: &Value, _old: &Value) -> ErrorList {
        status_counts(object)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Option<Vec<Value>> {
        let mut row = counts(object, now);
        row.push(cells::selector(object, &["spec", "selector"]));
        Some(row)
    }
}

/// Numbers of the status may not be negative, and none may exceed `replicas`.
fn status_counts(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("status");
    let count = |name: &str| object.int_at(&["status", name]).unwrap_or(0);
    for name in
        ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"]
    {
        validation::non_negative(&mut errors, count(name), &path.child(name));
    }
    for name in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        if count(name) > count("replicas") {
            errors.push(Error::invalid(
                &path.child(name),
                &count(name),
                "cannot be greater than status.replicas",
            ));
        }
    }
    errors
}

/// Name, Desired, Current, Ready, Age, Containers, Images.
fn counts(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = cells::template_containers(object);
    vec![
        cells::name(object),
        cells::int(object, &["spec", "replicas"]),
        cells::int(object, &["status", "replicas"]),
        cells::int(object, &["status", "readyReplicas"]),
        cells::age(object, now),
        names,
        images,
    ]
}

pub struct ReplicationController;

#[async_trait]
impl Strategy for ReplicationController {
    /// Labels and selector default to the template's labels.
    fn default(&self, _version: &str, object: &mut Map) {
        let labels = object
            .sub("spec")
            .and_then(|s| s.sub("template"))
            .and_then(|t| t.sub("metadata"))
            .and_then(|m| m.sub("labels"))
            .cloned();
        if let Some(labels) = labels.filter(|l| !l.is_empty()) {
            default_map(object.map_mut("spec"), "selector", &labels);
            default_map(object.map_mut("metadata"), "labels", &labels);
        }
        if let Some(spec) = object.sub_mut("spec") {
            spec.default("replicas", 1i64);
        }
        pod::defaults::template_of(object);
    }

    fn prepare_for_create(&self, _cx: &RequestContext, object: &mut Map) {
        object.insert("status", one("replicas", 0i64));
        fields::first_generation(object);
    }

    fn prepare_for_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        fields::keep_status_count_spec(object, old);
    }

    fn prepare_for_status_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        fields::keep_all_but_status(object, old);
    }

    fn validate(&self, _cx: &RequestContext, object: &Value) -> ErrorList {
        super::validate_workload(
            object,
            &super::Rules { restart: &["Always"], plain_selector: true, ..super::Rules::default() },
        )
    }

    fn validate_update(&self, cx: &RequestContext, object: &Value, _old: &Value) -> ErrorList {
        self.validate(cx, object)
    }

    fn validate_status_update(&self, _cx: &RequestContext, object: &Value, _old: &Value) -> ErrorList {
        status_counts(object)
    }

    fn orphans_dependents_by_default(&self, _version: &str) -> bool {
        true
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Option<Vec<Value>> {
        let mut row = counts(object, now);
        row.push(cells::labels(fields::map_at(object, &["spec", "selector"])));
        Some(row)
    }
}

fn default_map(object: &mut Map, key: &str, value: &Map) {
    if object.sub(key).is_none_or(Map::is_empty) {
        object.insert(key, value.clone());
    }
}
