//! What a structural schema must and must not say (KEP-1979's predecessor, the structural schema rules of
//! apiextensions/v1).

use api::Value;
use api::canonical::{Found, canonicalize};
use apimachinery::GroupVersionKind;
use apimachinery::field::{Error, ErrorList, ErrorType, Path};
use regex::Regex;

use super::check::{check, shown};
use super::expressions::VALIDATIONS;
use super::structural::{
    EMBEDDED, INT_OR_STRING, LIST_MAP_KEYS, LIST_TYPE, MAP_TYPE, PRESERVE, flag, opened, properties, type_of,
};

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Field,
    Item,
}

fn set<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    schema.get(key).filter(|v| match v {
        Value::Null => false,
        Value::Map(_) if key == "items" => true,
        Value::String(s) => !s.is_empty(),
        Value::List(l) => !l.is_empty(),
        Value::Map(m) => !m.is_empty(),
        _ => true,
    })
}

fn refused(path: &Path, value: &Value, detail: &str) -> Error {
    Error { kind: ErrorType::Invalid, field: path.clone(), value: Some(shown(value)), detail: detail.into() }
}

pub(super) fn validate(schema: &Value, path: &Path, out: &mut ErrorList) {
    walk(schema, path, Level::Root, out);
}

fn walk(schema: &Value, path: &Path, level: Level, out: &mut ErrorList) {
    types(schema, path, level, out);
    forbidden(schema, path, out);
    lists(schema, path, out);
    limits(schema, path, out);
    defaults(schema, path, level, out);
    for key in ["allOf", "anyOf", "oneOf"] {
        for (i, of) in schema.list_at(&[key]).iter().enumerate() {
            logic(of, &path.child(key).index(i), flag(schema, INT_OR_STRING), out);
        }
    }
    if let Some(not) = set(schema, "not") {
        logic(not, &path.child("not"), false, out);
    }
    for (name, of) in properties(schema) {
        let metadata = level == Level::Root && matches!(name, "metadata" | "apiVersion" | "kind");
        if metadata {
            root_metadata(name, of, &path.child("properties").key(name), out);
        } else {
            walk(of, &path.child("properties").key(name), Level::Field, out);
        }
    }
    if let Some(of @ Value::Map(_)) = set(schema, "additionalProperties") {
        walk(of, &path.child("additionalProperties"), Level::Field, out);
    }
    if let Some(of @ Value::Map(_)) = set(schema, "items") {
        walk(of, &path.child("items"), Level::Item, out);
    }
}

fn types(schema: &Value, path: &Path, level: Level, out: &mut ErrorList) {
    let kind = schema.str_at(&["type"]);
    let at = path.child("type");
    let excused = flag(schema, INT_OR_STRING) || flag(schema, PRESERVE);
    match (kind, level) {
        ("", Level::Root) => out.push(Error::required(&at, "must not be empty at the root")),
        ("", Level::Item) if !excused => {
            out.push(Error::required(&at, "must not be empty for specified array items"))
        }
        ("", Level::Field) if !excused => {
            out.push(Error::required(&at, "must not be empty for specified object fields"))
        }
        ("", _) | ("object", _) => {}
        (kind, Level::Root) => out.push(Error::invalid(&at, kind, "must be object at the root")),
        ("array" | "string" | "integer" | "number" | "boolean", _) => {}
        (kind, _) => {
            let known = ["array", "boolean", "integer", "number", "object", "string"];
            out.push(Error::not_supported(&at, kind, &known));
            if kind == "null" {
                out.push(Error::forbidden(&at, "type cannot be set to null, use nullable as an alternative"));
            }
        }
    }
    if flag(schema, EMBEDDED) && kind != "object" {
        let detail = if kind.is_empty() {
            "must be object if x-kubernetes-embedded-resource is true"
        } else {
            "must be object"
        };
        out.push(Error::invalid(&at, kind, detail));
    }
    if kind == "array" && set(schema, "items").is_none() {
        out.push(Error::required(&path.child("items"), "must be specified"));
    }
    if schema.get(PRESERVE).and_then(Value::as_bool) == Some(false) {
        out.push(refused(&path.child(PRESERVE), &false.into(), "must be true or undefined"));
    }
}

fn forbidden(schema: &Value, path: &Path, out: &mut ErrorList) {
    let banned = [
        ("$ref", "$ref is not supported"),
        ("id", "id is not supported"),
        ("definitions", "definitions is not supported"),
        ("dependencies", "dependencies is not supported"),
        ("patternProperties", "patternProperties is not supported"),
        ("additionalItems", "additionalItems is not supported"),
        ("$schema", "must be empty"),
    ];
    for (key, detail) in banned {
        if set(schema, key).is_some() {
            out.push(Error::forbidden(&path.child(key), detail));
        }
    }
    if flag(schema, "uniqueItems") {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        out.push(Error::forbidden(&path.child("uniqueItems"), detail));
    }
    if let Some(more) = set(schema, "additionalProperties")
        && more.as_bool() != Some(false)
        && set(schema, "properties").is_some()
    {
        let detail = "additionalProperties and properties are mutual exclusive";
        out.push(Error::forbidden(&path.child("additionalProperties"), detail));
    }
    if matches!(schema.get("items"), Some(Value::List(_))) {
        out.push(Error::forbidden(&path.child("items"), "items must be a schema object and not an array"));
    }
}

fn lists(schema: &Value, path: &Path, out: &mut ErrorList) {
    let kind = schema.str_at(&["type"]);
    if let Some(list) = set(schema, LIST_TYPE) {
        let at = path.child(LIST_TYPE);
        let text = list.as_str().unwrap_or_default();
        if !matches!(text, "atomic" | "set" | "map") {
            out.push(Error::not_supported(&at, text, &["atomic", "set", "map"]));
        }
        if kind != "array" {
            let detail = format!("must be array if {LIST_TYPE} is specified");
            out.push(Error::invalid(&path.child("type"), kind, detail));
        }
        if text == "map" {
            list_map(schema, path, out);
        }
        let item = schema.get("items").cloned().unwrap_or_default();
        if text == "set" && item.str_at(&["type"]) == "object" && item.str_at(&[MAP_TYPE]) != "atomic" {
            let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
            out.push(refused(
                &path.child("items").child(MAP_TYPE),
                &item.get(MAP_TYPE).cloned().unwrap_or_default(),
                detail,
            ));
        }
    } else if set(schema, LIST_MAP_KEYS).is_some() {
        let detail = format!("must be map if {LIST_MAP_KEYS} is non-empty");
        out.push(Error::required(&path.child(LIST_TYPE), detail));
    }
    if let Some(map) = set(schema, MAP_TYPE) {
        let text = map.as_str().unwrap_or_default();
        if !matches!(text, "atomic" | "granular") {
            out.push(Error::not_supported(&path.child(MAP_TYPE), text, &["atomic", "granular"]));
        }
        if kind != "object" {
            let detail = format!("must be object if {MAP_TYPE} is specified");
            out.push(Error::invalid(&path.child("type"), kind, detail));
        }
    }
}

fn list_map(schema: &Value, path: &Path, out: &mut ErrorList) {
    let keys = schema.list_at(&[LIST_MAP_KEYS]);
    let at = path.child(LIST_MAP_KEYS);
    if keys.is_empty() {
        out.push(Error::required(&at, format!("must not be empty if {LIST_TYPE} is map")));
    }
    let items = schema.get("items").cloned().unwrap_or_default();
    let required: Vec<&str> = items.list_at(&["required"]).iter().filter_map(Value::as_str).collect();
    let mut unknown = false;
    for key in keys {
        let name = key.as_str().unwrap_or_default();
        let property = path.child("items").child("properties").key(name);
        match items.at(&["properties", name]) {
            None => unknown = true,
            Some(of) if set(of, "default").is_none() && !required.contains(&name) => {
                let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                out.push(Error::required(&property.child("default"), detail));
            }
            Some(_) => {}
        }
    }
    if unknown {
        out.push(refused(&at, &Value::List(keys.to_vec()), "entries must all be names of item properties"));
    }
}

fn limits(schema: &Value, path: &Path, out: &mut ErrorList) {
    let pattern = schema.str_at(&["pattern"]);
    if let Err(error) = Regex::new(pattern) {
        let detail = format!("must be a valid regular expression, but isn't: {error}");
        out.push(Error::invalid(&path.child("pattern"), pattern, detail));
    }
}

/// Inside `allOf`, `anyOf`, `oneOf` and `not` nothing may be said that is no check of a value.
fn logic(schema: &Value, path: &Path, typed: bool, out: &mut ErrorList) {
    for key in [
        "type",
        "description",
        "title",
        "default",
        "additionalProperties",
        "nullable",
        PRESERVE,
        EMBEDDED,
        LIST_TYPE,
        MAP_TYPE,
        VALIDATIONS,
    ] {
        let excused = typed && key == "type" && matches!(schema.str_at(&["type"]), "integer" | "string");
        if set(schema, key).is_some_and(|v| v.as_bool() != Some(false)) && !excused {
            let detail = match key {
                "additionalProperties" | "default" => "must be undefined to be structural",
                "type" | "title" | "description" | VALIDATIONS => "must be empty to be structural",
                _ => "must be false to be structural",
            };
            out.push(Error::forbidden(&path.child(key), detail));
        }
    }
    for (name, of) in properties(schema) {
        logic(of, &path.child("properties").key(name), false, out);
    }
    if let Some(items) = set(schema, "items") {
        logic(items, &path.child("items"), false, out);
    }
}

fn root_metadata(name: &str, of: &Value, path: &Path, out: &mut ErrorList) {
    let wanted = if name == "metadata" { "object" } else { "string" };
    let kind = of.str_at(&["type"]);
    if kind != wanted {
        out.push(Error::invalid(&path.child("type"), kind, format!("must be {wanted}")));
    }
    if name == "metadata" && properties(of).any(|(n, _)| !matches!(n, "name" | "generateName")) {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        out.push(Error::forbidden(path, detail));
    }
}

/// A default must be what the schema itself would take.
fn defaults(schema: &Value, path: &Path, level: Level, out: &mut ErrorList) {
    let Some(default) = set(schema, "default").map(opened) else { return };
    let at = path.child("default");
    if level == Level::Root {
        out.push(Error::forbidden(&at, "must not be set at the root"));
        return;
    }
    if default.is_null() && flag(schema, "nullable") {
        return;
    }
    for mut error in check(schema, &default, "") {
        error.field = match error.field.as_str() {
            "" => at.clone(),
            below if below.starts_with('[') => Path::new(&format!("{at}{below}")),
            below => at.child(below),
        };
        out.push(error);
    }
    let (holder, mut wrapped) = (
        api::value!({"type": "object", "properties": {"x": (schema.clone())}}),
        api::value!({"x": (default)}),
    );
    let kind = GroupVersionKind { group: "".into(), version: "".into(), kind: "".into() };
    let mut found = Found::default();
    let of = type_of(kind, &holder, false);
    if canonicalize(&mut wrapped, &of, &mut found).is_ok() && !found.is_empty() {
        let original = set(schema, "default").map(opened).unwrap_or_default();
        out.push(refused(&at, &original, "must not have unknown fields"));
    }
}
