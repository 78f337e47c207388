//! The cost of a call that has been made.

use super::{LIST, Rule, STRUCT};
use crate::library::Special;
use crate::value::Value;

/// A tenth of a size, rounded up: what going through a text costs.
pub(super) fn scan(size: u64) -> u64 {
    size.div_ceil(10)
}

/// What a pattern of a length costs for every unit of the text.
pub(super) fn pattern(length: u64) -> u64 {
    length.div_ceil(4)
}

/// Elements of a list or map, code points of a text; 1 for all else.
fn size(value: &Value<'_>) -> u64 {
    match value {
        Value::String(text) => text.chars().count() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::List(list) => list.len() as u64,
        Value::Map(map) => map.len() as u64,
        Value::Special(special) => special.size(),
        _ => 1,
    }
}

/// As cel-go itself reckons it: through optional values.
fn inner_size(value: &Value<'_>) -> u64 {
    match value {
        Value::Optional(Some(value)) => inner_size(value),
        other => size(other),
    }
}

/// What going through a value with all that is in it costs.
fn traverse(value: &Value<'_>) -> u64 {
    match value {
        Value::String(text) => text.len() as u64 / 10,
        Value::Bytes(bytes) => bytes.len() as u64 / 10,
        Value::List(list) => list.iter().map(|item| item.map_or(1, |item| traverse(&item))).sum(),
        Value::Map(map) => {
            let entry = |at| {
                let key = map.key_at(at).map_or(0, |key| traverse(&key));
                key + map.value_at(at).and_then(Result::ok).map_or(1, |value| traverse(&value))
            };
            (0..map.len()).map(entry).sum()
        }
        _ => 1,
    }
}

/// The cost of a call by its rule. `result` is None where the call failed.
pub(crate) fn of_call(rule: Rule, args: &[Value<'_>], result: Option<&Value<'_>>) -> u64 {
    let arg = |at: usize| args.get(at).map_or(1, size);
    let inner = |at: usize| args.get(at).map_or(1, inner_size);
    let made = result.map_or(1, size);
    match rule {
        Rule::One => 1,
        Rule::Check => 350_000,
        Rule::Selector => selector(arg(1)),
        Rule::Traverse => args.first().map_or(0, traverse),
        Rule::Scan(at) => scan(inner(at)),
        Rule::ScanTwice => scan(arg(0) * 2),
        Rule::Join => scan(made * 2),
        Rule::Pattern => scan(arg(0) + 1).saturating_mul(pattern(arg(1))),
        Rule::Contains => scan(inner(0)).saturating_mul(scan(inner(1))),
        Rule::InList => inner(1),
        Rule::Compare => scan(inner(0).min(inner(1))),
        Rule::Concat => scan(inner(0) + inner(1)),
        Rule::ContainsIp { parse } => scan(arg(0) * 2) + if parse { scan(arg(1)) } else { 0 },
        Rule::ContainsCidr { parse } => {
            scan(arg(0) * 2) + scan(arg(0)) + 1 + if parse { scan(arg(1)) } else { 0 }
        }
        Rule::Validate => validate(args),
        Rule::Equal => equal(args),
        Rule::Sets(times) => 1 + inner(0).saturating_mul(inner(1)).saturating_mul(times),
        Rule::ListResult => made.saturating_add(1 + LIST),
        Rule::Flatten => flatten(args).saturating_add(1 + LIST),
        Rule::SelfCompare(at) => self_compare(args.get(at)).saturating_add(1 + LIST),
    }
}

/// A list, and for every two characters a requirement with its struct and list.
pub(super) fn selector(length: u64) -> u64 {
    LIST + scan(length) + length.div_ceil(2) * (LIST + STRUCT)
}

fn validate(args: &[Value<'_>]) -> u64 {
    let [Value::Special(special), text] = args else { return 1 };
    let Special::Format(format) = &**special else { return 1 };
    scan(size(text) + 1).saturating_mul(pattern(format.pattern()))
}

fn equal(args: &[Value<'_>]) -> u64 {
    match args {
        [Value::Special(_), _] => 1,
        [a, b] => scan(inner_size(a).min(inner_size(b))),
        _ => 1,
    }
}

fn flatten(args: &[Value<'_>]) -> u64 {
    let depth = match args.get(1) {
        Some(Value::Int(n)) => u64::try_from(*n).unwrap_or(1),
        _ => 1,
    };
    args.first().map_or(1, inner_size).saturating_mul(depth)
}

fn self_compare(list: Option<&Value<'_>>) -> u64 {
    let Some(Value::List(list)) = list else { return 2 };
    let n = list.len() as u64;
    let pairs = n.saturating_mul(n);
    let text = matches!(list.get(0), Some(Ok(Value::String(_) | Value::Bytes(_))));
    pairs.saturating_mul(2).saturating_add(if text { pairs / 10 } else { 0 })
}
