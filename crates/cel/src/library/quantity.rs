//! Quantities: `kubernetes.quantity`. What compares serves semantic versions too.

use std::cmp::Ordering;
use std::sync::Arc;

use apimachinery::Quantity;
use apimachinery::quantity::Format;

use super::Special;
use crate::functions::{Code, Declared, Refused, Style, fail};
use crate::value::Value;

const fn function(
    name: &'static str,
    overloads: &'static [(&'static str, &'static str)],
    code: Code,
) -> Declared {
    Declared { name, overloads, code, style: Style::Guarded }
}

pub(super) const DECLARED: &[Declared] = &[
    function("quantity", &[("string_to_quantity", "(string) Quantity")], |args| {
        match args[0].as_str().ok_or(Refused::NoOverload)?.parse() {
            Ok(quantity) => Ok(made(quantity)),
            Err(error) => fail(error.to_string()),
        }
    }),
    function("isQuantity", &[("is_quantity_string", "(string) bool")], |args| {
        let text = args[0].as_str().ok_or(Refused::NoOverload)?;
        Ok(Value::Bool(text.parse::<Quantity>().is_ok()))
    }),
    function("sign", &[("quantity_sign", "(Quantity) int")], |args| {
        Ok(Value::Int(of(&args[0])?.sign().into()))
    }),
    function(
        "isGreaterThan",
        &[
            ("quantity_is_greater_than", "Quantity.(Quantity) bool"),
            ("semver_is_greater_than", "Semver.(Semver) bool"),
        ],
        |args| Ok(Value::Bool(order(args)?.is_gt())),
    ),
    function(
        "isLessThan",
        &[
            ("quantity_is_less_than", "Quantity.(Quantity) bool"),
            ("semver_is_less_than", "Semver.(Semver) bool"),
        ],
        |args| Ok(Value::Bool(order(args)?.is_lt())),
    ),
    function(
        "compareTo",
        &[("quantity_compare_to", "Quantity.(Quantity) int"), ("semver_compare_to", "Semver.(Semver) int")],
        |args| Ok(Value::Int(order(args)? as i64)),
    ),
    function("asApproximateFloat", &[("quantity_get_float", "Quantity.() double")], |args| {
        Ok(Value::Double(of(&args[0])?.as_f64()))
    }),
    function("asInteger", &[("quantity_get_int", "Quantity.() int")], |args| match of(&args[0])?.as_i64() {
        Some(n) => Ok(Value::Int(n)),
        None => fail("cannot convert value to integer"),
    }),
    function("isInteger", &[("quantity_is_integer", "Quantity.() bool")], |args| {
        Ok(Value::Bool(of(&args[0])?.as_i64().is_some()))
    }),
    function(
        "add",
        &[("quantity_add", "Quantity.(Quantity) Quantity"), ("quantity_add_int", "Quantity.(int) Quantity")],
        |args| {
            let mut sum = of(&args[0])?.clone();
            sum.add(&operand(&args[1])?);
            Ok(made(sum))
        },
    ),
    function(
        "sub",
        &[("quantity_sub", "Quantity.(Quantity) Quantity"), ("quantity_sub_int", "Quantity.(int) Quantity")],
        |args| {
            let mut difference = of(&args[0])?.clone();
            difference.sub(&operand(&args[1])?);
            Ok(made(difference))
        },
    ),
];

fn made<'a>(quantity: Quantity) -> Value<'a> {
    Value::Special(Arc::new(Special::Quantity(quantity)))
}

fn of<'v>(value: &'v Value<'_>) -> Result<&'v Quantity, Refused> {
    match value {
        Value::Special(special) => match &**special {
            Special::Quantity(quantity) => Ok(quantity),
            _ => Err(Refused::NoOverload),
        },
        _ => Err(Refused::NoOverload),
    }
}

fn operand(value: &Value<'_>) -> Result<Quantity, Refused> {
    match value {
        Value::Int(n) => Ok(Quantity::new(*n, Format::DecimalExponent)),
        other => of(other).cloned(),
    }
}

fn order(args: &[Value<'_>]) -> Result<Ordering, Refused> {
    let [Value::Special(a), Value::Special(b)] = args else { return Err(Refused::NoOverload) };
    match (&**a, &**b) {
        (Special::Quantity(a), Special::Quantity(b)) => Ok(a.cmp(b)),
        (Special::Semver(a), Special::Semver(b)) => Ok(a.order(b)),
        _ => Err(Refused::NoOverload),
    }
}
