//! Namespaces: the finalizer that the namespace controller removes by `namespaces/finalize`.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use apiserver::request::RequestContext;
use apiserver::strategy::Strategy;
use async_trait::async_trait;
use jiff::Timestamp;

use crate::strategies::fields::{Fields, map_at, of, one};
use crate::strategies::{cells, names};

pub struct Namespace;

#[async_trait]
impl Strategy for Namespace {
    /// Each namespace is labelled with its name.
    fn default(&self, _version: &str, object: &mut Map) {
        let metadata = object.map_mut("metadata");
        let name = metadata.text("name").to_owned();
        if !name.is_empty() {
            metadata.map_mut("labels").insert("kubernetes.io/metadata.name", name);
        }
        object.map_mut("status").default("phase", "Active");
    }

    fn prepare_for_create(&self, _cx: &RequestContext, object: &mut Map) {
        object.insert("status", one("phase", "Active"));
        let spec = object.map_mut("spec");
        let mut list = spec.list("finalizers").to_vec();
        if !list.iter().any(|f| f.as_str() == Some("kubernetes")) {
            list.push("kubernetes".into());
        }
        spec.insert("finalizers", list);
    }

    fn prepare_for_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        object.copy_from(old, "status");
        let finalizers = old.sub("spec").and_then(|s| s.get("finalizers")).cloned();
        match finalizers {
            Some(list) => {
                object.map_mut("spec").insert("finalizers", list);
            }
            None => {
                object.map_mut("spec").remove("finalizers");
            }
        }
    }

    fn prepare_for_status_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        object.copy_from(old, "spec");
    }

    fn validate_status_update(&self, _cx: &RequestContext, object: &Value, _old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let phase = object.str_at(&["status", "phase"]);
        let deleted = map_at(object, &["metadata"]).has("deletionTimestamp");
        let at = Path::new("status").child("phase");
        if deleted && phase != "Terminating" {
            errors.push(Error::invalid(
                &at,
                phase,
                "may only be 'Terminating' if `deletionTimestamp` is not empty",
            ));
        } else if !deleted && phase != "Active" {
            errors.push(Error::invalid(&at, phase, "may only be 'Active' if `deletionTimestamp` is empty"));
        }
        errors
    }

    fn is_held(&self, object: &Value) -> bool {
        let meta = map_at(object, &["metadata"]);
        !meta.list("finalizers").is_empty() || !map_at(object, &["spec"]).list("finalizers").is_empty()
    }

    fn mark_deleted(&self, _cx: &RequestContext, object: &mut Map) {
        object.map_mut("status").insert("phase", "Terminating");
        // Namespaces know no grace period: upstream sets the time alone.
        object.map_mut("metadata").remove("deletionGracePeriodSeconds");
    }

    fn name_errors(&self, name: &str, generated_prefix: bool) -> Option<Vec<String>> {
        Some(names::dns1123_label(&names::masked(name, generated_prefix)))
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Option<Vec<Value>> {
        Some(vec![cells::name(object), object.str_at(&["status", "phase"]).into(), cells::age(object, now)])
    }
}

/// Finalizers without a domain that everybody may use.
const STANDARD: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// `namespaces/finalize`: only the spec's finalizers.
pub struct Finalize;

#[async_trait]
impl Strategy for Finalize {
    fn prepare_for_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        object.copy_from(old, "status");
        let finalizers = object.sub("spec").and_then(|s| s.get("finalizers")).cloned();
        object.copy_from(old, "spec");
        match finalizers {
            Some(list) => {
                object.map_mut("spec").insert("finalizers", list);
            }
            None => {
                object.map_mut("spec").remove("finalizers");
            }
        }
    }

    fn validate_update(&self, _cx: &RequestContext, object: &Value, _old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        for (i, name) in
            of(object).sub("spec").map(|s| s.list("finalizers")).unwrap_or_default().iter().enumerate()
        {
            let name = name.as_str().unwrap_or_default();
            let at = Path::new("spec").child("finalizers").index(i);
            let why = names::qualified_name(name);
            if why.is_empty() && !name.contains('/') && !STANDARD.contains(&name) {
                let why = "name is neither a standard finalizer name nor is it fully qualified";
                errors.push(Error::invalid(&at, name, why));
            }
            errors.extend(why.into_iter().map(|why| Error::invalid(&at, name, why)));
        }
        errors
    }
}
