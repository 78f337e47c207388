//! Passing a request on: headers as a proxy must treat them, upgrades byte for byte.

use std::net::SocketAddr;

use apimachinery::Status;
use apiserver::endpoint::Body;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use streaming::upgrade::{self, Answer};

use crate::webhook::outgoing::{self, Address};

/// Connection-bound headers (RFC 9110, section 7.6.1).
const HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What the caller said about himself stays here: the other side must not act on it.
fn strip_credentials(headers: &mut HeaderMap) {
    let private: Vec<HeaderName> = headers
        .keys()
        .filter(|n| {
            let name = n.as_str();
            name == "authorization" || name.starts_with("x-remote-") || name.starts_with("impersonate-")
        })
        .cloned()
        .collect();
    private.into_iter().for_each(|n| drop(headers.remove(n)));
    // A bearer token among the subprotocols of a websocket.
    let protocols = headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|v| v.to_str().ok());
    let kept = protocols.map(|list| {
        let names = list
            .split(',')
            .map(str::trim)
            .filter(|p| !p.starts_with("base64url.bearer.authorization.k8s.io."));
        names.collect::<Vec<_>>().join(", ")
    });
    if let Some(Ok(value)) = kept.map(|k| HeaderValue::from_str(&k)) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
}

fn strip_hop(headers: &mut HeaderMap) {
    let listed: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(|n| n.trim().to_ascii_lowercase())
        .collect();
    HOP.iter().for_each(|n| drop(headers.remove(*n)));
    listed.iter().for_each(|n| drop(headers.remove(n.as_str())));
}

fn add_forwarded_for(headers: &mut HeaderMap, client: Option<SocketAddr>) {
    let Some(client) = client else { return };
    let before = headers.get("x-forwarded-for").and_then(|v| v.to_str().ok()).map(|v| format!("{v}, "));
    let text = format!("{}{}", before.unwrap_or_default(), client.ip());
    if let Ok(value) = text.parse() {
        headers.insert("x-forwarded-for", value);
    }
}

/// Sends `request` on to `path_and_query` at `address`; an upgrade is followed and its bytes are carried until
/// either side ends. `keep_identity`: the caller's `X-Remote-*` headers were set by us.
pub async fn forward(
    address: &Address,
    mut request: Request<Body>,
    path_and_query: &str,
    client: Option<SocketAddr>,
    headers: HeaderMap,
) -> Result<Response<Body>, Status> {
    let upgrading = upgrade::is_upgrade(request.headers());
    let on_upgrade = upgrading.then(|| upgrade::on_upgrade(&mut request));
    let (mut parts, body) = request.into_parts();
    strip_credentials(&mut parts.headers);
    add_forwarded_for(&mut parts.headers, client);
    parts.headers.remove(header::HOST);
    parts.headers.extend(headers);
    parts.version = http::Version::HTTP_11;
    parts.uri = path_and_query.parse().map_err(|e| Status::internal(format!("{path_and_query}: {e}")))?;
    parts.extensions.clear();
    let failed =
        |e: &dyn std::fmt::Display| Status::unavailable(format!("error trying to reach service: {e}"));
    let Some(on_upgrade) = on_upgrade else {
        strip_hop(&mut parts.headers);
        let response =
            outgoing::send(address, Request::from_parts(parts, body)).await.map_err(|e| failed(&e))?;
        return Ok(answer(response));
    };
    if let Ok(host) = address.authority.parse() {
        parts.headers.insert(header::HOST, host);
    }
    let io = address.dial().await.map_err(|e| failed(&e))?;
    match upgrade::request(io, Request::from_parts(parts, body)).await.map_err(|e| failed(&e))? {
        Answer::Refused(response) => Ok(answer(response)),
        Answer::Switched(head, backend) => {
            tokio::spawn(async move {
                match upgrade::io(on_upgrade).await {
                    Ok(client) => upgrade::proxy(client, backend).await,
                    Err(error) => tracing::debug!(%error, "the client's connection did not switch"),
                }
            });
            Ok(head.map(|()| super::body("")))
        }
    }
}

/// The other side's answer, without what concerns its connection.
pub fn answer(response: Response<Incoming>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    strip_hop(&mut parts.headers);
    parts.version = http::Version::HTTP_11;
    parts.extensions.clear();
    Response::from_parts(parts, body.map_err(Into::into).boxed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_stay_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer t"),
            ("x-remote-user", "me"),
            ("impersonate-user", "you"),
            ("connection", "keep-alive, x-private"),
            ("x-private", "1"),
            ("accept", "*/*"),
            ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.dA, v4.channel.k8s.io"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        strip_credentials(&mut headers);
        strip_hop(&mut headers);
        add_forwarded_for(&mut headers, Some("10.0.0.1:5".parse().unwrap()));
        let mut left: Vec<String> =
            headers.iter().map(|(k, v)| format!("{k}: {}", v.to_str().unwrap())).collect();
        left.sort();
        assert_eq!(
            left,
            ["accept: */*", "sec-websocket-protocol: v4.channel.k8s.io", "x-forwarded-for: 10.0.0.1"]
        );
    }
}
