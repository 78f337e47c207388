//! What literals say: numbers, and texts with their escapes.

use std::sync::Arc;

use crate::value::Value;

/// A whole number, maybe with a minus, maybe hexadecimal.
pub(super) fn int(text: &str, negative: bool) -> Option<Value<'static>> {
    let (digits, base) = based(text);
    let magnitude = i128::from(u64::from_str_radix(digits, base).ok()?);
    i64::try_from(if negative { -magnitude } else { magnitude }).ok().map(Value::Int)
}

/// A whole number with its `u`.
pub(super) fn uint(text: &str) -> Option<Value<'static>> {
    let (digits, base) = based(text.trim_end_matches(['u', 'U']));
    u64::from_str_radix(digits, base).ok().map(Value::Uint)
}

fn based(text: &str) -> (&str, u32) {
    text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16))
}

/// None for what is too large, as Go's parser refuses it.
pub(super) fn double(text: &str, negative: bool) -> Option<Value<'static>> {
    let value: f64 = text.parse().ok()?;
    value.is_finite().then_some(Value::Double(if negative { -value } else { value }))
}

/// A string token with prefixes and quotes.
pub(super) fn string(token: &str) -> Result<Value<'static>, &'static str> {
    let (body, raw) = strip(token);
    let mut out = Vec::with_capacity(body.len());
    unescape(body, raw, false, &mut out)?;
    String::from_utf8(out).map(Value::text).map_err(|_| "invalid unicode code point")
}

/// A bytes token with prefixes and quotes.
pub(super) fn bytes(token: &str) -> Result<Value<'static>, &'static str> {
    let (body, raw) = strip(&token[1..]);
    let mut out = Vec::with_capacity(body.len());
    unescape(body, raw, true, &mut out)?;
    Ok(Value::Bytes(Arc::from(out)))
}

fn strip(token: &str) -> (&str, bool) {
    let body = token.trim_start_matches(['r', 'R']);
    let raw = body.len() < token.len();
    let triple = body.len() >= 6 && (body.starts_with("\"\"\"") || body.starts_with("'''"));
    let quote = if triple { 3 } else { 1 };
    (&body[quote..body.len() - quote], raw)
}

fn unescape(body: &str, raw: bool, bytes: bool, out: &mut Vec<u8>) -> Result<(), &'static str> {
    // As upstream reads source files: a carriage return counts for nothing but the line's end.
    let body = body.replace("\r\n", "\n").replace('\r', "\n");
    let mut rest = body.as_str();
    while let Some(c) = rest.chars().next() {
        if c != '\\' || raw {
            out.extend_from_slice(&rest.as_bytes()[..c.len_utf8()]);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        rest = escape(&rest[1..], bytes, out)?;
    }
    Ok(())
}

/// One escape, after its backslash; what follows it.
fn escape<'t>(text: &'t str, bytes: bool, out: &mut Vec<u8>) -> Result<&'t str, &'static str> {
    let c = text.chars().next().ok_or("unable to unescape string, found '\\' as last character")?;
    let rest = &text[c.len_utf8()..];
    let simple = match c {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' | '\'' | '"' | '`' | '?' => c as u8,
        'x' | 'X' => return code(rest, 2, 16, bytes, bytes, out),
        'u' if !bytes => return code(rest, 4, 16, false, bytes, out),
        'U' if !bytes => return code(rest, 8, 16, false, bytes, out),
        'u' | 'U' => return Err("unable to unescape string"),
        '0'..='3' => return code(text, 3, 8, bytes, bytes, out),
        _ => return Err("unable to unescape string"),
    };
    out.push(simple);
    Ok(rest)
}

fn code<'t>(
    text: &'t str,
    digits: usize,
    base: u32,
    byte: bool,
    _bytes: bool,
    out: &mut Vec<u8>,
) -> Result<&'t str, &'static str> {
    let shown = text.get(..digits).ok_or("unable to unescape string")?;
    let value = u32::from_str_radix(shown, base).map_err(|_| "unable to unescape string")?;
    if byte {
        out.push(value as u8);
    } else {
        let c = char::from_u32(value).ok_or("invalid unicode code point")?;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(&text[digits..])
}
