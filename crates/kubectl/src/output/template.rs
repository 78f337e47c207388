//! JSONPath templates: text with paths in braces, quoted text, and `{range PATH}...{end}`.

use api::Value;
use api::jsonpath::JsonPath;

use super::json;
use crate::error::{Error, Result};

/// A template that is ready to be filled.
#[derive(Debug)]
pub struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Path(JsonPath),
    Range(JsonPath, Vec<Part>),
}

fn wrong(text: &str) -> Error {
    Error::Plain(format!("error parsing jsonpath {text}, invalid expression"))
}

impl Template {
    /// A text without braces is one path, with or without its leading dot.
    pub fn parse(text: &str) -> Result<Self> {
        if !text.contains('{') && !text.is_empty() {
            return Ok(Self(vec![Part::Path(path(text)?)]));
        }
        let mut open: Vec<(JsonPath, Vec<Part>)> = Vec::new();
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            if at > 0 {
                parts.push(Part::Text(rest[..at].to_owned()));
            }
            let end = closing(&rest[at + 1..]).ok_or_else(|| Error::Plain("unclosed action".into()))?;
            let inner = rest[at + 1..at + 1 + end].trim();
            rest = &rest[at + end + 2..];
            if let Some(over) = inner.strip_prefix("range ") {
                open.push((path(over.trim())?, std::mem::take(&mut parts)));
            } else if inner == "end" {
                let (over, outer) = open.pop().ok_or_else(|| Error::plain("not in range, nothing to end"))?;
                let body = std::mem::replace(&mut parts, outer);
                parts.push(Part::Range(over, body));
            } else if let Some(quoted) = quoted(inner) {
                parts.push(Part::Text(quoted));
            } else {
                parts.push(Part::Path(path(inner)?));
            }
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if open.is_empty() { Ok(Self(parts)) } else { Err(Error::plain("unclosed range")) }
    }

    pub fn fill(&self, root: &Value) -> Result<String> {
        let mut out = String::new();
        fill(&self.0, root, &mut out);
        Ok(out)
    }
}

fn path(text: &str) -> Result<JsonPath> {
    JsonPath::parse(text.trim_start_matches(['$', '@'])).map_err(|_| wrong(text))
}

/// Where the brace ends, quotes and nested braces looked over.
fn closing(text: &str) -> Option<usize> {
    let (mut quote, mut depth, mut escaped) = (None, 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if quote == Some(c) => quote = None,
            _ if quote.is_some() => {}
            '"' | '\'' => quote = Some(c),
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn quoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = text.get(1..)?.strip_suffix(quote)?;
    let (mut out, mut chars) = (String::new(), inner.chars());
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next()? {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                other => out.push(other),
            },
            (c, false) => out.push(c),
        }
    }
    Some(out)
}

fn fill(parts: &[Part], root: &Value, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(path) => {
                let texts: Vec<String> = path.find(root).into_iter().map(text).collect();
                out.push_str(&texts.join(" "));
            }
            Part::Range(over, body) => {
                for value in over.find(root) {
                    match value {
                        Value::List(items) => items.iter().for_each(|item| fill(body, item, out)),
                        value => fill(body, value, out),
                    }
                }
            }
        }
    }
}

/// A value as templates show it: texts bare, structures as JSON.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(s) => s.to_string(),
        Value::Null => String::new(),
        other => json::compact(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::value;

    #[test]
    fn templates_are_filled() {
        let root = value!({"kind": "List", "items": [
            {"metadata": {"name": "a", "labels": {"x": "1"}}, "status": {"addresses": [
                {"type": "Hostname", "address": "h"}, {"type": "InternalIP", "address": "10.0.0.1"}]}},
            {"metadata": {"name": "b"}, "spec": {"n": 3, "ok": true}}]});
        for (template, want) in [
            ("{.items[0].status.addresses[?(@.type==\"InternalIP\")].address}", "10.0.0.1"),
            ("{.items[*].metadata.name}", "a b"),
            (".kind", "List"),
            ("{range .items[*]}{.metadata.name}{\"\\t\"}{.spec.n}{\"\\n\"}{end}", "a\t\nb\t3\n"),
            ("n={.items[1].spec.n},{.items[1].spec.ok}", "n=3,true"),
            ("{.items[0].metadata.labels}", "{\"x\":\"1\"}"),
            ("{.nope}", ""),
            ("{$.kind}", "List"),
        ] {
            assert_eq!(Template::parse(template).unwrap().fill(&root).unwrap(), want, "{template}");
        }
        assert!(Template::parse("{range .items}").is_err());
        assert!(Template::parse("{.a").is_err());
    }
}
