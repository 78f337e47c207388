//! A connection of its own to the API server that becomes something else: a WebSocket, or SPDY. HTTP/1.1 only, with
//! the credentials of the kubeconfig.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Empty;
use kube::Config;
use kube::client::ConfigExt as _;
use rustls::pki_types::ServerName;
use streaming::{BoxIo, upgrade};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::{BoxError, ServiceBuilder, ServiceExt as _, service_fn};

use crate::error::{Error, Refusal, Result};

type Switched = Response<Option<BoxIo>>;

/// Sends an upgrade request for `target` (path and query) and returns the switched connection.
pub async fn switch(
    config: &Config,
    target: &str,
    headers: &[(&str, &str)],
) -> Result<(Response<()>, BoxIo)> {
    let mut request = Request::builder().uri(target).header("connection", "Upgrade");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| Error::Plain(e.to_string()))?;
    let wrap = |e: &dyn std::fmt::Display| Error::Plain(e.to_string());
    let connector = config.clone();
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(|e| wrap(&e))?)
        .layer(config.extra_headers_layer().map_err(|e| wrap(&e))?)
        .map_err(BoxError::from)
        .service(service_fn(move |request| send(connector.clone(), request)));
    let (head, io) = service.oneshot(request).await.map_err(unboxed)?.into_parts();
    let io = io.ok_or(Error::Plain("the server did not switch protocols".into()))?;
    Ok((Response::from_parts(head, ()), io))
}

fn unboxed(error: BoxError) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => *own,
        Err(other) => match other.downcast::<streaming::Error>() {
            Ok(streaming) => refused(*streaming),
            Err(other) => Error::Plain(other.to_string()),
        },
    }
}

/// A refusal with a Status inside is that refusal.
fn refused(error: streaming::Error) -> Error {
    if let streaming::Error::Refused(_, text) = &error
        && let Some(refusal) = api::json::parse(text.as_bytes()).ok().and_then(|v| Refusal::of(&v))
    {
        return Error::Server(Box::new(refusal));
    }
    error.into()
}

async fn send(config: Config, mut request: Request<Empty<Bytes>>) -> std::result::Result<Switched, BoxError> {
    let uri = request.uri().clone();
    let io = connect(&config, &uri).await?;
    let target = uri.path_and_query().map_or("/", |p| p.as_str()).parse()?;
    *request.uri_mut() = target;
    let host = uri.authority().map(ToString::to_string).unwrap_or_default();
    request.headers_mut().insert("host", host.parse()?);
    let (head, io) = upgrade::switched(io, request).await?;
    Ok(head.map(|()| Some(io)))
}

async fn connect(config: &Config, uri: &Uri) -> std::result::Result<BoxIo, BoxError> {
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let tls = uri.scheme_str() != Some("http");
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let tcp = TcpStream::connect((host.as_str(), port)).await?;
    tcp.set_nodelay(true)?;
    if !tls {
        return Ok(Box::new(tcp));
    }
    let mut rustls = config.rustls_client_config()?;
    if let (Some(roots), false) = (&config.root_cert, config.accept_invalid_certs) {
        let verifier = component_base::kubeconfig::LeafInPool::new(roots)?;
        rustls.dangerous().set_certificate_verifier(verifier);
    }
    rustls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(config.tls_server_name.clone().unwrap_or(host))?;
    Ok(Box::new(TlsConnector::from(Arc::new(rustls)).connect(name, tcp).await?))
}
