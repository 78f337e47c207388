//! YAML to the object tree, as sigs.k8s.io/yaml reads it: YAML 1.1 scalars (`yes`, `on`, `n`,
//! `0755`, as keys too: `n:` is `false:`), one document.
//! [`to_string`] writes it as that does.

mod write;

use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::options::DuplicateKeyPolicy;

use crate::canonical::{self, DecodeError, Finding, Found};
use crate::json;
use crate::schema::Type;
use crate::value::{Map, Value};

pub use write::to_string;

/// A node of any kind, keys as text.
struct Node(Value);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Tree(&RefCell::default())).map(Self)
    }
}

/// Keys that came twice, in the order of the text.
type Doubles = RefCell<Vec<String>>;

#[derive(Clone, Copy)]
struct Tree<'d>(&'d Doubles);

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
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
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<Spanned<Node>>()? {
            let (line, Node(key)) = (key.referenced.line(), key.value);
            let shown = json::to_string(&key);
            let key = match key {
                Value::String(s) => s,
                Value::List(_) | Value::Map(_) | Value::Null => {
                    return Err(A::Error::custom("unsupported map key"));
                }
                _ => shown.as_str().into(),
            };
            if map.contains_key(&key) {
                self.0.borrow_mut().push(format!("line {line}: key {shown} already set in map"));
            }
            let value = entries.next_value_seed(self)?;
            map.insert(key, value);
        }
        Ok(Value::Map(map))
    }
}

/// Reads one document.
pub fn parse(bytes: &[u8]) -> Result<Value, DecodeError> {
    read(bytes).map(|(value, _)| value)
}

/// As [`parse`], with the keys that came twice.
pub fn parse_strict(bytes: &[u8]) -> Result<(Value, Found), DecodeError> {
    let (value, doubles) = read(bytes)?;
    Ok((value, doubles.into_iter().map(Finding::Double).collect()))
}

/// A tree that [`parse_strict`] gave, brought into the canonical form of a type.
pub fn canonical(mut value: Value, mut found: Found, of: &Type) -> Result<(Value, Found), DecodeError> {
    // It becomes JSON on the way, whose maps are sorted.
    sort(&mut value);
    canonical::canonicalize(&mut value, of, &mut found)?;
    Ok((value, found))
}

/// JSON that means the same as YAML, which is what most clients send: printable ASCII without tabs and surrogates,
/// keys once, whole numbers. Its own reader is many times faster.
fn as_json(bytes: &[u8]) -> Option<Value> {
    let plain = |b: &u8| matches!(b, b' '..=b'~' | b'\n' | b'\r');
    if bytes.first() != Some(&b'{') || !bytes.iter().all(plain) {
        return None;
    }
    if bytes.windows(3).any(|w| w.eq_ignore_ascii_case(b"\\ud")) {
        return None;
    }
    let parsed = json::parse_strict(bytes).ok()?;
    (parsed.found.is_empty() && !has_float(&parsed.value)).then_some(parsed.value)
}

fn has_float(value: &Value) -> bool {
    match value {
        Value::Float(_) => true,
        Value::List(list) => list.iter().any(has_float),
        Value::Map(map) => map.values().any(has_float),
        _ => false,
    }
}

/// The first document of a text, and the keys that came twice.
fn read(bytes: &[u8]) -> Result<(Value, Vec<String>), DecodeError> {
    if let Some(value) = as_json(bytes) {
        return Ok((value, Vec::new()));
    }
    read_yaml(bytes)
}

fn read_yaml(bytes: &[u8]) -> Result<(Value, Vec<String>), DecodeError> {
    let bad = |e: String| DecodeError::Yaml(format!("error converting YAML to JSON: yaml: {e}"));
    let text = std::str::from_utf8(bytes).map_err(|e| bad(e.to_string()))?;
    let text = first_document(text);
    if text.trim().is_empty() {
        return Ok((Value::Null, Vec::new()));
    }
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let doubles = Doubles::default();
    let value = serde_saphyr::with_deserializer_from_str_with_options(text, options, |from| {
        Tree(&doubles).deserialize(from)
    });
    Ok((value.map_err(|e| bad(in_go_words(&e.to_string())))?, doubles.into_inner()))
}

fn sort(value: &mut Value) {
    match value {
        Value::Map(map) => {
            map.sort_keys();
            map.values_mut().for_each(sort);
        }
        Value::List(list) => list.iter_mut().for_each(sort),
        _ => {}
    }
}

/// What the reader says, in the words of Go's where it says the same.
fn in_go_words(error: &str) -> String {
    let line: usize = error
        .rsplit_once(" at line ")
        .and_then(|(_, at)| at.split(',').next())
        .and_then(|n| n.trim().parse().ok())
        .unwrap_or(0);
    let at = |line: usize, why: &str| if line > 1 { format!("line {line}: {why}") } else { why.to_owned() };
    if error.contains("tabs disallowed") {
        return at(line, "found character that cannot start any token");
    }
    if error.contains("mapping values are not allowed in this context") {
        return at(line, "mapping values are not allowed in this context");
    }
    for (open, close) in [('{', '}'), ('[', ']')] {
        if error.contains(&format!("unclosed bracket '{open}'")) {
            return format!("line {line}: did not find expected ',' or '{close}'");
        }
    }
    error.to_owned()
}

/// Up to the line that begins another document: what follows it is not read.
fn first_document(text: &str) -> &str {
    let mut at = 0;
    let mut begun = false;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end();
        let marker = bare == "---" || bare.starts_with("--- ");
        if begun && marker {
            return &text[..at];
        }
        begun |= !bare.is_empty() && !bare.starts_with('#') && !bare.starts_with('%');
        at += line.len();
    }
    text
}

/// Reads an object of a type into its canonical form; double keys are reported with their lines.
pub fn decode(bytes: &[u8], of: &Type) -> Result<(Value, Found), DecodeError> {
    let (value, found) = parse_strict(bytes)?;
    canonical(value, found, of)
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
    fn keys_that_come_twice_are_told_with_their_lines() {
        let of = crate::schema::by_gvk("", "v1", "ConfigMap").unwrap();
        let text = "metadata:\n  name: a\n  name: b\nfoo: 1\ndata:\n  yes: b\n  true: c\n  1: x\n  1: z\n";
        let (value, found) = decode(text.as_bytes(), &of).unwrap();
        assert_eq!((value.name(), value.str_at(&["data", "true"])), ("b", "c"));
        assert_eq!(
            found.strict_error(),
            "strict decoding error: yaml: unmarshal errors:\n  line 3: key \"name\" already set in map\n  line 7: key true \
             already set in map\n  line 9: key 1 already set in map, unknown field \"foo\""
        );
        assert_eq!(found.messages()[0], "line 3: key \"name\" already set in map");
    }

    #[test]
    fn only_the_first_document_counts() {
        assert_eq!(parse(b"# x\n---\na: 1\n---\nb: 2\n").unwrap(), crate::value!({"a": 1}));
        assert_eq!(parse(b"---\n").unwrap(), Value::Null);
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

    #[test]
    fn json_reads_the_same_either_way() {
        for text in [
            r#"{"a": "yes", "b": [1, -2, true, null, "1", "~", ""], "c": {"": {}, "d": []}, "e": "x\u003cy\\n"}"#,
            "{\"a\":\r\n{\"b\" : 1}\n}\n",
        ] {
            let quick = as_json(text.as_bytes()).unwrap();
            let (slow, doubles) = read_yaml(text.as_bytes()).unwrap();
            assert!(quick == slow && doubles.is_empty(), "{text}: {quick:?} {slow:?}");
        }
        // What the two read in different ways is YAML.
        for text in [
            r#"{"a": 1.0}"#,
            r#"{"a": 1, "a": 2}"#,
            "{\"a\":\t1}",
            "{\"a\": \"\u{85}\"}",
            "{a: b}",
            r#"{"a": "\ud83d\ude00"}"#,
        ] {
            assert!(as_json(text.as_bytes()).is_none(), "{text}");
        }
    }
}
