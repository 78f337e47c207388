//! Values without fields: what each type takes, and how it is written again.

use apimachinery::{Quantity, time};

use crate::schema::{Shape, Special};
use crate::value::{Key, Value};

pub(super) enum Wrong {
    /// The JSON type is wrong.
    Type,
    /// The type's own reader refuses the text.
    Text(String),
}

/// Scalars. A number that is whole stays whole in `Float64`, too: Go writes both the same.
pub(super) fn check(value: &mut Value, shape: &Shape) -> Result<(), Wrong> {
    let good = match (shape, &*value) {
        (Shape::Bool, Value::Bool(_)) | (Shape::String, Value::String(_)) => true,
        (Shape::Int32, Value::Int(n)) => i32::try_from(*n).is_ok(),
        (Shape::Int64, Value::Int(_)) | (Shape::Float64, Value::Int(_)) => true,
        (Shape::Float64, Value::Float(n)) => {
            if n.fract() == 0.0 && n.abs() < 9e15 && !(*n == 0.0 && n.is_sign_negative()) {
                *value = Value::Int(*n as i64);
            }
            true
        }
        (Shape::Bytes, Value::String(_)) => return base64(value),
        _ => false,
    };
    if good { Ok(()) } else { Err(Wrong::Type) }
}

/// Base64 as Go reads it: line ends are skipped.
fn base64(value: &mut Value) -> Result<(), Wrong> {
    let Value::String(text) = value else { return Err(Wrong::Type) };
    if text.contains(['\n', '\r']) {
        *text = text.replace(['\n', '\r'], "").into();
    }
    match bad_base64(text.as_bytes()) {
        None => Ok(()),
        Some(at) => Err(Wrong::Text(format!("illegal base64 data at input byte {at}"))),
    }
}

/// Where standard, padded base64 goes wrong.
fn bad_base64(b: &[u8]) -> Option<usize> {
    let body = b.len() - b.iter().rev().take(2).take_while(|c| **c == b'=').count();
    let letter = |c: &u8| c.is_ascii_alphanumeric() || *c == b'+' || *c == b'/';
    if let Some(at) = b[..body].iter().position(|c| !letter(c)) {
        return Some(at);
    }
    if !b.len().is_multiple_of(4) { Some(b.len() / 4 * 4) } else { None }
}

pub(super) fn special(value: &mut Value, special: &Special) -> Result<(), Wrong> {
    match special {
        Special::Time => read_time(value, false),
        Special::MicroTime => read_time(value, true),
        Special::Duration => duration(value),
        Special::Quantity => quantity(value),
        Special::IntOrString => match value {
            Value::Int(n) if i32::try_from(*n).is_ok() => Ok(()),
            Value::String(_) => Ok(()),
            _ => Err(Wrong::Type),
        },
        Special::Raw(_) => {
            if !matches!(value, Value::Raw(_)) {
                *value = Value::Raw(crate::json::to_string(value).into());
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn read_time(value: &mut Value, micro: bool) -> Result<(), Wrong> {
    let Value::String(text) = value else { return Err(Wrong::Type) };
    if is_plain_time(text.as_bytes(), micro) && time::parse_rfc3339(text).is_some() {
        return Ok(());
    }
    let Some((seconds, nanos)) = time::parse_rfc3339(text) else {
        let layout = if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
        let rest = if text.is_empty() { "" } else { text.as_str() };
        return Err(Wrong::Text(format!(
            "parsing time {text:?} as {layout:?}: cannot parse {rest:?} as \"2006\""
        )));
    };
    *value = Value::String(time::rfc3339(seconds, micro.then_some(nanos / 1000)).into());
    Ok(())
}

/// Already as Go writes it, if it is a time at all.
fn is_plain_time(b: &[u8], micro: bool) -> bool {
    b.last() == Some(&b'Z') && if micro { b.len() == 27 && b[19] == b'.' } else { b.len() == 20 }
}

fn duration(value: &mut Value) -> Result<(), Wrong> {
    let Value::String(text) = value else { return Err(Wrong::Type) };
    let nanos =
        time::parse_duration(text).ok_or_else(|| Wrong::Text(format!("time: invalid duration {text:?}")))?;
    *text = time::format_duration(nanos).into();
    Ok(())
}

fn quantity(value: &mut Value) -> Result<(), Wrong> {
    let text: Key =
        match &*value {
            Value::String(s) => s.trim().into(),
            Value::Int(_) | Value::Float(_) => crate::json::to_string(value).into(),
            _ => return Err(Wrong::Text(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                    .into(),
            )),
        };
    let parsed: Quantity =
        text.parse().map_err(|e: apimachinery::quantity::QuantityError| Wrong::Text(e.to_string()))?;
    *value = Value::String(parsed.to_string().into());
    Ok(())
}
