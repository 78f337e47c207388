//! cel-go's sets: lists compared without order.

use super::contains;
use crate::functions::{Code, Declared, Refused, Style};
use crate::value::{List, Value};

const fn function(
    name: &'static str,
    overloads: &'static [(&'static str, &'static str)],
    code: Code,
) -> Declared {
    Declared { name, overloads, code, style: Style::Guarded }
}

pub(super) const DECLARED: &[Declared] = &[
    function("sets.contains", &[("list_sets_contains_list", "(list(T), list(T)) bool")], |args| {
        let (a, b) = lists(args)?;
        Ok(Value::Bool(covers(a, b)?))
    }),
    function("sets.equivalent", &[("list_sets_equivalent_list", "(list(T), list(T)) bool")], |args| {
        let (a, b) = lists(args)?;
        Ok(Value::Bool(covers(a, b)? && covers(b, a)?))
    }),
    function("sets.intersects", &[("list_sets_intersects_list", "(list(T), list(T)) bool")], |args| {
        let (a, b) = lists(args)?;
        for item in a.iter() {
            if contains(b, &item?)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }),
];

fn lists<'v, 'a>(args: &'v [Value<'a>]) -> Result<(&'v List<'a>, &'v List<'a>), Refused> {
    match args {
        [Value::List(a), Value::List(b)] => Ok((a, b)),
        _ => Err(Refused::NoOverload),
    }
}

/// Whether `a` holds all of `b`.
fn covers(a: &List<'_>, b: &List<'_>) -> Result<bool, Refused> {
    for item in b.iter() {
        if !contains(a, &item?)? {
            return Ok(false);
        }
    }
    Ok(true)
}
