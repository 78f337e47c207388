//! Signing of tokens, and the claims of a TokenRequest as upstream fills them in.

use component_base::jws::SigningKey;

use super::claims::{Claims, Private, Reference};
use crate::authn::Error;

/// Exactly this many requested seconds mark a token that a kubelet projects by default; such tokens are extended.
const PROJECTED_SECONDS: i64 = 60 * 60 + 7;
const EXTENDED_SECONDS: i64 = 365 * 24 * 60 * 60;
/// go-jose's clock; a token must not be used before it was issued, give or take nothing.
const DEFAULT_SECONDS: i64 = 60 * 60;

/// What a token is bound to; a pod's token names its node too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    None,
    Pod { pod: Reference, node: Option<Reference> },
    Secret(Reference),
    Node(Reference),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct TokenRequest<'a> {
    pub namespace: &'a str,
    pub account: Reference,
    /// Empty: the issuer's own audiences.
    pub audiences: Vec<String>,
    pub expiration_seconds: Option<i64>,
    pub bound: Bound,
    pub now: jiff::Timestamp,
}

/// A signed token and when it ends.
#[derive(Clone, Debug)]
pub struct Token {
    pub token: String,
    pub expires: jiff::Timestamp,
    pub audiences: Vec<String>,
    pub expiration_seconds: i64,
    pub jti: String,
}

/// Signs tokens for `--service-account-issuer` with the signing key.
#[derive(Debug)]
pub struct Issuer {
    pub issuer: String,
    pub audiences: Vec<String>,
    pub key: SigningKey,
    /// `--service-account-max-token-expiration` in seconds.
    pub max_expiration: Option<i64>,
    /// `--service-account-extend-token-expiration`.
    pub extend: bool,
}

impl Issuer {
    /// Claims of a request, and the seconds that are told to the caller (an extended token says less than it has).
    pub fn claims(&self, request: &TokenRequest<'_>) -> (Claims, i64) {
        let audiences = if request.audiences.is_empty() { &self.audiences } else { &request.audiences };
        let asked = request.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
        let asked = self.max_expiration.map_or(asked, |max| asked.min(max));
        let now = request.now.as_second();
        let bound_to_pod = matches!(request.bound, Bound::Pod { .. });
        let own = audiences.iter().all(|a| self.audiences.contains(a));
        let extended = self.extend && bound_to_pod && asked == PROJECTED_SECONDS && own;
        let lifetime = if extended { EXTENDED_SECONDS } else { asked };
        let mut private = Private {
            namespace: request.namespace.to_owned(),
            serviceaccount: request.account.clone(),
            warnafter: extended.then_some(now + asked),
            ..Private::default()
        };
        match &request.bound {
            Bound::None => {}
            Bound::Pod { pod, node } => (private.pod, private.node) = (Some(pod.clone()), node.clone()),
            Bound::Secret(secret) => private.secret = Some(secret.clone()),
            Bound::Node(node) => private.node = Some(node.clone()),
        }
        let claims = Claims {
            aud: audiences.clone(),
            exp: now + lifetime,
            iat: now,
            iss: self.issuer.clone(),
            jti: uuid::Uuid::new_v4().to_string(),
            private,
            nbf: now,
            sub: super::username(request.namespace, &request.account.name),
        };
        (claims, asked)
    }

    /// `expires` is what the caller should believe: for an extended token the time to ask for a new one.
    pub fn issue(&self, request: &TokenRequest<'_>) -> Result<Token, Error> {
        let (claims, asked) = self.claims(request);
        let expires = jiff::Timestamp::from_second(claims.iat + asked).map_err(|_| Error::Signing)?;
        let token = self.sign(&claims)?;
        Ok(Token { token, expires, audiences: claims.aud, expiration_seconds: asked, jti: claims.jti })
    }

    pub fn sign(&self, claims: &Claims) -> Result<String, Error> {
        let payload = serde_json::to_string(claims).map_err(|_| Error::Signing)?;
        Ok(self.key.token(&payload)?)
    }
}
