//! The request line read as a [`RequestInfo`], in upstream's rules, among them the old watch paths
//! (`/api/v1/watch/...`), lists by query, and the subresources of namespaces.

use http::Method;

use crate::endpoint::Query;
use crate::request::RequestInfo;

/// The pairs of a query string, decoded.
pub fn parse_query(query: Option<&str>) -> Query {
    let pairs = query.unwrap_or_default().split('&').filter(|p| !p.is_empty());
    Query(
        pairs
            .map(|p| p.split_once('=').unwrap_or((p, "")))
            .map(|(k, v)| (decode(k, true), decode(v, true)))
            .collect(),
    )
}

/// Undoes percent encoding; `plus` is a space in queries.
pub fn decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&b) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|h| std::str::from_utf8(h).ok());
        match (b, hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 3;
                continue;
            }
            (b'+', _) if plus => out.push(b' '),
            _ => out.push(b),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn verb_of(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::GET | Method::HEAD => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// See the module. `query` is that of the same request.
pub fn request_info(method: &Method, path: &str, query: &Query) -> RequestInfo {
    let mut info = RequestInfo {
        path: path.into(),
        verb: method.as_str().to_ascii_lowercase(),
        ..RequestInfo::default()
    };
    let all: Vec<String> =
        path.trim_matches('/').split('/').filter(|p| !p.is_empty()).map(|p| decode(p, false)).collect();
    let mut parts = all.as_slice();
    if parts.len() < 3 || !matches!(parts[0].as_str(), "api" | "apis") {
        return info;
    }
    let groupless = parts[0] == "api";
    info.prefix.clone_from(&parts[0]);
    parts = &parts[1..];
    if !groupless {
        if parts.len() < 3 {
            return info;
        }
        info.group.clone_from(&parts[0]);
        parts = &parts[1..];
    }
    info.is_resource = true;
    info.version.clone_from(&parts[0]);
    parts = &parts[1..];
    info.verb = verb_of(method).into();
    if parts[0] == "watch" || parts[0] == "proxy" {
        info.verb.clone_from(&parts[0]);
        parts = &parts[1..];
    }
    place(&mut info, parts);
    by_query(&mut info, query);
    info
}

fn place(info: &mut RequestInfo, mut parts: &[String]) {
    if parts.first().is_some_and(|p| p == "namespaces")
        && let Some(namespace) = parts.get(1)
    {
        info.namespace.clone_from(namespace);
        if parts.get(2).is_some_and(|p| !matches!(p.as_str(), "status" | "finalize")) {
            parts = &parts[2..];
        }
    }
    info.parts = parts.to_vec();
    let part = |at: usize| parts.get(at).cloned().unwrap_or_default();
    (info.resource, info.name) = (part(0), part(1));
    if info.verb != "proxy" {
        info.subresource = part(2);
    }
}

/// Collections: what the query says of the verb, and of a single name.
fn by_query(info: &mut RequestInfo, query: &Query) {
    if info.name.is_empty() && info.verb == "get" {
        info.verb = if query.flag("watch") { "watch".into() } else { "list".into() };
    }
    if info.name.is_empty() && info.verb == "delete" {
        info.verb = "deletecollection".into();
    }
    if !matches!(info.verb.as_str(), "list" | "watch" | "deletecollection") {
        return;
    }
    info.label_selector = query.get("labelSelector").unwrap_or_default().into();
    info.field_selector = query.get("fieldSelector").unwrap_or_default().into();
    if info.name.is_empty()
        && let Ok(selector) = apimachinery::fields::Selector::parse(&info.field_selector)
        && let Some(name) = selector.exact("metadata.name")
        && apimachinery::names::path_segment_name(name).is_empty()
    {
        info.name = name.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "verb group/version namespace resource subresource name".
    fn read(method: Method, target: &str) -> String {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let i = request_info(&method, path, &parse_query(Some(query)));
        if !i.is_resource {
            return format!("{} {}", i.verb, i.path);
        }
        format!(
            "{} {}/{} {} {} {} {}",
            i.verb, i.group, i.version, i.namespace, i.resource, i.subresource, i.name
        )
    }

    #[test]
    fn table() {
        for (method, target, expected) in [
            (Method::GET, "/", "get /"),
            (Method::GET, "/api/v1", "get /api/v1"),
            (Method::GET, "/apis/apps/v1", "get /apis/apps/v1"),
            (Method::POST, "/healthz", "post /healthz"),
            (Method::GET, "/api/v1/pods", "list /v1  pods  "),
            (Method::GET, "/api/v1/pods?watch=true", "watch /v1  pods  "),
            (Method::GET, "/api/v1/pods?watch=0", "list /v1  pods  "),
            (Method::GET, "/api/v1/watch/pods", "watch /v1  pods  "),
            (Method::GET, "/api/v1/watch/namespaces/a/pods/x", "watch /v1 a pods  x"),
            (Method::GET, "/api/v1/namespaces", "list /v1  namespaces  "),
            (Method::GET, "/api/v1/namespaces/a", "get /v1 a namespaces  a"),
            (Method::PUT, "/api/v1/namespaces/a/status", "update /v1 a namespaces status a"),
            (Method::PUT, "/api/v1/namespaces/a/finalize", "update /v1 a namespaces finalize a"),
            (Method::GET, "/api/v1/namespaces/a/pods", "list /v1 a pods  "),
            (Method::HEAD, "/api/v1/namespaces/a/pods/x", "get /v1 a pods  x"),
            (Method::GET, "/api/v1/namespaces/a/pods/x/log?follow=1", "get /v1 a pods log x"),
            (Method::DELETE, "/api/v1/namespaces/a/pods", "deletecollection /v1 a pods  "),
            (Method::GET, "/api/v1/pods?fieldSelector=metadata.name%3Dx&watch", "watch /v1  pods  x"),
            (
                Method::PATCH,
                "/apis/apps/v1/namespaces/a/deployments/d/scale",
                "patch apps/v1 a deployments scale d",
            ),
            (Method::GET, "/apis/g/v1/things/x%20y", "get g/v1  things  x y"),
        ] {
            assert_eq!(read(method, target), expected, "{target}");
        }
    }
}
