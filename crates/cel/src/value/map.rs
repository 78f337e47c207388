//! Maps: of the tree, by reference, or made by an expression.

use std::fmt;
use std::sync::Arc;

use super::{Value, read};
use crate::error::EvalError;
use crate::schema::{Kind, Object, Schema};

/// A map, or a struct read from a tree.
#[derive(Clone)]
pub struct Map<'a>(Repr<'a>);

#[derive(Clone)]
enum Repr<'a> {
    Tree(&'a api::Map),
    /// The schema is that of the map or struct.
    Typed(&'a api::Map, &'a Schema),
    Owned(Arc<[(Value<'a>, Value<'a>)]>),
}

impl fmt::Debug for Map<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Tree(map) | Repr::Typed(map, _) => map.fmt(f),
            Repr::Owned(entries) => f.debug_map().entries(entries.iter().map(|(k, v)| (k, v))).finish(),
        }
    }
}

impl<'a> Map<'a> {
    pub(crate) fn tree(map: &'a api::Map) -> Self {
        Self(Repr::Tree(map))
    }

    pub(crate) fn typed(map: &'a api::Map, schema: &'a Schema) -> Self {
        Self(Repr::Typed(map, schema))
    }

    /// The entry of a text key; None where there is none. A struct's null field is none.
    pub fn get(&self, key: &str) -> Option<Result<Value<'a>, EvalError>> {
        match &self.0 {
            Repr::Tree(map) => map.get(key).map(|node| Ok(read::dynamic(node))),
            Repr::Typed(map, schema) => get_typed(map, schema, key),
            Repr::Owned(entries) => {
                let found = entries.iter().find(|(k, _)| k.as_str() == Some(key));
                found.map(|(_, value)| Ok(value.clone()))
            }
        }
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Tree(map) | Repr::Typed(map, _) => map.len(),
            Repr::Owned(entries) => entries.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn get_typed<'a>(map: &'a api::Map, schema: &'a Schema, key: &str) -> Option<Result<Value<'a>, EvalError>> {
    match &schema.kind {
        Kind::Object(object) => field(map, object, key),
        Kind::Map(values) => map.get(key).map(|node| read::read(node, values)),
        _ => map.get(key).map(|node| Ok(read::dynamic(node))),
    }
}

fn field<'a>(map: &'a api::Map, object: &'a Object, name: &str) -> Option<Result<Value<'a>, EvalError>> {
    let field = object.field(name)?;
    let node = map.get(&field.property).filter(|node| !node.is_null())?;
    Some(read::read(node, &field.schema))
}
