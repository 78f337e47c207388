//! The pods of a StatefulSet with their names, and the claims that come with them.

use serde_json::{Value, json};

use super::plan::{POD_INDEX, POD_NAME, REVISION};
use crate::control::controller_ref;
use crate::views::PodTemplate;
use crate::views::stateful::{ClaimTemplate, StatefulSet};

/// Whose end takes a claim with it (KEP-1847).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Set,
    Pod,
}

/// By the retention policy; `condemned`: the claim's pod is to be scaled away. None: nobody's.
pub fn owner(set: &StatefulSet, condemned: bool) -> Option<Owner> {
    let policy = set.spec.persistent_volume_claim_retention_policy.as_ref()?;
    let (deleted, scaled) = (policy.when_deleted == "Delete", policy.when_scaled == "Delete");
    if scaled && condemned { Some(Owner::Pod) } else { deleted.then_some(Owner::Set) }
}

/// The name of a pod.
pub fn pod_name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", set.metadata.name)
}

fn claim_name(set: &StatefulSet, template: &ClaimTemplate, ordinal: i32) -> String {
    format!("{}-{}", template.metadata.name, pod_name(set, ordinal))
}

/// The names of a pod's claims.
pub fn names(set: &StatefulSet, ordinal: i32) -> impl Iterator<Item = String> {
    set.spec.volume_claim_templates.iter().map(move |t| claim_name(set, t, ordinal))
}

/// A pod's claims, as they are created.
pub fn claims(set: &StatefulSet, ordinal: i32) -> impl Iterator<Item = Value> {
    set.spec.volume_claim_templates.iter().map(move |template| {
        let selected = set.spec.selector.match_labels.iter();
        let labels = selected.fold(template.metadata.labels.clone(), |labels, (k, v)| labels.with(k, v));
        let annotations = &template.metadata.annotations;
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": claim_name(set, template, ordinal), "namespace": set.metadata.namespace, "labels": labels,
                "annotations": annotations,
            },
            "spec": template.spec,
        })
    })
}

/// A pod, as it is created from a template of a revision.
pub fn pod(set: &StatefulSet, template: &PodTemplate, ordinal: i32, revision: &str) -> Value {
    let name = pod_name(set, ordinal);
    let labels = template.metadata.labels.with(REVISION, revision);
    let labels = labels.with(POD_NAME, &name).with(POD_INDEX, &ordinal.to_string());
    let mut spec: Value = serde_json::from_str(template.spec.text()).unwrap_or_default();
    spec["hostname"] = name.as_str().into();
    if !set.spec.service_name.is_empty() {
        spec["subdomain"] = set.spec.service_name.as_str().into();
    }
    let templates = &set.spec.volume_claim_templates;
    if !templates.is_empty() {
        let claimed = |v: &Value| templates.iter().any(|t| v["name"] == *t.metadata.name);
        let own = templates.iter().map(|t| {
            json!({"name": t.metadata.name, "persistentVolumeClaim": {"claimName": claim_name(set, t, ordinal)}})
        });
        let others = spec["volumes"].as_array().into_iter().flatten().filter(|v| !claimed(v)).cloned();
        spec["volumes"] = own.chain(others).collect();
    }
    let mut meta = json!({
        "name": name, "namespace": set.metadata.namespace, "labels": labels,
        "ownerReferences": [controller_ref(&client::resource::STATEFUL_SETS, &set.metadata)],
    });
    if !template.metadata.annotations.is_empty() {
        meta["annotations"] = json!(template.metadata.annotations);
    }
    if !template.metadata.finalizers.is_empty() {
        meta["finalizers"] = json!(template.metadata.finalizers);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
}
