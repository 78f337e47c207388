//! Values of a custom resource against its OpenAPI schema, in the words of upstream's validator.
//!
//! Deliberately absent: `x-kubernetes-validations` (see `expressions`).

use api::Value;
use apimachinery::field::{Error, ErrorList, ErrorType, Path};
use regex::Regex;

use super::structural::{
    Additional, EMBEDDED, INT_OR_STRING, LIST_MAP_KEYS, LIST_TYPE, additional, flag, opened, properties,
};
use super::{correlate, format};

/// The errors of a whole object or of a part of one; `path` is "" for the object.
pub fn check(schema: &Value, value: &Value, path: &str) -> ErrorList {
    let mut out = Found::default();
    walk(schema, value, None, path, &mut out);
    out.errors
}

/// The errors of an update: those of what was so before are let pass (KEP-4008).
pub fn check_update(schema: &Value, value: &Value, old: &Value) -> ErrorList {
    let mut out = Found::default();
    walk(schema, value, Some(old), "", &mut out);
    out.errors
}

/// Errors, and how much fitted: of the alternatives of an `anyOf` the one that fits best tells its errors.
#[derive(Default)]
struct Found {
    errors: ErrorList,
    fits: usize,
}

impl Found {
    fn add(&mut self, kind: ErrorType, path: &str, value: Option<String>, detail: impl Into<String>) {
        self.errors.push(Error { kind, field: field_path(path), value, detail: detail.into() });
    }

    fn invalid(&mut self, path: &str, value: &Value, detail: impl Into<String>) {
        self.add(ErrorType::Invalid, path, Some(shown(value)), detail);
    }

    fn merge(&mut self, other: Self) {
        self.errors.extend(other.errors);
        self.fits += other.fits;
    }
}

/// The path as a field error has it; the object itself is upstream's nil path.
fn field_path(path: &str) -> Path {
    if path.is_empty() { Path::default() } else { Path::new(path) }
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A value as messages show it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => format!("{:?}", s.as_str()),
        Value::Null => "null".into(),
        other => serde_json::Value::from(other).to_string(),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Int(_) => "integer",
        Value::Float(n) if n.fract() == 0.0 => "integer",
        Value::Float(_) => "number",
        Value::String(_) => "string",
        Value::List(_) => "array",
        Value::Map(_) | Value::Raw(_) => "object",
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(n) => Some(*n as f64),
        Value::Float(n) => Some(*n),
        _ => None,
    }
}

fn at<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    schema.get(key).filter(|v| !v.is_null())
}

fn count(schema: &Value, key: &str) -> Option<usize> {
    at(schema, key).and_then(Value::as_int).and_then(|n| usize::try_from(n).ok())
}

/// `old` is what the value was, where that is known.
fn walk(schema: &Value, value: &Value, old: Option<&Value>, path: &str, out: &mut Found) {
    let before = out.errors.len();
    rules(schema, value, old, path, out);
    if out.errors.len() > before && old.is_some_and(|old| correlate::equal(schema, value, old)) {
        out.errors.truncate(before);
    }
}

fn rules(schema: &Value, value: &Value, old: Option<&Value>, path: &str, out: &mut Found) {
    if value.is_null() {
        if !flag(schema, "nullable") {
            type_check(schema, value, path, out);
        }
        enum_check(schema, value, path, out);
        return;
    }
    type_check(schema, value, path, out);
    combined(schema, value, path, out);
    match value {
        Value::String(text) => strings(schema, text, value, path, out),
        Value::Int(_) | Value::Float(_) => numbers(schema, value, path, out),
        Value::List(list) => lists(schema, list, (value, old), path, out),
        Value::Map(map) => objects(schema, map, old, path, out),
        _ => {}
    }
    enum_check(schema, value, path, out);
}

fn type_check(schema: &Value, value: &Value, path: &str, out: &mut Found) {
    let (wanted, is) = (schema.str_at(&["type"]), kind_of(value));
    let fits = match wanted {
        _ if flag(schema, INT_OR_STRING) => matches!(is, "integer" | "string"),
        "" => true,
        "number" => matches!(is, "integer" | "number"),
        other => other == is,
    };
    if fits {
        out.fits += 1;
        return;
    }
    let fraction = wanted == "integer" && is == "number";
    let wanted = if wanted.is_empty() { "integer,string" } else { wanted };
    let detail = format!("{path} in body must be of type {wanted}: {is:?}");
    out.add(ErrorType::TypeInvalid, path, Some(format!("{is:?}")), detail);
    if fraction {
        unfit_number(path, "(default format)", out);
    }
}

/// What upstream says beside, at no path, of a number that does not fit its type's format.
fn unfit_number(path: &str, format: &str, out: &mut Found) {
    let detail = format!("Checked value must be of type integer {format} in {path}");
    out.add(ErrorType::Invalid, "", Some("\"\"".into()), detail);
}

fn enum_check(schema: &Value, value: &Value, path: &str, out: &mut Found) {
    let allowed: Vec<Value> = schema.list_at(&["enum"]).iter().map(opened).collect();
    if allowed.is_empty() || allowed.contains(value) {
        return;
    }
    let words: Vec<String> = allowed
        .iter()
        .map(|v| v.as_str().map_or_else(|| shown(v), str::to_owned))
        .map(|word| format!("{word:?}"))
        .collect();
    let detail = format!("supported values: {}", words.join(", "));
    out.add(ErrorType::NotSupported, path, Some(shown(value)), detail);
}

fn strings(schema: &Value, text: &str, value: &Value, path: &str, out: &mut Found) {
    let length = text.chars().count();
    if let Some(max) = count(schema, "maxLength").filter(|max| length > *max) {
        out.errors.push(Error { ..Error::too_long(&field_path(path), max) });
    }
    if let Some(min) = count(schema, "minLength").filter(|min| length < *min) {
        out.invalid(path, value, format!("{path} in body should be at least {min} chars long"));
    }
    let pattern = schema.str_at(&["pattern"]);
    if !pattern.is_empty() && Regex::new(pattern).is_ok_and(|p| !p.is_match(text)) {
        out.invalid(path, value, format!("{path} in body should match '{pattern}'"));
    }
    let name = schema.str_at(&["format"]);
    if !format::fits(name, text) {
        let detail = format!("{path} in body must be of type {name}: {text:?}");
        out.add(ErrorType::TypeInvalid, path, Some(shown(value)), detail);
    }
}

fn numbers(schema: &Value, value: &Value, path: &str, out: &mut Found) {
    let Some(n) = number(value) else { return };
    if schema.str_at(&["format"]) == "int32" && !(-2_147_483_648.0..=2_147_483_647.0).contains(&n) {
        unfit_number(path, "with format int32", out);
    }
    let plain = |limit: &Value| shown(limit);
    if let Some((text, limit)) = at(schema, "maximum").and_then(|m| Some((plain(m), number(m)?))) {
        let exclusive = flag(schema, "exclusiveMaximum");
        if n > limit || exclusive && n >= limit {
            let words = if exclusive { "less than" } else { "less than or equal to" };
            out.invalid(path, value, format!("{path} in body should be {words} {text}"));
        }
    }
    if let Some((text, limit)) = at(schema, "minimum").and_then(|m| Some((plain(m), number(m)?))) {
        let exclusive = flag(schema, "exclusiveMinimum");
        if n < limit || exclusive && n <= limit {
            let words = if exclusive { "greater than" } else { "greater than or equal to" };
            out.invalid(path, value, format!("{path} in body should be {words} {text}"));
        }
    }
    if let Some((text, of)) = at(schema, "multipleOf").and_then(|m| Some((plain(m), number(m)?)))
        && of > 0.0
        && (n / of).fract() != 0.0
    {
        out.invalid(path, value, format!("{path} in body should be a multiple of {text}"));
    }
}

fn lists(schema: &Value, list: &[Value], whole: (&Value, Option<&Value>), path: &str, out: &mut Found) {
    let (value, old) = whole;
    if let Some(items) = at(schema, "items") {
        for (i, item) in list.iter().enumerate() {
            let before = old.and_then(|old| correlate::item(schema, old, item));
            walk(items, item, before, &format!("{path}[{i}]"), out);
        }
    }
    if let Some(min) = count(schema, "minItems").filter(|min| list.len() < *min) {
        let count = Value::from(list.len());
        out.invalid(path, &count, format!("{path} in body should have at least {min} items"));
    }
    if let Some(max) = count(schema, "maxItems").filter(|max| list.len() > *max) {
        out.errors.push(Error::too_many(&field_path(path), list.len(), max));
    }
    if flag(schema, "uniqueItems") && (1..list.len()).any(|i| list[..i].contains(&list[i])) {
        out.invalid(path, value, format!("{path} in body shouldn't contain duplicates"));
    }
}

fn objects(schema: &Value, map: &api::Map, old: Option<&Value>, path: &str, out: &mut Found) {
    let before = |name: &str| old.and_then(|old| old.get(name));
    if let Some(max) = count(schema, "maxProperties").filter(|max| map.len() > *max) {
        out.errors.push(Error::too_many(&field_path(path), map.len(), max));
    }
    if let Some(min) = count(schema, "minProperties").filter(|min| map.len() < *min) {
        let count = Value::from(map.len());
        out.invalid(path, &count, format!("{path} in body should have at least {min} properties"));
    }
    for name in schema.list_at(&["required"]).iter().filter_map(Value::as_str) {
        if map.contains_key(name) {
            out.fits += 1;
        } else {
            out.add(ErrorType::Required, &child(path, name), None, "");
        }
    }
    for (name, of) in properties(schema) {
        if let Some(value) = map.get(name) {
            walk(of, value, before(name), &child(path, name), out);
        }
    }
    if let Additional::Of(of) = additional(schema) {
        let known = |name: &str| schema.at(&["properties", name]).is_some();
        for (name, value) in map.iter().filter(|(name, _)| !known(name)) {
            walk(of, value, before(name), &child(path, name), out);
        }
    }
    if flag(schema, EMBEDDED) {
        embedded(map, path, out);
    }
}

fn embedded(map: &api::Map, path: &str, out: &mut Found) {
    for name in ["apiVersion", "kind"] {
        if map.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
            out.add(ErrorType::Required, &child(path, name), None, "");
        }
    }
}

/// `allOf`, `anyOf`, `oneOf` and `not`.
fn combined(schema: &Value, value: &Value, path: &str, out: &mut Found) {
    let tried = |key: &str| -> Vec<Found> {
        let one = |of: &Value| {
            let mut found = Found::default();
            walk(of, value, None, path, &mut found);
            found
        };
        schema.list_at(&[key]).iter().map(one).collect()
    };
    let compound = |out: &mut Found, text: String| out.add(ErrorType::Invalid, "", Some("\"\"".into()), text);
    let any = tried("anyOf");
    if !any.is_empty() && !any.iter().any(|f| f.errors.is_empty()) {
        compound(out, format!("{path:?} must validate at least one schema (anyOf)"));
        out.merge(best(any));
    }
    let one = tried("oneOf");
    let fitting = one.iter().filter(|f| f.errors.is_empty()).count();
    if !one.is_empty() && fitting != 1 {
        let why = if fitting == 0 {
            "Found none valid".to_owned()
        } else {
            format!("Found {fitting} valid alternatives")
        };
        compound(out, format!("{path:?} must validate one and only one schema (oneOf). {why}"));
        if fitting == 0 {
            out.merge(best(one));
        }
    }
    let all = tried("allOf");
    if all.iter().any(|f| !f.errors.is_empty()) {
        let why = if all.iter().all(|f| !f.errors.is_empty()) { ". None validated" } else { "" };
        all.into_iter().for_each(|found| out.merge(found));
        compound(out, format!("{path:?} must validate all the schemas (allOf){why}"));
    }
    if let Some(not) = at(schema, "not") {
        let mut found = Found::default();
        walk(not, value, None, path, &mut found);
        if found.errors.is_empty() {
            compound(out, format!("{path:?} must not validate the schema (not)"));
        }
    }
}

/// The alternative that fits best; the first of equals.
fn best(tried: Vec<Found>) -> Found {
    tried.into_iter().reduce(|best, next| if next.fits > best.fits { next } else { best }).unwrap_or_default()
}

/// Duplicates in sets and keyed lists.
pub fn check_lists(schema: &Value, value: &Value, path: &Path) -> ErrorList {
    let mut out = ErrorList::new();
    duplicates(schema, value, path, &mut out);
    out
}

fn duplicates(schema: &Value, value: &Value, path: &Path, out: &mut ErrorList) {
    match value {
        Value::Map(map) => {
            for (name, value) in map.iter() {
                match (schema.at(&["properties", name]), additional(schema)) {
                    (Some(of), _) => duplicates(of, value, &path.child(name), out),
                    (None, Additional::Of(of)) => duplicates(of, value, &path.key(name), out),
                    _ => {}
                }
            }
        }
        Value::List(list) => {
            let keys: Vec<&str> = schema.list_at(&[LIST_MAP_KEYS]).iter().filter_map(Value::as_str).collect();
            match schema.str_at(&[LIST_TYPE]) {
                "set" => repeated(list.to_vec(), path, out),
                "map" => repeated(list.iter().map(|item| keys_of(item, &keys)).collect(), path, out),
                _ => {}
            }
            if let Some(items) = schema.get("items") {
                list.iter().enumerate().for_each(|(i, item)| duplicates(items, item, &path.index(i), out));
            }
        }
        _ => {}
    }
}

fn keys_of(item: &Value, keys: &[&str]) -> Value {
    let pairs = keys.iter().filter_map(|k| Some(((*k).into(), item.get(k)?.clone())));
    Value::Map(pairs.collect())
}

fn repeated(list: Vec<Value>, path: &Path, out: &mut ErrorList) {
    for (i, item) in list.iter().enumerate() {
        if list[..i].contains(item) {
            let (kind, detail) = (ErrorType::Duplicate, String::new());
            out.push(Error { kind, field: path.index(i), value: Some(shown(item)), detail });
        }
    }
}
