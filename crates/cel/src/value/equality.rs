//! Equality and order of values, as CEL has them: numbers compare across their types, nothing else does.

use std::cmp::Ordering;

use super::{Instance, List, Map, Value};
use crate::error::EvalError;
use crate::schema::ListKind;

impl Value<'_> {
    /// CEL's `==`. Values that cannot be read are equal to nothing.
    pub fn equals(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::String(a), Value::String(b)) => **a == **b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Value::Duration(a), Value::Duration(b)) => a == b,
            (Value::Type(a), Value::Type(b)) => a.name() == b.name(),
            (Value::List(a), Value::List(b)) => lists(a, b),
            (Value::Map(a), Value::Map(b)) => maps(a, b),
            (Value::Optional(a), Value::Optional(b)) => match (a, b) {
                (Some(a), Some(b)) => a.equals(b),
                (a, b) => a.is_none() && b.is_none(),
            },
            (Value::Object(a), Value::Object(b)) => instances(a, b),
            (Value::Special(a), Value::Special(b)) => a.equals(b),
            (Value::Preserved(a), Value::Preserved(b)) => a == b,
            (a, b) => a.number_order(b) == Some(Ordering::Equal),
        }
    }

    /// The order of two numbers; None where one is none or is NaN.
    fn number_order(&self, other: &Value<'_>) -> Option<Ordering> {
        Some(match (self, other) {
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Uint(a), Value::Uint(b)) => a.cmp(b),
            (Value::Int(a), Value::Uint(b)) => i128::from(*a).cmp(&i128::from(*b)),
            (Value::Uint(a), Value::Int(b)) => i128::from(*a).cmp(&i128::from(*b)),
            (Value::Double(a), Value::Double(b)) => return a.partial_cmp(b),
            (Value::Double(a), Value::Int(b)) => return double_order(*a, (*b).into()),
            (Value::Double(a), Value::Uint(b)) => return double_order(*a, (*b).into()),
            (Value::Int(a), Value::Double(b)) => return double_order(*b, (*a).into()).map(Ordering::reverse),
            (Value::Uint(a), Value::Double(b)) => {
                return double_order(*b, (*a).into()).map(Ordering::reverse);
            }
            _ => return None,
        })
    }

    /// CEL's order; an error for values without one.
    pub(crate) fn order(&self, other: &Value<'_>) -> Result<Ordering, EvalError> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Ok(a.cmp(b)),
            (Value::String(a), Value::String(b)) => Ok((**a).cmp(&**b)),
            (Value::Bytes(a), Value::Bytes(b)) => Ok(a.cmp(b)),
            (Value::Timestamp(a), Value::Timestamp(b)) => Ok(a.cmp(b)),
            (Value::Duration(a), Value::Duration(b)) => Ok(a.cmp(b)),
            (Value::Double(a), b) if a.is_nan() && b.is_number() => Err(nan()),
            (a, Value::Double(b)) if b.is_nan() && a.is_number() => Err(nan()),
            (a, b) => a.number_order(b).ok_or_else(EvalError::no_such_overload),
        }
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Value::Int(_) | Value::Uint(_) | Value::Double(_))
    }
}

fn nan() -> EvalError {
    EvalError::runtime("NaN values cannot be ordered")
}

/// A double against a whole number: as doubles, which is inexact from 2^53 on, as upstream has it.
fn double_order(a: f64, b: i128) -> Option<Ordering> {
    a.partial_cmp(&(b as f64))
}

fn both(a: Option<Result<Value<'_>, EvalError>>, b: Option<Result<Value<'_>, EvalError>>) -> bool {
    matches!((a, b), (Some(Ok(a)), Some(Ok(b))) if a.equals(&b))
}

fn lists(a: &List<'_>, b: &List<'_>) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.kind() {
        ListKind::Atomic => (0..a.len()).all(|at| both(a.get(at), b.get(at))),
        ListKind::Set => covers(a, b, |x, y| x.equals(y)) && covers(b, a, |x, y| x.equals(y)),
        ListKind::Map(keys) => {
            covers(a, b, |x, y| same_keys(x, y, keys) && x.equals(y))
                && covers(b, a, |x, y| same_keys(x, y, keys))
        }
    }
}

/// Whether every item of `b` has one in `a` that is the same.
fn covers(a: &List<'_>, b: &List<'_>, same: impl Fn(&Value<'_>, &Value<'_>) -> bool) -> bool {
    let known: Vec<Value<'_>> = a.iter().flatten().collect();
    b.iter().all(|item| item.is_ok_and(|item| known.iter().any(|k| same(k, &item))))
}

/// Whether two items of a list with keys are the same item.
pub(crate) fn same_keys(a: &Value<'_>, b: &Value<'_>, keys: &[String]) -> bool {
    let (Value::Map(a), Value::Map(b)) = (a, b) else { return false };
    keys.iter().all(|key| match (a.get(key), b.get(key)) {
        (None, None) => true,
        (a, b) => both(a, b),
    })
}

fn maps(a: &Map<'_>, b: &Map<'_>) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match (a.object(), a.node(), b.node()) {
        (Some(_), Some(x), Some(y)) => (0..x.len()).all(|at| {
            let Some((key, _)) = x.entry_at(at) else { return false };
            y.position(key).is_some_and(|other| both(a.value_at(at), b.value_at(other)))
        }),
        _ => (0..a.len()).all(|at| a.key_at(at).is_some_and(|key| both(a.value_at(at), b.find(&key)))),
    }
}

fn instances(a: &Instance<'_>, b: &Instance<'_>) -> bool {
    let find = |name: &str| b.fields.iter().find(|(known, _)| **known == *name);
    a.object == b.object
        && a.fields.len() == b.fields.len()
        && a.fields.iter().all(|(name, value)| find(name).is_some_and(|(_, other)| value.equals(other)))
}
