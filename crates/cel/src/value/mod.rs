//! Values of the language. Nodes of an object tree are values by reference: a list or map of the tree is looked
//! into, never copied, and a leaf becomes a value when an expression reaches it.

mod convert;
pub(crate) mod equality;
mod list;
pub(crate) mod map;
pub(crate) mod read;
mod show;
mod text;
mod variables;

use std::sync::Arc;

use crate::error::EvalError;
use crate::library::Special;
use crate::schema::{Object, Schema};
use crate::types::Type;

pub use list::List;
pub use map::Map;
pub use text::Str;
pub use variables::{Budget, CostRange, Variables};

/// A value; `'a` is the life of the trees, schemas and programs that it looks into. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Str<'a>),
    Bytes(Arc<[u8]>),
    Timestamp(Timestamp),
    /// Nanoseconds.
    Duration(i64),
    Type(Type),
    List(List<'a>),
    Map(Map<'a>),
    Optional(Option<Arc<Value<'a>>>),
    /// Built by an object literal: `Object.spec{replicas: 3}`.
    Object(Arc<Instance<'a>>),
    /// A quantity, a URL, an authorizer...
    Special(Arc<Special>),
    /// Kept without a schema; only equality looks at it.
    Preserved(&'a api::Value),
}

/// A moment: seconds since 1970 and nanoseconds, from year 1 to 9999.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp {
    pub seconds: i64,
    pub nanos: u32,
    /// Minutes east of UTC in which it was written; it counts for its text alone.
    pub offset: i16,
}

impl Timestamp {
    fn key(self) -> (i64, u32) {
        (self.seconds, self.nanos)
    }
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// What an object literal made.
#[derive(Debug)]
pub struct Instance<'a> {
    pub object: Object,
    /// By name, in the order of the literal.
    pub fields: Vec<(Arc<str>, Value<'a>)>,
}

impl<'a> Value<'a> {
    /// A node of a tree, read by its schema. Fails where the node is not what the schema says.
    pub fn of(node: &'a api::Value, schema: &'a Schema) -> Result<Self, EvalError> {
        read::read(node, schema)
    }

    /// A node of a tree without a schema: times and quantities are strings.
    pub fn dynamic(node: &'a api::Value) -> Self {
        read::dynamic(node)
    }

    /// A text.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::String(Str::Owned(text.into()))
    }

    /// `optional.of(value)`, or `optional.none()`.
    pub fn optional(value: Option<Value<'a>>) -> Self {
        Self::Optional(value.map(Arc::new))
    }

    /// The variable `authorizer`.
    pub fn authorizer(authorizer: Arc<dyn crate::Authorizer>) -> Self {
        Self::Special(Arc::new(Special::authorizer(authorizer)))
    }

    /// The variable `authorizer.requestResource`: a check of one resource, ready to be asked.
    pub fn resource_check(
        authorizer: Arc<dyn crate::Authorizer>,
        target: crate::library::authorizer::ResourceTarget,
    ) -> Self {
        Self::Special(Arc::new(Special::resource_check(authorizer, target)))
    }

    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(b) = self { Some(*b) } else { None }
    }

    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(s) = self { Some(s) } else { None }
    }
}
