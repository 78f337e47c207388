//! How a document is answered: which encoding the caller takes, whether he has it already, compressed or not.

use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};

use crate::endpoint::Body;
use crate::http::body::{self, Pieces};
use crate::http::respond;

/// What a document is known by.
#[derive(Clone, Debug)]
pub(super) struct Version {
    /// Without quotes.
    pub etag: String,
    pub modified: SystemTime,
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    let all: Vec<&str> = headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
    (!all.is_empty()).then(|| all.join(","))
}

/// The first of `offered` (subtypes of `application`) that the caller takes, by his preference.
pub(super) fn choose<'a>(headers: &HeaderMap, offered: &[&'a str]) -> Option<&'a str> {
    let accept = text(headers, header::ACCEPT).filter(|a| !a.is_empty()).unwrap_or_else(|| "*/*".into());
    let mut clauses: Vec<(f32, &str, &str)> = accept
        .split(',')
        .filter_map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let (of, sub) = parts.next()?.split_once('/')?;
            let quality = parts.find_map(|p| p.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
            Some((quality, of, sub))
        })
        .collect();
    let wild = |c: &(f32, &str, &str)| (c.1 == "*", c.2 == "*");
    clauses.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| wild(a).cmp(&wild(b))));
    let fits =
        |of: &str, sub: &str, offer: &str| (of == "application" || of == "*") && (sub == offer || sub == "*");
    clauses.iter().find_map(|(_, of, sub)| offered.iter().find(|o| fits(of, sub, o)).copied())
}

/// The answer where none of the encodings is taken: nothing but its code.
pub(super) fn not_acceptable() -> Response<Body> {
    let mut answer = respond::finish(Response::builder().status(StatusCode::NOT_ACCEPTABLE), body::empty());
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    answer
}

pub(super) fn not_modified(version: &Version) -> Response<Body> {
    let mut answer = respond::finish(Response::builder().status(StatusCode::NOT_MODIFIED), body::empty());
    mark(answer.headers_mut(), version);
    answer
}

/// Whether the caller has it. RFC 9110, 13.2.2: `If-None-Match` decides where there is one.
pub(super) fn has(headers: &HeaderMap, version: &Version) -> bool {
    if let Some(tags) = text(headers, header::IF_NONE_MATCH) {
        let fits = |tag: &str| tag == "*" || tag.trim_start_matches("W/").trim_matches('"') == version.etag;
        return tags.split(',').map(str::trim).any(fits);
    }
    let since = text(headers, header::IF_MODIFIED_SINCE)
        .and_then(|t| DateTimeParser::new().parse_timestamp(t.as_bytes()).ok());
    let modified = Timestamp::try_from(version.modified).map(Timestamp::as_second);
    since.zip(modified.ok()).is_some_and(|(since, modified)| modified <= since.as_second())
}

pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let encodings = text(headers, header::ACCEPT_ENCODING).unwrap_or_default();
    encodings.split(',').any(|e| {
        let mut parts = e.split(';').map(str::trim);
        parts.next() == Some("gzip") && !parts.any(|p| matches!(p, "q=0" | "q=0.0"))
    })
}

/// 304, or the document, of which `body` gives the compressed form.
pub(super) fn answer(
    headers: &HeaderMap,
    content_type: &str,
    version: &Version,
    body: impl FnOnce() -> Pieces,
) -> Response<Body> {
    if has(headers, version) {
        return not_modified(version);
    }
    let mut answer = if accepts_gzip(headers) {
        let mut answer = respond::pieces(200, content_type, body());
        answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        answer
    } else {
        respond::bytes(200, content_type, unzip(body()))
    };
    mark(answer.headers_mut(), version);
    answer
}

fn mark(headers: &mut HeaderMap, version: &Version) {
    let etag = HeaderValue::try_from(format!("\"{}\"", version.etag)).ok();
    let of = |text: &'static str| Some(HeaderValue::from_static(text));
    let all = [
        (header::ETAG, etag),
        (header::LAST_MODIFIED, http_date(version.modified)),
        (header::VARY, of("Accept, Accept-Encoding")),
        (header::CACHE_CONTROL, of("no-cache, private")),
    ];
    for (name, value) in all.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        headers.insert(name, value);
    }
}

pub(super) fn http_date(at: SystemTime) -> Option<HeaderValue> {
    let at = Timestamp::try_from(at).ok()?;
    HeaderValue::try_from(DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()?).ok()
}

fn unzip(pieces: Pieces) -> Vec<u8> {
    use std::io::Read;
    let bytes = pieces.concat();
    let mut out = Vec::with_capacity(bytes.len() * 8);
    // It was compressed by this server.
    let _ = flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(header::HeaderName, &str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn encodings() {
        let offered = ["json", "x@1+protobuf", "x.1+protobuf"];
        for (accept, expected) in [
            ("", Some("json")),
            ("*/*", Some("json")),
            ("application/*", Some("json")),
            ("application/x@1+protobuf", Some("x@1+protobuf")),
            ("application/json;q=0.5, application/x.1+protobuf", Some("x.1+protobuf")),
            ("*/*, application/x.1+protobuf", Some("x.1+protobuf")),
            ("text/html", None),
            ("application/yaml", None),
        ] {
            assert_eq!(choose(&headers(&[(header::ACCEPT, accept)]), &offered), expected, "{accept}");
        }
    }

    #[test]
    fn what_the_caller_has() {
        let modified = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(784_111_777_500);
        let version = Version { etag: "AB".into(), modified };
        for (name, value, expected) in [
            (header::IF_NONE_MATCH, "\"AB\"", true),
            (header::IF_NONE_MATCH, "\"x\", W/\"AB\"", true),
            (header::IF_NONE_MATCH, "*", true),
            (header::IF_NONE_MATCH, "\"x\"", false),
            (header::IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT", true),
            (header::IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:36 GMT", false),
            (header::IF_MODIFIED_SINCE, "nonsense", false),
        ] {
            assert_eq!(has(&headers(&[(name, value)]), &version), expected, "{value}");
        }
        let both =
            [(header::IF_NONE_MATCH, "\"x\""), (header::IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert!(!has(&headers(&both), &version));
    }

    #[test]
    fn heads() {
        let version = Version { etag: "AB".into(), modified: SystemTime::UNIX_EPOCH };
        let known = headers(&[(header::IF_NONE_MATCH, "\"AB\"")]);
        let whole = answer(&HeaderMap::new(), "application/json", &version, || Pieces::new([]));
        assert_eq!(whole.headers().get_all(header::CACHE_CONTROL).iter().count(), 1);
        let answer = answer(&known, "application/json", &version, || Pieces::new([]));
        assert_eq!(answer.status(), 304);
        let head = |name| answer.headers()[name].to_str().unwrap();
        assert_eq!((head("etag"), head("vary")), ("\"AB\"", "Accept, Accept-Encoding"));
        assert_eq!(head("last-modified"), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert!(!answer.headers().contains_key(header::CONTENT_TYPE));
    }
}
