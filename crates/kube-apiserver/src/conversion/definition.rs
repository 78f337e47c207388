//! CustomResourceDefinition: v1, and v1beta1 in which it is stored, where what all versions share stands once.

use api::{Map, Value};
use apimachinery::GroupVersion;

/// (in a version of v1, at the top of v1beta1).
const SHARED: [(&str, &str); 4] = [
    ("schema", "validation"),
    ("subresources", "subresources"),
    ("additionalPrinterColumns", "additionalPrinterColumns"),
    ("selectableFields", "selectableFields"),
];

pub(super) fn convert(object: &mut Value, from: &GroupVersion, to: &GroupVersion) -> bool {
    match (&*from.version, &*to.version) {
        ("v1", "v1beta1") => to_stored(object),
        ("v1beta1", "v1") => from_stored(object),
        _ => return false,
    }
    true
}

fn versions(spec: &mut Map) -> impl Iterator<Item = &mut Map> {
    spec.get_mut("versions").and_then(Value::as_list_mut).into_iter().flatten().filter_map(Value::as_map_mut)
}

/// v1 to v1beta1; what is equal in all versions moves up.
pub fn to_stored(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_map_mut) else { return };
    let first = spec.get("versions").and_then(Value::as_list).and_then(<[Value]>::first).cloned();
    if let Some(first) = first {
        spec.insert("version", first.str_at(&["name"]));
        for (name, top) in SHARED {
            hoist(spec, name, top, first.get(name));
        }
    }
    if !spec.contains_key("preserveUnknownFields") {
        spec.insert("preserveUnknownFields", false);
    }
    rename_columns(spec, "jsonPath", "JSONPath");
    if let Some(conversion) = spec.get_mut("conversion").and_then(Value::as_map_mut)
        && let Some(Value::Map(webhook)) = conversion.remove("webhook")
    {
        for (key, value) in webhook {
            let key = if key == "clientConfig" { "webhookClientConfig".into() } else { key };
            conversion.insert(key, value);
        }
    }
}

fn hoist(spec: &mut Map, name: &str, top: &str, first: Option<&Value>) {
    if !versions(spec).all(|v| v.get(name) == first) {
        return;
    }
    versions(spec).for_each(|v| drop(v.remove(name)));
    if let Some(first) = first {
        spec.insert(top, first.clone());
    }
}

fn rename_columns(spec: &mut Map, from: &str, to: &str) {
    let rename = |of: &mut Map| {
        let columns = of.get_mut("additionalPrinterColumns").and_then(Value::as_list_mut);
        for column in columns.into_iter().flatten().filter_map(Value::as_map_mut) {
            if let Some(path) = column.remove(from) {
                column.insert(to, path);
            }
        }
    };
    rename(spec);
    versions(spec).for_each(rename);
}

/// v1beta1 to v1; what stands at the top goes into every version.
pub fn from_stored(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_map_mut) else { return };
    let only = spec.remove("version");
    if spec.get("versions").and_then(Value::as_list).is_none_or(<[Value]>::is_empty)
        && let Some(name) = only
    {
        spec.insert("versions", vec![api::value!({"name": name, "served": true, "storage": true})]);
    }
    rename_columns(spec, "JSONPath", "jsonPath");
    for (name, top) in SHARED {
        if let Some(shared) = spec.remove(top) {
            versions(spec).for_each(|v| drop(v.insert(name, shared.clone())));
        }
    }
    if spec.get("preserveUnknownFields").and_then(Value::as_bool) == Some(false) {
        spec.remove("preserveUnknownFields");
    }
    if let Some(conversion) = spec.get_mut("conversion").and_then(Value::as_map_mut) {
        let config = conversion.remove("webhookClientConfig");
        let review = conversion.remove("conversionReviewVersions");
        if config.is_some() || review.is_some() {
            let mut webhook = Map::new();
            config.map(|c| webhook.insert("clientConfig", c));
            webhook.insert("conversionReviewVersions", review.unwrap_or_default());
            conversion.insert("webhook", webhook);
        }
    }
}
