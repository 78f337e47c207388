//! Lists: Kubernetes' `isSorted`, `sum`, `min`, `max`, `includes`, and cel-go's extended functions (version 3).

use std::cmp::Ordering;

use super::contains;
use crate::functions::{Code, Declared, Outcome, Refused, Style, fail, find};
use crate::value::{List, Value};

const fn function(
    name: &'static str,
    overloads: &'static [(&'static str, &'static str)],
    code: Code,
) -> Declared {
    Declared { name, overloads, code, style: Style::Guarded }
}

const fn plain(
    name: &'static str,
    overloads: &'static [(&'static str, &'static str)],
    code: Code,
) -> Declared {
    Declared { name, overloads, code, style: Style::Plain }
}

macro_rules! of_comparable {
    ($name:literal, $infix:literal, $result:literal, $code:expr) => {
        function(
            $name,
            &[
                (concat!("list_int_", $infix), concat!("list(int).() ", $result, "int")),
                (concat!("list_uint_", $infix), concat!("list(uint).() ", $result, "uint")),
                (concat!("list_double_", $infix), concat!("list(double).() ", $result, "double")),
                (concat!("list_bool_", $infix), concat!("list(bool).() ", $result, "bool")),
                (concat!("list_duration_", $infix), concat!("list(duration).() ", $result, "duration")),
                (concat!("list_timestamp_", $infix), concat!("list(timestamp).() ", $result, "timestamp")),
                (concat!("list_string_", $infix), concat!("list(string).() ", $result, "string")),
                (concat!("list_bytes_", $infix), concat!("list(bytes).() ", $result, "bytes")),
            ],
            $code,
        )
    };
}

pub(super) const DECLARED: &[Declared] = &[
    function(
        "isSorted",
        &[
            ("list_int_is_sorted_bool", "list(int).() bool"),
            ("list_uint_is_sorted_bool", "list(uint).() bool"),
            ("list_double_is_sorted_bool", "list(double).() bool"),
            ("list_bool_is_sorted_bool", "list(bool).() bool"),
            ("list_duration_is_sorted_bool", "list(duration).() bool"),
            ("list_timestamp_is_sorted_bool", "list(timestamp).() bool"),
            ("list_string_is_sorted_bool", "list(string).() bool"),
            ("list_bytes_is_sorted_bool", "list(bytes).() bool"),
        ],
        is_sorted,
    ),
    function(
        "sum",
        &[
            ("list_int_sum_int", "list(int).() int"),
            ("list_uint_sum_uint", "list(uint).() uint"),
            ("list_double_sum_double", "list(double).() double"),
            ("list_duration_sum_duration", "list(duration).() duration"),
        ],
        sum,
    ),
    of_comparable!("min", "min", "", |args| extreme(args, "min", Ordering::Greater)),
    of_comparable!("max", "max", "", |args| extreme(args, "max", Ordering::Less)),
    function("includes", &[("list_includes_dyn_dyn", "dyn.(dyn) bool")], |args| match &args[0] {
        Value::List(list) => Ok(Value::Bool(contains(list, &args[1])?)),
        other => Ok(Value::Bool(other.equals(&args[1]))),
    }),
    function("slice", &[("list_slice", "list(T).(int, int) list(T)")], slice),
    plain(
        "flatten",
        &[("list_flatten", "list(list(T)).() list(T)"), ("list_flatten_int", "list(dyn).(int) list(dyn)")],
        |args| {
            let Value::List(list) = &args[0] else { return Err(Refused::NoOverload) };
            let mut out = Vec::new();
            match args.get(1) {
                None => flatten(list, 1, &mut out)?,
                Some(Value::Int(depth)) if *depth < 0 => return fail("level must be non-negative"),
                Some(Value::Int(depth)) => flatten(list, *depth, &mut out)?,
                Some(_) => return Err(Refused::NoOverload),
            }
            Ok(Value::List(List::from(out)))
        },
    ),
    plain(
        "sort",
        &[
            ("list_int_sort", "list(int).() list(int)"),
            ("list_uint_sort", "list(uint).() list(uint)"),
            ("list_double_sort", "list(double).() list(double)"),
            ("list_bool_sort", "list(bool).() list(bool)"),
            ("list_google.protobuf.Duration_sort", "list(duration).() list(duration)"),
            ("list_google.protobuf.Timestamp_sort", "list(timestamp).() list(timestamp)"),
            ("list_string_sort", "list(string).() list(string)"),
            ("list_bytes_sort", "list(bytes).() list(bytes)"),
        ],
        |args| sorted_by(&args[0], &args[0]),
    ),
    plain(
        "@sortByAssociatedKeys",
        &[
            ("list_int_sortByAssociatedKeys", "list(T).(list(int)) list(T)"),
            ("list_uint_sortByAssociatedKeys", "list(T).(list(uint)) list(T)"),
            ("list_double_sortByAssociatedKeys", "list(T).(list(double)) list(T)"),
            ("list_bool_sortByAssociatedKeys", "list(T).(list(bool)) list(T)"),
            ("list_google.protobuf.Duration_sortByAssociatedKeys", "list(T).(list(duration)) list(T)"),
            ("list_google.protobuf.Timestamp_sortByAssociatedKeys", "list(T).(list(timestamp)) list(T)"),
            ("list_string_sortByAssociatedKeys", "list(T).(list(string)) list(T)"),
            ("list_bytes_sortByAssociatedKeys", "list(T).(list(bytes)) list(T)"),
        ],
        |args| sorted_by(&args[0], &args[1]),
    ),
    function("lists.range", &[("lists_range", "(int) list(int)")], range),
    function("reverse", &[("list_reverse", "list(T).() list(T)")], |args| {
        let mut all = items(&args[0])?;
        all.reverse();
        Ok(Value::List(List::from(all)))
    }),
    function("distinct", &[("list_distinct", "list(T).() list(T)")], |args| {
        let mut out: Vec<Value<'_>> = Vec::new();
        for item in items(&args[0])? {
            if !out.iter().any(|known| known.equals(&item)) {
                out.push(item);
            }
        }
        Ok(Value::List(List::from(out)))
    }),
];

fn items<'a>(value: &Value<'a>) -> Result<Vec<Value<'a>>, Refused> {
    match value {
        Value::List(list) => list.iter().map(|item| item.map_err(Refused::from)).collect(),
        _ => Err(Refused::NoOverload),
    }
}

fn is_sorted<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let all = items(&args[0])?;
    for pair in all.windows(2) {
        if pair[0].order(&pair[1])?.is_gt() {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let all = items(&args[0])?;
    let Some(add) = find("_+_") else { return Err(Refused::NoOverload) };
    let mut all = all.into_iter();
    let Some(mut total) = all.next() else { return Ok(Value::Int(0)) };
    if !total.is_number() && !matches!(total, Value::Duration(_)) {
        return Err(Refused::NoOverload);
    }
    for item in all {
        total = add.call(&[total, item])?;
    }
    Ok(total)
}

fn extreme<'a>(args: &[Value<'a>], name: &str, replace: Ordering) -> Outcome<'a> {
    let mut best: Option<Value<'a>> = None;
    for item in items(&args[0])? {
        best = Some(match best {
            Some(best) if best.order(&item)? != replace => best,
            _ => item,
        });
    }
    best.map_or_else(|| fail(format!("{name} called on empty list")), Ok)
}

fn slice<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::List(list), Value::Int(start), Value::Int(end)] = args else {
        return Err(Refused::NoOverload);
    };
    let refuse = |why: String| fail(format!("cannot slice({start}, {end}), {why}"));
    let (Ok(from), Ok(to)) = (usize::try_from(*start), usize::try_from(*end)) else {
        return refuse("negative indexes not supported".into());
    };
    if from > to {
        return refuse("start index must be less than or equal to end index".into());
    }
    if to > list.len() {
        return refuse(format!("list is length {}", list.len()));
    }
    let mut out = Vec::with_capacity(to - from);
    for at in from..to {
        out.extend(list.get(at).transpose()?);
    }
    Ok(Value::List(List::from(out)))
}

/// Lists nest no deeper than expressions and trees do.
fn flatten<'a>(list: &List<'a>, depth: i64, out: &mut Vec<Value<'a>>) -> Result<(), Refused> {
    for item in list.iter() {
        match item? {
            Value::List(inner) if depth > 0 => flatten(&inner, depth - 1, out)?,
            other => out.push(other),
        }
    }
    Ok(())
}

fn sorted_by<'a>(list: &Value<'a>, keys: &Value<'a>) -> Outcome<'a> {
    let (items, keys) = (items(list)?, items(keys)?);
    if items.len() != keys.len() {
        return fail(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively",
            items.len(),
            keys.len()
        ));
    }
    if let Some(first) = keys.first() {
        if first.order(first).is_err() && !matches!(first, Value::Double(_)) {
            return fail("list elements must be comparable");
        }
        if keys.iter().any(|key| key.type_of() != first.type_of()) {
            return fail("list elements must have the same type");
        }
    }
    let mut pairs: Vec<(Value<'a>, Value<'a>)> = keys.into_iter().zip(items).collect();
    pairs.sort_by(|a, b| a.0.order(&b.0).unwrap_or(Ordering::Equal));
    Ok(Value::List(List::from(pairs.into_iter().map(|(_, item)| item).collect::<Vec<_>>())))
}

/// Numbers from 0.
fn range<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    const MOST: i64 = 1_000_000;
    match args[0] {
        Value::Int(n) if n < 0 => fail(format!("lists.range: size must be non-negative, got {n}")),
        Value::Int(n) if n > MOST => fail(format!("lists.range: size {n} exceeds maximum allowed ({MOST})")),
        Value::Int(n) => Ok(Value::List(List::from((0..n).map(Value::Int).collect::<Vec<_>>()))),
        _ => Err(Refused::NoOverload),
    }
}
