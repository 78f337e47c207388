//! `fieldPath` of a rule: `.spec.replicas`, `.spec.labels['a.b']`, relative to the schema that has the rule.

use api::Value;
use apimachinery::field::Path;

use crate::crd::correlate::field;
use crate::crd::structural::properties;

/// The path as errors write it. None: it does not parse, or names what the schema does not have.
pub fn normalized(text: &str, schema: &Value) -> Option<Path> {
    let (mut at, mut path) = (schema, Path::default());
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = token(rest)?;
        let named = properties(at).next().is_some();
        at = if named { at.at(&["properties", &name])? } else { field(at, &name)? };
        path = if named { path.child(&name) } else { path.key(&name) };
        rest = after;
    }
    Some(path)
}

/// One name, by `.name` or `['name']`, and what follows.
fn token(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('.') {
        let end = rest.find(['.', '[', ']']).unwrap_or(rest.len());
        return (end > 0).then(|| (rest[..end].to_owned(), &rest[end..]));
    }
    let quoted = text.strip_prefix("['")?;
    let mut name = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Some((name, quoted[at + 1..].strip_prefix(']')?)),
            '\\' => name.push(unescaped(chars.next()?.1)?),
            c => name.push(c),
        }
    }
    None
}

fn unescaped(c: char) -> Option<char> {
    Some(match c {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\'' | '\\' => c,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let schema = api::value!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"a.b": {"type": "string"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}}}}}});
        let shown = |text: &str| normalized(text, &schema).map(|path| path.to_string());
        for (text, expected) in [
            (".spec", Some("spec")),
            (".spec.labels", Some("spec.labels")),
            (".spec.labels['it\\'s']", Some("spec.labels[it's]")),
            (".spec['a.b']", Some("spec.a.b")),
            (".spec.none", None),
            ("spec", None),
            (".spec[0]", None),
            (".spec.", None),
            (".spec['a", None),
        ] {
            assert_eq!(shown(text).as_deref(), expected, "{text}");
        }
    }
}
