//! Reads JSON as Go's decoder does: `null` is the zero value of whatever is read, at every depth. Go writes a nil
//! list or map that has no `omitempty` as null, and one such object must not end an informer.
//!
//! An `Option` reads null as None, and a type that takes any value (`serde_json::Value`, `RawValue`) keeps it.
//! Deliberately not covered: enums, which have no zero value, and what serde buffers before it reads it (`flatten`,
//! untagged enums); both refuse null as ever.

use std::fmt;

use serde::de::value::{Error as Never, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The name by which `serde_json` asks itself for a `RawValue`.
const RAW: &str = "$serde_json::private::RawValue";

/// A whole JSON text as `T`.
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    let mut text = serde_json::Deserializer::from_slice(json);
    let value = T::deserialize(Lenient(&mut text))?;
    text.end()?;
    Ok(value)
}

/// A deserializer, visitor, seed or access of which all that is inside reads null as zero.
struct Lenient<T>(T);

/// A visitor that is called for something or for null; `Z` says what zero is.
struct OrZero<V, Z>(V, Z);

/// What a type is asked for, and what it gets for null.
trait Zero<'de>: Copy {
    fn zero<V: Visitor<'de>, E: Error>(self, visitor: V) -> Result<V::Value, E>;
    fn some<V: Visitor<'de>, D: Deserializer<'de>>(self, from: D, visitor: V) -> Result<V::Value, D::Error>;
}

impl<'de, V: Visitor<'de>, Z: Zero<'de>> Visitor<'de> for OrZero<V, Z> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.1.zero(self.0)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.1.zero(self.0)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.1.some(from, self.0)
    }
}

/// Methods of a deserializer that read one kind of value: `method => zero value`.
macro_rules! scalars {
    ($($method:ident => $visit:ident($zero:expr),)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            #[derive(Clone, Copy)]
            struct Kind;
            impl<'de> Zero<'de> for Kind {
                fn zero<V: Visitor<'de>, E: Error>(self, visitor: V) -> Result<V::Value, E> {
                    visitor.$visit($zero)
                }
                fn some<V: Visitor<'de>, D: Deserializer<'de>>(
                    self,
                    from: D,
                    visitor: V,
                ) -> Result<V::Value, D::Error> {
                    from.$method(visitor)
                }
            }
            self.0.deserialize_option(OrZero(visitor, Kind))
        })*
    };
}

/// Methods that do not look for null themselves, but into what they find.
macro_rules! inside {
    ($($method:ident($($argument:ident: $of:ty),*),)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $of,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($argument,)* Lenient(visitor))
        })*
    };
}

#[derive(Clone, Copy)]
struct Sequence;

impl<'de> Zero<'de> for Sequence {
    fn zero<V: Visitor<'de>, E: Error>(self, visitor: V) -> Result<V::Value, E> {
        let none = SeqDeserializer::<_, Never>::new(std::iter::empty::<()>());
        visitor.visit_seq(none).map_err(E::custom)
    }

    fn some<V: Visitor<'de>, D: Deserializer<'de>>(self, from: D, visitor: V) -> Result<V::Value, D::Error> {
        from.deserialize_seq(Lenient(visitor))
    }
}

#[derive(Clone, Copy)]
struct Mapping;

impl<'de> Zero<'de> for Mapping {
    fn zero<V: Visitor<'de>, E: Error>(self, visitor: V) -> Result<V::Value, E> {
        let none = MapDeserializer::<_, Never>::new(std::iter::empty::<((), ())>());
        visitor.visit_map(none).map_err(E::custom)
    }

    fn some<V: Visitor<'de>, D: Deserializer<'de>>(self, from: D, visitor: V) -> Result<V::Value, D::Error> {
        from.deserialize_map(Lenient(visitor))
    }
}

#[derive(Clone, Copy)]
struct Struct(&'static str, &'static [&'static str]);

impl<'de> Zero<'de> for Struct {
    fn zero<V: Visitor<'de>, E: Error>(self, visitor: V) -> Result<V::Value, E> {
        Mapping.zero(visitor)
    }

    fn some<V: Visitor<'de>, D: Deserializer<'de>>(self, from: D, visitor: V) -> Result<V::Value, D::Error> {
        from.deserialize_struct(self.0, self.1, Lenient(visitor))
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Lenient<D> {
    type Error = D::Error;

    scalars! {
        deserialize_bool => visit_bool(false),
        deserialize_i8 => visit_i64(0),
        deserialize_i16 => visit_i64(0),
        deserialize_i32 => visit_i64(0),
        deserialize_i64 => visit_i64(0),
        deserialize_u8 => visit_u64(0),
        deserialize_u16 => visit_u64(0),
        deserialize_u32 => visit_u64(0),
        deserialize_u64 => visit_u64(0),
        deserialize_f32 => visit_f64(0.0),
        deserialize_f64 => visit_f64(0.0),
        deserialize_str => visit_borrowed_str(""),
        deserialize_string => visit_borrowed_str(""),
        deserialize_bytes => visit_borrowed_bytes(&[]),
        deserialize_byte_buf => visit_borrowed_bytes(&[]),
    }

    inside! {
        deserialize_any(),
        deserialize_char(),
        deserialize_option(),
        deserialize_unit(),
        deserialize_unit_struct(name: &'static str),
        deserialize_tuple(len: usize),
        deserialize_tuple_struct(name: &'static str, len: usize),
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(OrZero(visitor, Sequence))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(OrZero(visitor, Mapping))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(OrZero(visitor, Struct(name, fields)))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        if name == RAW {
            return self.0.deserialize_newtype_struct(name, visitor);
        }
        self.0.deserialize_newtype_struct(name, Lenient(visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_identifier(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_ignored_any(visitor)
    }
}

/// Methods of a visitor that take a finished value.
macro_rules! pass {
    ($($method:ident($of:ty),)*) => {
        $(fn $method<E: Error>(self, value: $of) -> Result<V::Value, E> {
            self.0.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Lenient<V> {
    type Value = V::Value;

    pass! {
        visit_bool(bool),
        visit_i64(i64),
        visit_u64(u64),
        visit_f64(f64),
        visit_str(&str),
        visit_borrowed_str(&'de str),
        visit_string(String),
        visit_bytes(&[u8]),
        visit_borrowed_bytes(&'de [u8]),
        visit_byte_buf(Vec<u8>),
    }

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Lenient(from))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Lenient(from))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Lenient(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Lenient(fields))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Lenient<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Lenient(from))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Lenient<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Lenient(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Lenient<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Lenient(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests;
