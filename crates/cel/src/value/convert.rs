//! Values as trees, for what an expression hands back: a JSON patch's value, an apply configuration.

use base64::Engine;

use super::{Instance, Value};
use crate::error::EvalError;

/// A value nested deeper than this is no tree.
const MAX_DEPTH: usize = 400;

impl Value<'_> {
    /// As JSON has it: times as RFC 3339, durations as seconds (`90s`), bytes as base64, an optional value as what it
    /// holds (none as null). Fails for what JSON has no form for, such as a map with keys that are no text.
    pub fn to_tree(&self) -> Result<api::Value, EvalError> {
        tree(self, 0)
    }

    /// Object literals are named by the fields that hold them: `Object{spec: Object.spec{}}`. Says of all that are
    /// not what they should be named, in upstream's words; lists and maps between them do not count.
    pub fn misnamed_objects(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Value::Object(made) = self {
            misnamed(self, made.object.name(), &mut faults);
        }
        faults
    }
}

fn tree(value: &Value<'_>, depth: usize) -> Result<api::Value, EvalError> {
    if depth > MAX_DEPTH {
        return Err(EvalError::runtime("value is nested too deeply"));
    }
    Ok(match value {
        Value::Null | Value::Optional(None) => api::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(n) => (*n).into(),
        Value::Uint(n) => i64::try_from(*n).map_or(api::Value::Float(*n as f64), api::Value::Int),
        Value::Double(n) if n.is_finite() => api::Value::Float(*n),
        Value::String(s) => (&**s).into(),
        Value::Bytes(b) => base64::engine::general_purpose::STANDARD.encode(b).into(),
        Value::Timestamp(_) | Value::Duration(_) => value.to_string().into(),
        Value::Optional(Some(value)) => tree(value, depth + 1)?,
        Value::List(list) => {
            let items: Result<Vec<_>, _> = list.iter().map(|item| tree(&item?, depth + 1)).collect();
            api::Value::List(items?)
        }
        Value::Map(map) => match map.node() {
            Some(node) => api::Value::Map(node.clone()),
            None => entries(map, depth)?,
        },
        Value::Object(made) => instance(made, depth)?,
        Value::Preserved(node) => (*node).clone(),
        Value::Double(_) | Value::Type(_) | Value::Special(_) => {
            let name = value.type_of().name().to_owned();
            return Err(EvalError::runtime(format!("type conversion error from '{name}' to JSON")));
        }
    })
}

fn entries(map: &super::Map<'_>, depth: usize) -> Result<api::Value, EvalError> {
    let mut out = api::Map::with_capacity(map.len());
    for at in 0..map.len() {
        let (Some(key), Some(value)) = (map.key_at(at), map.value_at(at)) else { continue };
        let Value::String(name) = &key else {
            return Err(EvalError::runtime(format!(
                "map key {key} is of type {}, not string",
                key.type_of().name()
            )));
        };
        out.insert(&**name, tree(&value?, depth + 1)?);
    }
    Ok(api::Value::Map(out))
}

fn instance(made: &Instance<'_>, depth: usize) -> Result<api::Value, EvalError> {
    let mut out = api::Map::with_capacity(made.fields.len());
    for (name, value) in &made.fields {
        out.insert(&**name, tree(value, depth + 1)?);
    }
    Ok(api::Value::Map(out))
}

fn misnamed(value: &Value<'_>, path: &str, faults: &mut Vec<String>) {
    match value {
        Value::Object(made) => {
            let name = made.object.name();
            if name != path {
                faults.push(format!(
                    "unexpected type name {name:?}, expected {path:?}, which matches field name path from root Object type"
                ));
            }
            for (field, value) in &made.fields {
                misnamed(value, &format!("{path}.{field}"), faults);
            }
        }
        Value::List(list) if list.is_made() => {
            list.iter().flatten().for_each(|item| misnamed(&item, path, faults));
        }
        Value::Map(map) if map.node().is_none() => {
            (0..map.len())
                .filter_map(|at| map.value_at(at)?.ok())
                .for_each(|item| misnamed(&item, path, faults));
        }
        _ => {}
    }
}
