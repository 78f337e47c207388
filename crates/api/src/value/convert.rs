//! To and from `serde_json::Value`, for code that lives with other crates; no hot path goes through here.

use super::{Map, Value};

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(b) => Self::Bool(b),
            serde_json::Value::Number(n) => match n.as_i64() {
                Some(i) => Self::Int(i),
                None => Self::Float(n.as_f64().unwrap_or_default()),
            },
            serde_json::Value::String(s) => Self::String(s.into()),
            serde_json::Value::Array(list) => Self::List(list.into_iter().map(Into::into).collect()),
            serde_json::Value::Object(map) => {
                Self::Map(Map::from_entries(map.into_iter().map(|(k, v)| (k.into(), v.into())).collect()))
            }
        }
    }
}

impl From<&Value> for serde_json::Value {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(b) => Self::Bool(*b),
            Value::Int(i) => Self::from(*i),
            Value::Float(f) => serde_json::Number::from_f64(*f).map_or(Self::Null, Self::Number),
            Value::String(s) => Self::String(s.to_string()),
            Value::List(list) => Self::Array(list.iter().map(Into::into).collect()),
            Value::Map(map) => Self::Object(map.iter().map(|(k, v)| (k.to_string(), v.into())).collect()),
            Value::Raw(text) => serde_json::from_str(text).unwrap_or(Self::Null),
        }
    }
}

impl From<Value> for serde_json::Value {
    fn from(value: Value) -> Self {
        Self::from(&value)
    }
}
