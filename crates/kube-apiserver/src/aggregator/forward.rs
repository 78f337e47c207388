//! One aggregated group-version: requests go to its Service over TLS, with the user's identity in headers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::Value;
use apimachinery::{GroupVersion, Status};
use apiserver::auth::Peer;
use apiserver::catalog::{Delegate, Priority};
use apiserver::endpoint::Body;
use apiserver::request::{RequestContext, UserInfo};
use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Empty, Full, Limited};

use super::Identity;
use super::resolve::{Resolver, Unresolved};
use crate::authn::{Error, request_header};
use crate::endpoints::connect;
use crate::webhook::outgoing::{self, Address, Trust};

const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(5);
const DISCOVERY_LIMIT: usize = 4 << 20;

/// What a check found.
pub struct Availability {
    pub available: bool,
    pub reason: &'static str,
    pub message: String,
}

pub struct Forward {
    gv: GroupVersion,
    priority: Priority,
    namespace: String,
    name: String,
    port: i64,
    tls: Arc<rustls::ClientConfig>,
    resolver: Resolver,
    available: AtomicBool,
    /// APIResourceList as last seen.
    resources: ArcSwapOption<Bytes>,
}

impl Forward {
    pub fn new(spec: &Value, resolver: Resolver, identity: Option<&Identity>) -> Result<Self, Error> {
        let bundle = spec.str_at(&["caBundle"]);
        let trust = match (spec.bool_at(&["insecureSkipTLSVerify"]), bundle) {
            (Some(true), _) => Trust::Anybody,
            (_, "") => Trust::System,
            (_, bundle) => {
                let pem = base64::engine::general_purpose::STANDARD
                    .decode(bundle)
                    .map_err(|e| Error::Config(e.to_string()))?;
                Trust::Pool(String::from_utf8_lossy(&pem).into_owned())
            }
        };
        let number = |key: &str| spec.int_at(&[key]).unwrap_or(0);
        Ok(Self {
            gv: super::group_version(spec),
            priority: Priority { group: number("groupPriorityMinimum"), version: number("versionPriority") },
            namespace: spec.str_at(&["service", "namespace"]).to_owned(),
            name: spec.str_at(&["service", "name"]).to_owned(),
            port: spec.int_at(&["service", "port"]).unwrap_or(443),
            tls: outgoing::tls(&trust, identity.map(|i| (i.certificate.as_str(), i.key.as_str())))?,
            resolver,
            available: AtomicBool::new(false),
            resources: ArcSwapOption::empty(),
        })
    }

    pub fn group_version(&self) -> GroupVersion {
        self.gv.clone()
    }

    pub fn priority(&self) -> Priority {
        self.priority
    }

    pub fn is_available(&self) -> bool {
        self.available.load(Ordering::Acquire)
    }

    fn address(&self) -> Result<Address, Unresolved> {
        let (host, port) = self.resolver.resolve(&self.namespace, &self.name, self.port)?;
        let name = format!("{}.{}.svc", self.name, self.namespace);
        let failed = |e: Error| Unresolved { reason: "ServiceAccessError", message: e.to_string() };
        Address::secure(&host, port, self.tls.clone(), Some(&name)).map_err(failed)
    }

    /// Asks the server for what it serves.
    pub async fn check(&self) -> Availability {
        let found = match self.discover().await {
            Ok(list) => {
                self.resources.store(Some(Arc::new(list)));
                Availability { available: true, reason: "Passed", message: "all checks passed".into() }
            }
            Err(Unresolved { reason, message }) => Availability { available: false, reason, message },
        };
        self.available.store(found.available, Ordering::Release);
        found
    }

    async fn discover(&self) -> Result<Bytes, Unresolved> {
        self.resolver.check(&self.namespace, &self.name, self.port)?;
        let address = self.address()?;
        let path = format!("/apis/{}/{}", self.gv.group, self.gv.version);
        let url = format!("https://{}{path}", address.authority);
        let failed = |why: String| Unresolved {
            reason: "FailedDiscoveryCheck",
            message: format!("failing or missing response from {url}: {why}"),
        };
        let mut request = Request::get(&path).body(empty()).map_err(|e| failed(e.to_string()))?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let user = UserInfo {
            name: "system:kube-aggregator".into(),
            groups: vec!["system:masters".into()],
            ..UserInfo::default()
        };
        identify(request.headers_mut(), &user);
        let answer = tokio::time::timeout(DISCOVERY_TIMEOUT, async {
            let response = outgoing::send(&address, request).await?;
            let code = response.status();
            let body = Limited::new(response.into_body(), DISCOVERY_LIMIT).collect().await?.to_bytes();
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((code, body))
        });
        match answer.await {
            Err(_) => Err(failed(format!("Get {url:?}: context deadline exceeded"))),
            Ok(Err(error)) => Err(failed(format!("Get {url:?}: {error}"))),
            Ok(Ok((code, body))) if code.is_success() => Ok(body),
            Ok(Ok((code, _))) => Err(failed(format!("bad status from {url}: {}", code.as_u16()))),
        }
    }
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// Who asks, as a front proxy says it.
fn identify(headers: &mut HeaderMap, user: &UserInfo) {
    let mut put = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    };
    put("x-remote-user", &user.name);
    if !user.uid.is_empty() {
        put("x-remote-uid", &user.uid);
    }
    for group in &user.groups {
        put("x-remote-group", group);
    }
    for (key, values) in &user.extra {
        let name = format!("x-remote-extra-{}", request_header::escape(key));
        values.iter().for_each(|v| put(&name, v));
    }
}

fn refuse(status: &Status) -> Response<Body> {
    let body = Full::new(Bytes::from(status.to_json())).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() =
        http::StatusCode::from_u16(status.code).unwrap_or(http::StatusCode::SERVICE_UNAVAILABLE);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[async_trait]
impl Delegate for Forward {
    async fn forward(&self, cx: &RequestContext, request: Request<Body>, peer: Peer) -> Response<Body> {
        if !self.is_available() {
            return refuse(&Status::unavailable("service unavailable"));
        }
        let address = match self.address() {
            Ok(address) => address,
            Err(error) => return refuse(&Status::unavailable(error.message)),
        };
        let path = request.uri().path_and_query().map_or_else(|| "/".to_owned(), |p| p.as_str().to_owned());
        let mut headers = HeaderMap::new();
        identify(&mut headers, &cx.user);
        let answer = connect::forward::forward(&address, request, &path, peer.address, headers).await;
        answer.unwrap_or_else(|status| refuse(&status))
    }

    fn resources(&self) -> Option<Bytes> {
        self.resources.load().as_ref().map(|b| Bytes::clone(b))
    }

    async fn openapi(&self, path: &str, headers: &HeaderMap) -> Response<Body> {
        let unavailable = || refuse(&Status::unavailable("service unavailable"));
        let (true, Ok(address)) = (self.is_available(), self.address()) else { return unavailable() };
        let Ok(mut request) = Request::get(path).body(empty()) else { return unavailable() };
        let conditions =
            [header::ACCEPT, header::ACCEPT_ENCODING, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];
        let asked =
            conditions.into_iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
        request.headers_mut().extend(asked);
        identify(
            request.headers_mut(),
            &UserInfo { name: "system:aggregator".into(), ..UserInfo::default() },
        );
        match tokio::time::timeout(DISCOVERY_TIMEOUT, outgoing::send(&address, request)).await {
            Ok(Ok(answer)) => answer.map(|body| body.map_err(Into::into).boxed()),
            _ => unavailable(),
        }
    }
}
