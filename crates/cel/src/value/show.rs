//! Values in error texts, and the names of their types.

use std::fmt;

use super::Value;
use crate::types::Type;

impl<'a> Value<'a> {
    /// The type that `type(value)` gives.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Duration(_) => Type::Duration,
            Self::Type(_) => Type::type_of(Type::Error),
            Self::List(_) => Type::list(Type::Dyn),
            Self::Map(_) => Type::map(Type::Dyn, Type::Dyn),
            Self::Optional(_) => Type::optional(Type::Dyn),
            Self::Object(made) => Type::Object(made.object.clone()),
            Self::Special(special) => Type::Opaque(special.opaque()),
            Self::Preserved(_) => Type::Dyn,
        }
    }
}

impl fmt::Display for Value<'_> {
    /// As Go prints it in messages: texts without quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Int(n) => write!(f, "{n}"),
            Self::Uint(n) => write!(f, "{n}"),
            Self::Double(n) => f.write_str(&crate::library::numbers::go_double(*n)),
            Self::String(s) => f.write_str(s),
            Self::Bytes(b) => f.write_str(&String::from_utf8_lossy(b)),
            Self::Timestamp(t) => f.write_str(&crate::library::time::format(*t)),
            Self::Duration(n) => f.write_str(&crate::library::time::format_duration(*n)),
            Self::Type(of) => f.write_str(of.name()),
            Self::List(list) => {
                f.write_str("[")?;
                for (at, item) in list.iter().enumerate() {
                    f.write_str(if at > 0 { ", " } else { "" })?;
                    item.map_or(Ok(()), |item| write!(f, "{item}"))?;
                }
                f.write_str("]")
            }
            Self::Optional(None) => f.write_str("optional.none()"),
            Self::Optional(Some(value)) => write!(f, "optional({value})"),
            Self::Special(special) => write!(f, "{special:?}"),
            Self::Map(_) | Self::Object(_) | Self::Preserved(_) => write!(f, "{self:?}"),
        }
    }
}
