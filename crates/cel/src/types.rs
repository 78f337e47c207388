//! CEL's types, as the checker sees them and as error texts name them.

use std::fmt;
use std::sync::Arc;

use crate::schema::Object;

/// A type of the language. Shown as cel-go shows it: `list(string)`, `map(string, dyn)`, `kubernetes.Quantity`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Known only at evaluation.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    /// The type of a type; of `Error` where any type is meant.
    Type(Arc<Type>),
    List(Arc<Type>),
    /// Key and value.
    Map(Arc<(Type, Type)>),
    Optional(Arc<Type>),
    /// A struct with named fields.
    Object(Object),
    /// A type of one of Kubernetes' libraries.
    Opaque(Opaque),
    /// A type parameter of a function's declaration.
    Param(u32),
    /// What a faulty expression has; every use of it is silent.
    Error,
}

/// Types of Kubernetes' libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opaque {
    Quantity,
    Url,
    Ip,
    Cidr,
    Semver,
    Format,
    Authorizer,
    PathCheck,
    GroupCheck,
    ResourceCheck,
    Decision,
}

impl Opaque {
    /// As CEL names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quantity => "kubernetes.Quantity",
            Self::Url => "kubernetes.URL",
            Self::Ip => "net.IP",
            Self::Cidr => "net.CIDR",
            Self::Semver => "kubernetes.Semver",
            Self::Format => "kubernetes.NamedFormat",
            Self::Authorizer => "kubernetes.authorization.Authorizer",
            Self::PathCheck => "kubernetes.authorization.PathCheck",
            Self::GroupCheck => "kubernetes.authorization.GroupCheck",
            Self::ResourceCheck => "kubernetes.authorization.ResourceCheck",
            Self::Decision => "kubernetes.authorization.Decision",
        }
    }
}

impl Type {
    pub fn list(of: Type) -> Self {
        Self::List(Arc::new(of))
    }

    pub fn map(key: Type, value: Type) -> Self {
        Self::Map(Arc::new((key, value)))
    }

    pub fn optional(of: Type) -> Self {
        Self::Optional(Arc::new(of))
    }

    /// The type of a value of this type's name: `type(int)`.
    pub fn type_of(of: Type) -> Self {
        Self::Type(Arc::new(of))
    }

    /// The name alone, without parameters: `list`, `map`, `optional_type`.
    pub fn name(&self) -> &str {
        match self {
            Self::Dyn => "dyn",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::Duration => "google.protobuf.Duration",
            Self::Type(_) => "type",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Optional(_) => "optional_type",
            Self::Object(object) => object.name(),
            Self::Opaque(opaque) => opaque.name(),
            Self::Param(_) => "<type param>",
            Self::Error => "!error!",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(of) if !matches!(**of, Self::Error) => write!(f, "type({of})"),
            Self::List(of) => write!(f, "list({of})"),
            Self::Map(of) => write!(f, "map({}, {})", of.0, of.1),
            Self::Optional(of) => write!(f, "optional_type({of})"),
            Self::Param(n) => write!(f, "{}", char::from(b'A'.saturating_add((*n % 26) as u8))),
            _ => f.write_str(self.name()),
        }
    }
}
