//! The server: connections, TLS, HTTP/1 and HTTP/2, and the usual endpoints of a component.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::BoxError;

use super::authn::{Authentication, User};
use super::authz::{Attributes, Authorization};
use super::tls::{CertificateSource, ServerCertificate, TlsError};
use crate::health::{Health, text};
use crate::metrics;

/// Upstream's flags of a component's HTTPS server.
#[derive(Clone, Debug, clap::Args)]
pub struct SecureServingOptions {
    #[arg(long, default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    /// 0: no server.
    #[arg(long, id = "secure_port", default_value_t = 0)]
    pub secure_port: u16,
    /// Accepted: a self-signed certificate is made in memory.
    #[arg(long, default_value = "")]
    pub cert_dir: String,
    #[arg(long, default_value = "")]
    pub tls_cert_file: String,
    #[arg(long, default_value = "")]
    pub tls_private_key_file: String,
    /// Accepted: those of rustls, all of them safe, are offered.
    #[arg(long, value_delimiter = ',')]
    pub tls_cipher_suites: Vec<String>,
    /// VersionTLS12 or VersionTLS13.
    #[arg(long, default_value = "")]
    pub tls_min_version: String,
    #[arg(long, default_value_t = 0)]
    pub http2_max_streams_per_connection: u32,
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub permit_address_sharing: bool,
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub permit_port_sharing: bool,
}

impl SecureServingOptions {
    /// The certificate that the flags name, or a self-signed one.
    pub fn certificate(&self) -> Result<ServerCertificate, TlsError> {
        let source = if self.tls_cert_file.is_empty() {
            CertificateSource::SelfSigned {
                names: vec![crate::hostname(), "localhost".into(), "127.0.0.1".into()],
            }
        } else {
            CertificateSource::Files {
                certificate: self.tls_cert_file.as_str().into(),
                key: self.tls_private_key_file.as_str().into(),
            }
        };
        ServerCertificate::new(&source)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    #[error("listening on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The body of an answer.
pub type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;
/// Serves one request. A request's extensions hold its [`Peer`].
pub type Handler = Arc<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<AnswerBody>> + Send + Sync>;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// Leaf first; empty without TLS or without a client certificate. Not verified against any authority.
    pub certificates: Arc<Vec<CertificateDer<'static>>>,
}

/// A listening server.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// Listens; without a certificate it speaks plain HTTP.
    pub async fn bind(
        address: SocketAddr,
        certificate: Option<&ServerCertificate>,
    ) -> Result<Self, ServingError> {
        let listener =
            TcpListener::bind(address).await.map_err(|source| ServingError::Listen { address, source })?;
        let tls = certificate.map(|c| c.server_config(true)).transpose()?.map(TlsAcceptor::from);
        Ok(Self { listener, tls })
    }

    /// Where it listens; the port is the real one also where 0 was asked for.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`, then lets open requests end for `grace`.
    pub async fn serve(self, handler: Handler, shutdown: CancellationToken, grace: Duration) {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    let _ = stream.set_nodelay(true);
                    let (tls, handler, watcher) = (self.tls.clone(), handler.clone(), graceful.watcher());
                    tokio::spawn(async move { connection(stream, address, tls, handler, watcher).await });
                }
                Err(e) => {
                    // Out of file descriptors, most likely: others have to close first.
                    tracing::warn!("accepting a connection: {e}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(self.listener);
        let _ = tokio::time::timeout(grace, graceful.shutdown()).await;
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    handler: Handler,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let Some(tls) = tls else {
        return http(stream, Peer { address, certificates: Arc::default() }, handler, watcher).await;
    };
    match tokio::time::timeout(Duration::from_secs(10), tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let certificates = Arc::new(shown.iter().map(|c| c.clone().into_owned()).collect());
            http(stream, Peer { address, certificates }, handler, watcher).await;
        }
        Ok(Err(e)) => tracing::debug!(%address, "TLS handshake: {e}"),
        Err(_) => tracing::debug!(%address, "TLS handshake: timeout"),
    }
}

async fn http<S>(stream: S, peer: Peer, handler: Handler, watcher: hyper_util::server::graceful::Watcher)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let answer = handler(request);
        async move { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let builder = Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    if let Err(e) = watcher.watch(connection).await {
        tracing::debug!("connection: {e}");
    }
}

/// An answer with a whole body.
pub fn answer(response: Response<Full<Bytes>>) -> Response<AnswerBody> {
    response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
}

/// A `Status` as an answer.
pub fn status(status: &apimachinery::Status) -> Response<AnswerBody> {
    let mut response = Response::new(Full::new(Bytes::from(status.to_json())));
    *response.status_mut() = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    answer(response)
}

/// Authenticates a request and authorizes its path; the user, or the answer that refuses.
pub async fn admit(
    request: &Request<Incoming>,
    authn: &Authentication,
    authz: &Authorization,
) -> Result<User, Box<Response<AnswerBody>>> {
    let path = request.uri().path();
    if authz.is_always_allowed(path) {
        return Ok(User::anonymous());
    }
    let peer = request.extensions().get::<Peer>().map(|p| p.certificates.clone()).unwrap_or_default();
    let user = authn.authenticate(request.headers(), &peer).await.map_err(|e| Box::new(status(&e)))?;
    let verb = request.method().as_str().to_lowercase();
    let attributes = Attributes::Path { verb: verb.clone(), path: path.to_owned() };
    let decision = authz.authorize(&user, &attributes).await.map_err(|e| Box::new(status(&e)))?;
    if decision.allowed {
        return Ok(user);
    }
    let why = format!("forbidden: User {:?} cannot {verb} path {path:?}", user.name);
    let mut refused = apimachinery::Status::new(403, apimachinery::Reason::Forbidden, why);
    refused.details = Some(apimachinery::status::Details::default());
    Err(Box::new(status(&refused)))
}

/// Answers paths of a component's own; None for those it does not know.
pub type More = Arc<dyn Fn(&str) -> Option<Response<Full<Bytes>>> + Send + Sync>;

/// The endpoints of every component: health, `/metrics`, `/version`; `more` answers further paths.
pub fn component_handler(
    health: Health,
    access: Option<(Arc<Authentication>, Arc<Authorization>)>,
    more: Option<More>,
) -> Handler {
    Arc::new(move |request| {
        let (health, access, more) = (health.clone(), access.clone(), more.clone());
        Box::pin(async move {
            if let Some((authn, authz)) = &access
                && let Err(refused) = admit(&request, authn, authz).await
            {
                return *refused;
            }
            let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
            if let Some(found) = health.answer(path, query) {
                return answer(found);
            }
            if let Some(found) = more.as_ref().and_then(|more| more(path)) {
                return answer(found);
            }
            answer(common(path))
        })
    })
}

fn common(path: &str) -> Response<Full<Bytes>> {
    let (media_type, body) = match path {
        "/metrics" => (metrics::CONTENT_TYPE, metrics::render()),
        "/version" => ("application/json", version()),
        _ => return text(StatusCode::NOT_FOUND, "404 page not found\n".into()),
    };
    let mut response = text(StatusCode::OK, body);
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    response
}

/// The body of `/version`.
pub fn version() -> String {
    let [major, minor] = ["1", "37"];
    serde_json::json!({"major": major, "minor": minor, "gitVersion": crate::KUBERNETES_VERSION, "platform": "linux/amd64"}).to_string()
}

/// Serves a component's endpoints over HTTPS until `shutdown`. Port 0 in the options means `default_port`.
pub async fn serve_component(
    options: &SecureServingOptions,
    default_port: u16,
    health: Health,
    access: (Authentication, Authorization),
    shutdown: CancellationToken,
) -> Result<tokio::task::JoinHandle<()>, ServingError> {
    let port = if options.secure_port == 0 { default_port } else { options.secure_port };
    let certificate = options.certificate()?;
    let server = Server::bind((options.bind_address, port).into(), Some(&certificate)).await?;
    let handler = component_handler(health, Some((Arc::new(access.0), Arc::new(access.1))), None);
    Ok(tokio::spawn(server.serve(handler, shutdown, Duration::from_secs(5))))
}
