//! URLs: `kubernetes.urls`, as Go's `url.ParseRequestURI` reads them.

use std::sync::Arc;

use super::Special;
use crate::functions::{Code, Declared, Outcome, Refused, Style, fail};
use crate::value::map::Entries;
use crate::value::{List, Value};

/// A URL in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    text: String,
    scheme: String,
    /// Host and port.
    host: String,
    /// Escaped.
    path: String,
    query: String,
}

const fn function(
    name: &'static str,
    overloads: &'static [(&'static str, &'static str)],
    code: Code,
) -> Declared {
    Declared { name, overloads, code, style: Style::Guarded }
}

pub(super) const DECLARED: &[Declared] = &[
    function("url", &[("string_to_url", "(string) Url")], |args| {
        match parse(args[0].as_str().ok_or(Refused::NoOverload)?) {
            Ok(url) => Ok(Value::Special(Arc::new(Special::Url(url)))),
            Err(why) => fail(format!("URL parse error during conversion from string: {why}")),
        }
    }),
    function("isURL", &[("is_url_string", "(string) bool")], |args| {
        Ok(Value::Bool(parse(args[0].as_str().ok_or(Refused::NoOverload)?).is_ok()))
    }),
    function("getScheme", &[("url_get_scheme", "Url.() string")], |args| {
        part(args, |url| url.scheme.clone())
    }),
    function("getHost", &[("url_get_host", "Url.() string")], |args| part(args, |url| url.host.clone())),
    function("getHostname", &[("url_get_hostname", "Url.() string")], |args| {
        part(args, |url| split_port(&url.host).0.trim_start_matches('[').trim_end_matches(']').to_owned())
    }),
    function("getPort", &[("url_get_port", "Url.() string")], |args| {
        part(args, |url| split_port(&url.host).1.to_owned())
    }),
    function("getEscapedPath", &[("url_get_escaped_path", "Url.() string")], |args| {
        part(args, |url| url.path.clone())
    }),
    function("getQuery", &[("url_get_query", "Url.() map(string, list(string))")], query),
];

fn of<'v>(args: &'v [Value<'_>]) -> Result<&'v Url, Refused> {
    match &args[0] {
        Value::Special(special) => match &**special {
            Special::Url(url) => Ok(url),
            _ => Err(Refused::NoOverload),
        },
        _ => Err(Refused::NoOverload),
    }
}

fn part<'a>(args: &[Value<'a>], of_url: fn(&Url) -> String) -> Outcome<'a> {
    Ok(Value::text(of_url(of(args)?)))
}

/// Parameters by name; what cannot be decoded is left out, as Go does.
fn query<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let mut found: Vec<(String, Vec<Value<'a>>)> = Vec::new();
    for pair in of(args)?.query.split('&').filter(|p| !p.is_empty() && !p.contains(';')) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(name), Some(value)) = (decoded(name), decoded(value)) else { continue };
        match found.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(Value::text(value)),
            None => found.push((name, vec![Value::text(value)])),
        }
    }
    let mut map = Entries::default();
    for (name, values) in found {
        map.insert(Value::text(name), Value::List(List::from(values)));
    }
    Ok(Value::Map(map.into()))
}

fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &rest[2..];
            }
            c => out.push(*c),
        }
    }
    String::from_utf8(out).ok()
}

/// Host and port, without their colon. A colon within brackets is an address's.
fn split_port(host: &str) -> (&str, &str) {
    let is_whole = |name: &str| !name.starts_with('[') || name.ends_with(']');
    match host.rsplit_once(':') {
        Some((name, port)) if is_whole(name) && port.bytes().all(|c| c.is_ascii_digit()) => (name, port),
        _ => (host, ""),
    }
}

/// Reads a URL with a scheme, or a path from the root. The error is in Go's words.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    let refuse = |why: &str| Err(format!("parse {text:?}: {why}"));
    if text.bytes().any(|c| c < b' ' || c == 0x7f) {
        return refuse("net/url: invalid control character in URL");
    }
    if text.is_empty() {
        return refuse("empty url");
    }
    let (scheme, rest) = match scheme(text) {
        Ok(found) => found,
        Err(why) => return refuse(why),
    };
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !rest.starts_with('/') {
        if scheme.is_empty() {
            return refuse("invalid URI for request");
        }
        // An opaque URL, such as mailto:x: it has no path of its own.
        return Ok(Url {
            text: text.into(),
            scheme,
            host: String::new(),
            path: String::new(),
            query: query.into(),
        });
    }
    let (authority, path) = match rest.strip_prefix("//") {
        Some(after) if !scheme.is_empty() || !rest.starts_with("///") => {
            after.find('/').map_or((after, ""), |at| after.split_at(at))
        }
        _ => ("", rest),
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Err(why) = check_host(host).and_then(|()| check_escapes(path)) {
        return refuse(&why);
    }
    Ok(Url { text: text.into(), scheme, host: host.into(), path: escaped_path(path), query: query.into() })
}

fn scheme(text: &str) -> Result<(String, &str), &'static str> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            _ => return Ok((String::new(), text)),
        }
    }
    Ok((String::new(), text))
}

fn check_host(host: &str) -> Result<(), String> {
    if let Some(open) = host.strip_prefix('[') {
        let Some((_, port)) = open.split_once(']') else { return Err("missing ']' in host".into()) };
        return check_port(port);
    }
    if let Some(bad) = host.find([' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}', '%']) {
        let c = host[bad..].chars().next().unwrap_or(' ');
        return Err(format!("invalid character {:?} in host name", c.to_string()));
    }
    host.find(':').map_or(Ok(()), |_| {
        let at = host.rfind(':').unwrap_or(0);
        check_port(&host[at..])
    })
}

fn check_port(port: &str) -> Result<(), String> {
    let digits = port.strip_prefix(':');
    let good = port.is_empty() || digits.is_some_and(|d| d.bytes().all(|c| c.is_ascii_digit()));
    if good { Ok(()) } else { Err(format!("invalid port {port:?} after host")) }
}

fn check_escapes(path: &str) -> Result<(), String> {
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let shown: String = rest[at..].chars().take(3).collect();
        if shown.len() != 3 || !shown[1..].bytes().all(|c| c.is_ascii_hexdigit()) {
            return Err(format!("invalid URL escape {shown:?}"));
        }
        rest = &rest[at + 1..];
    }
    Ok(())
}

/// Escapes are kept where they are; what must be escaped is.
fn escaped_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if c.is_ascii_alphanumeric() || "-_.~$&+,/:;=@!'()*%[]".contains(c) {
            out.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    out
}
