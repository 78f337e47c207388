//! Who sends a request to a component: a client certificate of a known authority, a proxy that vouches for the
//! user in headers, or a bearer token that the API server reviews (TokenReview). Answers of reviews are cached.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apimachinery::Status;
use http::{HeaderMap, header};
use parking_lot::Mutex;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::tls;
use crate::flags::GoDuration;

/// An authenticated user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
pub struct User {
    #[serde(rename = "username")]
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
            ..Self::default()
        }
    }
}

/// Upstream's flags of delegated authentication.
#[derive(Clone, Debug, clap::Args)]
pub struct AuthenticationOptions {
    /// Kubeconfig for TokenReviews; empty: tokens are not taken.
    #[arg(long, default_value = "")]
    pub authentication_kubeconfig: String,
    /// Do not read the ConfigMap extension-apiserver-authentication.
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub authentication_skip_lookup: bool,
    #[arg(long, default_value = "10s")]
    pub authentication_token_webhook_cache_ttl: GoDuration,
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub authentication_tolerate_lookup_failure: bool,
    /// Authorities of client certificates.
    #[arg(long, default_value = "")]
    pub client_ca_file: String,
    /// Authorities of proxies that vouch for users.
    #[arg(long, default_value = "")]
    pub requestheader_client_ca_file: String,
    #[arg(long, value_delimiter = ',')]
    pub requestheader_allowed_names: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "x-remote-user")]
    pub requestheader_username_headers: Vec<String>,
    #[arg(long, value_delimiter = ',')]
    pub requestheader_uid_headers: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "x-remote-group")]
    pub requestheader_group_headers: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "x-remote-extra-")]
    pub requestheader_extra_headers_prefix: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    #[error("reading {path}: {source}")]
    File { path: String, source: std::io::Error },
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    #[error("authorities of client certificates: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

#[derive(Clone, Debug)]
struct RequestHeaders {
    verifier: Arc<dyn ClientCertVerifier>,
    allowed_names: Vec<String>,
    user: Vec<String>,
    uid: Vec<String>,
    group: Vec<String>,
    extra: Vec<String>,
}

#[derive(Clone, Debug)]
struct Reviewed {
    user: Option<User>,
    until: Instant,
}

/// Authenticates requests to a component.
pub struct Authentication {
    certificates: Option<Arc<dyn ClientCertVerifier>>,
    proxies: Option<RequestHeaders>,
    reviews: Option<kube::Client>,
    ttl: Duration,
    anonymous: bool,
    cache: Mutex<BTreeMap<[u8; 32], Reviewed>>,
}

/// Reviews kept; a full cache is emptied.
const CACHE: usize = 1024;

impl Authentication {
    /// `reviews` sends TokenReviews; None: bearer tokens are refused. `client_ca` is PEM.
    pub fn new(
        client_ca: Option<&[u8]>,
        reviews: Option<kube::Client>,
        anonymous: bool,
    ) -> Result<Self, AuthenticationError> {
        let certificates = client_ca.map(verifier).transpose()?;
        let ttl = Duration::from_secs(10);
        Ok(Self { certificates, proxies: None, reviews, ttl, anonymous, cache: Mutex::default() })
    }

    /// From the flags; files that are not given come from the ConfigMap that the API server keeps, if it can be
    /// read. Anonymous requests are let through to authorization, as upstream's components do.
    pub async fn from_options(
        options: &AuthenticationOptions,
        reviews: Option<kube::Client>,
    ) -> Result<Self, AuthenticationError> {
        let published = match &reviews {
            Some(client) if !options.authentication_skip_lookup => published(client).await,
            _ => BTreeMap::new(),
        };
        let client_ca = read(&options.client_ca_file, published.get("client-ca-file"))?;
        let proxy_ca =
            read(&options.requestheader_client_ca_file, published.get("requestheader-client-ca-file"))?;
        let mut made = Self::new(client_ca.as_deref(), reviews, true)?;
        made.ttl = options.authentication_token_webhook_cache_ttl.0;
        if let Some(ca) = proxy_ca {
            let names =
                published.get("requestheader-allowed-names").and_then(|n| serde_json::from_str(n).ok());
            let allowed = &options.requestheader_allowed_names;
            made.proxies = Some(RequestHeaders {
                verifier: verifier(&ca)?,
                allowed_names: if allowed.is_empty() { names.unwrap_or_default() } else { allowed.clone() },
                user: options.requestheader_username_headers.clone(),
                uid: options.requestheader_uid_headers.clone(),
                group: options.requestheader_group_headers.clone(),
                extra: options.requestheader_extra_headers_prefix.clone(),
            });
        }
        Ok(made)
    }

    /// The user of a request, by its headers and the certificates that its connection showed (leaf first).
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: &[CertificateDer<'_>],
    ) -> Result<User, Status> {
        if let Some(user) = self.by_proxy(headers, peer) {
            return Ok(with_authenticated(user));
        }
        if let (Some(verifier), Some((leaf, chain))) = (&self.certificates, peer.split_first())
            && verifier.verify_client_cert(leaf, chain, UnixTime::now()).is_ok()
            && let Some(user) = user_of(leaf)
        {
            return Ok(with_authenticated(user));
        }
        let bearer = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| {
            let (scheme, token) = v.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        match bearer {
            Some(token) => self.by_token(token).await,
            None if self.anonymous => Ok(User::anonymous()),
            None => Err(Status::unauthorized()),
        }
    }

    fn by_proxy(&self, headers: &HeaderMap, peer: &[CertificateDer<'_>]) -> Option<User> {
        let proxies = self.proxies.as_ref()?;
        let first = |names: &[String]| {
            names.iter().find_map(|n| headers.get(n)?.to_str().ok().filter(|v| !v.is_empty()))
        };
        let name = first(&proxies.user)?.to_owned();
        let (leaf, chain) = peer.split_first()?;
        proxies.verifier.verify_client_cert(leaf, chain, UnixTime::now()).ok()?;
        let proxy = user_of(leaf)?.name;
        if !proxies.allowed_names.is_empty() && !proxies.allowed_names.contains(&proxy) {
            return None;
        }
        let all = |name: &String| {
            headers
                .get_all(name)
                .iter()
                .filter_map(|v| v.to_str().ok().map(str::to_owned))
                .collect::<Vec<_>>()
        };
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in headers {
            let found = proxies.extra.iter().find_map(|p| key.as_str().strip_prefix(&*p.to_lowercase()));
            if let (Some(key), Ok(value)) = (found, value.to_str()) {
                extra.entry(key.to_owned()).or_default().push(value.to_owned());
            }
        }
        let uid = first(&proxies.uid).unwrap_or_default().to_owned();
        Some(User { name, uid, groups: proxies.group.iter().flat_map(all).collect(), extra })
    }

    async fn by_token(&self, token: &str) -> Result<User, Status> {
        let client = self.reviews.as_ref().ok_or_else(Status::unauthorized)?;
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(known) = self.cache.lock().get(&key).filter(|known| known.until > Instant::now()) {
            return known.user.clone().ok_or_else(Status::unauthorized);
        }
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
        let answer = review(client, "/apis/authentication.k8s.io/v1/tokenreviews", &body).await?;
        let accepted = answer.pointer("/status/authenticated") == Some(&Value::Bool(true));
        let user = accepted.then(|| answer.pointer("/status/user").cloned()).flatten();
        let user = user.and_then(|u| serde_json::from_value::<User>(u).ok());
        let mut cache = self.cache.lock();
        if cache.len() >= CACHE {
            cache.clear();
        }
        cache.insert(key, Reviewed { user: user.clone(), until: Instant::now() + self.ttl });
        user.ok_or_else(Status::unauthorized)
    }
}

/// Posts a review object and reads it back.
pub(super) async fn review(client: &kube::Client, path: &str, body: &Value) -> Result<Value, Status> {
    let request = http::Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes())
        .map_err(Status::internal)?;
    client.request(request).await.map_err(Status::internal)
}

fn with_authenticated(mut user: User) -> User {
    let group = "system:authenticated";
    if !user.groups.iter().any(|g| g == group) {
        user.groups.push(group.into());
    }
    user
}

/// Common name and organisations of a certificate.
fn user_of(leaf: &CertificateDer<'_>) -> Option<User> {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let subject = parsed.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok().map(str::to_owned)).collect();
    Some(User { name, groups, ..User::default() })
}

fn verifier(pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, AuthenticationError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(tls::certificates(pem)?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?)
}

fn read(path: &str, published: Option<&String>) -> Result<Option<Vec<u8>>, AuthenticationError> {
    if path.is_empty() {
        return Ok(published.map(|text| text.clone().into_bytes()));
    }
    std::fs::read(Path::new(path))
        .map(Some)
        .map_err(|source| AuthenticationError::File { path: path.into(), source })
}

/// What the API server publishes for servers that delegate to it.
async fn published(client: &kube::Client) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct ConfigMap {
        #[serde(default)]
        data: BTreeMap<String, String>,
    }
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let Ok(request) = http::Request::get(path).body(Vec::new()) else { return BTreeMap::new() };
    match client.request::<ConfigMap>(request).await {
        Ok(found) => found.data,
        Err(e) => {
            tracing::warn!(
                "client authorities could not be read from extension-apiserver-authentication: {e}"
            );
            BTreeMap::new()
        }
    }
}
