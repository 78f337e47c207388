//! Quantities where they stand in objects: strings that validation has accepted. Text that is no quantity counts
//! as zero, so that defaults and sums never fail.

use std::cmp::Ordering;

use api::{Map, Value};
use apimachinery::quantity::Quantity;

/// The quantity of a string or a number.
pub fn parse(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(s) => s.parse().ok(),
        Value::Int(n) => n.to_string().parse().ok(),
        _ => None,
    }
}

fn of(value: &Value) -> Quantity {
    parse(value).unwrap_or_default()
}

/// How two quantities stand to each other.
pub fn compare(a: &Value, b: &Value) -> Ordering {
    of(a).cmp(&of(b))
}

pub fn is_zero(value: &Value) -> bool {
    of(value) == Quantity::default()
}

pub fn is_negative(value: &Value) -> bool {
    of(value) < Quantity::default()
}

/// Adds each quantity of `list` to `sum`.
pub fn add(sum: &mut Map, list: &Map) {
    for (name, value) in list.iter() {
        let total = match sum.get(name) {
            Some(there) => {
                let mut total = of(there);
                total.add(&of(value));
                total
            }
            None => of(value),
        };
        sum.insert(name.clone(), total.to_string());
    }
}

/// Raises each quantity of `high` to that of `list`.
pub fn raise(high: &mut Map, list: &Map) {
    for (name, value) in list.iter() {
        if high.get(name).is_none_or(|there| compare(there, value) == Ordering::Less) {
            high.insert(name.clone(), value.clone());
        }
    }
}
