//! A structural schema as a row of the table: what pruning, defaulting, merging and encoding need of it. Value
//! validation reads the schema itself (see `check`).

use std::sync::Arc;

use api::schema::{FieldMaker, ListType, Merge, Node, Shape, Special, Type, TypeMaker, TypeRef};
use api::{Map, Value};
use apimachinery::GroupVersionKind;

pub(super) const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
pub(super) const EMBEDDED: &str = "x-kubernetes-embedded-resource";
pub(super) const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
pub(super) const LIST_TYPE: &str = "x-kubernetes-list-type";
pub(super) const LIST_MAP_KEYS: &str = "x-kubernetes-list-map-keys";
pub(super) const MAP_TYPE: &str = "x-kubernetes-map-type";

/// The type of a custom kind. `schema` is a version's `openAPIV3Schema`; `preserve` is the whole definition's
/// `preserveUnknownFields`.
pub fn type_of(kind: GroupVersionKind, schema: &Value, preserve: bool) -> TypeRef {
    let name = api::openapi::definition_name(&kind.group, &kind.version, &kind.kind);
    let mut maker = TypeMaker::custom(name).kind(kind).embedded_resource(true);
    maker = maker.preserve_unknown(preserve || flag(schema, PRESERVE));
    for (name, of) in
        properties(schema).filter(|(name, _)| !matches!(*name, "apiVersion" | "kind" | "metadata"))
    {
        maker = maker.field(FieldMaker::new(name, node(of)));
    }
    maker.build().into()
}

pub(super) fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool) == Some(true)
}

pub(super) fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    schema
        .get("properties")
        .and_then(Value::as_map)
        .into_iter()
        .flat_map(Map::iter)
        .map(|(k, v)| (k.as_str(), v))
}

/// The schema of other keys: None, any (`true`) or one of its own.
pub(super) enum Additional<'a> {
    None,
    Any,
    Of(&'a Value),
}

pub(super) fn additional(schema: &Value) -> Additional<'_> {
    match schema.get("additionalProperties") {
        Some(Value::Bool(true)) => Additional::Any,
        Some(of @ Value::Map(map)) if !map.is_empty() => Additional::Of(of),
        Some(Value::Map(_)) => Additional::Any,
        _ => Additional::None,
    }
}

/// Raw JSON of a schema (`default`, `enum`) as a tree.
pub(super) fn opened(value: &Value) -> Value {
    match value {
        Value::Raw(text) => serde_json::from_str::<serde_json::Value>(text).map_or(Value::Null, Value::from),
        other => other.clone(),
    }
}

fn node(schema: &Value) -> Node {
    let mut node = Node::of(shape(schema));
    // Zero values of custom resources are values.
    node.pointer = true;
    node.nullable = flag(schema, "nullable");
    node.default = schema.get("default").filter(|d| !d.is_null()).map(|d| Arc::new(opened(d)));
    let merge = merge(schema);
    node.merge = merge.map(Box::new);
    node
}

fn shape(schema: &Value) -> Shape {
    if flag(schema, INT_OR_STRING) {
        return Shape::Special(Special::IntOrString);
    }
    match schema.str_at(&["type"]) {
        "object" => object(schema),
        "array" => match schema.get("items") {
            Some(items @ Value::Map(_)) => Shape::List(Box::new(node(items))),
            _ => Shape::List(Box::new(Node::of(Shape::Any))),
        },
        "string" => Shape::String,
        "integer" => Shape::Int64,
        "number" => Shape::Number,
        "boolean" => Shape::Bool,
        _ if flag(schema, EMBEDDED) || properties(schema).next().is_some() => object(schema),
        _ => Shape::Any,
    }
}

fn object(schema: &Value) -> Shape {
    let (preserve, embedded) = (flag(schema, PRESERVE), flag(schema, EMBEDDED));
    let plain = properties(schema).next().is_none() && !embedded;
    match additional(schema) {
        Additional::Of(of) => return Shape::Map(Box::new(node(of))),
        Additional::Any => return Shape::Map(Box::new(Node::of(Shape::Any))),
        Additional::None if plain && preserve => return Shape::Any,
        Additional::None => {}
    }
    let mut maker = TypeMaker::custom("").preserve_unknown(preserve).embedded_resource(embedded);
    for (name, of) in properties(schema) {
        maker = maker.field(FieldMaker::new(name, node(of)));
    }
    let of: Type = maker.build();
    Shape::Struct(of.into())
}

fn merge(schema: &Value) -> Option<Merge> {
    let list_type = match schema.str_at(&[LIST_TYPE]) {
        "atomic" => Some(ListType::Atomic),
        "set" => Some(ListType::Set),
        "map" => Some(ListType::Map),
        _ => None,
    };
    let map_atomic = match schema.str_at(&[MAP_TYPE]) {
        "atomic" => Some(true),
        "granular" => Some(false),
        _ => None,
    };
    let keys = schema.list_at(&[LIST_MAP_KEYS]).iter().filter_map(Value::as_str).map(Arc::from).collect();
    (list_type.is_some() || map_atomic.is_some()).then(|| Merge {
        list_type,
        list_map_keys: keys,
        map_atomic,
        ..Merge::default()
    })
}
