//! JSON Merge Patch (RFC 7396).

use super::json;
use crate::value::{Map, Value};

/// Applies a merge patch: null removes, maps merge, everything else replaces.
pub fn merge_patch(target: &mut Value, patch: Value) {
    let patch = match patch {
        Value::Map(map) => map,
        Value::Raw(_) => {
            let mut opened = patch;
            json::open(&mut opened);
            match opened {
                Value::Map(map) => map,
                other => {
                    *target = other;
                    return;
                }
            }
        }
        other => {
            *target = other;
            return;
        }
    };
    json::open(target);
    merge_map(target.as_map_or_make(), patch);
}

fn merge_map(target: &mut Map, patch: Map) {
    for (key, value) in patch {
        if value.is_null() {
            target.remove(&key);
        } else {
            merge_patch(target.or_insert_with(&key, || Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    /// The cases of RFC 7396, appendix A.
    #[test]
    fn rfc_7396() {
        let cases = [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a":1,"e":null}"#),
            (r#"[1,2]"#, r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ];
        for (target, patch, want) in cases {
            let mut value = json::parse(target).unwrap();
            merge_patch(&mut value, json::parse(patch).unwrap());
            let mut got = String::new();
            json::write(&value, &mut got);
            assert_eq!(got, want, "{target} + {patch}");
        }
    }
}
