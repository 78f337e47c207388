//! serde: a tree serializes as the JSON that it is, and typed views are read from it without a detour by text.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer, forward_to_deserialize_any};

use super::{Map, Value};

/// Why a view cannot be read; the text says field and type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ViewError(String);

impl serde::de::Error for ViewError {
    fn custom<T: std::fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

impl Value {
    /// Reads a typed view: a struct of the fields that the reader needs, or a k8s-openapi type.
    pub fn view<'de, T: Deserialize<'de>>(&'de self) -> Result<T, ViewError> {
        T::deserialize(self)
    }

    /// The tree of anything that serializes; for small things, as it goes by `serde_json`'s tree.
    pub fn of<T: Serialize>(from: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_value(from).map(Self::from)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bool(b) => to.serialize_bool(*b),
            Self::Int(i) => to.serialize_i64(*i),
            Self::Float(f) => to.serialize_f64(*f),
            Self::String(s) => to.serialize_str(s),
            Self::List(list) => {
                let mut seq = to.serialize_seq(Some(list.len()))?;
                list.iter().try_for_each(|item| seq.serialize_element(item))?;
                seq.end()
            }
            Self::Map(map) => map.serialize(to),
            Self::Raw(text) => {
                let tree: serde_json::Value =
                    serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
                tree.serialize(to)
            }
        }
    }
}

impl Serialize for Map {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.len()))?;
        self.iter().try_for_each(|(key, value)| map.serialize_entry(key.as_str(), value))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(from).map(Self::from)
    }
}

impl<'de> IntoDeserializer<'de, ViewError> for &'de Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn from_raw<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, ViewError> {
    let tree: serde_json::Value = serde_json::from_str(text).map_err(|e| ViewError(e.to_string()))?;
    tree.deserialize_any(visitor).map_err(|e| ViewError(e.to_string()))
}

impl<'de> Deserializer<'de> for &'de Value {
    type Error = ViewError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ViewError> {
        match self {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Int(i) => visitor.visit_i64(*i),
            Value::Float(f) => visitor.visit_f64(*f),
            Value::String(s) => visitor.visit_borrowed_str(s),
            Value::List(list) => visitor.visit_seq(SeqDeserializer::new(list.iter())),
            Value::Map(map) => {
                visitor.visit_map(MapDeserializer::new(map.iter().map(|(key, value)| (key.as_str(), value))))
            }
            Value::Raw(text) => from_raw(text, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ViewError> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ViewError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ViewError> {
        match self {
            Value::String(s) => visitor.visit_enum(s.as_str().into_deserializer()),
            Value::Map(map) if map.len() == 1 => {
                let one = map.iter().map(|(key, value)| (key.as_str(), value));
                visitor.visit_enum(serde::de::value::MapAccessDeserializer::new(MapDeserializer::new(one)))
            }
            _ => Err(serde::de::Error::custom("invalid type: expected an enum")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ViewError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct identifier
    }
}

/// Reads an owned view out of a map.
impl Map {
    pub fn view<T: DeserializeOwned>(&self) -> Result<T, ViewError> {
        let entries = self.iter().map(|(key, value)| (key.as_str(), value));
        T::deserialize(MapDeserializer::new(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct View<'a> {
        name: &'a str,
        #[serde(default)]
        node_name: Option<String>,
        policy: Policy,
        list: Vec<i32>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Policy {
        Always,
        Never,
    }

    #[test]
    fn views_read_what_they_name() {
        let tree = crate::value!({"name": "a", "other": {"x": 1}, "policy": "Never", "list": [1, 2]});
        let view: View<'_> = tree.view().unwrap();
        assert_eq!(view, View { name: "a", node_name: None, policy: Policy::Never, list: vec![1, 2] });
        assert!(crate::value!({"name": 1}).view::<View<'_>>().is_err());
        assert_eq!(
            serde_json::to_string(&tree).unwrap(),
            serde_json::to_string(&serde_json::Value::from(&tree)).unwrap()
        );
    }
}
