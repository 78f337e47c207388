//! Authentication: who sends a request. Client certificates, front proxy headers, static and bootstrap tokens,
//! service account tokens, and at last anonymous.
//!
//! Left out: OpenID Connect, webhook token review, and structured authentication configuration.

mod bootstrap;
pub mod cache;
pub mod request_header;
pub mod service_account;
pub mod token_file;
pub mod x509;

use std::sync::Arc;

use apimachinery::Status;
use apiserver::auth::{Authenticated, Authenticator, Peer};
use apiserver::request::UserInfo;
use apiserver::resource::Objects;
use async_trait::async_trait;
use component_base::jws;
pub use component_base::pki;

pub const AUTHENTICATED: &str = "system:authenticated";
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
const WEBSOCKET_TOKEN: &str = "base64url.bearer.authorization.k8s.io.";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or flag at start.
    #[error("{0}")]
    Config(String),
    /// Credentials were given and are not accepted.
    #[error("{0}")]
    Credentials(String),
    #[error("the token could not be signed")]
    Signing,
}

impl From<jws::Error> for Error {
    fn from(error: jws::Error) -> Self {
        match error {
            jws::Error::Key(why) => Self::Config(why),
            jws::Error::Signing => Self::Signing,
        }
    }
}

/// What is switched on. Each None is an authenticator that is not there.
#[derive(Default)]
pub struct Config {
    pub client_ca: Option<x509::CaPool>,
    pub request_header: Option<request_header::RequestHeader>,
    pub tokens: Option<token_file::TokenFile>,
    pub bootstrap_tokens: bool,
    pub service_accounts: Option<service_account::ServiceAccounts>,
    /// `--api-audiences`, or the issuers.
    pub api_audiences: Vec<String>,
    pub anonymous: bool,
}

/// The union of the configured authenticators.
pub struct Authentication {
    x509: Option<x509::X509>,
    request_header: Option<request_header::RequestHeader>,
    tokens: Option<token_file::TokenFile>,
    bootstrap_tokens: bool,
    service_accounts: Option<service_account::ServiceAccounts>,
    api_audiences: Vec<String>,
    anonymous: bool,
    objects: Arc<dyn Objects>,
}

impl Authentication {
    pub fn new(config: Config, objects: Arc<dyn Objects>) -> Self {
        Self {
            x509: config.client_ca.map(x509::X509::new),
            request_header: config.request_header,
            tokens: config.tokens,
            bootstrap_tokens: config.bootstrap_tokens,
            service_accounts: config.service_accounts,
            api_audiences: config.api_audiences,
            anonymous: config.anonymous,
            objects,
        }
    }

    pub fn api_audiences(&self) -> &[String] {
        &self.api_audiences
    }

    /// A bearer token, for the server's own audiences or those of a TokenReview. Ok(None): nobody knows it.
    pub fn authenticate_token(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Authenticated>, Error> {
        let audiences = if audiences.is_empty() { &self.api_audiences } else { audiences };
        let found = self.token(token, audiences, jiff::Timestamp::now())?;
        Ok(found.map(with_group))
    }

    fn token(
        &self,
        token: &str,
        requested: &[String],
        now: jiff::Timestamp,
    ) -> Result<Option<Authenticated>, Error> {
        // Tokens that know no audience count for the server's own.
        let common: Vec<String> =
            self.api_audiences.iter().filter(|a| requested.contains(a)).cloned().collect();
        let agnostic = self.api_audiences.is_empty() || !common.is_empty();
        if let Some(user) = self.tokens.as_ref().filter(|_| agnostic).and_then(|t| t.user(token)) {
            return Ok(Some(Authenticated { user, audiences: common }));
        }
        if self.bootstrap_tokens
            && agnostic
            && let Some(user) = bootstrap::authenticate(self.objects.as_ref(), token, now)
        {
            return Ok(Some(Authenticated { user, audiences: common }));
        }
        let Some(accounts) = &self.service_accounts else { return Ok(None) };
        let Some(accepted) = accounts.authenticate(token, requested, now)? else { return Ok(None) };
        Ok(Some(Authenticated { user: accepted.user, audiences: accepted.audiences }))
    }

    fn identify(&self, request: &http::request::Parts, peer: &Peer) -> Result<Option<Authenticated>, Error> {
        let now = jiff::Timestamp::now();
        let mut failure = None;
        let mut tried = |result: Result<Option<Authenticated>, Error>| match result {
            Ok(found) => found,
            Err(e) => {
                failure = Some(e);
                None
            }
        };
        let by_header = |a: &request_header::RequestHeader| a.authenticate(&request.headers, peer, now);
        if let Some(found) = self.request_header.as_ref().and_then(|a| tried(by_header(a))) {
            return Ok(Some(found));
        }
        if let Some(found) = self.x509.as_ref().and_then(|a| tried(a.authenticate(peer, now))) {
            return Ok(Some(found));
        }
        if let Some(token) = bearer(&request.headers) {
            let unknown = || Error::Credentials("invalid bearer token".into());
            let result = self.token(&token, &self.api_audiences, now).and_then(|f| f.ok_or_else(unknown));
            if let Some(found) = tried(result.map(Some)) {
                return Ok(Some(found));
            }
        }
        failure.map_or(Ok(None), Err)
    }
}

#[async_trait]
impl Authenticator for Authentication {
    async fn authenticate(
        &self,
        request: &http::request::Parts,
        peer: &Peer,
    ) -> Result<Option<Authenticated>, Status> {
        if let Some(user) = &peer.in_process
            && !request.headers.contains_key(http::header::AUTHORIZATION)
        {
            let known = Authenticated { user: user.clone(), audiences: self.api_audiences.clone() };
            return Ok(Some(with_group(known)));
        }
        match self.identify(request, peer) {
            Ok(Some(found)) => Ok(Some(with_group(found))),
            Ok(None) if self.anonymous => Ok(Some(anonymous())),
            Ok(None) => Ok(None),
            Err(e) => {
                tracing::warn!(error = %e, "unable to authenticate the request");
                Err(Status::unauthorized())
            }
        }
    }
}

/// The identity of who shows no credentials.
pub fn anonymous() -> Authenticated {
    let user = UserInfo {
        name: "system:anonymous".into(),
        groups: vec![UNAUTHENTICATED.into()],
        ..UserInfo::default()
    };
    Authenticated { user: Arc::new(user), audiences: Vec::new() }
}

/// Adds `system:authenticated`, unless it or its opposite is there.
fn with_group(mut found: Authenticated) -> Authenticated {
    if !found.user.in_group(AUTHENTICATED) && !found.user.in_group(UNAUTHENTICATED) {
        Arc::make_mut(&mut found.user).groups.push(AUTHENTICATED.into());
    }
    found
}

/// The bearer token of a request: of its `Authorization`, or of a websocket's subprotocol.
pub fn bearer(headers: &http::HeaderMap) -> Option<String> {
    if let Some(value) = headers.get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok()) {
        let mut parts = value.trim().splitn(3, ' ');
        let (scheme, token) = (parts.next()?, parts.next()?);
        return (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned());
    }
    let upgrade = headers.get(http::header::UPGRADE)?.to_str().ok()?;
    if !upgrade.eq_ignore_ascii_case("websocket") {
        return None;
    }
    let protocols = headers.get_all(http::header::SEC_WEBSOCKET_PROTOCOL);
    let mut names =
        protocols.iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim);
    let encoded = names.find_map(|p| p.strip_prefix(WEBSOCKET_TOKEN))?;
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, encoded).ok()?;
    String::from_utf8(bytes).ok().filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests;
