//! Connections that the API server opens: to kubelets, webhooks, aggregated servers, and what it proxies to.
//! One HTTP/1.1 connection a request, or a small stock of idle ones.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use apiserver::endpoint::Body;
use component_base::kubeconfig::{AnyCertificate, LeafInPool};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use streaming::BoxIo;
use tokio::net::TcpStream;

use crate::authn::{Error, pki};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whom to believe.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Certificates of this PEM text, by Go's rule.
    Pool(String),
    /// The machine's own.
    System,
    /// Anybody: where upstream does not verify either.
    Anybody,
}

/// A client's TLS configuration, with a certificate and key (both PEM) if there are some.
pub fn tls(trust: &Trust, identity: Option<(&str, &str)>) -> Result<Arc<ClientConfig>, Error> {
    let config = |e: &dyn std::fmt::Display| Error::Config(format!("TLS: {e}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| config(&e))?;
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Pool(pem) => LeafInPool::new(&pki::certificates(pem)).map_err(|e| config(&e))?,
        Trust::System => {
            let roots: Vec<Vec<u8>> =
                rustls_native_certs::load_native_certs().certs.into_iter().map(|c| c.to_vec()).collect();
            LeafInPool::new(&roots).map_err(|e| config(&e))?
        }
        Trust::Anybody => Arc::new(AnyCertificate),
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let built = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = pki::certificates(certificate).into_iter().map(CertificateDer::from).collect();
            builder.with_client_auth_cert(chain, private_key(key)?).map_err(|e| config(&e))?
        }
    };
    Ok(Arc::new(built))
}

fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, Error> {
    pki::blocks(pem)
        .into_iter()
        .find_map(|b| match b.label.as_str() {
            "PRIVATE KEY" => Some(PrivateKeyDer::Pkcs8(b.der.into())),
            "RSA PRIVATE KEY" => Some(PrivateKeyDer::Pkcs1(b.der.into())),
            "EC PRIVATE KEY" => Some(PrivateKeyDer::Sec1(b.der.into())),
            _ => None,
        })
        .ok_or_else(|| Error::Config("TLS: no private key found".into()))
}

/// Where to connect, and as whom to verify the other side (without TLS: None).
#[derive(Clone)]
pub struct Address {
    /// `host:port`, IPv6 in brackets.
    pub authority: String,
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Address {
    pub fn plain(host: &str, port: u16) -> Self {
        Self { authority: join(host, port), tls: None }
    }

    /// `name`: whose certificate it must be, if not the host's.
    pub fn secure(host: &str, port: u16, tls: Arc<ClientConfig>, name: Option<&str>) -> Result<Self, Error> {
        let name = name.unwrap_or(host);
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| Error::Config(format!("{name:?} is no server name")))?;
        Ok(Self { authority: join(host, port), tls: Some((tls, server)) })
    }

    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    pub async fn dial(&self) -> io::Result<BoxIo> {
        let connect = TcpStream::connect(self.authority.as_str());
        let timeout = |_| io::Error::new(io::ErrorKind::TimedOut, "i/o timeout");
        let failed =
            |e: io::Error| io::Error::new(e.kind(), format!("dial tcp {}: connect: {e}", self.authority));
        let tcp = tokio::time::timeout(CONNECT_TIMEOUT, connect).await.map_err(timeout)?.map_err(failed)?;
        tcp.set_nodelay(true)?;
        let Some((config, name)) = &self.tls else { return Ok(Box::new(tcp)) };
        let connector = tokio_rustls::TlsConnector::from(config.clone());
        let handshake = connector.connect(name.clone(), tcp);
        Ok(Box::new(tokio::time::timeout(CONNECT_TIMEOUT, handshake).await.map_err(timeout)??))
    }
}

/// `host:port` with brackets where they belong.
pub fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn connect(address: &Address) -> Result<SendRequest<Body>, BoxError> {
    let io = address.dial().await?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an outgoing connection broke");
        }
    });
    Ok(sender)
}

/// One request on a connection of its own. The URI is path and query only.
pub async fn send(address: &Address, mut request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
    host_header(address, &mut request);
    Ok(connect(address).await?.send_request(request).await?)
}

fn host_header(address: &Address, request: &mut Request<Body>) {
    if let (false, Ok(host)) = (request.headers().contains_key(http::header::HOST), address.authority.parse())
    {
        request.headers_mut().insert(http::header::HOST, host);
    }
}

/// Idle connections to one address.
pub struct Stock {
    pub address: Address,
    idle: Mutex<Vec<SendRequest<Body>>>,
}

impl Stock {
    pub fn new(address: Address) -> Self {
        Self { address, idle: Mutex::default() }
    }

    /// Sends and reads the whole answer, up to `limit` bytes.
    pub async fn exchange(
        &self,
        request: impl Fn() -> Request<Body> + Send,
        limit: usize,
    ) -> Result<Response<bytes::Bytes>, BoxError> {
        use http_body_util::BodyExt as _;
        let stocked = loop {
            match self.idle.lock().pop() {
                Some(sender) if sender.is_closed() => {}
                other => break other,
            }
        };
        let fresh = stocked.is_none();
        let mut sender = match stocked {
            Some(sender) => sender,
            None => connect(&self.address).await?,
        };
        let mut first = request();
        host_header(&self.address, &mut first);
        let response = match sender.send_request(first).await {
            // An idle connection may have ended just now.
            Err(_) if !fresh => {
                sender = connect(&self.address).await?;
                let mut second = request();
                host_header(&self.address, &mut second);
                sender.send_request(second).await?
            }
            other => other?,
        };
        let (parts, body) = response.into_parts();
        let body = http_body_util::Limited::new(body, limit).collect().await?.to_bytes();
        if sender.ready().await.is_ok() {
            self.idle.lock().push(sender);
        }
        Ok(Response::from_parts(parts, body))
    }
}
