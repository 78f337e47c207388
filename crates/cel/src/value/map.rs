//! Maps: of the tree, by reference, or made by an expression.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::{Str, Value, read};
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
    Owned(Arc<Entries<'a>>),
}

/// From here on a made map has an index.
const SHORT: usize = 8;

/// A map that an expression made: entries in their order, found by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entries<'a> {
    list: Vec<(Value<'a>, Value<'a>)>,
    index: HashMap<Key, usize>,
}

/// A key such that keys which CEL holds for equal are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Bool(bool),
    Number(i128),
    Text(Box<str>),
}

impl Key {
    fn of(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Bool(b) => Some(Self::Bool(*b)),
            Value::Int(n) => Some(Self::Number((*n).into())),
            Value::Uint(n) => Some(Self::Number((*n).into())),
            Value::Double(n) if n.fract() == 0.0 && n.abs() < 2e19 => Some(Self::Number(*n as i128)),
            Value::String(s) => Some(Self::Text((**s).into())),
            _ => None,
        }
    }
}

impl<'a> Entries<'a> {
    fn position(&self, key: &Value<'_>) -> Option<usize> {
        match Key::of(key).filter(|_| self.list.len() > SHORT) {
            Some(key) => self.index.get(&key).copied(),
            None => self.list.iter().position(|(known, _)| known.equals(key)),
        }
    }

    /// Sets an entry; false where the key was there, whose value is replaced.
    pub fn insert(&mut self, key: Value<'a>, value: Value<'a>) -> bool {
        if let Some(at) = self.position(&key) {
            self.list[at].1 = value;
            return false;
        }
        self.list.push((key, value));
        if self.list.len() == SHORT + 1 {
            self.index =
                self.list.iter().enumerate().filter_map(|(at, (k, _))| Some((Key::of(k)?, at))).collect();
        } else if self.list.len() > SHORT {
            let at = self.list.len() - 1;
            self.index.extend(Key::of(&self.list[at].0).map(|key| (key, at)));
        }
        true
    }

    pub fn contains(&self, key: &Value<'_>) -> bool {
        self.position(key).is_some()
    }
}

impl fmt::Debug for Map<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Tree(map) | Repr::Typed(map, _) => map.fmt(f),
            Repr::Owned(entries) => f.debug_map().entries(entries.list.iter().map(|(k, v)| (k, v))).finish(),
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
            Repr::Owned(_) => self.find(&Value::String(Str::Borrowed(key))),
        }
    }

    /// The entry of any key.
    pub fn find(&self, key: &Value<'_>) -> Option<Result<Value<'a>, EvalError>> {
        match (&self.0, key) {
            (Repr::Owned(entries), key) => {
                let at = entries.position(key)?;
                Some(Ok(entries.list[at].1.clone()))
            }
            (_, Value::String(key)) => self.get(key),
            (Repr::Typed(..), _) => Some(Err(EvalError::no_such_overload())),
            _ => None,
        }
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Tree(map) | Repr::Typed(map, _) => map.len(),
            Repr::Owned(entries) => entries.list.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key of the entry at a position.
    pub fn key_at(&self, at: usize) -> Option<Value<'a>> {
        match &self.0 {
            Repr::Tree(map) | Repr::Typed(map, _) => {
                map.entry_at(at).map(|(key, _)| Value::String(Str::Borrowed(key.as_str())))
            }
            Repr::Owned(entries) => entries.list.get(at).map(|(key, _)| key.clone()),
        }
    }

    pub fn keys(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|at| self.key_at(at))
    }

    /// The value of the entry at a position.
    pub(crate) fn value_at(&self, at: usize) -> Option<Result<Value<'a>, EvalError>> {
        match &self.0 {
            Repr::Tree(map) => map.entry_at(at).map(|(_, node)| Ok(read::dynamic(node))),
            Repr::Typed(map, schema) => map.entry_at(at).map(|(key, node)| member(schema, key, node)),
            Repr::Owned(entries) => entries.list.get(at).map(|(_, value)| Ok(value.clone())),
        }
    }

    /// The node behind it, where it is one of a tree.
    pub(crate) fn node(&self) -> Option<&'a api::Map> {
        match &self.0 {
            Repr::Tree(map) | Repr::Typed(map, _) => Some(map),
            Repr::Owned(_) => None,
        }
    }

    /// Of a tree, read by a schema.
    pub(crate) fn is_typed(&self) -> bool {
        matches!(self.0, Repr::Typed(..))
    }

    /// The struct that it is read as.
    pub(crate) fn object(&self) -> Option<&'a Object> {
        match &self.0 {
            Repr::Typed(_, Schema { kind: Kind::Object(object), .. }) => Some(object),
            _ => None,
        }
    }
}

impl<'a> From<Entries<'a>> for Map<'a> {
    fn from(entries: Entries<'a>) -> Self {
        Self(Repr::Owned(Arc::new(entries)))
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
    if object.has_any_field() {
        return map.get(name).map(|node| Ok(read::dynamic(node)));
    }
    let field = object.field(name)?;
    let node = map.get(&field.property).filter(|node| !node.is_null())?;
    Some(read::read(node, &field.schema))
}

/// The value of an entry by its property name.
fn member<'a>(schema: &'a Schema, property: &str, node: &'a api::Value) -> Result<Value<'a>, EvalError> {
    match &schema.kind {
        Kind::Object(object) => match object.property(property) {
            Some(field) => read::read(node, &field.schema),
            None => Ok(Value::Preserved(node)),
        },
        Kind::Map(values) => read::read(node, values),
        _ => Ok(read::dynamic(node)),
    }
}
