//! Texts: the standard's `contains`, `startsWith`, `endsWith` and cel-go's extended functions (version 2).
//! Positions count code points. `indexOf` and `lastIndexOf` serve lists as well.

use crate::functions::{Code, Declared, Outcome, Refused, Style, fail};
use crate::value::{List, Value};

const fn function(
    name: &'static str,
    overloads: &'static [(&'static str, &'static str)],
    code: Code,
) -> Declared {
    Declared { name, overloads, code, style: Style::Guarded }
}

const fn plain(
    name: &'static str,
    overloads: &'static [(&'static str, &'static str)],
    code: Code,
) -> Declared {
    Declared { name, overloads, code, style: Style::Plain }
}

pub(super) const DECLARED: &[Declared] = &[
    plain("contains", &[("contains_string", "string.(string) bool")], |args| {
        Ok(Value::Bool(text(&args[0])?.contains(text(&args[1])?)))
    }),
    plain("startsWith", &[("starts_with_string", "string.(string) bool")], |args| {
        Ok(Value::Bool(text(&args[0])?.starts_with(text(&args[1])?)))
    }),
    plain("endsWith", &[("ends_with_string", "string.(string) bool")], |args| {
        Ok(Value::Bool(text(&args[0])?.ends_with(text(&args[1])?)))
    }),
    function("charAt", &[("string_char_at_int", "string.(int) string")], char_at),
    function(
        "indexOf",
        &[
            ("string_index_of_string", "string.(string) int"),
            ("string_index_of_string_int", "string.(string, int) int"),
            ("list_a_index_of_int", "list(A).(A) int"),
        ],
        index_of,
    ),
    function(
        "lastIndexOf",
        &[
            ("string_last_index_of_string", "string.(string) int"),
            ("string_last_index_of_string_int", "string.(string, int) int"),
            ("list_a_last_index_of_int", "list(A).(A) int"),
        ],
        last_index_of,
    ),
    function("lowerAscii", &[("string_lower_ascii", "string.() string")], |args| {
        Ok(Value::text(text(&args[0])?.to_ascii_lowercase()))
    }),
    function("upperAscii", &[("string_upper_ascii", "string.() string")], |args| {
        Ok(Value::text(text(&args[0])?.to_ascii_uppercase()))
    }),
    function(
        "replace",
        &[
            ("string_replace_string_string", "string.(string, string) string"),
            ("string_replace_string_string_int", "string.(string, string, int) string"),
        ],
        replace,
    ),
    function(
        "split",
        &[
            ("string_split_string", "string.(string) list(string)"),
            ("string_split_string_int", "string.(string, int) list(string)"),
        ],
        split,
    ),
    function(
        "substring",
        &[
            ("string_substring_int", "string.(int) string"),
            ("string_substring_int_int", "string.(int, int) string"),
        ],
        substring,
    ),
    function("trim", &[("string_trim", "string.() string")], |args| {
        // Go counts the same characters as white space, but for one that it does not.
        Ok(Value::text(text(&args[0])?.trim_matches(|c: char| c.is_whitespace() && c != '\u{200b}')))
    }),
    function("strings.quote", &[("strings_quote", "(string) string")], |args| {
        Ok(Value::text(quote(text(&args[0])?)))
    }),
    function(
        "join",
        &[("list_join", "list(string).() string"), ("list_join_string", "list(string).(string) string")],
        join,
    ),
];

fn text<'v>(value: &'v Value<'_>) -> Result<&'v str, Refused> {
    value.as_str().ok_or(Refused::NoOverload)
}

fn int(value: &Value<'_>) -> Result<i64, Refused> {
    if let Value::Int(n) = value { Ok(*n) } else { Err(Refused::NoOverload) }
}

fn out_of_range<T>(at: i64) -> Result<T, Refused> {
    fail(format!("index out of range: {at}"))
}

/// The byte offset of a code point, whose number may be one past the last.
fn offset(text: &str, at: i64) -> Result<usize, Refused> {
    let Ok(n) = usize::try_from(at) else { return out_of_range(at) };
    let mut places = text.char_indices().map(|(byte, _)| byte).chain([text.len()]);
    places.nth(n).map_or_else(|| out_of_range(at), Ok)
}

fn count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

fn char_at<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let text = text(&args[0])?;
    let at = offset(text, int(&args[1])?)?;
    Ok(Value::text(text[at..].chars().next().map(String::from).unwrap_or_default()))
}

fn list_position<'a>(list: &List<'a>, item: &Value<'a>, last: bool) -> Outcome<'a> {
    let is_it = |at: &usize| matches!(list.get(*at), Some(Ok(found)) if found.equals(item));
    let found = if last { (0..list.len()).rev().find(is_it) } else { (0..list.len()).find(is_it) };
    Ok(Value::Int(found.map_or(-1, |at| at as i64)))
}

fn index_of<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    if let [Value::List(list), item] = args {
        return list_position(list, item, false);
    }
    let (text, part) = (text(&args[0])?, text(&args[1])?);
    let from = args.get(2).map_or(Ok(0), int)?;
    if from < 0 {
        return out_of_range(from);
    }
    let size = count(text);
    if part.is_empty() {
        return Ok(Value::Int(from.min(size)));
    }
    if from >= size {
        return Ok(Value::Int(-1));
    }
    let start = offset(text, from)?;
    let found = text[start..].find(part).map_or(-1, |at| from + count(&text[start..start + at]));
    Ok(Value::Int(found))
}

fn last_index_of<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    if let [Value::List(list), item] = args {
        return list_position(list, item, true);
    }
    let (text, part) = (text(&args[0])?, text(&args[1])?);
    let size = count(text);
    let from = match args.get(2) {
        None if part.is_empty() => return Ok(Value::Int(size)),
        None if size == 0 => return Ok(Value::Int(-1)),
        None => size - 1,
        Some(from) => int(from)?,
    };
    if from < 0 {
        return out_of_range(from);
    }
    if part.is_empty() {
        return Ok(Value::Int(from.min(size)));
    }
    if from >= size || size < count(part) {
        return Ok(Value::Int(-1));
    }
    let end = offset(text, from.min(size - count(part)))? + part.len();
    let found = text.get(..end).and_then(|head| head.rfind(part));
    // The end may fall inside of a character where the part is of other ones.
    let found = found.or_else(|| last_before(text, part, from));
    Ok(Value::Int(found.map_or(-1, |at| count(&text[..at]))))
}

/// The last place of a part that begins at or before a code point.
fn last_before(text: &str, part: &str, from: i64) -> Option<usize> {
    let last = offset(text, from).ok()?;
    text.match_indices(part).map(|(at, _)| at).take_while(|at| *at <= last).last()
}

fn replace<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, old, new) = (text(&args[0])?, text(&args[1])?, text(&args[2])?);
    let limit = args.get(3).map_or(Ok(-1), int)?;
    Ok(Value::text(match usize::try_from(limit) {
        Ok(limit) => text.replacen(old, new, limit),
        Err(_) => text.replace(old, new),
    }))
}

fn split<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, by) = (text(&args[0])?, text(&args[1])?);
    let limit = args.get(2).map_or(Ok(-1), int)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let parts: Vec<Value<'a>> = match (by, limit) {
        (_, 0) => Vec::new(),
        ("", _) => characters(text, limit).into_iter().map(Value::text).collect(),
        _ => text.splitn(limit, by).map(Value::text).collect(),
    };
    Ok(Value::List(List::from(parts)))
}

/// Every character alone, the rest of the text in the last of `limit` parts.
fn characters(text: &str, limit: usize) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if out.len() + 1 == limit {
            out.push(rest);
            break;
        }
        let (head, tail) = rest.split_at(c.len_utf8());
        out.push(head);
        rest = tail;
    }
    out
}

fn substring<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let text = text(&args[0])?;
    let start = int(&args[1])?;
    let Some(end) = args.get(2) else { return Ok(Value::text(&text[offset(text, start)?..])) };
    let end = int(end)?;
    if start > end {
        return fail(format!("invalid substring range. start: {start}, end: {end}"));
    }
    Ok(Value::text(&text[offset(text, start)?..offset(text, end)?]))
}

fn join<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let Value::List(list) = &args[0] else { return Err(Refused::NoOverload) };
    if !matches!(list.get(0), None | Some(Ok(Value::String(_)))) {
        return Err(Refused::NoOverload);
    }
    let between = args.get(1).map_or(Ok(""), text)?;
    let mut out = String::new();
    for (at, item) in list.iter().enumerate() {
        if at > 0 {
            out.push_str(between);
        }
        match item? {
            Value::String(part) => out.push_str(&part),
            other => return fail(format!("join: invalid input: {other}")),
        }
    }
    Ok(Value::text(out))
}

/// In double quotes, with the language's escapes.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
