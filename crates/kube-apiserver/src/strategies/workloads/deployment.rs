//! Deployments.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use apiserver::request::RequestContext;
use apiserver::strategy::Strategy;
use async_trait::async_trait;
use jiff::Timestamp;

use super::super::fields::{self, Fields};
use super::super::{cells, pod, validation};

pub struct Deployment;

#[async_trait]
impl Strategy for Deployment {
    fn default(&self, _version: &str, object: &mut Map) {
        if let Some(spec) = object.sub_mut("spec") {
            spec.default("replicas", 1i64);
            spec.default("revisionHistoryLimit", 10i64);
            spec.default("progressDeadlineSeconds", 600i64);
            let strategy = spec.map_mut("strategy");
            strategy.default("type", "RollingUpdate");
            if strategy.text("type") == "RollingUpdate" {
                let rolling = strategy.map_mut("rollingUpdate");
                rolling.default("maxUnavailable", "25%");
                rolling.default("maxSurge", "25%");
            }
        }
        pod::defaults::template_of(object);
    }

    fn prepare_for_create(&self, _cx: &RequestContext, object: &mut Map) {
        object.insert("status", Value::map());
        fields::first_generation(object);
    }

    /// Annotations count as a change too: controllers read the rollout's revision from them.
    fn prepare_for_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        object.copy_from(old, "status");
        let annotations = |o: &Map| o.sub("metadata").and_then(|m| m.get("annotations")).cloned();
        let changed = !object.same(old, "spec")
            || !fields::same(annotations(object).as_ref(), annotations(old).as_ref());
        fields::next_generation(object, old, changed);
    }

    fn prepare_for_status_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        fields::keep_all_but_status(object, old);
        let labels = old.sub("metadata").cloned().unwrap_or_default();
        object.map_mut("metadata").copy_from(&labels, "labels");
    }

    fn validate(&self, _cx: &RequestContext, object: &Value) -> ErrorList {
        let mut errors = super::validate_workload(
            object,
            &super::Rules { restart: &["Always"], ..super::Rules::default() },
        );
        let spec = Path::new("spec");
        validate_strategy(object, &spec.child("strategy"), &mut errors);
        let number = |name: &str| object.int_at(&["spec", name]);
        if let Some(n) = number("revisionHistoryLimit") {
            validation::non_negative(&mut errors, n, &spec.child("revisionHistoryLimit"));
        }
        if let Some(n) = number("progressDeadlineSeconds") {
            let path = spec.child("progressDeadlineSeconds");
            validation::non_negative(&mut errors, n, &path);
            if n <= number("minReadySeconds").unwrap_or(0) {
                errors.push(Error::invalid(&path, &n, "must be greater than minReadySeconds"));
            }
        }
        errors
    }

    fn validate_update(&self, cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(cx, object);
        errors.extend(validation::immutable(object, old, &["spec", "selector"]));
        errors
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Option<Vec<Value>> {
        let desired = object.int_at(&["spec", "replicas"]).unwrap_or(0);
        let ready = object.int_at(&["status", "readyReplicas"]).unwrap_or(0);
        let [names, images] = cells::template_containers(object);
        Some(vec![
            cells::name(object),
            format!("{ready}/{desired}").into(),
            cells::int(object, &["status", "updatedReplicas"]),
            cells::int(object, &["status", "availableReplicas"]),
            cells::age(object, now),
            names,
            images,
            cells::selector(object, &["spec", "selector"]),
        ])
    }
}

fn validate_strategy(object: &Value, path: &Path, errors: &mut ErrorList) {
    let strategy = fields::map_at(object, &["spec", "strategy"]);
    let rolling = strategy.sub("rollingUpdate");
    match strategy.text("type") {
        "" => {}
        "Recreate" if rolling.is_some() => errors.push(Error::forbidden(
            &path.child("rollingUpdate"),
            "may not be specified when strategy `type` is 'Recreate'",
        )),
        "Recreate" => {}
        "RollingUpdate" => match rolling {
            None => errors.push(Error::required(
                &path.child("rollingUpdate"),
                "this should be defaulted and never be nil",
            )),
            Some(r) => validation::rolling_update(r, &path.child("rollingUpdate"), errors),
        },
        other => {
            let shown = validation::Verbatim(format!("{{\"Type\":{other:?},\"RollingUpdate\":null}}"));
            errors.push(Error::not_supported(path, &shown, &["Recreate", "RollingUpdate"]));
        }
    }
}
