//! The revisions of a DaemonSet's template, as ControllerRevisions.

use std::sync::Arc;

use client::{StringMap, resource};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::control::controller_ref;
use crate::deployment::model::{safe_encode, template_hash};
use crate::views::pod::RawSpec;
use crate::views::{ControllerRevision, DaemonSet, Pod};

use super::plan::HASH_LABEL;

/// The template as a revision holds it: a patch that puts it in place. Clients compare its bytes, so they are
/// those of Go: keys sorted, `<`, `>` and `&` escaped.
pub fn data(set: &DaemonSet) -> RawSpec {
    let mut template = json!(set.spec.template);
    template["$patch"] = "replace".into();
    let text = sorted(json!({"spec": {"template": template}})).to_string();
    let escaped = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    RawValue::from_string(escaped).map_or_else(|_| RawSpec::default(), RawSpec)
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// The revision whose data is the present template; the newest of several.
pub fn find_current<'a>(
    set: &DaemonSet,
    revisions: &'a [Arc<ControllerRevision>],
) -> Option<&'a Arc<ControllerRevision>> {
    let wanted = data(set);
    let same = |r: &&Arc<ControllerRevision>| {
        r.data.as_ref().is_some_and(|d| same_data(&RawSpec(d.clone()), &wanted))
    };
    revisions.iter().filter(same).max_by_key(|r| r.revision)
}

/// Equal, apart from what encodings leave out (`creationTimestamp: null`).
fn same_data(a: &RawSpec, b: &RawSpec) -> bool {
    let clean = |raw: &RawSpec| {
        let mut value: Value = serde_json::from_str(raw.text()).unwrap_or_default();
        if let Some(meta) = value.pointer_mut("/spec/template/metadata").and_then(Value::as_object_mut) {
            meta.retain(|_, v| !v.is_null());
        }
        value
    };
    a == b || clean(a) == clean(b)
}

/// A revision to be made.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewRevision {
    api_version: &'static str,
    kind: &'static str,
    metadata: Value,
    data: RawSpec,
    revision: i64,
}

/// The revision to make for the present template, and its name.
pub fn new_revision(set: &DaemonSet, revision: i64, collisions: Option<i32>) -> (String, NewRevision) {
    let hash = template_hash(&set.spec.template, collisions);
    let name = format!("{}-{hash}", set.metadata.name);
    let labels = set.spec.template.metadata.labels.with(HASH_LABEL, &hash);
    let last_applied = "kubectl.kubernetes.io/last-applied-configuration";
    let annotations: StringMap =
        set.metadata.annotations.iter().filter(|(k, _)| *k != last_applied).collect();
    let metadata = json!({
        "name": name, "namespace": set.metadata.namespace, "labels": labels, "annotations": annotations,
        "ownerReferences": [controller_ref(&resource::DAEMON_SETS, &set.metadata)],
    });
    let made = NewRevision {
        api_version: "apps/v1",
        kind: "ControllerRevision",
        metadata,
        data: data(set),
        revision,
    };
    (name, made)
}

/// The hash that the pods of a revision carry.
pub fn hash_of(revision: &ControllerRevision) -> String {
    revision
        .metadata
        .labels
        .get(HASH_LABEL)
        .map_or_else(|| safe_encode(&revision.metadata.name), str::to_owned)
}

/// The oldest revisions beyond the limit that no pod carries.
pub fn surplus<'a>(
    set: &DaemonSet,
    revisions: &'a [Arc<ControllerRevision>],
    current: &str,
    pods: &[Arc<Pod>],
) -> Vec<&'a Arc<ControllerRevision>> {
    let limit = usize::try_from(set.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
    let in_use = |r: &ControllerRevision| {
        let hash = hash_of(r);
        hash == current || pods.iter().any(|p| p.metadata.labels.get(HASH_LABEL) == Some(&hash))
    };
    let mut idle: Vec<_> = revisions.iter().filter(|r| !in_use(r)).collect();
    idle.sort_by_key(|r| r.revision);
    let surplus = idle.len().saturating_sub(limit);
    idle.into_iter().take(surplus).collect()
}
