//! JSONPath as printer columns use it: fields, quoted fields, indices, slices, wildcards, recursive descent and
//! filters that compare one path with a literal. Missing keys find nothing.
//!
//! Deliberately absent: templates (`{range}`), scripts, unions.

use crate::value::Value;

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    /// From, to, both optional.
    Slice(Option<i64>, Option<i64>),
    All,
    /// Everything below, then the next step.
    Descend,
    Filter(JsonPath, Option<(Compare, Value)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSONPath {0:?}")]
pub struct BadPath(pub String);

impl JsonPath {
    /// Reads `.spec.a`, `{.spec.a}` or `$.spec.a`.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        let bad = || BadPath(text.to_owned());
        let inner = match text.strip_prefix('{') {
            Some(rest) => rest.strip_suffix('}').ok_or_else(bad)?,
            None => text,
        };
        steps(inner.trim_start_matches('$')).map(Self).ok_or_else(bad)
    }

    /// All values that the path leads to.
    pub fn find<'v>(&self, root: &'v Value) -> Vec<&'v Value> {
        let mut at = vec![root];
        for step in &self.0 {
            let mut next = Vec::new();
            at.iter().for_each(|value| step.follow(value, &mut next));
            at = next;
        }
        at
    }
}

fn steps(mut rest: &str) -> Option<Vec<Step>> {
    let mut out = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("..") {
            out.push(Step::Descend);
            rest = after;
            if !rest.starts_with('[') {
                rest = name(rest, &mut out)?;
            }
        } else if let Some(after) = rest.strip_prefix('.') {
            rest = if after.is_empty() || after.starts_with('[') { after } else { name(after, &mut out)? };
        } else if let Some(after) = rest.strip_prefix('[') {
            let end = closing(after)?;
            out.push(bracket(after[..end].trim())?);
            rest = &after[end + 1..];
        } else {
            rest = name(rest, &mut out)?;
        }
    }
    Some(out)
}

/// A bare field name, in which a backslash takes the next character as it is.
fn name<'t>(text: &'t str, out: &mut Vec<Step>) -> Option<&'t str> {
    let (mut field, mut escaped, mut end) = (String::new(), false, text.len());
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => {
                field.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '.' | '[' => {
                end = at;
                break;
            }
            c => field.push(c),
        }
    }
    if field.is_empty() {
        return None;
    }
    out.push(if field == "*" { Step::All } else { Step::Field(field) });
    Some(&text[end..])
}

/// Where the bracket ends that `text` is in.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            (_, Some(_)) => {}
            ('\'' | '"', None) => quote = Some(c),
            ('[', None) => depth += 1,
            (']', None) if depth == 0 => return Some(at),
            (']', None) => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Option<Step> {
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|t| t.strip_suffix(')')) {
        return self::filter(filter);
    }
    if let Some(quoted) = unquote(text) {
        return Some(Step::Field(quoted));
    }
    if let Some((from, to)) = text.split_once(':') {
        let bound = |t: &str| if t.is_empty() { Some(None) } else { t.parse().ok().map(Some) };
        return Some(Step::Slice(bound(from)?, bound(to)?));
    }
    text.parse().ok().map(Step::Index)
}

fn unquote(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| *c == '\'' || *c == '"')?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    Some(inner.replace("\\'", "'").replace("\\\"", "\""))
}

fn filter(text: &str) -> Option<Step> {
    const OPERATORS: [(&str, Compare); 6] = [
        ("==", Compare::Equal),
        ("!=", Compare::NotEqual),
        ("<=", Compare::LessOrEqual),
        (">=", Compare::GreaterOrEqual),
        ("<", Compare::Less),
        (">", Compare::Greater),
    ];
    let path = |t: &str| steps(t.trim().trim_start_matches('@')).map(JsonPath);
    let found = OPERATORS.iter().filter_map(|(sign, op)| Some((text.find(sign)?, *sign, *op)));
    let Some((at, sign, op)) = found.min_by_key(|(at, sign, _)| (*at, 2 - sign.len())) else {
        return Some(Step::Filter(path(text)?, None));
    };
    let literal = text[at + sign.len()..].trim();
    let literal = match unquote(literal) {
        Some(text) => Value::from(text),
        None => crate::json::parse(literal.as_bytes()).ok()?,
    };
    Some(Step::Filter(path(&text[..at])?, Some((op, literal))))
}

impl Step {
    fn follow<'v>(&self, value: &'v Value, out: &mut Vec<&'v Value>) {
        match self {
            Self::Field(name) => out.extend(value.get(name)),
            Self::Index(at) => {
                let list = value.as_list().unwrap_or_default();
                let at = if *at < 0 { at + list.len() as i64 } else { *at };
                out.extend(usize::try_from(at).ok().and_then(|at| list.get(at)));
            }
            Self::Slice(from, to) => {
                let list = value.as_list().unwrap_or_default();
                let bound = |n: i64| {
                    (if n < 0 { n + list.len() as i64 } else { n }).clamp(0, list.len() as i64) as usize
                };
                let (from, to) = (bound(from.unwrap_or(0)), bound(to.unwrap_or(list.len() as i64)));
                out.extend(list.get(from..to).unwrap_or_default());
            }
            Self::All => children(value, out),
            Self::Descend => descend(value, out),
            Self::Filter(path, test) => {
                for item in value.as_list().unwrap_or_default() {
                    let found = path.find(item);
                    let holds = match test {
                        None => !found.is_empty(),
                        Some((op, literal)) => found.iter().any(|v| compare(v, *op, literal)),
                    };
                    if holds {
                        out.push(item);
                    }
                }
            }
        }
    }
}

fn children<'v>(value: &'v Value, out: &mut Vec<&'v Value>) {
    match value {
        Value::List(list) => out.extend(list),
        Value::Map(map) => out.extend(map.values()),
        _ => {}
    }
}

fn descend<'v>(value: &'v Value, out: &mut Vec<&'v Value>) {
    out.push(value);
    let mut below = Vec::new();
    children(value, &mut below);
    below.into_iter().for_each(|v| descend(v, out));
}

fn compare(value: &Value, op: Compare, literal: &Value) -> bool {
    let number = |v: &Value| match v {
        Value::Int(n) => Some(*n as f64),
        Value::Float(n) => Some(*n),
        _ => None,
    };
    let order = match (value, literal) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => number(value).zip(number(literal)).and_then(|(a, b)| a.partial_cmp(&b)),
    };
    order.is_some_and(|order| match op {
        Compare::Equal => order.is_eq(),
        Compare::NotEqual => order.is_ne(),
        Compare::Less => order.is_lt(),
        Compare::LessOrEqual => order.is_le(),
        Compare::Greater => order.is_gt(),
        Compare::GreaterOrEqual => order.is_ge(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_what_they_name() {
        let tree = crate::value!({
            "a": {"b.c": 1, "list": [{"n": "x", "v": 1}, {"n": "y", "v": 2}, {"n": "z", "v": 3}]},
            "labels": {"app.kubernetes.io/name": "w"}});
        let find = |path: &str| {
            let found = JsonPath::parse(path).unwrap();
            found.find(&tree).iter().map(|v| crate::json::to_string(v)).collect::<Vec<_>>().join(" ")
        };
        for (path, want) in [
            (".a['b.c']", "1"),
            (r".a.b\.c", "1"),
            ("{.a.list[0].n}", "\"x\""),
            ("$.a.list[-1].n", "\"z\""),
            (".a.list[1:].v", "2 3"),
            (".a.list[*].v", "1 2 3"),
            (".a.list[?(@.v>=2)].n", "\"y\" \"z\""),
            (".a.list[?(@.n=='y')].v", "2"),
            (".a.list[?(@.none)].v", ""),
            ("..v", "1 2 3"),
            (r".labels.app\.kubernetes\.io/name", "\"w\""),
            (".nothing.here", ""),
        ] {
            assert_eq!(find(path), want, "{path}");
        }
        for bad in ["{.a", ".a[", ".a[x]"] {
            assert!(JsonPath::parse(bad).is_err(), "{bad}");
        }
    }
}
