//! Short words for what strategies do all the time with the object tree: set a field that is missing, walk into
//! parts that may not be there. Knows no kind.

use api::{Map, Value};

/// Additions to [`Map`] for defaults and preparation.
pub trait Fields {
    /// Sets `key` where it is absent, null or the empty string.
    fn default(&mut self, key: &str, value: impl Into<Value>);
    /// Sets `key` where it is absent, null, 0 or "": Go's "zero means unset" of fields that are no pointers.
    fn default_zero(&mut self, key: &str, value: impl Into<Value>);
    /// The map under `key`, if it is one.
    fn sub(&self, key: &str) -> Option<&Map>;
    fn sub_mut(&mut self, key: &str) -> Option<&mut Map>;
    /// The maps in the list under `key`.
    fn items(&self, key: &str) -> impl Iterator<Item = &Map>;
    fn items_mut(&mut self, key: &str) -> impl Iterator<Item = &mut Map>;
    /// The string under `key`, "" where there is none.
    fn text(&self, key: &str) -> &str;
    fn int(&self, key: &str) -> Option<i64>;
    fn flag(&self, key: &str) -> bool;
    fn list(&self, key: &str) -> &[Value];
    /// Something other than null stands under `key`.
    fn has(&self, key: &str) -> bool;
    /// Makes `key` what it is in `other`: the same, or absent.
    fn copy_from(&mut self, other: &Map, key: &str);
    /// `key` is the same in both; null and absent are the same.
    fn same(&self, other: &Map, key: &str) -> bool;
}

impl Fields for Map {
    fn default(&mut self, key: &str, value: impl Into<Value>) {
        match self.get_mut(key) {
            None => self.push(key, value),
            Some(there) if is_unset(there) => *there = value.into(),
            Some(_) => {}
        }
    }

    fn default_zero(&mut self, key: &str, value: impl Into<Value>) {
        match self.get_mut(key) {
            None => self.push(key, value),
            Some(there) if is_unset(there) || matches!(there, Value::Int(0)) => *there = value.into(),
            Some(_) => {}
        }
    }

    fn sub(&self, key: &str) -> Option<&Map> {
        self.get(key)?.as_map()
    }

    fn sub_mut(&mut self, key: &str) -> Option<&mut Map> {
        self.get_mut(key)?.as_map_mut()
    }

    fn items(&self, key: &str) -> impl Iterator<Item = &Map> {
        self.list(key).iter().filter_map(Value::as_map)
    }

    fn items_mut(&mut self, key: &str) -> impl Iterator<Item = &mut Map> {
        self.get_mut(key).and_then(Value::as_list_mut).into_iter().flatten().filter_map(Value::as_map_mut)
    }

    fn text(&self, key: &str) -> &str {
        self.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn int(&self, key: &str) -> Option<i64> {
        self.get(key)?.as_int()
    }

    fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or_default()
    }

    fn list(&self, key: &str) -> &[Value] {
        self.get(key).and_then(Value::as_list).unwrap_or_default()
    }

    fn has(&self, key: &str) -> bool {
        self.get(key).is_some_and(|v| !v.is_null())
    }

    fn copy_from(&mut self, other: &Map, key: &str) {
        match other.get(key) {
            // Comparing costs less than a copy, and mostly it is the same.
            Some(value) if self.get(key) == Some(value) => {}
            Some(value) => {
                self.insert(key, value.clone());
            }
            None => {
                self.remove(key);
            }
        }
    }

    fn same(&self, other: &Map, key: &str) -> bool {
        same(self.get(key), other.get(key))
    }
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        _ => false,
    }
}

/// Equality of two fields in which null, absent, and an empty list or map are the same.
pub fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a.filter(|v| !is_nothing(v)), b.filter(|v| !is_nothing(v))) {
        (None, None) => true,
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::List(l) => l.is_empty(),
        Value::Map(m) => m.is_empty(),
        _ => false,
    }
}

/// The map at a path; an empty one where there is none.
pub fn map_at<'a>(value: &'a Value, path: &[&str]) -> &'a Map {
    static EMPTY: Map = Map::new();
    value.at(path).and_then(Value::as_map).unwrap_or(&EMPTY)
}

/// The object's map.
pub fn of(value: &Value) -> &Map {
    map_at(value, &[])
}

/// `{key: value}`.
pub fn one(key: &str, value: impl Into<Value>) -> Map {
    let mut map = Map::with_capacity(1);
    map.push(key, value);
    map
}

/// A map literal out of pairs.
pub fn map<const N: usize>(pairs: [(&str, Value); N]) -> Map {
    pairs.into_iter().map(|(k, v)| (k.into(), v)).collect()
}

/// A time as objects write it: RFC 3339 in seconds.
pub fn time(now: jiff::Timestamp) -> Value {
    Value::from(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A time with six digits of a second.
pub fn micro_time(now: jiff::Timestamp) -> Value {
    Value::from(now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
}

/// `metadata.generation` of a new object.
pub fn first_generation(object: &mut Map) {
    object.map_mut("metadata").insert("generation", 1i64);
}

/// One more than the old generation, or the same.
pub fn next_generation(object: &mut Map, old: &Map, changed: bool) {
    let before = old.sub("metadata").and_then(|m| m.int("generation")).unwrap_or(0);
    let now = before + i64::from(changed);
    if now != 0 {
        object.map_mut("metadata").insert("generation", now);
    }
}

/// Keeps the old status, and counts the generation when the spec changed: the usual update.
pub fn keep_status_count_spec(object: &mut Map, old: &Map) {
    object.copy_from(old, "status");
    let changed = !object.same(old, "spec");
    next_generation(object, old, changed);
}

/// Keeps everything but the status, and metadata except what a status update may change.
pub fn keep_all_but_status(object: &mut Map, old: &Map) {
    object.copy_from(old, "spec");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fill_what_is_unset() {
        let mut m = map([("a", Value::Null), ("b", "".into()), ("c", Value::Int(0)), ("d", "x".into())]);
        for key in ["a", "b", "c", "d", "e"] {
            m.default(key, "new");
        }
        assert_eq!(
            m,
            map([
                ("a", "new".into()),
                ("b", "new".into()),
                ("c", Value::Int(0)),
                ("d", "x".into()),
                ("e", "new".into())
            ])
        );
        m.default_zero("c", 7i64);
        assert_eq!(m.int("c"), Some(7));
    }

    #[test]
    fn same_takes_empty_for_absent() {
        assert!(same(None, Some(&Value::Null)));
        assert!(same(Some(&Value::List(vec![])), None));
        assert!(!same(Some(&Value::Int(0)), None));
    }
}
