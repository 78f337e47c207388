//! The tree as Go writes it.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::schema::{Field, Node, Omit, Shape, Special, Type};
use crate::value::{Key, Map, Value};

/// The tree as it stands, keys in their order, without a type.
pub fn write_value(out: &mut Vec<u8>, value: &Value) {
    generic(out, value, false);
}

/// As [`write_value`], in a new buffer.
pub fn to_vec(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write_value(&mut out, value);
    out
}

/// As [`write_value`], as text.
pub fn to_string(value: &Value) -> String {
    String::from_utf8(to_vec(value)).unwrap_or_default()
}

/// An object of a type, as Go writes it: custom ones with sorted keys, built-in ones field by field.
pub fn write(out: &mut Vec<u8>, value: &Value, of: &Type) {
    match value {
        Value::Map(map) if !of.custom => fields(out, map, of),
        _ => generic(out, value, of.custom),
    }
}

fn generic(out: &mut Vec<u8>, value: &Value, sorted: bool) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        Value::Int(n) => int(out, *n),
        Value::Float(n) => float(out, *n),
        Value::String(s) => string(out, s),
        Value::Raw(text) => raw(out, text),
        Value::List(list) => {
            out.push(b'[');
            for (at, item) in list.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                generic(out, item, sorted);
            }
            out.push(b']');
        }
        Value::Map(map) => entries(out, map, sorted, |out, value| generic(out, value, sorted)),
    }
}

/// A map, its keys sorted by bytes if asked for.
fn entries(out: &mut Vec<u8>, map: &Map, sorted: bool, mut one: impl FnMut(&mut Vec<u8>, &Value)) {
    let mut write = |out: &mut Vec<u8>, at: usize, key: &str, value: &Value| {
        if at > 0 {
            out.push(b',');
        }
        string(out, key);
        out.push(b':');
        one(out, value);
    };
    out.push(b'{');
    if !sorted || map.is_sorted() {
        map.iter().enumerate().for_each(|(at, (k, v))| write(out, at, k, v));
    } else {
        let mut list: Vec<(&Key, &Value)> = map.iter().collect();
        list.sort_unstable_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        list.into_iter().enumerate().for_each(|(at, (k, v))| write(out, at, k, v));
    }
    out.push(b'}');
}

/// Positions in the type and in the map, in the order of the type; unknown fields are left out.
fn ranked(map: &Map, of: &Type) -> SmallVec<[(u16, u16); 64]> {
    let mut ranks: SmallVec<[(u16, u16); 64]> = SmallVec::new();
    for (at, (key, _)) in map.iter().enumerate() {
        if let Some(rank) = of.position(key) {
            ranks.push((rank as u16, at as u16));
        }
    }
    if !ranks.is_sorted() {
        ranks.sort_unstable();
    }
    ranks
}

fn fields(out: &mut Vec<u8>, map: &Map, of: &Type) {
    out.push(b'{');
    let start = out.len();
    let ranks = ranked(map, of);
    let mut always = of.always().iter().copied().peekable();
    for (rank, at) in ranks {
        while let Some(missing) = always.next_if(|a| *a < rank) {
            field(out, start, &of.fields[usize::from(missing)], &Value::Null);
        }
        always.next_if(|a| *a == rank);
        if let Some((_, value)) = map.entry_at(usize::from(at)) {
            field(out, start, &of.fields[usize::from(rank)], value);
        }
    }
    for missing in always {
        field(out, start, &of.fields[usize::from(missing)], &Value::Null);
    }
    out.push(b'}');
}

fn field(out: &mut Vec<u8>, start: usize, field: &Field, value: &Value) {
    if !field.in_json || is_omitted(field, value) {
        return;
    }
    if out.len() > start {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(field.name.as_bytes());
    out.extend_from_slice(b"\":");
    node(out, &field.node, value);
}

/// Whether Go leaves the field out (`omitempty`, `omitzero`).
pub(crate) fn is_omitted(field: &Field, value: &Value) -> bool {
    match field.omit {
        Omit::Never => false,
        Omit::Empty => is_empty(&field.node, value),
        Omit::Zero => is_empty(&field.node, value) || value.is_null(),
    }
}

fn is_empty(node: &Node, value: &Value) -> bool {
    if node.pointer {
        return value.is_null();
    }
    match (&node.shape, value) {
        (Shape::Struct(_) | Shape::Special(_), _) => false,
        (_, Value::Null | Value::Bool(false) | Value::Int(0)) => true,
        (_, Value::Float(n)) => *n == 0.0,
        (_, Value::String(s)) => s.is_empty(),
        (_, Value::List(l)) => l.is_empty(),
        (_, Value::Map(m)) => m.is_empty(),
        _ => false,
    }
}

fn node(out: &mut Vec<u8>, node: &Node, value: &Value) {
    if node.pointer && value.is_null() {
        return out.extend_from_slice(b"null");
    }
    match (&node.shape, value) {
        (Shape::Struct(of), Value::Map(map)) if !of.custom => fields(out, map, of),
        (Shape::Struct(of), Value::Null) if !of.custom => fields(out, &Map::new(), of),
        (Shape::Struct(of), _) => generic(out, value, of.custom),
        (Shape::List(inner), Value::List(list)) => {
            out.push(b'[');
            for (at, item) in list.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                self::node(out, inner, item);
            }
            out.push(b']');
        }
        (Shape::Map(inner), Value::Map(map)) => entries(out, map, true, |out, v| self::node(out, inner, v)),
        (shape, Value::Null) => out.extend_from_slice(zero(shape)),
        (Shape::Special(special), _) => self::special(out, special, value),
        _ => generic(out, value, true),
    }
}

fn special(out: &mut Vec<u8>, special: &Special, value: &Value) {
    match (special, value) {
        (Special::Raw(_), Value::Raw(text)) if text.is_empty() => out.extend_from_slice(b"null"),
        (
            Special::SchemaOrBool(of) | Special::SchemaOrArray(of) | Special::SchemaOrStrings(of),
            Value::Map(map),
        ) => {
            fields(out, map, of);
        }
        (Special::SchemaOrArray(of), Value::List(list)) => {
            out.push(b'[');
            for (at, item) in list.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(out, item, of);
            }
            out.push(b']');
        }
        _ => generic(out, value, false),
    }
}

/// What Go writes of a value that nothing set.
fn zero(shape: &Shape) -> &'static [u8] {
    match shape {
        Shape::Bool => b"false",
        Shape::Int32 | Shape::Int64 | Shape::Float64 | Shape::Number => b"0",
        Shape::String => b"\"\"",
        Shape::Special(Special::Duration) => b"\"0s\"",
        Shape::Special(Special::Quantity) => b"\"0\"",
        Shape::Special(Special::IntOrString) => b"0",
        Shape::Special(Special::SchemaOrBool(_)) => b"false",
        _ => b"null",
    }
}

fn int(out: &mut Vec<u8>, n: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = n.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if n < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// Shortest digits; an exponent below 1e-6 and from 1e21.
fn float(out: &mut Vec<u8>, n: f64) {
    if n == 0.0 {
        return out.extend_from_slice(if n.is_sign_negative() { b"-0" } else { b"0" });
    }
    let size = n.abs();
    if (1e-6..1e21).contains(&size) {
        return out.extend_from_slice(format!("{n}").as_bytes());
    }
    let text = format!("{n:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => {
            out.extend_from_slice(digits.as_bytes());
            out.extend_from_slice(b"e+");
            out.extend_from_slice(exponent.as_bytes());
        }
        _ => out.extend_from_slice(text.as_bytes()),
    }
}

/// 0: as it is; 1: look closer; else the letter after the backslash.
static ESCAPE: [u8; 256] = escapes();

const fn escapes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut c = 0;
    while c < 0x20 {
        table[c] = b'u';
        c += 1;
    }
    table[0x08] = b'b';
    table[0x0c] = b'f';
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'<' as usize] = b'u';
    table[b'>' as usize] = b'u';
    table[b'&' as usize] = b'u';
    table[0xe2] = 1;
    table
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text.as_bytes());
    out.push(b'"');
}

fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut from = 0;
    for (at, c) in bytes.iter().enumerate() {
        let mark = ESCAPE[usize::from(*c)];
        if mark == 0 {
            continue;
        }
        match mark {
            1 => {
                if let Some(last @ (0xa8 | 0xa9)) = bytes.get(at + 2).filter(|_| bytes[at + 1] == 0x80) {
                    out.extend_from_slice(&bytes[from..at]);
                    out.extend_from_slice(if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                    from = at + 3;
                }
                continue;
            }
            b'u' => {
                out.extend_from_slice(&bytes[from..at]);
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(c >> 4)], HEX[usize::from(c & 15)]]);
            }
            letter => {
                out.extend_from_slice(&bytes[from..at]);
                out.extend_from_slice(&[b'\\', letter]);
            }
        }
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
}

/// Raw JSON text without white space, with Go's escapes for HTML.
fn raw(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return out.extend_from_slice(b"null");
    }
    let (mut inside, mut after_backslash, mut skip) = (false, false, 0);
    for (at, c) in bytes.iter().enumerate() {
        if skip > 0 {
            skip -= 1;
            continue;
        }
        match c {
            b' ' | b'\n' | b'\t' | b'\r' if !inside => continue,
            b'<' | b'>' | b'&' => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(c >> 4)], HEX[usize::from(c & 15)]]);
            }
            0xe2 if bytes[at + 1..].starts_with(&[0x80, 0xa8])
                || bytes[at + 1..].starts_with(&[0x80, 0xa9]) =>
            {
                out.extend_from_slice(if bytes[at + 2] == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                skip = 2;
            }
            _ => out.push(*c),
        }
        if *c == b'"' && !after_backslash {
            inside = !inside;
        }
        after_backslash = inside && *c == b'\\' && !after_backslash;
    }
}

/// Raw JSON text as Go writes it out.
pub fn compact_raw(text: &str) -> Cow<'_, str> {
    let mut out = Vec::with_capacity(text.len());
    raw(&mut out, text);
    if out == text.as_bytes() {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(String::from_utf8(out).unwrap_or_default())
    }
}
