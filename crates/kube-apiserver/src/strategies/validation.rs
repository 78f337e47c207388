//! Checks that many kinds share: metadata, immutable fields, numbers, ports.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path, Shown};

use super::fields::{self, Fields};
use super::names;

/// A structure as error messages show it: compact JSON.
pub struct Json<'a>(pub &'a Value);

/// Text that messages show as it is: Go structures whose fields have other names than the API's.
pub struct Verbatim(pub String);

impl Shown for Verbatim {
    fn shown(&self) -> String {
        self.0.clone()
    }
}

impl Shown for Json<'_> {
    fn shown(&self) -> String {
        let mut out = String::new();
        write_json(self.0, &mut out);
        out
    }
}

fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(n) => out.push_str(&n.to_string()),
        Value::Float(f) => out.push_str(&f.to_string()),
        Value::String(s) => out.push_str(&s.as_str().shown()),
        Value::Raw(text) => out.push_str(text),
        Value::List(list) => {
            out.push('[');
            for (i, item) in list.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_json(item, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (i, (key, item)) in map.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&key.as_str().shown());
                out.push(':');
                write_json(item, out);
            }
            out.push('}');
        }
    }
}

fn path_of(parts: &[&str]) -> Path {
    parts.iter().fold(Path::default(), |p, part| p.child(part))
}

/// The field is as it was.
pub fn immutable(object: &Value, old: &Value, path: &[&str]) -> ErrorList {
    immutable_because(object, old, path, "field is immutable")
}

pub fn immutable_because(object: &Value, old: &Value, path: &[&str], why: &str) -> ErrorList {
    let (new, before) = (object.at(path), old.at(path));
    if fields::same(new, before) {
        return ErrorList::new();
    }
    vec![Error::invalid(&path_of(path), &Json(new.unwrap_or(&Value::Null)), why)]
}

pub const NON_NEGATIVE: &str = "must be greater than or equal to 0";

pub fn non_negative(errors: &mut ErrorList, number: i64, path: &Path) {
    if number < 0 {
        errors.push(Error::invalid(path, &number, NON_NEGATIVE));
    }
}

pub fn positive(errors: &mut ErrorList, number: i64, path: &Path) {
    if number <= 0 {
        errors.push(Error::invalid(path, &number, "must be greater than zero"));
    }
}

/// A port number in its range.
pub fn port(errors: &mut ErrorList, number: i64, path: &Path) {
    if !(1..=65535).contains(&number) {
        errors.push(Error::invalid(path, &number, "must be between 1 and 65535, inclusive"));
    }
}

/// A port by number or by name.
pub fn port_or_name(errors: &mut ErrorList, value: &Value, path: &Path) {
    match value {
        Value::Int(n) => port(errors, *n, path),
        Value::String(s) => {
            for why in names::port_name(s) {
                errors.push(Error::invalid(path, s.as_str(), why));
            }
        }
        _ => {}
    }
}

/// A value out of a closed set, in the order in which messages list it; `required` refuses "".
pub fn one_of(errors: &mut ErrorList, value: &str, supported: &[&str], path: &Path, required: bool) {
    if value.is_empty() {
        if required {
            errors.push(Error::required(path, ""));
        }
    } else if !supported.contains(&value) {
        errors.push(Error::not_supported(path, value, supported));
    }
}

/// Bytes that keys and values of all annotations may have together.
const ANNOTATIONS_MAX: usize = 256 * 1024;

pub fn labels_and_annotations(metadata: &Map, path: &Path, errors: &mut ErrorList) {
    if let Some(labels) = metadata.sub("labels") {
        self::labels(labels, &path.child("labels"), errors);
    }
    if let Some(annotations) = metadata.sub("annotations") {
        self::annotations(annotations, &path.child("annotations"), errors);
    }
}

/// Keys are qualified names, values label values.
pub fn labels(labels: &Map, path: &Path, errors: &mut ErrorList) {
    for (key, value) in labels.iter() {
        for why in names::qualified_name(key) {
            errors.push(Error::invalid(path, key.as_str(), why));
        }
        let value = value.as_str().unwrap_or_default();
        for why in names::label_value(value) {
            errors.push(Error::invalid(&path.key(key), value, why));
        }
    }
}

pub fn annotations(annotations: &Map, path: &Path, errors: &mut ErrorList) {
    let mut total = 0;
    for (key, value) in annotations.iter() {
        for why in names::qualified_name(&key.to_lowercase()) {
            errors.push(Error::invalid(path, key.as_str(), why));
        }
        total += key.len() + value.as_str().unwrap_or_default().len();
    }
    if total > ANNOTATIONS_MAX {
        errors.push(Error::too_long(path, ANNOTATIONS_MAX));
    }
}

/// A percentage or a number that is not negative.
pub fn int_or_percent(value: Option<&Value>, path: &Path, errors: &mut ErrorList) {
    match value {
        Some(Value::Int(n)) => non_negative(errors, *n, path),
        Some(Value::String(s)) if percent(s).is_none() => {
            let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
            errors.push(Error::invalid(path, s.as_str(), why));
        }
        _ => {}
    }
}

/// The number of `25%`.
pub fn percent(text: &str) -> Option<i64> {
    let digits = text.strip_suffix('%')?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

fn is_zero(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Int(n)) => *n == 0,
        Some(Value::String(s)) => percent(s) == Some(0),
        _ => true,
    }
}

fn not_over_100(value: Option<&Value>, path: &Path, errors: &mut ErrorList) {
    if let Some(Value::String(s)) = value
        && percent(s).is_some_and(|n| n > 100)
    {
        errors.push(Error::invalid(path, s.as_str(), "must not be greater than 100%"));
    }
}

/// `maxUnavailable` and `maxSurge` of a Deployment.
pub fn rolling_update(rolling: &Map, path: &Path, errors: &mut ErrorList) {
    let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
    let at = path.child("maxUnavailable");
    int_or_percent(unavailable, &at, errors);
    int_or_percent(surge, &path.child("maxSurge"), errors);
    if is_zero(unavailable) && is_zero(surge) {
        let shown = unavailable.cloned().unwrap_or_default();
        errors.push(Error::invalid(&at, &Json(&shown), "may not be 0 when `maxSurge` is 0"));
    }
    not_over_100(unavailable, &at, errors);
}

/// The same of a DaemonSet, where exactly one of them may be set.
pub fn daemon_rolling_update(rolling: &Map, path: &Path, errors: &mut ErrorList) {
    let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
    let at = path.child("maxUnavailable");
    int_or_percent(unavailable, &at, errors);
    int_or_percent(surge, &path.child("maxSurge"), errors);
    not_over_100(unavailable, &at, errors);
    not_over_100(surge, &path.child("maxSurge"), errors);
    let shown = |v: Option<&Value>| v.cloned().unwrap_or_default();
    match (is_zero(unavailable), is_zero(surge)) {
        (true, true) => errors.push(Error::required(&at, "cannot be 0 when maxSurge is 0")),
        (false, false) => {
            errors.push(Error::invalid(
                &path.child("maxSurge"),
                &Json(&shown(surge)),
                "may not be set when maxUnavailable is non-zero",
            ));
        }
        _ => {}
    }
}

/// Refuses a second of what `key` tells apart.
pub fn unique<'a>(values: impl Iterator<Item = (Path, &'a str)>, errors: &mut ErrorList) {
    let mut seen = std::collections::HashSet::new();
    for (path, value) in values {
        if !value.is_empty() && !seen.insert(value) {
            errors.push(Error::duplicate(&path, value));
        }
    }
}
