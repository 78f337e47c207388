//! Unary gRPC calls over one HTTP/2 connection a member, made by the caller's own task.
//!
//! A channel of tonic hands each request through four tasks; on a small machine their wake-ups cost several times the
//! request itself. Here the caller writes into the connection, and one task moves its bytes. Left out: streams (the
//! watches stay with tonic), compression, retries (see `transport`).

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use parking_lot::Mutex;
use prost::Message;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{self, RootCertStore};
use tonic::{Code, ConnectError, Status};

use super::ClientConfig;
use super::quiet::Quiet;
use crate::{Error, Result};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// One member's connection, made when it is first used and anew after it broke.
pub struct Connection {
    address: String,
    authority: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    dial_timeout: Duration,
    keepalive: (Duration, Duration),
    /// The number counts connections, so that one that breaks does not take its successor with it.
    sender: Arc<Mutex<(u64, Option<SendRequest<Bytes>>)>>,
    connecting: tokio::sync::Mutex<()>,
}

impl Connection {
    pub fn new(url: &str, config: &ClientConfig) -> Result<Self> {
        let bad = |why: &str| Error::Config { reason: format!("endpoint {url}: {why}") };
        let uri: Uri = url.parse().map_err(|e: http::uri::InvalidUri| bad(&e.to_string()))?;
        let authority = uri.authority().ok_or_else(|| bad("no host"))?;
        let is_tls = uri.scheme_str() == Some("https");
        let tls =
            if is_tls { Some((connector(config)?, server_name(authority.host(), &bad)?)) } else { None };
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self {
            address: format!("{}:{port}", authority.host()),
            authority: authority.as_str().to_owned(),
            tls,
            dial_timeout: config.dial_timeout,
            keepalive: (config.keepalive_every, config.keepalive_timeout),
            sender: Arc::default(),
            connecting: tokio::sync::Mutex::default(),
        })
    }

    /// Calls a method: `/etcdserverpb.KV/Range`.
    pub async fn call<Q, A>(&self, method: &'static str, request: &Q) -> std::result::Result<A, Status>
    where
        Q: Message,
        A: Message + Default,
    {
        let mut sender = self.ready().await?;
        let broke = |e: h2::Error| unavailable("the connection broke", e);
        let (response, mut body) = sender.send_request(self.head(method)?, false).map_err(broke)?;
        body.send_data(framed(request), true).map_err(broke)?;
        let (head, mut body) = response.await.map_err(broke)?.into_parts();
        if let Some(status) = Status::from_header_map(&head.headers) {
            return Err(refused(status));
        }
        if head.status != http::StatusCode::OK {
            return Err(Status::new(Code::Unavailable, format!("the server answered {}", head.status)));
        }
        let mut parts = Parts::default();
        while let Some(part) = body.data().await {
            let part = part.map_err(broke)?;
            // Fails only where the stream has ended already.
            let _ = body.flow_control().release_capacity(part.len());
            parts.add(part);
        }
        let trailers = body.trailers().await.map_err(broke)?.unwrap_or_default();
        let status = Status::from_header_map(&trailers);
        let status = status.unwrap_or_else(|| Status::new(Code::Unavailable, "the answer was cut short"));
        if status.code() != Code::Ok {
            return Err(status);
        }
        let message = unframed(parts.whole())?;
        A::decode(message).map_err(|e| Status::internal(format!("the answer cannot be read: {e}")))
    }

    fn head(&self, method: &'static str) -> std::result::Result<Request<()>, Status> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(self.authority.as_str()).path_and_query(method);
        let uri = uri.build().map_err(|e| Status::internal(e.to_string()))?;
        let mut request = Request::new(());
        *request.method_mut() = http::Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = uri;
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(HeaderName::from_static("te"), HeaderValue::from_static("trailers"));
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// The connection, once it takes a request.
    async fn ready(&self) -> std::result::Result<SendRequest<Bytes>, Status> {
        if let Some(sender) = self.present() {
            match sender.ready().await {
                Ok(sender) => return Ok(sender),
                Err(error) => {
                    tracing::debug!(address = %self.address, %error, "a connection to etcd has ended")
                }
            }
            self.sender.lock().1 = None;
        }
        let _one = self.connecting.lock().await;
        if let Some(sender) = self.present() {
            return sender.ready().await.map_err(|e| not_sent(e.into()));
        }
        let made = tokio::time::timeout(self.dial_timeout, self.connect()).await;
        made.unwrap_or_else(|_| Err("no connection was made in time".into())).map_err(not_sent)
    }

    fn present(&self) -> Option<SendRequest<Bytes>> {
        self.sender.lock().1.clone()
    }

    async fn connect(&self) -> std::result::Result<SendRequest<Bytes>, Failure> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => self.open(stream).await,
            Some((connector, name)) => self.open(connector.connect(name.clone(), stream).await?).await,
        }
    }

    async fn open<S>(&self, stream: S) -> std::result::Result<SendRequest<Bytes>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, mut connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false)
            .handshake(Quiet::new(stream))
            .await?;
        let number = {
            let mut kept = self.sender.lock();
            *kept = (kept.0 + 1, Some(sender.clone()));
            kept.0
        };
        let (kept, keepalive, pings) = (self.sender.clone(), self.keepalive, connection.ping_pong());
        tokio::spawn(async move {
            let dead = async {
                match pings {
                    Some(pings) => no_answer(pings, keepalive).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection to etcd broke");
                    }
                }
                () = dead => tracing::debug!("a connection to etcd is silent"),
            }
            let mut kept = kept.lock();
            if kept.0 == number {
                kept.1 = None;
            }
        });
        Ok(sender)
    }
}

/// Returns when a ping is not answered in time.
async fn no_answer(mut pings: h2::PingPong, (every, within): (Duration, Duration)) {
    loop {
        tokio::time::sleep(every).await;
        match tokio::time::timeout(within, pings.ping(h2::Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The connection tells by itself that it broke.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => return,
        }
    }
}

fn not_sent(error: Failure) -> Status {
    unavailable("no connection", ConnectError(error))
}

fn unavailable(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Status {
    let mut status = Status::new(Code::Unavailable, format!("{what}: {error}"));
    status.set_source(Arc::new(error));
    status
}

/// A status without a message, which only an error has.
fn refused(status: Status) -> Status {
    match status.code() {
        Code::Ok => Status::internal("the answer has no message"),
        _ => status,
    }
}

fn framed(message: &impl Message) -> Bytes {
    let size = message.encoded_len();
    let mut out = BytesMut::with_capacity(PREFIX + size);
    out.put_u8(0);
    out.put_u32(size as u32);
    // Fails only where there is too little room.
    let _ = message.encode(&mut out);
    out.freeze()
}

fn unframed(mut answer: Bytes) -> std::result::Result<Bytes, Status> {
    let head: Option<[u8; PREFIX]> = answer.get(..PREFIX).and_then(|h| h.try_into().ok());
    let Some([compressed, length @ ..]) = head else {
        return Err(Status::internal("the answer has no message"));
    };
    let message = answer.split_off(PREFIX);
    if compressed != 0 || message.len() != u32::from_be_bytes(length) as usize {
        return Err(Status::internal("the answer is not one plain message"));
    }
    Ok(message)
}

/// What came of an answer: mostly one piece, which is not copied.
#[derive(Default)]
struct Parts {
    first: Bytes,
    rest: BytesMut,
}

impl Parts {
    fn add(&mut self, part: Bytes) {
        if self.first.is_empty() {
            self.first = part;
            return;
        }
        if self.rest.is_empty() {
            self.rest.extend_from_slice(&self.first);
        }
        self.rest.extend_from_slice(&part);
    }

    fn whole(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

fn server_name(host: &str, bad: &impl Fn(&str) -> Error) -> Result<ServerName<'static>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(bare.to_owned()).map_err(|e| bad(&e.to_string()))
}

fn connector(config: &ClientConfig) -> Result<TlsConnector> {
    let bad = |e: &dyn std::fmt::Display| Error::Config { reason: format!("TLS to etcd: {e}") };
    let ca = config.ca_file.as_ref().ok_or_else(|| bad(&"there is no CA file"))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|e| bad(&e))? {
        roots.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(&e))?
        .with_root_certificates(roots);
    let mut tls = match (&config.cert_file, &config.key_file) {
        (Some(certificate), Some(key)) => {
            let chain = CertificateDer::pem_file_iter(certificate).map_err(|e| bad(&e))?;
            let chain = chain.collect::<std::result::Result<Vec<_>, _>>().map_err(|e| bad(&e))?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| bad(&e))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| bad(&e))?
        }
        _ => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(tls)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::etcdserverpb as pb;

    #[test]
    fn messages_have_their_length_before_them() {
        let request = pb::RangeRequest { key: Bytes::from_static(b"/a"), limit: 7, ..Default::default() };
        let frame = framed(&request);
        let mut parts = Parts::default();
        for part in [&frame[..3], &frame[3..6], &frame[6..]] {
            parts.add(Bytes::copy_from_slice(part));
        }
        assert_eq!(pb::RangeRequest::decode(unframed(parts.whole()).unwrap()).unwrap(), request);
        for bad in [&b""[..], b"\0\0\0\0\x01", b"\x01\0\0\0\0"] {
            assert!(unframed(Bytes::copy_from_slice(bad)).is_err());
        }
    }
}
