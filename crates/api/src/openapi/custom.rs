//! Definitions of custom kinds out of their structural schemas.
//!
//! v3 publishes a schema nearly as it was written. v2 cannot say everything, and its readers (kubectl) take what it says
//! too strictly, so there alternatives go, and so does the type of whatever may be null or keeps unknown fields.

use std::sync::OnceLock;

use serde_json::{Map, Value as Json, json};

use super::describe::Descriptions;
use super::operations::META;
use super::schemas::{Dialect, definition_name, gvk, put_text};
use super::{Entry, kinds_of};

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

fn is(schema: &Map<String, Json>, key: &str) -> bool {
    schema.get(key).and_then(Json::as_bool) == Some(true)
}

fn is_type(schema: &Map<String, Json>, of: &str) -> bool {
    schema.get("type").and_then(Json::as_str) == Some(of)
}

/// Applies to the schemas right below.
fn below(schema: &mut Map<String, Json>, each: &mut dyn FnMut(&mut Map<String, Json>)) {
    for key in ["items", "additionalProperties"] {
        if let Some(Json::Object(inner)) = schema.get_mut(key) {
            each(inner);
        }
    }
    if let Some(Json::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().filter_map(Json::as_object_mut).for_each(each);
    }
}

/// Whether a schema that is below this one may be null.
fn nullable(schema: Option<&Json>) -> bool {
    schema.and_then(Json::as_object).is_some_and(|s| is(s, "nullable"))
}

fn for_v2(schema: &mut Map<String, Json>) {
    schema.retain(|key, value| {
        !matches!(key.as_str(), "allOf" | "oneOf" | "anyOf" | "not" | "default") && *value != json!(false)
            || key == "additionalProperties"
    });
    let (may_be_null, preserves) = (schema.remove("nullable") == Some(true.into()), is(schema, PRESERVE));
    if may_be_null || preserves {
        schema.remove("items");
        schema.remove("properties");
    }
    let bare_list = is_type(schema, "array") && !schema.contains_key("items");
    if may_be_null || bare_list || preserves && is_type(schema, "object") {
        schema.remove("type");
    }
    if let Some(Json::Array(mut required)) = schema.remove("required") {
        let properties = schema.get("properties");
        required.retain(|name| !nullable(properties.and_then(|p| p.get(name.as_str()?))));
        if !required.is_empty() && !nullable(schema.get("additionalProperties")) {
            schema.insert("required".into(), required.into());
        }
    }
    below(schema, &mut for_v2);
}

fn for_v3(schema: &mut Map<String, Json>) {
    schema.retain(|key, value| {
        *value != json!(false) || matches!(key.as_str(), "additionalProperties" | "default")
    });
    if is(schema, INT_OR_STRING) && !says_both(schema) {
        let both = json!([{"type": "integer"}, {"type": "string"}]);
        match schema.contains_key("anyOf") {
            false => drop(schema.insert("anyOf".into(), both)),
            true => {
                let all = schema.entry("allOf").or_insert_with(|| json!([]));
                if let Json::Array(all) = all {
                    all.insert(0, json!({"anyOf": both}));
                }
            }
        }
    }
    below(schema, &mut for_v3);
}

/// Its author wrote the two alternatives of an int-or-string himself.
fn says_both(schema: &Map<String, Json>) -> bool {
    let both = |any: Option<&Json>| {
        let types = any.and_then(Json::as_array).into_iter().flatten().map(|v| v["type"].as_str());
        types.eq([Some("integer"), Some("string")])
    };
    both(schema.get("anyOf"))
        || schema.get("allOf").and_then(|all| all.get(0)).is_some_and(|first| both(first.get("anyOf")))
}

/// Sorted by name, as all maps of documents are.
fn sort(map: &mut Map<String, Json>) {
    let mut entries: Vec<_> = std::mem::take(map).into_iter().collect();
    entries.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
    map.extend(entries);
}

/// The kind's definition and its list's.
pub(super) fn write(dialect: Dialect, entry: &Entry<'_>, out: &mut dyn FnMut(&str, &Json)) {
    let Some(schema) = entry.custom else { return };
    let (group, version, kind) = kinds_of(entry.row);
    let name = definition_name(group, version, kind);
    let mut of = kind_of(dialect, schema);
    of.insert("x-kubernetes-group-version-kind".into(), json!([gvk(group, version, kind)]));
    let list = entry.row.list_kind();
    let mut many = list_of(dialect, &name, &list, kind);
    many.insert("x-kubernetes-group-version-kind".into(), json!([gvk(group, version, &list)]));
    if let Some(fields) = selectable(entry) {
        of.insert("x-kubernetes-selectable-fields".into(), fields.clone());
        many.insert("x-kubernetes-selectable-fields".into(), fields);
    }
    out(&name, &of.into());
    out(&definition_name(group, version, &list), &many.into());
}

fn kind_of(dialect: Dialect, schema: &crate::Value) -> Map<String, Json> {
    let plain = || Map::from_iter([("type".to_owned(), Json::from("object"))]);
    let Json::Object(mut of) = Json::from(schema) else { return plain() };
    if of.is_empty() || dialect == Dialect::V2 && is(&of, PRESERVE) {
        return plain();
    }
    match dialect {
        Dialect::V2 => for_v2(&mut of),
        Dialect::V3 => for_v3(&mut of),
    }
    embedded(dialect, &mut of);
    type_meta(dialect, &mut of, "ObjectMeta");
    of
}

fn list_of(dialect: Dialect, item: &str, list: &str, kind: &str) -> Map<String, Json> {
    let mut out = Map::new();
    out.insert("description".into(), format!("{list} is a list of {kind}").into());
    out.insert("type".into(), "object".into());
    out.insert("required".into(), json!(["items"]));
    let items = json!({"type": "array", "items": dialect.reference(item)});
    out.insert("properties".into(), json!({ "items": items }));
    type_meta(dialect, &mut out, "ListMeta");
    out
}

/// What is said of the fields that every kind has: apiVersion, kind, metadata, metadata of lists.
fn texts() -> &'static [Option<String>; 4] {
    static TEXTS: OnceLock<[Option<String>; 4]> = OnceLock::new();
    TEXTS.get_or_init(|| {
        let all = Descriptions::load();
        let status = format!("{META}.Status");
        let apps = "io.k8s.api.apps.v1.Deployment";
        [
            all.of_field(&status, "apiVersion"),
            all.of_field(&status, "kind"),
            all.of_field(apps, "metadata"),
            all.of_field(&format!("{apps}List"), "metadata"),
        ]
        .map(|text| text.map(str::to_owned))
    })
}

/// apiVersion, kind and metadata.
fn type_meta(dialect: Dialect, out: &mut Map<String, Json>, meta: &str) {
    let properties = out.entry("properties").or_insert_with(|| json!({}));
    let Json::Object(properties) = properties else { return };
    let [api_version, kind, object, list] = texts();
    for (field, text) in [("apiVersion", api_version), ("kind", kind)] {
        let mut of = Map::new();
        put_text(&mut of, text.as_deref());
        of.insert("type".into(), "string".into());
        properties.insert(field.into(), of.into());
    }
    let mut of = Map::new();
    put_text(&mut of, if meta == "ListMeta" { list } else { object }.as_deref());
    match (dialect, dialect.reference(&format!("{META}.{meta}"))) {
        (Dialect::V2, Json::Object(to)) => of.extend(to),
        (_, to) => drop(of.insert("allOf".into(), json!([to]))),
    }
    properties.insert("metadata".into(), of.into());
    sort(properties);
}

/// Objects in objects have what every object has.
fn embedded(dialect: Dialect, schema: &mut Map<String, Json>) {
    below(schema, &mut |inner| embedded(dialect, inner));
    if !is(schema, EMBEDDED) || dialect == Dialect::V2 && is(schema, PRESERVE) {
        return;
    }
    type_meta(dialect, schema, "ObjectMeta");
    let required = schema.entry("required").or_insert_with(|| json!([]));
    for field in ["kind", "apiVersion"] {
        if let Json::Array(list) = required
            && !list.contains(&field.into())
        {
            list.push(field.into());
        }
    }
}

/// Fields that a selector may name, beyond those of every object.
fn selectable(entry: &Entry<'_>) -> Option<Json> {
    let own = entry.row.field_labels.iter().filter(|l| !l.starts_with("metadata."));
    let fields: Vec<Json> = own.map(|l| json!({"fieldPath": &**l})).collect();
    (!fields.is_empty()).then(|| fields.into())
}
