//! Pods.

pub mod cells;
pub mod defaults;
pub mod resize;
pub mod resources;
pub mod update;
pub mod validate;
mod validate_certificates;
mod validate_container;
mod validate_env_files;
mod validate_volume;

use api::{Map, Value};
use apimachinery::field::ErrorList;
use apiserver::request::RequestContext;
use apiserver::strategy::{Grace, Strategy};
use async_trait::async_trait;
use jiff::Timestamp;

use super::fields::{self, Fields, map_at};

pub struct Pod;

#[async_trait]
impl Strategy for Pod {
    fn default(&self, _version: &str, object: &mut Map) {
        defaults::pod(object);
    }

    fn prepare_for_create(&self, cx: &RequestContext, object: &mut Map) {
        fields::first_generation(object);
        update::positive_grace(object);
        let empty = Map::new();
        let spec = object.sub("spec").unwrap_or(&empty);
        let gated = !spec.list("schedulingGates").is_empty();
        let mut status =
            fields::map([("phase", "Pending".into()), ("qosClass", resources::qos_class(spec).into())]);
        if gated {
            status.insert("conditions", vec![Value::Map(gated_condition(cx.now))]);
        }
        object.insert("status", status);
    }

    fn prepare_for_update(&self, cx: &RequestContext, object: &mut Map, old: &Map) {
        if is_binding(cx) {
            return;
        }
        update::positive_grace(object);
        object.copy_from(old, "status");
        update::clear_gated_condition(object, old);
        let changed = !object.same(old, "spec");
        fields::next_generation(object, old, changed);
    }

    /// The caller writes the status; the server keeps the QoS class, and the spec except what the API server
    /// itself sets by an internal update.
    fn prepare_for_status_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        object.copy_from(old, "spec");
        let kept = old.sub("metadata").cloned().unwrap_or_default();
        let metadata = object.map_mut("metadata");
        metadata.remove("deletionTimestamp");
        metadata.copy_from(&kept, "deletionTimestamp");
        metadata.copy_from(&kept, "ownerReferences");
        let qos = old.sub("status").map(|s| s.text("qosClass").to_owned()).unwrap_or_default();
        let status = object.map_mut("status");
        if status.text("qosClass").is_empty() && !qos.is_empty() {
            status.insert("qosClass", qos);
        }
    }

    fn validate(&self, _cx: &RequestContext, object: &Value) -> ErrorList {
        let mut errors = validate::pod(object);
        if !map_at(object, &["spec"]).list("ephemeralContainers").is_empty() {
            let at = apimachinery::field::Path::new("spec").child("ephemeralContainers");
            errors.push(apimachinery::field::Error::forbidden(&at, "cannot be set on create"));
        }
        errors
    }

    fn validate_update(&self, cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        if is_binding(cx) {
            return ErrorList::new();
        }
        update::validate(object, old)
    }

    fn validate_status_update(&self, _cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        update::validate_status(object, old)
    }

    /// The pod's own grace unless the request names one; nothing to wait for where no kubelet runs it.
    fn grace(&self, object: &Value, requested: Option<i64>) -> Grace {
        let (spec, status) = (map_at(object, &["spec"]), map_at(object, &["status"]));
        let mut seconds = match requested {
            Some(n) => n,
            None => spec.int("terminationGracePeriodSeconds").unwrap_or(0),
        };
        let finished = matches!(status.text("phase"), "Failed" | "Succeeded");
        if spec.text("nodeName").is_empty() || finished {
            seconds = 0;
        }
        if seconds < 0 {
            seconds = 1;
        }
        Grace::Seconds(seconds)
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn row_conditions(&self, object: &Value) -> Option<Value> {
        let (reason, message) = match object.str_at(&["status", "phase"]) {
            "Succeeded" => ("Succeeded", "The pod has completed successfully."),
            "Failed" => ("Failed", "The pod failed."),
            _ => return None,
        };
        let one = api::value!({"type": "Completed", "status": "True", "reason": reason, "message": message});
        Some(Value::List(vec![one]))
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Option<Vec<Value>> {
        Some(cells::row(object, now))
    }

    fn field_value(&self, object: &Value, label: &str) -> String {
        match label {
            "status.podIP" => map_at(object, &["status"])
                .items("podIPs")
                .next()
                .map(|p| p.text("ip").to_owned())
                .unwrap_or_default(),
            "status.podIPs" => map_at(object, &["status"])
                .items("podIPs")
                .map(|p| p.text("ip"))
                .collect::<Vec<_>>()
                .join(","),
            "spec.hostNetwork" => object.bool_at(&["spec", "hostNetwork"]).unwrap_or(false).to_string(),
            _ => {
                let path: Vec<&str> = label.split('.').collect();
                object.str_at(&path).to_owned()
            }
        }
    }

    fn indexed_fields(&self) -> &'static [&'static str] {
        &["spec.nodeName"]
    }
}

/// The server's own write of where a pod runs: it has checked what it writes, and may write what users may not.
fn is_binding(cx: &RequestContext) -> bool {
    cx.info.group.is_empty() && (cx.info.resource == "bindings" || cx.info.subresource == "binding")
}

/// What a pod with scheduling gates says until they are gone.
fn gated_condition(now: Timestamp) -> Map {
    fields::map([
        ("lastProbeTime", Value::Null),
        ("lastTransitionTime", fields::time(now)),
        ("message", "Scheduling is blocked due to non-empty scheduling gates".into()),
        ("reason", "SchedulingGated".into()),
        ("status", "False".into()),
        ("type", "PodScheduled".into()),
    ])
}

pub struct PodTemplate;

#[async_trait]
impl Strategy for PodTemplate {
    fn default(&self, _version: &str, object: &mut Map) {
        if let Some(t) = object.sub_mut("template") {
            defaults::template(t);
        }
    }

    fn prepare_for_create(&self, _cx: &RequestContext, object: &mut Map) {
        fields::first_generation(object);
    }

    fn prepare_for_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        let changed = !object.same(old, "template");
        fields::next_generation(object, old, changed);
    }

    fn validate(&self, _cx: &RequestContext, object: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let path = apimachinery::field::Path::new("template");
        super::workloads::validate_template(map_at(object, &["template"]), &path, &[], &mut errors);
        errors
    }

    fn validate_update(&self, cx: &RequestContext, object: &Value, _old: &Value) -> ErrorList {
        self.validate(cx, object)
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Option<Vec<Value>> {
        let [names, images] = super::cells::containers(map_at(object, &["template", "spec"]));
        let labels = super::cells::labels(map_at(object, &["template", "metadata", "labels"]));
        Some(vec![super::cells::name(object), names, images, labels])
    }
}
