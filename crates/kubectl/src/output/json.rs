//! JSON as Go writes maps: sorted keys; in Kubernetes' indentation of four, or compact.

use api::Value;

/// Four spaces a level.
pub fn pretty(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, Some(0));
    out
}

/// On one line.
pub fn compact(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, None);
    out
}

fn line(out: &mut String, depth: Option<usize>) {
    if let Some(depth) = depth {
        out.push('\n');
        out.extend(std::iter::repeat_n("    ", depth));
    }
}

fn write(out: &mut String, value: &Value, depth: Option<usize>) {
    let below = depth.map(|d| d + 1);
    match value {
        Value::Map(map) if !map.is_empty() => {
            let mut entries: Vec<(&str, &Value)> = map.iter().map(|(k, v)| (k.as_str(), v)).collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            out.push('{');
            for (at, (key, value)) in entries.into_iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                line(out, below);
                out.push_str(&api::json::to_string(&Value::from(key)));
                out.push_str(if depth.is_some() { ": " } else { ":" });
                write(out, value, below);
            }
            line(out, depth);
            out.push('}');
        }
        Value::List(list) if !list.is_empty() => {
            out.push('[');
            for (at, item) in list.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                line(out, below);
                write(out, item, below);
            }
            line(out, depth);
            out.push(']');
        }
        Value::Raw(raw) => match api::json::parse(raw.as_bytes()) {
            Ok(parsed) if !matches!(parsed, Value::Raw(_)) => write(out, &parsed, depth),
            _ => out.push_str(raw),
        },
        other => out.push_str(&api::json::to_string(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::value;

    #[test]
    fn keys_are_sorted_and_levels_indented() {
        let value = value!({"b": [1, {"d": {}}], "a": "x<y", "e": []});
        assert_eq!(
            pretty(&value),
            "{\n    \"a\": \"x\\u003cy\",\n    \"b\": [\n        1,\n        {\n            \"d\": {}\n        }\n    ],\n    \"e\": []\n}"
        );
        assert_eq!(compact(&value), "{\"a\":\"x\\u003cy\",\"b\":[1,{\"d\":{}}],\"e\":[]}");
    }
}
