//! Optional values: `optional.of`, `orValue` and the rest of cel-go's optional library.

use crate::functions::{Declared, Outcome, Refused, Style, fail};
use crate::value::{List, Value};

const fn function(
    name: &'static str,
    overloads: &'static [(&'static str, &'static str)],
    code: crate::functions::Code,
) -> Declared {
    Declared { name, overloads, code, style: Style::Guarded }
}

pub(super) const DECLARED: &[Declared] = &[
    function("optional.of", &[("optional_of", "(V) optional(V)")], |args| {
        Ok(Value::optional(Some(args[0].clone())))
    }),
    function("optional.ofNonZeroValue", &[("optional_ofNonZeroValue", "(V) optional(V)")], |args| {
        Ok(Value::optional((!is_zero(&args[0])).then(|| args[0].clone())))
    }),
    function("optional.none", &[("optional_none", "() optional(V)")], |_| Ok(Value::Optional(None))),
    function("value", &[("optional_value", "optional(V).() V")], |args| match &args[0] {
        Value::Optional(Some(value)) => Ok((**value).clone()),
        Value::Optional(None) => fail("optional.none() dereference"),
        _ => Err(Refused::NoOverload),
    }),
    function("hasValue", &[("optional_hasValue", "optional(V).() bool")], |args| match &args[0] {
        Value::Optional(value) => Ok(Value::Bool(value.is_some())),
        _ => Err(Refused::NoOverload),
    }),
    // The evaluator does these two itself, as they may leave their argument alone.
    function("or", &[("optional_or_optional", "optional(V).(optional(V)) optional(V)")], |_| {
        Err(Refused::NoOverload)
    }),
    function("orValue", &[("optional_orValue_value", "optional(V).(V) V")], |_| Err(Refused::NoOverload)),
    function("first", &[("list_first", "list(V).() optional(V)")], |args| match &args[0] {
        Value::List(list) => Ok(Value::optional(list.get(0).transpose()?)),
        _ => Err(Refused::NoOverload),
    }),
    function("last", &[("list_last", "list(V).() optional(V)")], |args| match &args[0] {
        Value::List(list) if list.is_empty() => Ok(Value::Optional(None)),
        Value::List(list) => Ok(Value::optional(list.get(list.len() - 1).transpose()?)),
        _ => Err(Refused::NoOverload),
    }),
    function("optional.unwrap", &[("optional_unwrap", "(list(optional(V))) list(V)")], unwrap),
    function("unwrapOpt", &[("optional_unwrapOpt", "list(optional(V)).() list(V)")], unwrap),
];

fn unwrap<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let Value::List(list) = &args[0] else { return Err(Refused::NoOverload) };
    let mut out = Vec::new();
    for item in list.iter() {
        match item? {
            Value::Optional(Some(value)) => out.push((*value).clone()),
            Value::Optional(None) => {}
            other => return fail(format!("value {other} is not optional")),
        }
    }
    Ok(Value::List(List::from(out)))
}

/// What `ofNonZeroValue` holds for nothing.
fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Int(n) | Value::Duration(n) => *n == 0,
        Value::Uint(n) => *n == 0,
        Value::Double(n) => *n == 0.0,
        Value::String(s) => s.is_empty(),
        Value::Bytes(b) => b.is_empty(),
        Value::Timestamp(t) => t.seconds == -62_135_596_800 && t.nanos == 0,
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Object(made) => made.fields.is_empty(),
        Value::Optional(of) => of.is_none(),
        Value::Type(_) | Value::Special(_) | Value::Preserved(_) => false,
    }
}
