//! Nodes of a tree as values: by their schema, or by what they are.

use std::sync::Arc;

use apimachinery::time;
use base64::Engine;

use super::{List, Map, Str, Value};
use crate::error::EvalError;
use crate::schema::{Kind, Schema};

/// Without a schema.
pub(crate) fn dynamic(node: &api::Value) -> Value<'_> {
    match node {
        api::Value::Null => Value::Null,
        api::Value::Bool(b) => Value::Bool(*b),
        api::Value::Int(n) => Value::Int(*n),
        api::Value::Float(n) => Value::Double(*n),
        api::Value::String(s) => Value::String(Str::Borrowed(s)),
        api::Value::List(items) => Value::List(List::tree(items)),
        api::Value::Map(map) => Value::Map(Map::tree(map)),
        api::Value::Raw(text) => raw(text),
    }
}

/// JSON that is kept as text: read as a whole, as nothing else holds its tree.
fn raw(text: &str) -> Value<'static> {
    match api::json::parse(text.as_bytes()) {
        Ok(tree) => owned(&tree),
        Err(_) => Value::Null,
    }
}

fn owned(node: &api::Value) -> Value<'static> {
    match node {
        api::Value::String(s) => Value::text(s.as_str()),
        api::Value::List(items) => Value::List(List::from(items.iter().map(owned).collect::<Vec<_>>())),
        api::Value::Map(map) => {
            let mut entries = super::map::Entries::default();
            for (key, value) in map.iter() {
                entries.insert(Value::text(key.as_str()), owned(value));
            }
            Value::Map(entries.into())
        }
        api::Value::Raw(text) => raw(text),
        api::Value::Null => Value::Null,
        api::Value::Bool(b) => Value::Bool(*b),
        api::Value::Int(n) => Value::Int(*n),
        api::Value::Float(n) => Value::Double(*n),
    }
}

/// By its schema.
pub(crate) fn read<'a>(node: &'a api::Value, schema: &'a Schema) -> Result<Value<'a>, EvalError> {
    match (&schema.kind, node) {
        (Kind::Any | Kind::Of(_), _) => Ok(dynamic(node)),
        (Kind::Preserved, _) => Ok(Value::Preserved(node)),
        (_, api::Value::Null) if schema.nullable => Ok(Value::Null),
        (_, api::Value::Null) => {
            Err(EvalError::runtime("invalid data, got null for schema with nullable=false"))
        }
        (Kind::Object(object), _) if object.has_any_field() => Ok(dynamic(node)),
        (Kind::IntOrString, api::Value::Int(_) | api::Value::String(_)) => Ok(dynamic(node)),
        (Kind::Bool, api::Value::Bool(b)) => Ok(Value::Bool(*b)),
        (Kind::Int, api::Value::Int(n)) => Ok(Value::Int(*n)),
        (Kind::Double, api::Value::Int(n)) => Ok(Value::Double(*n as f64)),
        (Kind::Double, api::Value::Float(n)) => Ok(Value::Double(*n)),
        (Kind::List(..), api::Value::List(items)) => Ok(Value::List(List::typed(items, schema))),
        (Kind::Map(_) | Kind::Object(_), api::Value::Map(map)) => Ok(Value::Map(Map::typed(map, schema))),
        (kind, api::Value::String(text)) if is_text(kind) => string(kind, text),
        (kind, _) => Err(EvalError::runtime(format!("invalid data, expected {}", expected(kind, node)))),
    }
}

fn is_text(kind: &Kind) -> bool {
    matches!(kind, Kind::String | Kind::Bytes | Kind::Timestamp | Kind::Date | Kind::Duration)
}

fn expected(kind: &Kind, node: &api::Value) -> String {
    match kind {
        Kind::IntOrString => "XIntOrString value to be either a string or integer".into(),
        Kind::Map(_) | Kind::Object(_) => "a map for the provided schema with type=object".into(),
        Kind::List(..) => "an array for the provided schema with type=array".into(),
        kind => {
            let name = match kind {
                Kind::Bool => "bool",
                Kind::Int => "int",
                Kind::Double => "float",
                _ => "string",
            };
            format!("{name}, got {}", go_type(node))
        }
    }
}

/// As Go names what it decoded.
fn go_type(node: &api::Value) -> &'static str {
    match node {
        api::Value::Null => "<nil>",
        api::Value::Bool(_) => "bool",
        api::Value::Int(_) => "int64",
        api::Value::Float(_) => "float64",
        api::Value::String(_) | api::Value::Raw(_) => "string",
        api::Value::List(_) => "[]interface {}",
        api::Value::Map(_) => "map[string]interface {}",
    }
}

fn string<'a>(kind: &Kind, text: &'a str) -> Result<Value<'a>, EvalError> {
    let bad = |what: &str| EvalError::runtime(format!("Invalid {what} {text}"));
    match kind {
        Kind::Bytes => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(text);
            decoded.map(|b| Value::Bytes(Arc::from(b))).map_err(|_| bad("byte formatted string"))
        }
        Kind::Timestamp => crate::library::time::read(text)
            .map(Value::Timestamp)
            .ok_or_else(|| bad("date-time formatted string")),
        Kind::Date => {
            let read = crate::library::time::read(&format!("{text}T00:00:00Z")).filter(|_| text.len() == 10);
            read.map(Value::Timestamp).ok_or_else(|| bad("date formatted string"))
        }
        Kind::Duration => open_api_duration(text).map(Value::Duration).ok_or_else(|| bad("duration")),
        _ => Ok(Value::String(Str::Borrowed(text))),
    }
}

/// Nanoseconds of OpenAPI's `duration`: Go's form, or numbers with words (`3 days`).
pub(crate) fn open_api_duration(text: &str) -> Option<i64> {
    if let Some(nanos) = time::parse_duration(text) {
        return Some(nanos);
    }
    let mut total: i128 = 0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
        let number: i128 = rest[..end].parse().ok()?;
        let tail = rest[end..].trim_start();
        let unit_end = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        total = total.checked_add(number.checked_mul(unit(&tail[..unit_end])?)?)?;
        rest = tail[unit_end..].trim_start();
    }
    (!text.trim().is_empty()).then(|| i64::try_from(total).ok())?
}

fn unit(word: &str) -> Option<i128> {
    let seconds = |n: i128| n * 1_000_000_000;
    Some(match word.to_ascii_lowercase().trim_end_matches('s') {
        "nano" | "nanosecond" | "n" => 1,
        "micro" | "microsecond" | "u" | "µ" => 1_000,
        "milli" | "millisecond" | "m" if word.len() > 1 => 1_000_000,
        "" | "sec" | "second" => seconds(1),
        "m" | "min" | "minute" => seconds(60),
        "h" | "hr" | "hour" => seconds(3600),
        "d" | "day" => seconds(86_400),
        "w" | "wk" | "week" => seconds(604_800),
        _ => return None,
    })
}
