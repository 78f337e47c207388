//! Schemas of built-in kinds, out of the table: as OpenAPI would say them.

use std::collections::HashMap;
use std::sync::Arc;

use api::schema::{ListType, Node, Shape, Special, TypeRef};

use super::{Field, Kind, ListKind, Object, Schema, escape};

/// The fields that JSON shows, by escaped name.
pub(super) fn fields(of: &TypeRef) -> HashMap<Arc<str>, Field> {
    let shown = of.fields.iter().filter(|field| field.in_json);
    let named = shown.filter_map(|field| {
        let schema = schema(&field.node)?;
        Some((Arc::from(escape(&field.name)?), Field { property: field.name.as_str().into(), schema }))
    });
    named.collect()
}

impl Schema {
    /// What the table declares for a place; None for what has no type (any JSON).
    pub fn of_table(node: &Node) -> Option<Self> {
        schema(node)
    }
}

fn schema(node: &Node) -> Option<Schema> {
    let kind = match &node.shape {
        Shape::Bool => Kind::Bool,
        Shape::Int32 | Shape::Int64 => Kind::Int,
        Shape::Float64 | Shape::Number => Kind::Double,
        Shape::String => Kind::String,
        Shape::Bytes => Kind::Bytes,
        Shape::Struct(of) => Kind::Object(Object::of_table(of)),
        Shape::List(items) => Kind::List(Arc::new(schema(items)?), list_kind(node)),
        Shape::Map(values) => Kind::Map(Arc::new(schema(values)?)),
        Shape::Special(Special::Time | Special::MicroTime) => Kind::Timestamp,
        Shape::Special(Special::Duration | Special::Quantity) => Kind::String,
        Shape::Special(Special::IntOrString) => Kind::IntOrString,
        Shape::Special(_) | Shape::Any => return None,
    };
    Some(Schema { nullable: node.nullable, ..Schema::new(kind) })
}

fn list_kind(node: &Node) -> ListKind {
    match node.list_type() {
        ListType::Atomic => ListKind::Atomic,
        ListType::Set => ListKind::Set,
        ListType::Map => {
            let keys = node.list_map_keys().iter();
            ListKind::Map(keys.map(|key| escape(key).unwrap_or_else(|| key.to_string())).collect())
        }
    }
}
