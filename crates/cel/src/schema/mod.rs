//! Declared types of places in an object tree: what the checker types a field by, what the evaluator reads a node
//! by (a string is text, bytes, a time or a duration; a list is a set), and the bounds that cost estimates use.
//!
//! Made from a structural schema or an OpenAPI schema ([`Schema::of_open_api`]), from the table of built-in kinds
//! ([`Object::of_table`]), or by hand ([`Object::new`]). Deliberately absent: validation.

mod escape;
mod open_api;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use api::schema::TypeRef;

use crate::types::Type;

pub use escape::{escape, unescape};

/// Bytes of the largest request, from which upstream derives every bound that a schema leaves out.
pub(crate) const MAX_REQUEST: u64 = 3 * 1024 * 1024;

/// What is declared for one place.
#[derive(Clone, Debug)]
pub struct Schema {
    pub kind: Kind,
    /// Most elements of a list or map, most bytes of a text; None where nothing bounds it.
    pub max: Option<u64>,
    /// Least bytes of it as JSON.
    pub least: u64,
    pub nullable: bool,
    /// The schema has a default, so that a required field of it may still be left out.
    pub(crate) has_default: bool,
}

/// The kind of value at a place.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Typed at evaluation by what is there.
    Any,
    /// `x-kubernetes-int-or-string`.
    IntOrString,
    Bool,
    Int,
    Double,
    String,
    /// Base64.
    Bytes,
    /// RFC 3339.
    Timestamp,
    /// `2006-01-02`.
    Date,
    Duration,
    List(Arc<Schema>, ListKind),
    /// Keys are strings.
    Map(Arc<Schema>),
    Object(Object),
    /// Kept without a schema (`x-kubernetes-preserve-unknown-fields`): no expression reaches it, equality counts it.
    Preserved,
    /// Of a type that no tree node has: a variable's.
    Of(Type),
}

/// How lists compare and add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    Atomic,
    /// Order does not count; `+` is the union.
    Set,
    /// Items with the same keys (escaped names) are the same item; order does not count; `+` merges.
    Map(Arc<[String]>),
}

/// A field of an [`Object`].
#[derive(Clone, Debug)]
pub struct Field {
    /// As the tree has it; expressions use the escaped name.
    pub property: Arc<str>,
    pub schema: Schema,
}

/// A type with named fields. Cheap to clone; two are equal when their names are.
#[derive(Clone)]
pub struct Object(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    from: From,
    fields: OnceLock<HashMap<Arc<str>, Field>>,
}

enum From {
    Fields,
    /// Built-in kinds refer to themselves, so their fields are read when first looked at.
    Table(TypeRef),
    /// Any field, untyped: `Object.spec` of mutating policies.
    AnyField,
}

impl Object {
    /// With fields by escaped name.
    pub fn new<'n>(name: &str, fields: impl IntoIterator<Item = (&'n str, Schema)>) -> Self {
        let fields = fields.into_iter().map(|(name, schema)| {
            let property = unescape(name).map_or_else(|| name.into(), Into::into);
            (Arc::from(name), Field { property, schema })
        });
        Self::with(name, From::Fields, fields.collect())
    }

    /// The struct of a built-in kind.
    pub fn of_table(of: &TypeRef) -> Self {
        let made = Inner { name: of.name.clone(), from: From::Table(of.clone()), fields: OnceLock::new() };
        Self(Arc::new(made))
    }

    /// A type that has every field, untyped.
    pub fn of_any_field(name: &str) -> Self {
        Self::with(name, From::AnyField, HashMap::new())
    }

    fn with(name: &str, from: From, fields: HashMap<Arc<str>, Field>) -> Self {
        Self(Arc::new(Inner { name: name.into(), from, fields: OnceLock::from(fields) }))
    }

    /// The same fields under another name.
    #[must_use]
    pub fn renamed(&self, name: &str) -> Self {
        match &self.0.from {
            From::Table(of) => {
                let made =
                    Inner { name: name.into(), from: From::Table(of.clone()), fields: OnceLock::new() };
                Self(Arc::new(made))
            }
            From::AnyField => Self::of_any_field(name),
            From::Fields => Self::with(name, From::Fields, self.fields().clone()),
        }
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    fn fields(&self) -> &HashMap<Arc<str>, Field> {
        self.0.fields.get_or_init(|| match &self.0.from {
            From::Table(of) => table::fields(of),
            From::Fields | From::AnyField => HashMap::new(),
        })
    }

    /// By its escaped name; None for a field that is not declared (see also [`Object::has_any_field`]).
    pub fn field(&self, name: &str) -> Option<&Field> {
        let fields = self.fields();
        fields.get(name).or_else(|| fields.get(escape::reserved(name)?.as_str()))
    }

    /// By the property's name in the tree.
    pub fn property(&self, property: &str) -> Option<&Field> {
        match self.field(property) {
            Some(field) if *field.property == *property => Some(field),
            _ => self.field(&escape(property)?).filter(|f| *f.property == *property),
        }
    }

    /// Its fields were given, rather than taken from the table of built-in kinds.
    pub(crate) fn is_declared(&self) -> bool {
        matches!(self.0.from, From::Fields)
    }

    /// Every name is a field of type dyn.
    pub fn has_any_field(&self) -> bool {
        matches!(self.0.from, From::AnyField)
    }

    /// Escaped names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields().keys().map(|name| &**name)
    }
}

impl fmt::Debug for Object {
    /// The name only: types may hold themselves.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Object {}

impl Hash for Object {
    fn hash<H: Hasher>(&self, to: &mut H) {
        self.0.name.hash(to);
    }
}

impl Schema {
    /// Without bounds.
    pub fn new(kind: Kind) -> Self {
        let least = match &kind {
            Kind::Bool => 4,
            Kind::Int | Kind::Double | Kind::IntOrString | Kind::Any => 1,
            Kind::Duration => 3,
            Kind::Timestamp => 21,
            Kind::Date => 12,
            _ => 2,
        };
        Self { kind, max: None, least, nullable: false, has_default: false }
    }

    /// Typed at evaluation by what is there.
    pub fn any() -> Self {
        Self::new(Kind::Any)
    }

    pub fn string() -> Self {
        Self::new(Kind::String)
    }

    /// A list without a list type.
    pub fn list(items: Schema) -> Self {
        Self::new(Kind::List(Arc::new(items), ListKind::Atomic))
    }

    pub fn map(values: Schema) -> Self {
        Self::new(Kind::Map(Arc::new(values)))
    }

    pub fn object(object: Object) -> Self {
        Self::new(Kind::Object(object))
    }

    /// Bounded, for cost estimates.
    #[must_use]
    pub fn at_most(mut self, max: u64) -> Self {
        self.max = Some(max);
        self
    }

    /// As the checker sees it.
    pub fn cel_type(&self) -> Type {
        match &self.kind {
            Kind::Any | Kind::IntOrString | Kind::Preserved => Type::Dyn,
            Kind::Bool => Type::Bool,
            Kind::Int => Type::Int,
            Kind::Double => Type::Double,
            Kind::String => Type::String,
            Kind::Bytes => Type::Bytes,
            Kind::Timestamp | Kind::Date => Type::Timestamp,
            Kind::Duration => Type::Duration,
            Kind::List(items, _) => Type::list(items.cel_type()),
            Kind::Map(values) => Type::map(Type::String, values.cel_type()),
            Kind::Object(object) => Type::Object(object.clone()),
            Kind::Of(of) => of.clone(),
        }
    }

    /// The schema of a list's items or a map's values.
    pub fn element(&self) -> Option<&Schema> {
        if let Kind::List(of, _) | Kind::Map(of) = &self.kind { Some(of) } else { None }
    }

    /// The schema of a field by its escaped name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        if let Kind::Object(object) = &self.kind { object.field(name) } else { None }
    }
}

impl std::convert::From<Type> for Schema {
    fn from(of: Type) -> Self {
        match of {
            Type::Object(object) => Self::object(object),
            Type::Dyn => Self::any(),
            other => Self::new(Kind::Of(other)),
        }
    }
}

impl std::convert::From<&Schema> for Schema {
    fn from(of: &Schema) -> Self {
        of.clone()
    }
}
