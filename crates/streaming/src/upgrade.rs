//! HTTP/1.1 upgrades: who asks for one, the 101 answer, the client's side of it, and the proxy that passes bytes
//! both ways.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::{BoxIo, Error};

/// The header by which the sides agree on a protocol above SPDY.
pub const STREAM_PROTOCOL: &str = "x-stream-protocol-version";

/// True for a request that wants its connection to become something else.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    let connection = headers.get_all(CONNECTION).iter().filter_map(|v| v.to_str().ok());
    connection.flat_map(|v| v.split(',')).any(|v| v.trim().eq_ignore_ascii_case("upgrade"))
        && headers.contains_key(UPGRADE)
}

/// The value of `Upgrade`, in lower case.
pub fn wanted(headers: &HeaderMap) -> Option<String> {
    is_upgrade(headers).then(|| headers.get(UPGRADE)?.to_str().ok().map(str::to_ascii_lowercase)).flatten()
}

pub fn is_websocket(headers: &HeaderMap) -> bool {
    wanted(headers).as_deref() == Some("websocket")
}

pub fn is_spdy(headers: &HeaderMap) -> bool {
    wanted(headers).is_some_and(|w| w == "spdy/3.1")
}

/// The connection below a request, once its 101 answer is sent.
pub fn on_upgrade<B>(request: &mut Request<B>) -> OnUpgrade {
    hyper::upgrade::on(request)
}

/// Waits for the connection itself.
pub async fn io(upgrade: OnUpgrade) -> Result<BoxIo, Error> {
    Ok(Box::new(TokioIo::new(upgrade.await?)))
}

/// The answer that switches protocols.
pub fn switching(protocol: &str) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(value) = protocol.parse() {
        headers.insert(UPGRADE, value);
    }
    response
}

/// The protocols that a SPDY client offers, in its order: each its own header, or several in one.
pub fn offered(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(STREAM_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty()).collect()
}

/// The first offered protocol that is spoken here. A client that offers none speaks the first one ever, "".
pub fn negotiate(offered: &[String], spoken: &[&'static str]) -> Option<&'static str> {
    if offered.is_empty() {
        return spoken.iter().find(|s| s.is_empty()).copied();
    }
    offered.iter().find_map(|o| spoken.iter().find(|s| *s == o).copied())
}

/// An upgrade request over a fresh connection: the answer's head and, after a 101, the connection. Any other
/// answer is returned with its body.
pub enum Answer {
    Switched(Response<()>, BoxIo),
    Refused(Response<hyper::body::Incoming>),
}

/// Sends `request` over `io`, an HTTP/1.1 connection that carries nothing else.
pub async fn request<B>(io: BoxIo, request: Request<B>) -> Result<Answer, Error>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection for an upgrade broke");
        }
    });
    let mut response = sender.send_request(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Answer::Refused(response));
    }
    let upgrade = hyper::upgrade::on(&mut response);
    let (parts, _) = response.into_parts();
    Ok(Answer::Switched(Response::from_parts(parts, ()), self::io(upgrade).await?))
}

/// Like [`request`], but a refusal is an error with what the other side said.
pub async fn switched<B>(io: BoxIo, request: Request<B>) -> Result<(Response<()>, BoxIo), Error>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match self::request(io, request).await? {
        Answer::Switched(head, io) => Ok((head, io)),
        Answer::Refused(response) => {
            let code = response.status().as_u16();
            let body = response.into_body().collect().await?.to_bytes();
            Err(Error::Refused(code, String::from_utf8_lossy(&body).trim().to_owned()))
        }
    }
}

/// Bytes both ways until both sides have ended or one breaks.
pub async fn proxy(mut a: BoxIo, mut b: BoxIo) {
    if let Err(error) = tokio::io::copy_bidirectional(&mut a, &mut b).await {
        tracing::debug!(%error, "an upgraded connection broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn upgrades() {
        assert!(is_spdy(&headers(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1")])));
        assert!(is_websocket(&headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")])));
        assert!(!is_upgrade(&headers(&[("connection", "keep-alive"), ("upgrade", "websocket")])));
    }

    #[test]
    fn protocols() {
        let offer = |list: &[(&'static str, &str)]| offered(&headers(list));
        let spoken = ["v4.channel.k8s.io", "v2.channel.k8s.io", ""];
        let both = offer(&[(STREAM_PROTOCOL, "v5.channel.k8s.io"), (STREAM_PROTOCOL, "v4.channel.k8s.io")]);
        assert_eq!(negotiate(&both, &spoken), Some("v4.channel.k8s.io"));
        assert_eq!(
            negotiate(&offer(&[(STREAM_PROTOCOL, "x, v2.channel.k8s.io")]), &spoken),
            Some("v2.channel.k8s.io")
        );
        assert_eq!(negotiate(&[], &spoken), Some(""));
        assert_eq!(negotiate(&offer(&[(STREAM_PROTOCOL, "x")]), &spoken), None);
    }
}
