//! YAML to the object tree, as sigs.k8s.io/yaml reads it: YAML 1.1 scalars (`yes`, `on`, `n`,
//! `0755`, as keys too: `n:` is `false:`), one document.
//! What is written as YAML is JSON, which YAML is a superset of, in block form.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;

use crate::canonical::{self, DecodeError, Finding, Found};
use crate::json;
use crate::schema::Type;
use crate::value::{Map, Value};

/// A node of any kind, keys as text.
struct Node(Value);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Tree).map(Self)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Int(n))
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Value, E> {
        Ok(i64::try_from(n).map_or(Value::Float(n as f64), Value::Int))
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<Value, E> {
        Ok(Value::Float(n))
    }

    fn visit_str<E: Error>(self, s: &str) -> Result<Value, E> {
        Ok(Value::from(s))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Node(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((Node(key), Node(value))) = entries.next_entry()? {
            let key = match key {
                Value::String(s) => s,
                Value::List(_) | Value::Map(_) | Value::Null => {
                    return Err(A::Error::custom("unsupported map key"));
                }
                other => json::to_string(&other).into(),
            };
            map.insert(key, value);
        }
        Ok(Value::Map(map))
    }
}

/// Reads one document.
pub fn parse(bytes: &[u8]) -> Result<Value, DecodeError> {
    read(bytes, DuplicateKeyPolicy::LastWins)
}

fn read(bytes: &[u8], duplicate_keys: DuplicateKeyPolicy) -> Result<Value, DecodeError> {
    let bad = |e: String| DecodeError::Yaml(format!("error converting YAML to JSON: yaml: {e}"));
    let text = std::str::from_utf8(bytes).map_err(|e| bad(e.to_string()))?;
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    let options = serde_saphyr::options! {
        duplicate_keys: duplicate_keys,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options::<Node>(text, options).map(|n| n.0).map_err(|e| bad(e.to_string()))
}

/// Reads an object of a type into its canonical form; double keys are reported by name.
pub fn decode(bytes: &[u8], of: &Type) -> Result<(Value, Found), DecodeError> {
    let mut found = Found::default();
    let mut value = match read(bytes, DuplicateKeyPolicy::Error) {
        Ok(value) => value,
        Err(strict) => {
            let value = parse(bytes)?;
            found.add(Finding::Text(strict.to_string()));
            value
        }
    };
    canonical::canonicalize(&mut value, of, &mut found)?;
    Ok((value, found))
}

/// Writes a tree in block form, keys sorted, as sigs.k8s.io/yaml does.
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Map(m) if !m.is_empty() => map(&mut out, m, 0, false),
        Value::List(l) if !l.is_empty() => list(&mut out, l, 0),
        other => {
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
    out
}

fn map(out: &mut String, m: &Map, indent: usize, mut inline: bool) {
    let mut keys: Vec<(&str, &Value)> = m.iter().map(|(k, v)| (k.as_str(), v)).collect();
    keys.sort_by(|a, b| a.0.cmp(b.0));
    for (key, value) in keys {
        if !std::mem::take(&mut inline) {
            out.extend(std::iter::repeat_n(' ', indent));
        }
        out.push_str(&text(key));
        out.push(':');
        child(out, value, indent);
    }
}

fn child(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Map(m) if !m.is_empty() => {
            out.push('\n');
            map(out, m, indent + 2, false);
        }
        Value::List(l) if !l.is_empty() => {
            out.push('\n');
            list(out, l, indent);
        }
        other => {
            out.push(' ');
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
}

fn list(out: &mut String, items: &[Value], indent: usize) {
    for item in items {
        out.extend(std::iter::repeat_n(' ', indent));
        out.push('-');
        match item {
            Value::Map(m) if !m.is_empty() => {
                out.push(' ');
                map(out, m, indent + 2, true);
            }
            other => child(out, other, indent + 2),
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(s) => text(s),
        Value::Raw(raw) => {
            json::parse(raw.as_bytes()).map_or_else(|_| "null".into(), |v| json::to_string(&v))
        }
        other => json::to_string(other),
    }
}

/// Plain where YAML reads it back as the same text, else in double quotes.
fn text(s: &str) -> String {
    let first = s.bytes().next();
    let plain = first.is_some_and(|c| c.is_ascii_alphabetic() || c == b'/' || c == b'_' || c == b'.')
        && s.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_./ ()@,+=".contains(&c))
        && !s.ends_with(' ');
    if plain && matches!(parse(s.as_bytes()), Ok(Value::String(back)) if back == s) {
        return s.to_owned();
    }
    json::to_string(&Value::from(s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_yaml_1_1s() {
        let text = "a: yes\nb: 'yes'\nc: 0755\nd: 1.5\ne: ~\nf: [on, off, x]\n1: true\ng:\n- n: \"1\"\n  m: |\n    two\n    lines\n";
        let tree = parse(text.as_bytes()).unwrap();
        let want = crate::value!({
            "a": true, "b": "yes", "c": 493, "d": 1.5, "e": null, "f": [true, false, "x"], "1": true,
            "g": [{"false": "1", "m": "two\nlines\n"}]});
        assert_eq!(tree, want);
        assert!(parse(b"a: [1").is_err());
    }

    #[test]
    fn objects_come_back_from_their_yaml() {
        let tree = crate::value!({
            "kind": "ConfigMap", "data": {"a": "yes", "b": "x: y", "c": "", "d": "line\nline\n"}, "n": [1, [], {"z": [2, "s"]}], "e": {}});
        assert_eq!(parse(to_string(&tree).as_bytes()).unwrap(), tree, "{}", to_string(&tree));
        let of = crate::schema::by_gvk("", "v1", "ConfigMap").unwrap();
        let (value, found) = decode(b"kind: ConfigMap\nkind: ConfigMap\nx: 1\n", &of).unwrap();
        assert_eq!(value.kind(), "ConfigMap");
        assert_eq!(found.unknown().collect::<Vec<_>>(), ["x"]);
        assert_eq!(found.findings().len(), 2);
    }
}
