//! JSON Patch (RFC 6902), with the limits that upstream sets on it.

use apimachinery::status::Details;
use apimachinery::{Reason, Status};

use super::json;
use crate::value::Value;

/// Operations in one patch.
const MAX_OPERATIONS: usize = 10_000;
/// Nodes that all copies of one patch may make; upstream counts 3 MiB of text.
const MAX_COPIED: usize = 3 * 1024 * 1024;

/// Applies a JSON patch. Errors: 400 for what is no patch, 413 above 10,000 operations, 422 for one that does not fit
/// the object (upstream's answer does not say why).
pub fn json_patch(object: Value, patch: &Value) -> Result<Value, Status> {
    let Some(operations) = patch.as_list() else {
        return Err(Status::bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        ));
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(Status::too_large(format!(
            "Request entity is too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut target = Target { root: object, copied: 0 };
    for operation in operations {
        target.run(operation).ok_or_else(rejected)?;
    }
    Ok(target.root)
}

/// The same for a patch that a policy made: None where a test of it fails, which means that nothing is to be changed;
/// errors say what does not fit, in the words of upstream's library.
pub fn json_mutation(object: Value, operations: &[Value]) -> Result<Option<Value>, String> {
    let mut target = Target { root: object, copied: 0 };
    for operation in operations {
        if target.run(operation).is_none() {
            if operation.str_at(&["op"]) == "test" {
                return Ok(None);
            }
            return Err(target.misfit(operation));
        }
    }
    Ok(Some(target.root))
}

/// The 422 of a patch that does not fit.
pub(super) fn rejected() -> Status {
    Status::new(422, Reason::Invalid, "the server rejected our request due to an error in our request")
        .with_details(Details::default())
}

struct Target {
    root: Value,
    copied: usize,
}

/// A pointer's reference tokens, unescaped.
fn pointer(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let rest = text.strip_prefix('/')?;
    Some(rest.split('/').map(|t| t.replace("~1", "/").replace("~0", "~")).collect())
}

impl Target {
    /// None where the operation does not fit.
    fn run(&mut self, operation: &Value) -> Option<()> {
        let path = pointer(operation.get("path")?.as_str()?)?;
        match operation.get("op")?.as_str()? {
            "add" => self.add(&path, operation.get("value")?.clone()),
            "replace" => self.replace(&path, operation.get("value")?.clone()),
            "remove" => self.remove(&path).map(drop),
            "test" => self.test(&path, operation.get("value").unwrap_or(&Value::Null)),
            "move" => {
                let from = pointer(operation.get("from")?.as_str()?)?;
                if path.len() > from.len() && path.starts_with(&from) {
                    return None;
                }
                let value = self.remove(&from)?;
                self.add(&path, value)
            }
            "copy" => {
                let from = pointer(operation.get("from")?.as_str()?)?;
                let value = self.find(&from)?.clone();
                self.copied += size(&value);
                if self.copied > MAX_COPIED {
                    return None;
                }
                self.add(&path, value)
            }
            _ => None,
        }
    }

    /// Why an operation did not fit.
    fn misfit(&mut self, operation: &Value) -> String {
        let text = |key: &str| operation.str_at(&[key]);
        let (op, path, from) = (text("op"), text("path"), text("from"));
        let mut has_parent = |of: &str| {
            let tokens = pointer(of).unwrap_or_default();
            let parents = tokens.split_last().map_or(&[][..], |(_, parents)| parents);
            self.find(parents).is_some_and(|v| matches!(v, Value::Map(_) | Value::List(_) | Value::Raw(_)))
        };
        let last = |of: &str| pointer(of).and_then(|mut t| t.pop()).unwrap_or_default();
        let element = |of: &str| match last(of) {
            key if key.parse::<i64>().is_ok() => {
                format!("Unable to access invalid index: {key}: invalid index referenced")
            }
            key => format!("Unable to remove nonexistent key: {key}: missing value"),
        };
        match op {
            "add" | "remove" if !has_parent(path) => {
                format!("{op} operation does not apply: doc is missing path: \"{path}\": missing value")
            }
            "add" | "remove" => format!("error in {op} for path: '{path}': {}", element(path)),
            "replace" if !has_parent(path) => {
                format!("replace operation does not apply: doc is missing path: {path}: missing value")
            }
            "replace" => {
                format!("replace operation does not apply: doc is missing key: {path}: missing value")
            }
            "move" | "copy" if !has_parent(from) => {
                format!("{op} operation does not apply: doc is missing from path: {from}: missing value")
            }
            "move" | "copy" if !has_parent(path) => {
                format!(
                    "{op} operation does not apply: doc is missing destination path: {path}: missing value"
                )
            }
            "move" => format!("error in move for path: '{}': {}", last(from), element(from)),
            "copy" => format!("error in copy for from: '{from}': {}", element(from)),
            other => format!("Unexpected kind: {other}"),
        }
    }

    fn find(&mut self, path: &[String]) -> Option<&mut Value> {
        let mut at = &mut self.root;
        for token in path {
            json::open(at);
            at = match at {
                Value::Map(map) => map.get_mut(token)?,
                Value::List(list) => {
                    let index = index(token, list.len())?;
                    list.get_mut(index)?
                }
                _ => return None,
            };
        }
        Some(at)
    }

    fn parent(&mut self, path: &[String]) -> Option<&mut Value> {
        let parent = self.find(path)?;
        json::open(parent);
        Some(parent)
    }

    fn add(&mut self, path: &[String], value: Value) -> Option<()> {
        let Some((last, parents)) = path.split_last() else {
            self.root = value;
            return Some(());
        };
        match self.parent(parents)? {
            Value::Map(map) => {
                map.insert(last.as_str(), value);
            }
            Value::List(list) if last == "-" => list.push(value),
            Value::List(list) => {
                let at = index(last, list.len() + 1)?;
                list.insert(at, value);
            }
            _ => return None,
        }
        Some(())
    }

    fn replace(&mut self, path: &[String], value: Value) -> Option<()> {
        if let Some(found) = self.find(path) {
            *found = value;
            return Some(());
        }
        // Upstream's library replaces what a map does not have.
        let (last, parents) = path.split_last()?;
        self.parent(parents)?.as_map_mut()?.insert(last.as_str(), value);
        Some(())
    }

    fn remove(&mut self, path: &[String]) -> Option<Value> {
        let (last, parents) = path.split_last()?;
        match self.parent(parents)? {
            Value::Map(map) => map.remove(last),
            Value::List(list) => {
                let at = index(last, list.len())?;
                (at < list.len()).then(|| list.remove(at))
            }
            _ => None,
        }
    }

    /// A path that is not there equals null, as upstream's library has it.
    fn test(&mut self, path: &[String], want: &Value) -> Option<()> {
        let Some(found) = self.find(path) else {
            return want.is_null().then_some(());
        };
        let mut found = found.clone();
        let mut want = want.clone();
        json::open_all(&mut found);
        json::open_all(&mut want);
        (found == want).then_some(())
    }
}

/// Counts from the end where negative, as upstream's library does.
fn index(token: &str, len: usize) -> Option<usize> {
    let n: i64 = token.parse().ok()?;
    let at = if n < 0 { n.checked_add(i64::try_from(len).ok()?)? } else { n };
    usize::try_from(at).ok().filter(|at| *at < len.max(1))
}

fn size(value: &Value) -> usize {
    match value {
        Value::String(s) => s.len() + 2,
        Value::Raw(s) => s.len(),
        Value::List(list) => 2 + list.iter().map(|v| size(v) + 1).sum::<usize>(),
        Value::Map(map) => 2 + map.iter().map(|(k, v)| k.len() + 4 + size(v)).sum::<usize>(),
        _ => 4,
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn run(object: &str, patch: &str) -> Result<String, u16> {
        let value =
            json_patch(json::parse(object).unwrap(), &json::parse(patch).unwrap()).map_err(|e| e.code)?;
        let mut out = String::new();
        json::write(&value, &mut out);
        Ok(out)
    }

    #[test]
    fn mutations_say_why() {
        let object = crate::value!({"metadata": {"name": "x"}, "spec": {"list": [1]}});
        let run = |op: Value| json_mutation(object.clone(), &[op]);
        for (op, expected) in [
            (crate::value!({"op": "test", "path": "/metadata/name", "value": "y"}), Ok(None)),
            (
                crate::value!({"op": "add", "path": "/metadata/labels/a", "value": "b"}),
                Err(
                    "add operation does not apply: doc is missing path: \"/metadata/labels/a\": missing value",
                ),
            ),
            (
                crate::value!({"op": "remove", "path": "/metadata/labels"}),
                Err(
                    "error in remove for path: '/metadata/labels': Unable to remove nonexistent key: labels: missing value",
                ),
            ),
            (
                crate::value!({"op": "add", "path": "/spec/list/7", "value": 1}),
                Err(
                    "error in add for path: '/spec/list/7': Unable to access invalid index: 7: invalid index referenced",
                ),
            ),
        ] {
            assert_eq!(run(op.clone()), expected.map_err(str::to_owned), "{op:?}");
        }
    }

    #[test]
    fn rfc_6902() {
        let ok = [
            (
                r#"{"foo":"bar"}"#,
                r#"[{"op":"add","path":"/baz","value":"qux"}]"#,
                r#"{"baz":"qux","foo":"bar"}"#,
            ),
            (
                r#"{"foo":["a","c"]}"#,
                r#"[{"op":"add","path":"/foo/1","value":"b"}]"#,
                r#"{"foo":["a","b","c"]}"#,
            ),
            (r#"{"foo":["a"]}"#, r#"[{"op":"add","path":"/foo/-","value":["b"]}]"#, r#"{"foo":["a",["b"]]}"#),
            (r#"{"a":1,"b":2}"#, r#"[{"op":"remove","path":"/a"}]"#, r#"{"b":2}"#),
            (r#"{"a":[1,2,3]}"#, r#"[{"op":"remove","path":"/a/1"}]"#, r#"{"a":[1,3]}"#),
            (r#"{"a":1}"#, r#"[{"op":"replace","path":"/a","value":2}]"#, r#"{"a":2}"#),
            (
                r#"{"a":{"b":1},"c":{}}"#,
                r#"[{"op":"move","from":"/a/b","path":"/c/d"}]"#,
                r#"{"a":{},"c":{"d":1}}"#,
            ),
            (r#"{"a":[1,2,3]}"#, r#"[{"op":"move","from":"/a/0","path":"/a/2"}]"#, r#"{"a":[2,3,1]}"#),
            (
                r#"{"a":{"b":1}}"#,
                r#"[{"op":"copy","from":"/a","path":"/c"}]"#,
                r#"{"a":{"b":1},"c":{"b":1}}"#,
            ),
            (
                r#"{"a/b":1,"m~n":2}"#,
                r#"[{"op":"test","path":"/a~1b","value":1},{"op":"remove","path":"/m~0n"}]"#,
                r#"{"a/b":1}"#,
            ),
            (r#"{"a":1}"#, r#"[{"op":"test","path":"/b","value":null}]"#, r#"{"a":1}"#),
            (r#"{"a":1}"#, r#"[{"op":"add","path":"/a","value":null}]"#, r#"{"a":null}"#),
            // Not as the RFC has it, but as upstream's library does.
            (r#"{"a":1}"#, r#"[{"op":"replace","path":"/b","value":1}]"#, r#"{"a":1,"b":1}"#),
        ];
        for (object, patch, want) in ok {
            assert_eq!(run(object, patch).as_deref(), Ok(want), "{object} + {patch}");
        }
        let bad = [
            (r#"{"a":1}"#, r#"[{"op":"test","path":"/a","value":2}]"#, 422),
            (r#"{"a":1}"#, r#"[{"op":"remove","path":"/b"}]"#, 422),
            (r#"{"a":[1]}"#, r#"[{"op":"replace","path":"/a/3","value":1}]"#, 422),
            (r#"{"a":1}"#, r#"[{"op":"add","path":"/b/c","value":1}]"#, 422),
            (r#"{"a":[1]}"#, r#"[{"op":"add","path":"/a/5","value":1}]"#, 422),
            (r#"{"a":[1]}"#, r#"[{"op":"spin","path":"/a"}]"#, 422),
            (r#"{"a":{}}"#, r#"[{"op":"move","from":"/a","path":"/a/b"}]"#, 422),
            (r#"{"a":1}"#, r#"{"op":"remove"}"#, 400),
        ];
        for (object, patch, want) in bad {
            assert_eq!(run(object, patch), Err(want), "{object} + {patch}");
        }
    }

    #[test]
    fn too_many_operations() {
        let patch = Value::List(vec![Value::Null; MAX_OPERATIONS + 1]);
        assert_eq!(json_patch(Value::map(), &patch).map_err(|e| e.code), Err(413));
    }

    #[test]
    fn raw_parts_are_opened() {
        let mut object = Value::map();
        object.set_at(&["data"], Value::Null);
        *object.get_mut("data").unwrap() = Value::Raw(r#"{"x":[1]}"#.into());
        let patch = json::parse(r#"[{"op":"add","path":"/data/x/-","value":2}]"#).unwrap();
        let got = json_patch(object, &patch).unwrap();
        assert_eq!(got.list_at(&["data", "x"]).len(), 2);
    }
}
