//! Whether an applied configuration fits its schema, in the words of upstream's typed values.

use std::fmt;

use super::items::element_of;
use super::place::{Kind, Place};
use crate::schema::{Shape, Special};
use crate::value::Value;

/// What does not fit; one line each, as upstream joins them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Misfits(Vec<(String, String)>);

impl fmt::Display for Misfits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |(path, text): &(String, String)| {
            if path.is_empty() { text.clone() } else { format!("{path}: {text}") }
        };
        match &self.0[..] {
            [one] => f.write_str(&line(one)),
            many => {
                f.write_str("errors:")?;
                many.iter().try_for_each(|m| write!(f, "\n  {}", line(m)))
            }
        }
    }
}

/// Refuses undeclared fields, values of a wrong type, and list items without keys or given twice.
pub fn validate(place: Place<'_>, value: &Value) -> Result<(), Misfits> {
    let mut out = Misfits::default();
    check(place, value, &mut String::new(), &mut out);
    if out.0.is_empty() { Ok(()) } else { Err(out) }
}

fn check(place: Place<'_>, value: &Value, path: &mut String, out: &mut Misfits) {
    if let Some(text) = type_error(place, value) {
        out.0.push((path.clone(), text));
        return;
    }
    match value {
        Value::Map(map) => {
            // Upstream stops at the first undeclared field of a map.
            if let Some(unknown) = map.keys().find(|key| place.field(key).is_none()) {
                out.0.push((format!("{path}.{unknown}"), "field not declared in schema".into()));
                return;
            }
            for (key, value) in map.iter() {
                let Some((below, _)) = place.field(key) else { continue };
                let len = path.len();
                path.push('.');
                path.push_str(key);
                check(below, value, path, out);
                path.truncate(len);
            }
        }
        Value::List(list) => check_list(place, list, path, out),
        _ => {}
    }
}

fn check_list(place: Place<'_>, list: &[Value], path: &mut String, out: &mut Misfits) {
    let kind = place.kind(&Value::Null);
    let keyed = matches!(kind, Kind::Set | Kind::Keyed);
    let mut seen = Vec::new();
    for (i, item) in list.iter().enumerate() {
        let len = path.len();
        if keyed {
            match element_of(place, kind, item) {
                Err(text) => {
                    out.0.push((path.clone(), format!("element {i}: {text}")));
                    continue;
                }
                Ok(element) if seen.contains(&element) => {
                    out.0.push((path.clone(), format!("duplicate entries for key {element}")));
                    continue;
                }
                Ok(element) => {
                    path.push_str(&element.to_string());
                    seen.push(element);
                }
            }
        } else {
            path.push_str(&format!("[{i}]"));
        }
        check(place.item(), item, path, out);
        path.truncate(len);
    }
}

/// The type of a value as upstream prints Go's.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::List(_) => "list",
        Value::Map(_) | Value::Raw(_) => "map",
    }
}

fn type_error(place: Place<'_>, value: &Value) -> Option<String> {
    let Place::Node(node) = place else {
        return match (place, value) {
            (Place::Root(_), Value::Map(_)) | (Place::Untyped, _) => None,
            (_, other) => Some(format!("expected map, got {}", shown(other))),
        };
    };
    if value.is_null() {
        return None;
    }
    let (fits, want) = match &node.shape {
        Shape::Bool => (matches!(value, Value::Bool(_)), "boolean"),
        Shape::Int32 | Shape::Int64 | Shape::Float64 | Shape::Number => {
            (matches!(value, Value::Int(_) | Value::Float(_)), "numeric (int or float)")
        }
        Shape::String | Shape::Bytes | Shape::Special(Special::Duration) => {
            (matches!(value, Value::String(_)), "string")
        }
        Shape::Struct(_) | Shape::Map(_) => (matches!(value, Value::Map(_)), "map"),
        Shape::List(_) => (matches!(value, Value::List(_)), "list"),
        Shape::Special(Special::IntOrString | Special::Quantity | Special::Time | Special::MicroTime) => {
            (!matches!(value, Value::Map(_) | Value::List(_)), "scalar")
        }
        _ => return None,
    };
    if fits {
        return None;
    }
    Some(match want {
        "map" | "list" => format!("expected {want}, got {}", shown(value)),
        _ => format!("expected {want}, got {}", go_type(value)),
    })
}

/// A value as upstream's message about a wrong map or list prints it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => format!("&{{{s}}}"),
        other => {
            let mut text = String::new();
            super::json::write(other, &mut text);
            format!("&{{{text}}}")
        }
    }
}
