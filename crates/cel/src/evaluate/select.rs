//! Fields and elements: what is selected from what, and what is not there.

use super::node::{Index, Select};
use super::{Evaluated, Run};
use crate::error::EvalError;
use crate::value::{Str, Value};

impl<'a> Run<'a, '_> {
    pub(super) fn select(&mut self, select: &'a Select) -> Evaluated<'a> {
        let of = self.value(&select.of);
        self.charge(select.base)?;
        self.member(of?, &Value::String(Str::Borrowed(&select.field)), select.optional, 1)
    }

    pub(super) fn index(&mut self, index: &'a Index) -> Evaluated<'a> {
        let of = self.value(&index.of);
        self.charge(index.base)?;
        let of = of?;
        if let Value::Optional(None) = of {
            return Ok(of);
        }
        let key = self.value(&index.index);
        let optional = index.optional || matches!(of, Value::Optional(_));
        let found = match key {
            Ok(key) => self.member(of, &key, index.optional, index.cost),
            Err(error @ EvalError::Runtime(_)) if !optional => {
                self.charge(index.cost)?;
                Err(error)
            }
            Err(error) => Err(error),
        };
        // A place that is looked up for an optional value costs itself only where it leads to one.
        if optional && index.cost == 0 && !matches!(found, Ok(Value::Optional(Some(_)))) {
            self.cost = self.cost.saturating_sub(1);
        }
        found
    }

    /// What stands under a key. From an optional value, and by an optional selection, the result is optional.
    fn member(&mut self, of: Value<'a>, key: &Value<'_>, optional: bool, cost: u64) -> Evaluated<'a> {
        let (of, optional) = match of {
            Value::Optional(None) => return Ok(of),
            Value::Optional(Some(value)) => ((*value).clone(), true),
            other => (other, optional),
        };
        let found = find(&of, key);
        match found {
            Ok(None) if optional => return Ok(Value::Optional(None)),
            Err(error) if optional => return Err(error),
            _ => self.charge(cost)?,
        }
        match found? {
            Some(value) if optional => Ok(Value::optional(Some(value))),
            Some(value) => Ok(value),
            None if matches!(of, Value::List(_)) => {
                Err(EvalError::runtime(format!("index out of bounds: {key}")))
            }
            None => Err(EvalError::runtime(format!("no such key: {key}"))),
        }
    }

    pub(super) fn has(&mut self, select: &'a Select) -> Evaluated<'a> {
        let of = self.value(&select.of);
        // The test costs one, and is given the one back that the place as a whole costs. In an optional value it
        // costs only where it finds something.
        self.charge(select.base)?;
        let of = of.inspect_err(|_| self.cost = self.cost.saturating_sub(1))?;
        let (of, optional) = match of {
            Value::Optional(None) => (Value::Null, true),
            Value::Optional(Some(value)) => ((*value).clone(), true),
            other => (other, false),
        };
        let found = find(&of, &Value::String(Str::Borrowed(&select.field)))?.is_some();
        if optional && !found {
            self.cost = self.cost.saturating_sub(1);
        }
        Ok(Value::Bool(found))
    }
}

/// What stands under a key; None where nothing does, or where nothing can.
fn find<'a>(of: &Value<'a>, key: &Value<'_>) -> Result<Option<Value<'a>>, EvalError> {
    match of {
        Value::Map(map) => map.find(key).transpose(),
        Value::List(list) => match place(key)? {
            Some(at) => list.get(at).transpose(),
            None => Ok(None),
        },
        Value::Object(made) => {
            let found = made.fields.iter().find(|(name, _)| Some(&**name) == key.as_str());
            Ok(found.map(|(_, value)| value.clone()))
        }
        _ => Ok(None),
    }
}

/// The index that a number is; None for one before the first.
fn place(key: &Value<'_>) -> Result<Option<usize>, EvalError> {
    match key {
        Value::Int(n) => Ok(usize::try_from(*n).ok()),
        Value::Uint(n) => Ok(usize::try_from(*n).ok()),
        Value::Double(n) if n.fract() == 0.0 && *n >= 0.0 && *n < 9e15 => Ok(Some(*n as usize)),
        Value::Double(_) => Err(EvalError::runtime(format!("unsupported index value {key} in list"))),
        other => {
            let message = format!("unsupported index type '{}' in list", other.type_of().name());
            Err(EvalError::runtime(message))
        }
    }
}
