//! The HTTP side of probes and hooks: one request over a fresh connection, certificates not checked, redirects
//! on the same host followed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component_base::kubeconfig::AnyCertificate;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

const BODY_LIMIT: usize = 10 << 10;
const REDIRECTS: usize = 10;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Connects; the error is in Go's words.
pub async fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    let address = host_port(host, port);
    let failed = |what: &str| format!("dial tcp {address}: {what}");
    match tokio::time::timeout(timeout, TcpStream::connect((host.trim_matches(['[', ']']), port))).await {
        Err(_) => Err(failed("i/o timeout")),
        Ok(Err(error)) => Err(failed(&format!("connect: {}", reason(&error)))),
        Ok(Ok(stream)) => Ok(stream),
    }
}

/// The system's words without Rust's number.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Status and the beginning of the body.
pub async fn get(
    action: &HTTPGetAction,
    host: &str,
    port: u16,
    timeout: Duration,
) -> Result<(u16, Bytes), String> {
    let tls = action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    let path = action.path.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned());
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    let scheme = if tls { "https" } else { "http" };
    let url = format!("{scheme}://{}{path}", host_port(host, port));
    let follow = follow(action, tls, host, port, path, timeout);
    match tokio::time::timeout(timeout, follow).await {
        Err(_) => Err(format!(
            "Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        )),
        Ok(Err(error)) => Err(format!("Get {url:?}: {error}")),
        Ok(Ok(answer)) => Ok(answer),
    }
}

async fn follow(
    action: &HTTPGetAction,
    tls: bool,
    host: &str,
    port: u16,
    path: String,
    timeout: Duration,
) -> Result<(u16, Bytes), String> {
    let (mut tls, mut port, mut path) = (tls, port, path);
    for _ in 0..REDIRECTS {
        let (status, location, body) = request(action, tls, host, port, &path, timeout).await?;
        let target = location.filter(|_| (300..400).contains(&status) && status != 304);
        let Some(target) = target.and_then(|location| redirect(&location, tls, host, port)) else {
            return Ok((status, body));
        };
        (tls, port, path) = target;
    }
    Err(format!("stopped after {REDIRECTS} redirects"))
}

/// Where a redirect leads, if it is to the same host.
fn redirect(location: &str, tls: bool, host: &str, port: u16) -> Option<(bool, u16, String)> {
    let uri: http::Uri = location.parse().ok()?;
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    let Some(other) = uri.host() else { return Some((tls, port, path)) };
    if other != host {
        return None;
    }
    let tls = uri.scheme_str().map_or(tls, |scheme| scheme == "https");
    Some((tls, uri.port_u16().unwrap_or(if tls { 443 } else { 80 }), path))
}

async fn request(
    action: &HTTPGetAction,
    tls: bool,
    host: &str,
    port: u16,
    path: &str,
    timeout: Duration,
) -> Result<(u16, Option<String>, Bytes), String> {
    let stream = connect(host, port, timeout).await?;
    let stream: Box<dyn Stream> =
        if tls { Box::new(handshake(stream, host).await?) } else { Box::new(stream) };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let answer =
        sender.send_request(build(action, host, port, path)?).await.map_err(|error| shown(&error))?;
    let status = answer.status().as_u16();
    let location =
        answer.headers().get(http::header::LOCATION).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let body = Limited::new(answer.into_body(), BODY_LIMIT).collect().await;
    driver.abort();
    Ok((status, location, body.map(http_body_util::Collected::to_bytes).unwrap_or_default()))
}

fn shown(error: &hyper::Error) -> String {
    if error.is_incomplete_message() { "EOF".to_owned() } else { error.to_string() }
}

fn build(action: &HTTPGetAction, host: &str, port: u16, path: &str) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::get(path);
    let mut own = [false; 3];
    for header in action.http_headers.iter().flatten() {
        for (seen, name) in own.iter_mut().zip(["host", "user-agent", "accept"]) {
            *seen |= header.name.eq_ignore_ascii_case(name);
        }
        if !(header.name.eq_ignore_ascii_case("accept") && header.value.is_empty()) {
            request = request.header(&header.name, &header.value);
        }
    }
    let defaults = [
        ("host", host_port(host, port)),
        ("user-agent", "kube-probe/1.37".to_owned()),
        ("accept", "*/*".to_owned()),
    ];
    for ((name, value), seen) in defaults.into_iter().zip(own) {
        if !seen {
            request = request.header(name, value);
        }
    }
    request.header("connection", "close").body(Empty::new()).map_err(|error| error.to_string())
}

/// Probes do not check certificates, as upstream's do not.
async fn handshake(
    stream: TcpStream,
    host: &str,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_same_host_only() {
        assert_eq!(redirect("/a?b", false, "h", 80), Some((false, 80, "/a?b".to_owned())));
        assert_eq!(redirect("http://h:81/x", false, "h", 80), Some((false, 81, "/x".to_owned())));
        assert_eq!(redirect("http://other/x", false, "h", 80), None);
    }
}
