//! Object trees to `serde_json`'s and back, for what speaks plain JSON with others: reviews and patches.

use api::{Map, Value};

/// Numbers outside i64 become floats, as Go's unstructured decoding does.
pub fn from_json(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(b) => Value::Bool(b),
        serde_json::Value::Number(n) => {
            n.as_i64().map_or_else(|| Value::Float(n.as_f64().unwrap_or_default()), Value::Int)
        }
        serde_json::Value::String(s) => s.into(),
        serde_json::Value::Array(list) => Value::List(list.into_iter().map(from_json).collect()),
        serde_json::Value::Object(map) => {
            Value::Map(map.into_iter().map(|(k, v)| (k.into(), from_json(v))).collect::<Map>())
        }
    }
}

/// Raw parts that are no JSON become null.
pub fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(n) => (*n).into(),
        Value::Float(f) => (*f).into(),
        Value::String(s) => s.as_str().into(),
        Value::List(list) => list.iter().map(to_json).collect(),
        Value::Map(map) => {
            serde_json::Value::Object(map.iter().map(|(k, v)| (k.to_string(), to_json(v))).collect())
        }
        Value::Raw(text) => serde_json::from_str(text).unwrap_or_default(),
    }
}
