//! DaemonSets.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use apiserver::request::RequestContext;
use apiserver::strategy::Strategy;
use async_trait::async_trait;
use jiff::Timestamp;

use super::super::fields::{self, Fields};
use super::super::{cells, pod, validation};

pub struct DaemonSet;

/// Carries `spec.templateGeneration` of the old API, which v1 keeps as an annotation.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn template_generation(object: &Map) -> i64 {
    object
        .sub("metadata")
        .and_then(|m| m.sub("annotations"))
        .and_then(|a| a.text(TEMPLATE_GENERATION).parse().ok())
        .unwrap_or(0)
}

fn set_template_generation(object: &mut Map, number: i64) {
    object.map_mut("metadata").map_mut("annotations").insert(TEMPLATE_GENERATION, number.to_string());
}

#[async_trait]
impl Strategy for DaemonSet {
    fn default(&self, _version: &str, object: &mut Map) {
        if let Some(spec) = object.sub_mut("spec") {
            let update = spec.map_mut("updateStrategy");
            update.default("type", "RollingUpdate");
            if update.text("type") == "RollingUpdate" {
                let rolling = update.map_mut("rollingUpdate");
                rolling.default("maxUnavailable", 1i64);
                rolling.default("maxSurge", 0i64);
            }
            spec.default("revisionHistoryLimit", 10i64);
        }
        pod::defaults::template_of(object);
        // v1 always has what the old API's number is kept in.
        let has = object.sub("metadata").and_then(|m| m.sub("annotations"));
        if !has.is_some_and(|a| a.has(TEMPLATE_GENERATION)) {
            set_template_generation(object, 0);
        }
    }

    fn prepare_for_create(&self, _cx: &RequestContext, object: &mut Map) {
        object.insert("status", Value::map());
        fields::first_generation(object);
        let number = template_generation(object).max(1);
        set_template_generation(object, number);
    }

    fn prepare_for_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        object.copy_from(old, "status");
        let template = |o: &Map| o.sub("spec").and_then(|s| s.get("template")).cloned();
        let before = template_generation(old);
        let changed = !fields::same(template(object).as_ref(), template(old).as_ref());
        set_template_generation(object, before + i64::from(changed));
        let spec_changed = !object.same(old, "spec");
        fields::next_generation(object, old, spec_changed);
    }

    fn prepare_for_status_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        fields::keep_all_but_status(object, old);
    }

    fn validate(&self, _cx: &RequestContext, object: &Value) -> ErrorList {
        let rules = super::Rules { restart: &["Always"], no_replicas: true, ..super::Rules::default() };
        let mut errors = super::validate_workload(object, &rules);
        let path = Path::new("spec").child("updateStrategy");
        let update = fields::map_at(object, &["spec", "updateStrategy"]);
        match update.text("type") {
            "OnDelete" | "" => {}
            "RollingUpdate" => match update.sub("rollingUpdate") {
                None => errors.push(Error::required(&path.child("rollingUpdate"), "")),
                Some(r) => validation::daemon_rolling_update(r, &path.child("rollingUpdate"), &mut errors),
            },
            other => {
                let shown = validation::Verbatim(format!("{{\"Type\":{other:?},\"RollingUpdate\":null}}"));
                errors.push(Error::not_supported(&path, &shown, &["RollingUpdate", "OnDelete"]));
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
        let status = |name: &str| cells::int(object, &["status", name]);
        let [names, images] = cells::template_containers(object);
        Some(vec![
            cells::name(object),
            status("desiredNumberScheduled"),
            status("currentNumberScheduled"),
            status("numberReady"),
            status("updatedNumberScheduled"),
            status("numberAvailable"),
            cells::labels(fields::map_at(object, &["spec", "template", "spec", "nodeSelector"])),
            cells::age(object, now),
            names,
            images,
            cells::selector(object, &["spec", "selector"]),
        ])
    }
}
