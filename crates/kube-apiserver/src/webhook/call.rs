//! Calling a webhook: where it is, by URL or Service, and the exchange of one review.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api::Value;
use apiserver::endpoint::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full};
use parking_lot::Mutex;
use rustls::ClientConfig;

use super::outgoing::{self, Address, Stock, Trust};
use crate::aggregator::resolve::Resolver;

/// The most that a webhook may answer.
const MAX_ANSWER: usize = 16 << 20;

/// `clientConfig`.
#[derive(Debug, Default)]
pub struct Target {
    url: Option<String>,
    /// Namespace, name, path, port.
    service: Option<(String, String, String, i64)>,
    ca: String,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
    stock: Mutex<Option<Arc<Stock>>>,
}

impl std::fmt::Debug for Stock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.address.authority)
    }
}

/// Where one request goes.
struct Place {
    host: String,
    port: u16,
    server_name: String,
    path: String,
    /// As messages name it.
    url: String,
    secure: bool,
}

impl Target {
    pub fn of(config: &Value) -> Self {
        let service = config.get("service").filter(|s| !s.is_null()).map(|s| {
            let path = s.str_at(&["path"]);
            let path =
                if path.is_empty() { "/".to_owned() } else { format!("/{}", path.trim_start_matches('/')) };
            let port = s.int_at(&["port"]).unwrap_or(443);
            (s.str_at(&["namespace"]).to_owned(), s.str_at(&["name"]).to_owned(), path, port)
        });
        let url = config.str_at(&["url"]);
        let ca = STANDARD.decode(config.str_at(&["caBundle"])).unwrap_or_default();
        Self {
            url: (!url.is_empty()).then(|| url.to_owned()),
            service,
            ca: String::from_utf8(ca).unwrap_or_default(),
            ..Self::default()
        }
    }

    fn place(&self, resolver: &Resolver) -> Result<Place, String> {
        if let Some((namespace, name, path, port)) = &self.service {
            let (host, number) = resolver.resolve(namespace, name, *port).map_err(|e| e.message)?;
            let server_name = format!("{name}.{namespace}.svc");
            let url = format!("https://{server_name}:{port}{path}");
            return Ok(Place { host, port: number, server_name, path: path.clone(), url, secure: true });
        }
        let url = self.url.as_deref().ok_or("webhook clientConfig needs a URL or a service")?;
        let uri: Uri = url.parse().map_err(|_| format!("{url:?} is no URL"))?;
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Place { server_name: host.clone(), host, port, path, url: url.to_owned(), secure })
    }

    fn stock(&self, place: &Place) -> Result<Arc<Stock>, String> {
        let authority = outgoing::join(&place.host, place.port);
        let mut stock = self.stock.lock();
        if let Some(known) = stock.as_ref().filter(|s| s.address.authority == authority) {
            return Ok(known.clone());
        }
        let address = if place.secure {
            let trust = if self.ca.is_empty() { Trust::System } else { Trust::Pool(self.ca.clone()) };
            let tls =
                self.tls.get_or_init(|| outgoing::tls(&trust, None).map_err(|e| e.to_string())).clone()?;
            Address::secure(&place.host, place.port, tls, Some(&place.server_name))
                .map_err(|e| e.to_string())?
        } else {
            Address::plain(&place.host, place.port)
        };
        let fresh = Arc::new(Stock::new(address));
        *stock = Some(fresh.clone());
        Ok(fresh)
    }

    /// Posts a review and reads the answer; errors in upstream's words (`Post "https://...": ...`).
    pub async fn post(
        &self,
        resolver: &Resolver,
        review: &serde_json::Value,
        timeout: Duration,
    ) -> Result<serde_json::Value, String> {
        let place = self.place(resolver)?;
        let seconds = format!("timeout={}s", timeout.as_secs());
        let joint = if place.path.contains('?') { '&' } else { '?' };
        let url = format!("{}{joint}{seconds}", place.url);
        let stock = self.stock(&place)?;
        let body: Bytes = serde_json::to_vec(review).map_err(|e| e.to_string())?.into();
        let host = format!("{}:{}", place.server_name, place.port);
        let request = || {
            let body: Body = Full::new(body.clone()).map_err(|never| match never {}).boxed();
            let mut request = Request::new(body);
            *request.method_mut() = http::Method::POST;
            if let Ok(uri) = format!("{}{joint}{seconds}", place.path).parse() {
                *request.uri_mut() = uri;
            }
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
            headers.insert(header::ACCEPT, header::HeaderValue::from_static("application/json, */*"));
            headers.insert(header::USER_AGENT, header::HeaderValue::from_static("kube-apiserver-admission"));
            if let Ok(value) = host.parse() {
                headers.insert(header::HOST, value);
            }
            request
        };
        let exchange = tokio::time::timeout(timeout, stock.exchange(request, MAX_ANSWER)).await;
        let answer = exchange
            .map_err(|_| format!("Post {url:?}: context deadline exceeded"))?
            .map_err(|e| format!("Post {url:?}: {e}"))?;
        if !answer.status().is_success() {
            let said = String::from_utf8_lossy(answer.body()).chars().take(2048).collect::<String>();
            let code = answer.status().as_u16();
            return Err(if said.is_empty() {
                format!("the server rejected our request for an unknown reason ({code})")
            } else {
                said
            });
        }
        serde_json::from_slice(answer.body()).map_err(|e| format!("the answer is no JSON: {e}"))
    }
}

/// Reviews must answer with the uid that they were asked with.
pub fn uid() -> String {
    uuid::Uuid::new_v4().to_string()
}
