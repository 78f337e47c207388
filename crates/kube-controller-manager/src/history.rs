//! What ControllerRevisions hold, for every controller that keeps its templates in them.

use client::ObjectMeta;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::views::pod::RawSpec;
use crate::views::{ControllerRevision, PodTemplate};

/// The template as a revision holds it: a patch that puts it in place. Clients compare its bytes, so they are
/// those of Go: keys sorted, `<`, `>` and `&` escaped.
pub fn data(template: &PodTemplate) -> RawSpec {
    let mut template = json!(template);
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

/// Whether a revision holds this data.
pub fn holds(revision: &ControllerRevision, data: &RawSpec) -> bool {
    revision.data.as_ref().is_some_and(|d| same_data(&RawSpec(d.clone()), data))
}

/// The template that a revision holds.
pub fn template(revision: &ControllerRevision) -> Option<PodTemplate> {
    let mut tree: Value = serde_json::from_str(revision.data.as_ref()?.get()).ok()?;
    let template = tree.pointer_mut("/spec/template")?;
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template.take()).ok()
}

/// The annotations of a set that its revisions get.
pub fn annotations(meta: &ObjectMeta) -> client::StringMap {
    meta.annotations.without("kubectl.kubernetes.io/last-applied-configuration")
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

impl NewRevision {
    /// With this metadata.
    pub fn new(metadata: Value, template: &PodTemplate, revision: i64) -> Self {
        Self { api_version: "apps/v1", kind: "ControllerRevision", metadata, data: data(template), revision }
    }
}
