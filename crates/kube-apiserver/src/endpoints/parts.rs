//! Subresources that are the object itself, written by another strategy.

use api::{Map, Value};
use apimachinery::field::ErrorList;
use apiserver::request::RequestContext;
use apiserver::strategy::Strategy;
use async_trait::async_trait;

use crate::strategies::fields::Fields;
use crate::strategies::pod;

/// `pods/ephemeralcontainers`.
pub struct EphemeralContainers;

#[async_trait]
impl Strategy for EphemeralContainers {
    fn default(&self, _version: &str, object: &mut Map) {
        pod::defaults::pod(object);
    }

    fn prepare_for_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        pod::update::ephemeral_containers(object, old);
    }

    fn validate_update(&self, _cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        pod::update::validate_ephemeral_containers(object, old)
    }
}

/// `pods/resize`.
pub struct Resize;

#[async_trait]
impl Strategy for Resize {
    fn default(&self, _version: &str, object: &mut Map) {
        pod::defaults::pod(object);
    }

    fn prepare_for_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        pod::resize::resize(object, old);
    }

    fn validate_update(&self, _cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        pod::resize::validate(object, old)
    }
}

/// `certificatesigningrequests/approval`: the conditions Approved and Denied.
pub struct Approval;

#[async_trait]
impl Strategy for Approval {
    fn prepare_for_update(&self, cx: &RequestContext, object: &mut Map, old: &Map) {
        let wanted = object.sub("status").map(|s| s.list("conditions").to_vec()).unwrap_or_default();
        object.copy_from(old, "spec");
        object.copy_from(old, "status");
        // Any condition may be set here; decisions that were made stay.
        let decided = |c: &Value| matches!(c.str_at(&["type"]), "Approved" | "Denied" | "Failed");
        let before = old.sub("status").map(|s| s.list("conditions").to_vec()).unwrap_or_default();
        let mut all: Vec<Value> = wanted;
        let kept: Vec<Value> = before
            .into_iter()
            .filter(|c| decided(c) && !all.iter().any(|a| a.str_at(&["type"]) == c.str_at(&["type"])))
            .collect();
        all.extend(kept);
        for c in all.iter_mut().filter_map(Value::as_map_mut) {
            let now = crate::strategies::fields::time(cx.now);
            c.default("lastUpdateTime", now.clone());
            c.default("lastTransitionTime", now);
            c.default("status", "True");
        }
        if !all.is_empty() {
            object.map_mut("status").insert("conditions", all);
        }
    }

    fn validate_update(&self, _cx: &RequestContext, object: &Value, _old: &Value) -> ErrorList {
        use apimachinery::field::{Error, Path};
        let status = crate::strategies::fields::map_at(object, &["status"]);
        let has = |kind: &str| status.items("conditions").any(|c| c.text("type") == kind);
        if has("Approved") && has("Denied") {
            let why = "Approved and Denied conditions are mutually exclusive";
            return vec![Error::invalid(&Path::new("status").child("conditions"), "Approved", why)];
        }
        ErrorList::new()
    }
}
