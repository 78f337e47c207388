//! Which part of an old object is what a part of the new one was: fields by name, items of keyed lists by their keys,
//! other items not at all. For transition rules, and for letting pass what an update did not change (KEP-4008).

use api::Value;

use super::structural::{Additional, LIST_MAP_KEYS, LIST_TYPE, additional};

/// The old item with the keys of `item`; None where the list has no keys, or none such.
pub(super) fn item<'a>(schema: &Value, old: &'a Value, item: &Value) -> Option<&'a Value> {
    if schema.str_at(&[LIST_TYPE]) != "map" {
        return None;
    }
    let keys: Vec<&str> = schema.list_at(&[LIST_MAP_KEYS]).iter().filter_map(Value::as_str).collect();
    let scalar = |value: &Value| !matches!(value, Value::Map(_) | Value::List(_) | Value::Null);
    let fits = |key: &&str| item.get(key).is_some_and(scalar);
    if keys.is_empty() || !keys.iter().all(fits) {
        return None;
    }
    old.as_list()?.iter().find(|old| keys.iter().all(|key| old.get(key) == item.get(key)))
}

/// The schema of a field or entry; None for one that the schema does not know.
pub(super) fn field<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    match (schema.at(&["properties", name]), additional(schema)) {
        (Some(of), _) | (None, Additional::Of(of)) => Some(of),
        _ => None,
    }
}

/// Whether nothing has changed: the order of a keyed list does not count.
pub(super) fn equal(schema: &Value, new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::Map(new), Value::Map(old)) => {
            new.len() == old.len()
                && new.iter().all(|(name, value)| match (old.get(name), field(schema, name)) {
                    (Some(old), Some(of)) => equal(of, value, old),
                    (Some(old), None) => old == value,
                    (None, _) => false,
                })
        }
        (Value::List(new_list), Value::List(old_list)) if schema.str_at(&[LIST_TYPE]) == "map" => {
            let of = schema.get("items").unwrap_or(&Value::Null);
            new_list.len() == old_list.len()
                && new_list.iter().all(|new| item(schema, old, new).is_some_and(|old| equal(of, new, old)))
        }
        _ => new == old,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_lists_have_no_order() {
        let schema = api::value!({"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["a"], "items": {"type": "object"}});
        let list = |items: &[(&str, i64)]| {
            Value::List(items.iter().map(|(a, b)| api::value!({"a": *a, "b": *b})).collect())
        };
        let old = list(&[("x", 1), ("y", 2)]);
        assert!(equal(&schema, &list(&[("y", 2), ("x", 1)]), &old));
        assert!(!equal(&schema, &list(&[("y", 2), ("x", 2)]), &old));
        assert!(!equal(&Value::map(), &list(&[("y", 2), ("x", 1)]), &old));
        assert_eq!(item(&schema, &old, &api::value!({"a": "y", "b": 9})).unwrap().int_at(&["b"]), Some(2));
        assert!(item(&schema, &old, &api::value!({"b": 9})).is_none());
    }
}
