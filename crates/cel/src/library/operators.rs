//! The standard's operators: arithmetic, order, `in`, size.

use super::time;
use crate::functions::{Code, Declared, Outcome, Refused, Style, fail};
use crate::schema::ListKind;
use crate::value::equality::same_keys;
use crate::value::{List, Value};

const fn operator(
    name: &'static str,
    overloads: &'static [(&'static str, &'static str)],
    code: Code,
    is_operand: for<'a> fn(&Value<'a>) -> bool,
) -> Declared {
    Declared { name, overloads, code, style: Style::Operator(is_operand) }
}

const fn plain(
    name: &'static str,
    overloads: &'static [(&'static str, &'static str)],
    code: Code,
) -> Declared {
    Declared { name, overloads, code, style: Style::Plain }
}

macro_rules! order {
    ($name:literal, $prefix:literal, $code:expr) => {
        operator(
            $name,
            &[
                (concat!($prefix, "_bool"), "(bool, bool) bool"),
                (concat!($prefix, "_int64"), "(int, int) bool"),
                (concat!($prefix, "_int64_double"), "(int, double) bool"),
                (concat!($prefix, "_int64_uint64"), "(int, uint) bool"),
                (concat!($prefix, "_uint64"), "(uint, uint) bool"),
                (concat!($prefix, "_uint64_double"), "(uint, double) bool"),
                (concat!($prefix, "_uint64_int64"), "(uint, int) bool"),
                (concat!($prefix, "_double"), "(double, double) bool"),
                (concat!($prefix, "_double_int64"), "(double, int) bool"),
                (concat!($prefix, "_double_uint64"), "(double, uint) bool"),
                (concat!($prefix, "_string"), "(string, string) bool"),
                (concat!($prefix, "_bytes"), "(bytes, bytes) bool"),
                (concat!($prefix, "_timestamp"), "(timestamp, timestamp) bool"),
                (concat!($prefix, "_duration"), "(duration, duration) bool"),
            ],
            $code,
            is_ordered,
        )
    };
}

pub(super) const DECLARED: &[Declared] = &[
    plain("_?_:_", &[("conditional", "(bool, A, A) A")], unreached),
    plain("_&&_", &[("logical_and", "(bool, bool) bool")], unreached),
    plain("_||_", &[("logical_or", "(bool, bool) bool")], unreached),
    plain("!_", &[("logical_not", "(bool) bool")], not),
    plain("@not_strictly_false", &[("not_strictly_false", "(bool) bool")], unreached),
    plain("_==_", &[("equals", "(A, A) bool")], equal),
    plain("_!=_", &[("not_equals", "(A, A) bool")], not_equal),
    operator(
        "_+_",
        &[
            ("add_bytes", "(bytes, bytes) bytes"),
            ("add_double", "(double, double) double"),
            ("add_duration_duration", "(duration, duration) duration"),
            ("add_duration_timestamp", "(duration, timestamp) timestamp"),
            ("add_timestamp_duration", "(timestamp, duration) timestamp"),
            ("add_int64", "(int, int) int"),
            ("add_list", "(list(A), list(A)) list(A)"),
            ("add_string", "(string, string) string"),
            ("add_uint64", "(uint, uint) uint"),
        ],
        add,
        is_addable,
    ),
    operator(
        "_/_",
        &[
            ("divide_double", "(double, double) double"),
            ("divide_int64", "(int, int) int"),
            ("divide_uint64", "(uint, uint) uint"),
        ],
        divide,
        |v| v.is_number(),
    ),
    operator(
        "_%_",
        &[("modulo_int64", "(int, int) int"), ("modulo_uint64", "(uint, uint) uint")],
        modulo,
        |v| matches!(v, Value::Int(_) | Value::Uint(_)),
    ),
    operator(
        "_*_",
        &[
            ("multiply_double", "(double, double) double"),
            ("multiply_int64", "(int, int) int"),
            ("multiply_uint64", "(uint, uint) uint"),
        ],
        multiply,
        |v| v.is_number(),
    ),
    plain("-_", &[("negate_double", "(double) double"), ("negate_int64", "(int) int")], negate),
    operator(
        "_-_",
        &[
            ("subtract_double", "(double, double) double"),
            ("subtract_duration_duration", "(duration, duration) duration"),
            ("subtract_int64", "(int, int) int"),
            ("subtract_timestamp_duration", "(timestamp, duration) timestamp"),
            ("subtract_timestamp_timestamp", "(timestamp, timestamp) duration"),
            ("subtract_uint64", "(uint, uint) uint"),
        ],
        subtract,
        |v| v.is_number() || matches!(v, Value::Duration(_) | Value::Timestamp(_)),
    ),
    order!("_<_", "less", |args| compared(args, |o| o.is_lt())),
    order!("_<=_", "less_equals", |args| compared(args, |o| o.is_le())),
    order!("_>_", "greater", |args| compared(args, |o| o.is_gt())),
    order!("_>=_", "greater_equals", |args| compared(args, |o| o.is_ge())),
    plain(
        "_[_]",
        &[
            ("index_list", "(list(A), int) A"),
            ("index_map", "(map(A, B), A) B"),
            ("optional_list_index_int", "(optional(list(V)), int) optional(V)"),
            ("optional_map_index_value", "(optional(map(K, V)), K) optional(V)"),
        ],
        unreached,
    ),
    plain(
        "_[?_]",
        &[
            ("list_optindex_optional_int", "(list(V), int) optional(V)"),
            ("optional_list_optindex_optional_int", "(optional(list(V)), int) optional(V)"),
            ("map_optindex_optional_value", "(map(K, V), K) optional(V)"),
            ("optional_map_optindex_optional_value", "(optional(map(K, V)), K) optional(V)"),
        ],
        unreached,
    ),
    plain("_?._", &[("select_optional_field", "(dyn, string) optional(V)")], unreached),
    plain("@in", &[("in_list", "(A, list(A)) bool"), ("in_map", "(A, map(A, B)) bool")], contained),
    operator(
        "size",
        &[
            ("size_bytes", "(bytes) int"),
            ("bytes_size", "bytes.() int"),
            ("size_list", "(list(A)) int"),
            ("list_size", "list(A).() int"),
            ("size_map", "(map(A, B)) int"),
            ("map_size", "map(A, B).() int"),
            ("size_string", "(string) int"),
            ("string_size", "string.() int"),
        ],
        size,
        |_| false,
    ),
    plain(
        "cel.@mapInsert",
        &[
            ("cel_@mapInsert_map_map", "(map(K, V), map(K, V)) map(K, V)"),
            ("cel_@mapInsert_map_key_value", "(map(K, V), K, V) map(K, V)"),
        ],
        unreached,
    ),
];

fn is_ordered(value: &Value<'_>) -> bool {
    let other = matches!(
        value,
        Value::Bool(_) | Value::String(_) | Value::Bytes(_) | Value::Timestamp(_) | Value::Duration(_)
    );
    other || value.is_number()
}

fn is_addable(value: &Value<'_>) -> bool {
    is_ordered(value) && !matches!(value, Value::Bool(_)) || matches!(value, Value::List(_))
}

/// What the evaluator does itself.
fn unreached<'a>(_: &[Value<'a>]) -> Outcome<'a> {
    Err(Refused::NoOverload)
}

fn overflow<T>() -> Result<T, Refused> {
    fail("integer overflow")
}

fn unsigned_overflow<T>() -> Result<T, Refused> {
    fail("unsigned integer overflow")
}

fn int<'a>(value: Option<i64>) -> Outcome<'a> {
    value.map_or_else(overflow, |n| Ok(Value::Int(n)))
}

fn uint<'a>(value: Option<u64>) -> Outcome<'a> {
    value.map_or_else(unsigned_overflow, |n| Ok(Value::Uint(n)))
}

fn not<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Bool(b)] => Ok(Value::Bool(!b)),
        _ => Err(Refused::NoOverload),
    }
}

fn equal<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let comparable = match (&args[0], &args[1]) {
        (_, Value::Null) => true,
        (Value::List(list), other) if list.is_typed() => matches!(other, Value::List(_)),
        (Value::Map(map), other) if map.is_typed() => matches!(other, Value::Map(_)),
        _ => true,
    };
    if comparable { Ok(Value::Bool(args[0].equals(&args[1]))) } else { Err(Refused::NoOverload) }
}

fn not_equal<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::Bool(!args[0].equals(&args[1])))
}

fn add<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_add(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_add(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a + b)),
        [Value::String(a), Value::String(b)] => Ok(Value::text(format!("{}{}", &**a, &**b))),
        [Value::Bytes(a), Value::Bytes(b)] => Ok(Value::Bytes(a.iter().chain(b.iter()).copied().collect())),
        [Value::Duration(a), Value::Duration(b)] => time::duration(a.checked_add(*b)),
        [Value::Timestamp(t), Value::Duration(d)] | [Value::Duration(d), Value::Timestamp(t)] => {
            time::shifted(*t, (*d).into())
        }
        [Value::List(a), Value::List(b)] => add_lists(a, b),
        _ => Err(Refused::NoOverload),
    }
}

/// Lists with a list type of their own are merged, others put one behind the other.
fn add_lists<'a>(a: &List<'a>, b: &List<'a>) -> Outcome<'a> {
    let mut out = Vec::with_capacity(a.len() + b.len());
    for item in a.iter() {
        out.push(item?);
    }
    let kind = a.kind();
    for item in b.iter() {
        let item = item?;
        let known = match kind {
            ListKind::Atomic => None,
            ListKind::Set => out.iter().position(|known| known.equals(&item)),
            ListKind::Map(keys) => out.iter().position(|known| same_keys(known, &item, keys)),
        };
        match known {
            Some(at) => out[at] = item,
            None => out.push(item),
        }
    }
    Ok(Value::List(match kind {
        ListKind::Atomic => out.into(),
        kind => List::merged(out, kind.clone()),
    }))
}

fn subtract<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_sub(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_sub(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a - b)),
        [Value::Duration(a), Value::Duration(b)] => time::duration(a.checked_sub(*b)),
        [Value::Timestamp(t), Value::Duration(d)] => time::shifted(*t, -i128::from(*d)),
        [Value::Timestamp(a), Value::Timestamp(b)] => time::between(*a, *b),
        _ => Err(Refused::NoOverload),
    }
}

fn multiply<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_mul(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_mul(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a * b)),
        _ => Err(Refused::NoOverload),
    }
}

fn divide<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => fail("division by zero"),
        [Value::Int(a), Value::Int(b)] => int(a.checked_div(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_div(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a / b)),
        _ => Err(Refused::NoOverload),
    }
}

fn modulo<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => fail("modulus by zero"),
        [Value::Int(a), Value::Int(b)] => int(a.checked_rem(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_rem(*b)),
        _ => Err(Refused::NoOverload),
    }
}

fn negate<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(n)] => int(n.checked_neg()),
        [Value::Double(n)] => Ok(Value::Double(-n)),
        [Value::Duration(n)] => time::duration(n.checked_neg()),
        _ => Err(Refused::NoOverload),
    }
}

fn compared<'a>(args: &[Value<'a>], holds: fn(std::cmp::Ordering) -> bool) -> Outcome<'a> {
    if !is_ordered(&args[0]) {
        return Err(Refused::NoOverload);
    }
    Ok(Value::Bool(holds(args[0].order(&args[1])?)))
}

fn contained<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match &args[1] {
        Value::List(list) => Ok(Value::Bool(contains(list, &args[0])?)),
        Value::Map(map) => match map.find(&args[0]) {
            Some(Err(error)) => Err(error.into()),
            found => Ok(Value::Bool(found.is_some())),
        },
        _ => Err(Refused::NoOverload),
    }
}

/// Whether a list holds a value.
pub(super) fn contains(list: &List<'_>, value: &Value<'_>) -> Result<bool, Refused> {
    for item in list.iter() {
        if item?.equals(value) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn size<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let size = match &args[0] {
        Value::String(s) => s.chars().count(),
        Value::Bytes(b) => b.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        _ => return Err(Refused::NoOverload),
    };
    Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}
