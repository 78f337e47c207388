//! The kubelet's HTTPS server: logs, exec, attach, port-forward, pods, health, metrics; each request
//! authenticated and authorized for a subresource of the node.

mod figures;
mod logs;
mod query;
mod stats;
mod streams;
mod summary;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component_base::serving::server::{AnswerBody, Peer, answer};
use component_base::serving::tls::{CertificateSource, ServerCertificate};
use component_base::serving::{Attributes, Authentication, Authorization, Handler, Server, User};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;

use crate::Error;
use crate::certificates::store::Store;
use crate::certificates::{self, SERVING_SIGNER, Wanted};
use crate::context::Context;
use crate::pod::PodExt;
use query::Query;

/// How long open requests may go on at the end.
const GRACE: Duration = Duration::from_secs(1);

/// The serving side of one kubelet.
pub struct Endpoints {
    pub(crate) cx: Arc<Context>,
    authentication: Authentication,
    authorization: Option<Authorization>,
    healthy: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    rates: figures::Rates,
}

pub(crate) type Answer = Response<AnswerBody>;

/// A plain text answer.
pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body.into())));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    answer(response)
}

fn as_json(value: &serde_json::Value) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    answer(response)
}

/// The subresources of the node that a path asks for, any of which suffices.
fn subresources(path: &str) -> &'static [&'static str] {
    let below =
        |prefix: &str| path == prefix || path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
    if below("/stats") {
        &["stats"]
    } else if below("/metrics") {
        &["metrics"]
    } else if below("/logs") {
        &["log"]
    } else if below("/checkpoint") {
        &["checkpoint"]
    } else if below("/healthz") {
        &["healthz", "proxy"]
    } else if below("/pods") || below("/runningpods") {
        &["pods", "proxy"]
    } else if below("/configz") {
        &["configz", "proxy"]
    } else {
        &["proxy"]
    }
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    }
}

impl Endpoints {
    /// The endpoints of a kubelet. `healthy` is what `/healthz/syncloop` tells.
    ///
    /// # Errors
    /// If the client certificate authority cannot be read.
    pub fn new(
        cx: Arc<Context>,
        reviews: Option<kube::Client>,
        healthy: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    ) -> Result<Self, Error> {
        let config = &cx.config;
        let wrong = |what: &str, error: String| Error::Serve(format!("{what}: {error}"));
        let authority = match config.authentication.x509.client_ca_file.as_str() {
            "" => None,
            file => Some(std::fs::read(file).map_err(|error| wrong(file, error.to_string()))?),
        };
        let tokens = reviews.clone().filter(|_| config.authentication.webhook.enabled != Some(false));
        let anonymous = config.authentication.anonymous.enabled == Some(true);
        let authentication = Authentication::new(authority.as_deref(), tokens, anonymous)
            .map_err(|error| wrong("authentication", error.to_string()))?;
        let times = &config.authorization.webhook;
        let time = |field: Option<crate::config::GoDuration>| {
            field.map_or(Duration::from_secs(30), |duration| duration.0)
        };
        let authorization = (config.authorization.mode == "Webhook").then(|| {
            let allowed = time(times.cache_authorized_ttl);
            Authorization::new(reviews, Vec::new(), allowed, time(times.cache_unauthorized_ttl))
        });
        Ok(Self { cx, authentication, authorization, healthy, rates: figures::Rates::default() })
    }

    /// Serves until the kubelet ends.
    ///
    /// # Errors
    /// If the certificate cannot be used or the port is taken.
    pub async fn serve(self: Arc<Self>, cert_dir: &str) -> Result<(), Error> {
        let config = &self.cx.config;
        self.clone().serve_health().await?;
        let source = match (&self.cx.api, config.tls_cert_file.as_str()) {
            (Some(api), "") if config.server_tls_bootstrap => {
                tokio::spawn(self.clone().serve_issued(api.clone(), PathBuf::from(cert_dir)));
                return Ok(());
            }
            (_, "") => self_signed(&self.cx, cert_dir),
            _ => CertificateSource::Files {
                certificate: PathBuf::from(&config.tls_cert_file),
                key: PathBuf::from(&config.tls_private_key_file),
            },
        };
        self.serve_with(&source).await
    }

    /// Serves once the cluster issued a certificate, and keeps that renewed. Nothing is served before.
    async fn serve_issued(self: Arc<Self>, api: client::Api, folder: PathBuf) {
        let store = Store::new(&folder, "kubelet-server");
        let mut names = vec![self.cx.node_name.clone()];
        names.extend(self.cx.host_ips());
        let node = self.cx.node_name.clone();
        let wanted = Wanted { node, signer: SERVING_SIGNER, usage: "server auth", names };
        let shutdown = self.cx.shutdown.clone();
        if store.current().is_none()
            && shutdown.run_until_cancelled(certificates::issue(&store, &wanted, &api)).await.is_none()
        {
            return;
        }
        // the listener looks at the link's target by itself
        let source = CertificateSource::Files { certificate: store.path(), key: store.path() };
        if let Err(error) = self.serve_with(&source).await {
            tracing::error!(%error, "serve");
            return;
        }
        certificates::keep(store, wanted, api, None, || (), shutdown).await;
    }

    async fn serve_with(self: &Arc<Self>, source: &CertificateSource) -> Result<(), Error> {
        let config = &self.cx.config;
        let certificate = ServerCertificate::new(source).map_err(|error| Error::Serve(error.to_string()))?;
        let address = parse_address(&config.address, config.port)?;
        let server = Server::bind(address, Some(&certificate))
            .await
            .map_err(|error| Error::Serve(error.to_string()))?;
        let shutdown = self.cx.shutdown.clone();
        let endpoints = self.clone();
        let handler: Handler = Arc::new(move |request| {
            let endpoints = endpoints.clone();
            Box::pin(async move { endpoints.handle(request).await })
        });
        tokio::spawn(server.serve(handler, shutdown, GRACE));
        Ok(())
    }

    /// The local health check, over plain HTTP.
    async fn serve_health(self: Arc<Self>) -> Result<(), Error> {
        let config = &self.cx.config;
        let port = config.healthz_port.unwrap_or(0);
        if port == 0 {
            return Ok(());
        }
        let address = parse_address(&config.healthz_bind_address, port)?;
        let server = Server::bind(address, None).await.map_err(|error| Error::Serve(error.to_string()))?;
        let shutdown = self.cx.shutdown.clone();
        let handler: Handler = Arc::new(move |request| {
            let endpoints = self.clone();
            Box::pin(async move { endpoints.health(request.uri().path()) })
        });
        tokio::spawn(server.serve(handler, shutdown, GRACE));
        Ok(())
    }

    fn health(&self, path: &str) -> Answer {
        let checks = |path: &str| match path {
            "/healthz" | "/healthz/" | "/healthz/syncloop" => (self.healthy)(),
            "/healthz/ping" | "/healthz/log" => Ok(()),
            _ => Err("not found".to_owned()),
        };
        match checks(path) {
            Ok(()) => text(StatusCode::OK, "ok"),
            Err(error) if error == "not found" => text(StatusCode::NOT_FOUND, "404 page not found\n"),
            Err(error) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("[-]syncloop failed: {error}\nhealthz check failed\n"),
            ),
        }
    }

    async fn handle(&self, request: Request<Incoming>) -> Answer {
        let peer =
            request.extensions().get::<Peer>().map(|peer| peer.certificates.clone()).unwrap_or_default();
        let user = match self.authentication.authenticate(request.headers(), &peer).await {
            Ok(user) => user,
            Err(_) => return text(StatusCode::UNAUTHORIZED, "Unauthorized"),
        };
        if let Some(refusal) = self.refusal(&user, request.method(), request.uri().path()).await {
            return refusal;
        }
        self.route(request).await
    }

    /// The answer to a user that may not do this.
    async fn refusal(&self, user: &User, method: &Method, path: &str) -> Option<Answer> {
        let authorization = self.authorization.as_ref()?;
        let (verb, subresources) = (verb(method), subresources(path));
        for subresource in subresources {
            let attributes = Attributes::Resource {
                verb: verb.to_owned(),
                group: String::new(),
                resource: "nodes".to_owned(),
                subresource: (*subresource).to_owned(),
                namespace: String::new(),
                name: self.cx.node_name.clone(),
            };
            match authorization.authorize(user, &attributes).await {
                Ok(decision) if decision.allowed => return None,
                Ok(_) => {}
                Err(error) => {
                    return Some(text(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        format!("Authorization error ({error})"),
                    ));
                }
            }
        }
        let list = subresources.join(" ");
        let message =
            format!("Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{list}])", user.name);
        Some(text(StatusCode::FORBIDDEN, message))
    }

    async fn route(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match (request.method(), parts.as_slice()) {
            (_, ["healthz", ..]) => self.health(&path),
            (&Method::GET, ["pods"]) => self.pods(),
            (&Method::GET, ["runningpods"]) => self.running_pods().await,
            (&Method::GET, ["configz"]) => as_json(&json!({"kubeletconfig": self.cx.config})),
            (&Method::GET, ["containerLogs", namespace, pod, container]) => {
                logs::container(self, namespace, pod, container, &query).await
            }
            (_, ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container]) => {
                streams::exec(self, namespace, pod, container, &query, request).await
            }
            (_, ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container]) => {
                streams::attach(self, namespace, pod, container, &query, request).await
            }
            (_, ["portForward", namespace, pod] | ["portForward", namespace, pod, _]) => {
                streams::port_forward(self, namespace, pod, &query, request).await
            }
            (&Method::POST, ["run", namespace, pod, container] | ["run", namespace, pod, _, container]) => {
                streams::run(self, namespace, pod, container, &query).await
            }
            (&Method::GET, ["logs", rest @ ..]) => logs::node(self, rest, &path),
            (&Method::GET, ["metrics"]) => {
                self.cx.volumes.certificates.publish_metrics();
                metrics(component_base::metrics::render())
            }
            (&Method::GET, ["metrics", "resource"]) => metrics(stats::resource_metrics(&self.cx).await),
            (&Method::GET, ["metrics", "cadvisor"]) => metrics(stats::container_metrics(&self.cx).await),
            (&Method::GET, ["metrics", "probes"]) => metrics(String::new()),
            (&Method::GET | &Method::POST, ["stats", "summary"]) => {
                as_json(&summary::summary(&self.cx, &self.rates, query.on(&["only_cpu_and_memory"])).await)
            }
            _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }

    fn pods(&self) -> Answer {
        let pods = self.cx.pods.list().into_iter().map(|pod| {
            let mut pod = (*pod).clone();
            pod.status = self.cx.statuses.get(pod.uid()).or(pod.status);
            pod
        });
        as_json(
            &json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods.collect::<Vec<_>>()}),
        )
    }

    async fn running_pods(&self) -> Answer {
        let filter = cri::v1::PodSandboxFilter {
            state: Some(cri::v1::PodSandboxStateValue {
                state: cri::v1::PodSandboxState::SandboxReady as i32,
            }),
            ..Default::default()
        };
        let containers = self.cx.runtime.list_containers(cri::v1::ContainerFilter::default());
        let (sandboxes, containers) =
            match tokio::try_join!(self.cx.runtime.list_pod_sandbox(filter), containers) {
                Ok(both) => both,
                Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            };
        let items: Vec<_> = sandboxes
            .iter()
            .map(|sandbox| {
                let meta = sandbox.metadata.clone().unwrap_or_default();
                let own = containers.iter().filter(|container| container.pod_sandbox_id == sandbox.id);
                let own: Vec<_> = own
                    .map(|c| {
                        let name = c.metadata.as_ref().map(|m| m.name.clone());
                        json!({"name": name, "image": c.image.as_ref().map(|i| &i.image), "resources": {}})
                    })
                    .collect();
                json!({"metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
                    "spec": {"containers": own}, "status": {}})
            })
            .collect();
        as_json(&json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
    }
}

fn metrics(body: String) -> Answer {
    let mut response = text(StatusCode::OK, body);
    let kind = http::HeaderValue::from_static(component_base::metrics::CONTENT_TYPE);
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

/// The certificate that the kubelet makes for itself, kept in `cert_dir` over restarts.
fn self_signed(cx: &Context, cert_dir: &str) -> CertificateSource {
    let folder = PathBuf::from(cert_dir);
    let (certificate, key) = (folder.join("kubelet.crt"), folder.join("kubelet.key"));
    let mut names = vec![cx.node_name.clone()];
    names.extend(cx.host_ips());
    if !(certificate.exists() && key.exists())
        && let Err(error) = write_certificate(&folder, &names, &certificate, &key)
    {
        tracing::warn!(error, "keep the serving certificate");
        return CertificateSource::SelfSigned { names };
    }
    CertificateSource::Files { certificate, key }
}

fn write_certificate(
    folder: &std::path::Path,
    names: &[String],
    certificate: &std::path::Path,
    key: &std::path::Path,
) -> Result<(), String> {
    use std::os::unix::fs::OpenOptionsExt;
    let made = rcgen::generate_simple_self_signed(names.to_vec()).map_err(|error| error.to_string())?;
    let text = |error: std::io::Error| error.to_string();
    std::fs::create_dir_all(folder).map_err(text)?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(key)
        .map_err(text)?;
    std::io::Write::write_all(&mut file, made.signing_key.serialize_pem().as_bytes()).map_err(text)?;
    std::fs::write(certificate, made.cert.pem()).map_err(text)
}

fn parse_address(address: &str, port: i32) -> Result<SocketAddr, Error> {
    let wrong = || Error::Serve(format!("{address}:{port} is no address to serve on"));
    let ip: std::net::IpAddr = address.parse().map_err(|_| wrong())?;
    Ok(SocketAddr::new(ip, u16::try_from(port).map_err(|_| wrong())?))
}
