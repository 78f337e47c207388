//! YAML as sigs.k8s.io/yaml writes it: block form, sorted keys, lists not indented, literal blocks for texts of
//! several lines, quotes only where a plain text would be read as something else.

use crate::json;
use crate::value::{Map, Value};

/// Writes a tree.
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Map(m) if !m.is_empty() => map(&mut out, m, 0, false),
        Value::List(l) if !l.is_empty() => list(&mut out, l, 0),
        other => {
            scalar(&mut out, other, 0);
            out.push('\n');
        }
    }
    out
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn map(out: &mut String, m: &Map, indent: usize, mut inline: bool) {
    let mut entries: Vec<(&str, &Value)> = m.iter().map(|(k, v)| (k.as_str(), v)).collect();
    entries.sort_by(|a, b| natural(a.0, b.0));
    for (key, value) in entries {
        if !std::mem::take(&mut inline) {
            pad(out, indent);
        }
        text(out, key, indent);
        out.push(':');
        child(out, value, indent);
    }
}

/// yaml.v2's order of keys: runs of digits by their number, letters before other signs' ends.
fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    use std::cmp::Ordering;
    let (mut a, mut b) = (a.chars().peekable(), b.chars().peekable());
    loop {
        let (Some(&x), Some(&y)) = (a.peek(), b.peek()) else {
            return a.count().cmp(&b.count());
        };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (m, n) = (number(&mut a), number(&mut b));
            match m.cmp(&n) {
                Ordering::Equal => continue,
                other => return other,
            }
        }
        if x != y {
            return match (x.is_alphabetic(), y.is_alphabetic()) {
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                _ => x.cmp(&y),
            };
        }
        a.next();
        b.next();
    }
}

fn number(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> u64 {
    let mut n = 0_u64;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        n = n.saturating_mul(10).saturating_add(digit.into());
        chars.next();
    }
    n
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
        Value::Raw(raw) => match json::parse(raw.as_bytes()) {
            Ok(parsed) if !matches!(parsed, Value::Raw(_)) => child(out, &parsed, indent),
            _ => out.push_str(" null\n"),
        },
        other => {
            out.push(' ');
            scalar(out, other, indent + 2);
            out.push('\n');
        }
    }
}

fn list(out: &mut String, items: &[Value], indent: usize) {
    for item in items {
        pad(out, indent);
        out.push('-');
        match item {
            Value::Map(m) if !m.is_empty() => {
                out.push(' ');
                map(out, m, indent + 2, true);
            }
            Value::List(l) if !l.is_empty() => {
                out.push(' ');
                let mut inner = String::new();
                list(&mut inner, l, indent + 2);
                out.push_str(inner.trim_start());
            }
            other => child(out, other, indent),
        }
    }
}

fn scalar(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::String(s) => text(out, s, indent),
        other => out.push_str(&json::to_string(other)),
    }
}

fn text(out: &mut String, s: &str, indent: usize) {
    let odd = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{feff}';
    if s.is_empty() || s.chars().any(odd) || !means_itself(s) {
        return out.push_str(&double_quoted(s));
    }
    if s.contains('\n') {
        return literal(out, s, indent);
    }
    if is_plain(s) {
        out.push_str(s);
    } else {
        out.push('\'');
        out.push_str(&s.replace('\'', "''"));
        out.push('\'');
    }
}

/// A text that YAML would take for a number, a truth value or a time needs double quotes.
fn means_itself(s: &str) -> bool {
    const WORDS: &[&str] = &[
        "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF",
        "true", "True", "TRUE", "false", "False", "FALSE", "null", "Null", "NULL", "~", "<<", "=", ".inf",
        ".Inf", ".INF", "-.inf", "+.inf", ".nan", ".NaN", ".NAN",
    ];
    if WORDS.contains(&s) {
        return false;
    }
    let first = s.bytes().next().unwrap_or(b' ');
    if !first.is_ascii_digit() && !b"+-.".contains(&first) {
        return true;
    }
    !is_number(s) && !is_time(s)
}

fn is_number(s: &str) -> bool {
    let unsigned = s.strip_prefix(['+', '-']).unwrap_or(s).replace('_', "");
    let digits = |rest: &str, radix: u32| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix));
    let based = [("0x", 16), ("0b", 2), ("0o", 8)];
    based.iter().any(|(prefix, radix)| unsigned.strip_prefix(prefix).is_some_and(|r| digits(r, *radix)))
        || (unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') && unsigned.parse::<f64>().is_ok())
}

/// `2001-01-01` and `2001-01-01T00:00:00Z` are times.
fn is_time(s: &str) -> bool {
    let b = s.as_bytes();
    let date = b.len() >= 10
        && b[..10]
            .iter()
            .enumerate()
            .all(|(at, c)| if at == 4 || at == 7 { *c == b'-' } else { c.is_ascii_digit() });
    date && (b.len() == 10 || (b"Tt ".contains(&b[10]) && s[11..].contains(':')))
}

fn is_plain(s: &str) -> bool {
    let first = s.chars().next().unwrap_or(' ');
    let second_is_space = s.len() == 1 || s.as_bytes()[1] == b' ';
    let indicator = "#,[]{}&*!|>'\"%@`".contains(first) || ("-?:".contains(first) && second_is_space);
    !indicator
        && !s.starts_with(' ')
        && !s.ends_with(' ')
        && !s.ends_with(':')
        && !s.contains(": ")
        && !s.contains(" #")
        && !s.contains('\t')
        && !s.starts_with("---")
        && !s.starts_with("...")
}

fn double_quoted(s: &str) -> String {
    let mut out = String::from('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            c if (c as u32) < 0x100 && c.is_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            '\u{feff}' => out.push_str("\\ufeff"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn literal(out: &mut String, s: &str, indent: usize) {
    out.push('|');
    if s.starts_with([' ', '\n']) {
        out.push('2');
    }
    out.push_str(if !s.ends_with('\n') {
        "-"
    } else if s.ends_with("\n\n") || s == "\n" {
        "+"
    } else {
        ""
    });
    let indent = indent.max(2);
    for line in s.strip_suffix('\n').unwrap_or(s).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value;

    #[test]
    fn texts_are_quoted_as_go_quotes_them() {
        for (given, want) in [
            ("plain", "plain"),
            ("", "\"\""),
            ("true", "\"true\""),
            ("8080", "\"8080\""),
            ("1.5", "\"1.5\""),
            ("1e3", "\"1e3\""),
            ("10.0.0.1", "10.0.0.1"),
            ("2026-01-02T03:04:05Z", "\"2026-01-02T03:04:05Z\""),
            ("*", "'*'"),
            ("a: b", "'a: b'"),
            ("it's", "it's"),
            ("- x", "'- x'"),
            ("-x", "-x"),
            ("sha256:abc", "sha256:abc"),
            ("{a}", "'{a}'"),
            ("100m", "100m"),
        ] {
            assert_eq!(to_string(&Value::from(given)).trim_end(), want, "{given}");
        }
    }

    #[test]
    fn blocks() {
        let tree = value!({"b": [{"x": 1, "a": "l1\nl2\n"}, "s"], "a": {}, "c": "l1\nl2"});
        let text = "a: {}\nb:\n- a: |\n    l1\n    l2\n  x: 1\n- s\nc: |-\n  l1\n  l2\n";
        assert_eq!(to_string(&tree), text);
        assert_eq!(crate::yaml::parse(text.as_bytes()).unwrap(), tree);
    }
}
