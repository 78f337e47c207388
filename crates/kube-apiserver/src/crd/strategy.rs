//! The strategy of CustomResourceDefinitions. Objects are in the stored form (v1beta1) except while a v1 object is
//! defaulted.

use api::{Map, Value};
use apimachinery::field::ErrorList;
use apiserver::request::RequestContext;
use apiserver::strategy::Strategy;
use async_trait::async_trait;

use super::naming::{Condition, set};
use super::{FINALIZER, rules};

pub struct CustomResourceDefinition;

#[async_trait]
impl Strategy for CustomResourceDefinition {
    fn default(&self, _: &str, object: &mut Map) {
        let Some(spec) = object.get_mut("spec").and_then(Value::as_map_mut) else { return };
        if let Some(names) = spec.get_mut("names").and_then(Value::as_map_mut) {
            let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
            let missing =
                |names: &Map, key: &str| names.get(key).and_then(Value::as_str).is_none_or(str::is_empty);
            if !kind.is_empty() && missing(names, "singular") {
                names.insert("singular", kind.to_lowercase());
            }
            if !kind.is_empty() && missing(names, "listKind") {
                names.insert("listKind", format!("{kind}List"));
            }
        }
        default_conversion(spec);
    }

    fn prepare_for_create(&self, _: &RequestContext, object: &mut Map) {
        let stored = storage_version(object);
        object.insert("status", empty_status());
        object.map_mut("metadata").insert("generation", 1i64);
        add_stored_version(object, stored);
    }

    fn prepare_for_update(&self, _: &RequestContext, object: &mut Map, old: &Map) {
        object.insert("status", old.get("status").cloned().unwrap_or_else(empty_status));
        if object.get("spec") != old.get("spec") {
            let generation = old.get("metadata").and_then(|m| m.int_at(&["generation"])).unwrap_or(0);
            object.map_mut("metadata").insert("generation", generation + 1);
        }
        let stored = storage_version(object);
        add_stored_version(object, stored);
    }

    fn validate(&self, _: &RequestContext, object: &Value) -> ErrorList {
        rules::validate(object)
    }

    fn validate_update(&self, _: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        rules::validate_update(object, old)
    }

    fn validate_status_update(&self, _: &RequestContext, object: &Value, _: &Value) -> ErrorList {
        rules::stored_versions(object)
    }

    /// The first delete only marks: the objects go first.
    fn is_held(&self, object: &Value) -> bool {
        object.meta().deletion_timestamp().is_none() || object.meta().finalizers().next().is_some()
    }

    fn mark_deleted(&self, cx: &RequestContext, object: &mut Map) {
        let mut value = Value::Map(std::mem::take(object));
        // Upstream sets the time of deletion and nothing else.
        value.meta_mut().remove("deletionGracePeriodSeconds");
        let generation = value.meta().generation();
        value.meta_mut().insert("generation", (generation - 1).max(1));
        if !value.meta().has_finalizer(FINALIZER) {
            let mut list = value.list_at(&["metadata", "finalizers"]).to_vec();
            list.push(FINALIZER.into());
            value.meta_mut().insert("finalizers", list);
        }
        let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
        let condition = Condition {
            kind: "Terminating",
            status: true,
            reason: "InstanceDeletionPending",
            message: message.into(),
        };
        set(&mut value, &condition, cx.now);
        if let Value::Map(map) = value {
            *object = map;
        }
    }

    fn cells(&self, object: &Value, _: jiff::Timestamp) -> Option<Vec<Value>> {
        Some(crate::strategies::misc::definition_cells(object))
    }
}

fn default_conversion(spec: &mut Map) {
    if spec.get("conversion").is_none_or(Value::is_null) {
        spec.insert("conversion", api::value!({"strategy": "None"}));
    }
    let Some(conversion) = spec.get_mut("conversion") else { return };
    for path in [&["webhook", "clientConfig", "service"][..], &["webhookClientConfig", "service"]] {
        if let Some(service) = conversion.at_mut(path).and_then(Value::as_map_mut)
            && service.get("port").is_none_or(Value::is_null)
        {
            service.insert("port", 443i64);
        }
    }
}

fn empty_status() -> Value {
    api::value!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": null})
}

fn storage_version(object: &Map) -> Option<String> {
    let versions = object.get("spec")?.list_at(&["versions"]);
    let storage = versions.iter().find(|v| v.bool_at(&["storage"]) == Some(true))?;
    Some(storage.str_at(&["name"]).to_owned())
}

fn add_stored_version(object: &mut Map, version: Option<String>) {
    let (Some(version), Some(status)) = (version, object.get_mut("status")) else { return };
    let mut list = status.list_at(&["storedVersions"]).to_vec();
    if !list.iter().any(|v| v.as_str() == Some(version.as_str())) {
        list.push(version.into());
        status.set_at(&["storedVersions"], list);
    }
}
