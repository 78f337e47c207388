//! Property names as identifiers of the language: `a.b-c` is `a__dot__b__dash__c`, `namespace` is `__namespace__`.

use crate::words::is_reserved;

/// The identifier for a word of the language; None for any other. Upstream lets expressions name such fields as they
/// are, too.
pub(super) fn reserved(word: &str) -> Option<String> {
    is_reserved(word).then(|| format!("__{word}__"))
}

/// The identifier for a property; None where the name cannot be reached by an expression.
pub fn escape(property: &str) -> Option<String> {
    if property.is_empty() || property.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Some(name) = reserved(property) {
        return Some(name);
    }
    let mut out = String::with_capacity(property.len());
    let mut rest = property.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '_' if rest.peek() == Some(&'_') => {
                rest.next();
                out.push_str("__underscores__");
            }
            '.' => out.push_str("__dot__"),
            '-' => out.push_str("__dash__"),
            '/' => out.push_str("__slash__"),
            c if c.is_ascii_alphanumeric() || c == '_' => out.push(c),
            _ => return None,
        }
    }
    Some(out)
}

/// The property of an identifier; None where it holds an escape that nobody writes.
pub fn unescape(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(start) = rest.find("__") {
        let inside = &rest[start + 2..];
        let word_end = inside.find('_').filter(|end| *end > 0 && inside[*end..].starts_with("__"));
        let Some(end) = word_end else {
            // No escape begins here; the next underscore may begin one.
            out.push_str(&rest[..=start]);
            rest = &rest[start + 1..];
            continue;
        };
        out.push_str(&rest[..start]);
        match &inside[..end] {
            "underscores" => out.push_str("__"),
            "dot" => out.push('.'),
            "dash" => out.push('-'),
            "slash" => out.push('/'),
            word if is_reserved(word) && word.len() + 4 == name.len() => out.push_str(word),
            _ => return None,
        }
        rest = &inside[end + 2..];
    }
    out.push_str(rest);
    Some(out)
}
