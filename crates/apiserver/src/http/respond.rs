//! Answers: heads, errors as `Status` in the caller's encoding, warnings, compression.

use apimachinery::Status;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use super::body::{self, Pieces};
use super::negotiate::Wanted;
use crate::codec;
use crate::endpoint::Body;
use crate::form::Media;

/// Answers above that size are compressed when the caller takes gzip.
pub const GZIP_FROM: u64 = 128 << 10;

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A head with a content type, never cached.
pub fn head(code: u16, content_type: &str) -> http::response::Builder {
    Response::builder()
        .status(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .header(header::CACHE_CONTROL, "no-cache, private")
        .header(header::CONTENT_TYPE, value(content_type))
}

/// A builder is only ever given what it takes.
pub fn finish(builder: http::response::Builder, body: Body) -> Response<Body> {
    builder.body(body).unwrap_or_else(|_| {
        let mut answer = Response::new(body::empty());
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        answer
    })
}

pub fn bytes(code: u16, content_type: &str, bytes: impl Into<Bytes>) -> Response<Body> {
    finish(head(code, content_type), body::full(bytes))
}

pub fn pieces(code: u16, content_type: &str, pieces: Pieces) -> Response<Body> {
    finish(head(code, content_type), body::boxed(pieces))
}

/// An answer that is written while it is sent (see [`body::written`]).
pub fn written<N>(code: u16, content_type: &str, next: N) -> Response<Body>
where
    N: FnMut(&mut Vec<u8>) -> bool + Send + Sync + Unpin + 'static,
{
    finish(head(code, content_type), body::written(next))
}

/// A JSON document (with its newline) in the form that the caller wants.
pub fn document(code: u16, wanted: &Wanted, json: Vec<u8>) -> Response<Body> {
    let out = match wanted.media {
        Media::Yaml => codec::yaml_of(&json),
        _ if wanted.pretty => pretty(&json),
        _ => json,
    };
    let media = if wanted.media == Media::Yaml { Media::Yaml } else { Media::Json };
    bytes(code, media.content_type(), out)
}

/// All pieces as one gzip stream.
pub fn gzip<'a>(pieces: impl Iterator<Item = &'a Bytes>) -> Bytes {
    super::gzip::whole(pieces)
}

/// The answer of a path that belongs to nothing.
pub fn not_found_text() -> Response<Body> {
    let mut answer = bytes(404, "text/plain; charset=utf-8", "404 page not found\n");
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// Marks an answer whose body is compressed.
pub fn compressed(code: u16, content_type: &str, body: Bytes) -> Response<Body> {
    let head = head(code, content_type)
        .header(header::CONTENT_ENCODING, "gzip")
        .header(header::VARY, "Accept-Encoding");
    finish(head, body::full(body))
}

/// The `Status` of an error.
pub fn error(status: &Status, media: Media, is_pretty: bool) -> Response<Body> {
    let retry = status.details.as_ref().map_or(0, |d| d.retry_after_seconds);
    let (content_type, bytes) = encode_status(status, media, is_pretty);
    let mut head = head(status.code, content_type);
    if status.code == 403 {
        head = head.header(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    }
    if retry > 0 {
        head = head.header(header::RETRY_AFTER, retry);
    }
    finish(head, body::full(bytes))
}

/// A `Status` in an encoding.
pub fn encode_status(status: &Status, media: Media, is_pretty: bool) -> (&'static str, Vec<u8>) {
    let mut json = escaped(status.to_json());
    json.push(b'\n');
    match media {
        Media::Protobuf => match protobuf_of(&json) {
            Some(encoded) => (Media::Protobuf.content_type(), encoded),
            None => (Media::Json.content_type(), json),
        },
        Media::Yaml => (Media::Yaml.content_type(), codec::yaml_of(&json)),
        _ if is_pretty => (Media::Json.content_type(), pretty(&json)),
        _ => (Media::Json.content_type(), json),
    }
}

/// As Go writes strings: these three signs are inside of strings only.
fn escaped(json: String) -> Vec<u8> {
    if !json.contains(['<', '>', '&']) {
        return json.into_bytes();
    }
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").into_bytes()
}

fn protobuf_of(json: &[u8]) -> Option<Vec<u8>> {
    let of = api::schema::by_gvk("", "v1", "Status")?;
    let (value, _) = codec::decode(Media::Json, json, &of).ok()?;
    codec::encode(Media::Protobuf, &value, &of).ok()
}

/// Adds `Warning` headers (RFC 7234, code 299), as upstream cuts them.
pub fn warn(answer: &mut Response<Body>, warnings: Vec<String>) {
    let mut total = 0;
    for text in warnings {
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut escaped = String::with_capacity(clean.len() + 8);
        for c in clean.chars() {
            if matches!(c, '"' | '\\') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        total += escaped.len();
        if total > 4096 {
            break;
        }
        answer.headers_mut().append(header::WARNING, value(&format!("299 - \"{escaped}\"")));
    }
}

/// Two spaces a level and no newline at the end, as Go indents; strings are left as they are.
pub fn pretty(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', depth * 2));
    };
    for (at, &b) in json.iter().enumerate() {
        if quoted {
            out.push(b);
            (quoted, escaped) = (escaped || b != b'"', !escaped && b == b'\\');
            continue;
        }
        match b {
            b'"' => {
                quoted = true;
                out.push(b);
            }
            b'{' | b'[' => {
                out.push(b);
                if matches!(json.get(at + 1), Some(b'}' | b']')) {
                    continue;
                }
                depth += 1;
                line(&mut out, depth);
            }
            b'}' | b']' => {
                if !matches!(json.get(at.wrapping_sub(1)), Some(b'{' | b'[')) {
                    depth = depth.saturating_sub(1);
                    line(&mut out, depth);
                }
                out.push(b);
            }
            b',' => {
                out.push(b);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            b'\n' => {}
            _ => out.push(b),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indents_as_go() {
        let text = pretty(br#"{"a":{},"b":[1,"x\",{"],"c":{"d":[]}}"#);
        let expected =
            "{\n  \"a\": {},\n  \"b\": [\n    1,\n    \"x\\\",{\"\n  ],\n  \"c\": {\n    \"d\": []\n  }\n}";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn warnings_are_quoted() {
        let mut answer = Response::new(body::empty());
        warn(&mut answer, vec!["say \"x\"\n".into()]);
        assert_eq!(answer.headers().get(header::WARNING).unwrap(), r#"299 - "say \"x\" ""#);
    }
}
