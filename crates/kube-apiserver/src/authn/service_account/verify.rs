//! Verification: signature and claims once a token, its objects with every use, so that a deleted pod's token
//! ends at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Value;
use apimachinery::GroupResource;
use apiserver::request::UserInfo;
use apiserver::resource::Objects;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::claims::{Claims, LEGACY_ISSUER, Legacy, Reference};
use crate::admission::context::{NODES, PODS, SECRETS, SERVICE_ACCOUNTS};
use crate::authn::Error;
use crate::authn::cache::Cache;
use component_base::jws::Keys;

/// Clocks may differ by this many seconds.
const LEEWAY_SECONDS: i64 = 60;
/// A bound object that is being deleted keeps its tokens for this long.
const DELETION_GRACE_SECONDS: i64 = 60;

/// A token whose signature holds.
#[derive(Clone, Debug)]
enum Verified {
    Bound(Arc<Claims>, Arc<UserInfo>),
    Legacy(Arc<Legacy>, Arc<UserInfo>),
}

/// Authenticates tokens of the given issuers.
pub struct ServiceAccounts {
    issuers: Vec<String>,
    keys: Keys,
    api_audiences: Vec<String>,
    /// `--service-account-lookup`: check that the objects are still there.
    lookup: bool,
    objects: Arc<dyn Objects>,
    verified: Cache<[u8; 32], Verified>,
}

/// An accepted token.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub user: Arc<UserInfo>,
    pub audiences: Vec<String>,
    /// The token was extended beyond what it was asked for, and that time is over.
    pub stale: bool,
}

#[derive(serde::Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

#[derive(serde::Deserialize)]
struct IssuerOnly {
    #[serde(default)]
    iss: String,
}

impl ServiceAccounts {
    pub fn new(
        issuers: Vec<String>,
        keys: Keys,
        api_audiences: Vec<String>,
        lookup: bool,
        objects: Arc<dyn Objects>,
    ) -> Self {
        Self { issuers, keys, api_audiences, lookup, objects, verified: Cache::new(4096) }
    }

    /// None: no token of ours. `audiences` are those that the caller may stand for.
    pub fn authenticate(
        &self,
        token: &str,
        audiences: &[String],
        now: jiff::Timestamp,
    ) -> Result<Option<Accepted>, Error> {
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let verified = match self.verified.get(&key) {
            Some(verified) => verified,
            None => {
                let Some(verified) = self.verify(token)? else { return Ok(None) };
                self.verified.put(key, verified.clone());
                verified
            }
        };
        match verified {
            Verified::Bound(claims, user) => self.accept(&claims, user, audiences, now).map(Some),
            Verified::Legacy(claims, user) => {
                self.accept_legacy(&claims, user, token, audiences, now).map(Some)
            }
        }
    }

    fn verify(&self, token: &str) -> Result<Option<Verified>, Error> {
        let Some((message, signature)) = token.rsplit_once('.') else { return Ok(None) };
        let Some((header, payload)) = message.split_once('.') else { return Ok(None) };
        let Some(payload) = decode(payload) else { return Ok(None) };
        let Ok(IssuerOnly { iss }) = serde_json::from_slice(&payload) else { return Ok(None) };
        let legacy = iss == LEGACY_ISSUER;
        if !legacy && !self.issuers.contains(&iss) {
            return Ok(None);
        }
        let parts = decode(header).and_then(|h| serde_json::from_slice::<Header>(&h).ok());
        let (Some(header), Some(signature)) = (parts, decode(signature)) else {
            return Err(bad("malformed token"));
        };
        let holds = |k: &super::PublicKey| {
            k.algorithm.name() == header.alg && k.verifies(message.as_bytes(), &signature)
        };
        if !self.keys.candidates(&header.kid).any(holds) {
            return Err(bad("error in cryptographic primitive: no key verifies the token's signature"));
        }
        let malformed = |e: serde_json::Error| Error::Credentials(format!("malformed claims: {e}"));
        Ok(Some(if legacy {
            let claims: Legacy = serde_json::from_slice(&payload).map_err(malformed)?;
            let user = user(&claims.namespace, &claims.name, &claims.uid, BTreeMap::new());
            Verified::Legacy(Arc::new(claims), Arc::new(user))
        } else {
            let claims: Claims = serde_json::from_slice(&payload).map_err(malformed)?;
            let user = bound_user(&claims);
            Verified::Bound(Arc::new(claims), Arc::new(user))
        }))
    }

    fn accept(
        &self,
        claims: &Claims,
        user: Arc<UserInfo>,
        requested: &[String],
        now: jiff::Timestamp,
    ) -> Result<Accepted, Error> {
        check_times(claims, now)?;
        let audiences = self.audiences(&claims.aud, requested)?;
        if self.lookup {
            self.check_objects(claims, now)?;
        }
        let stale = claims.private.warnafter.is_some_and(|after| now.as_second() > after);
        Ok(Accepted { user, audiences, stale })
    }

    fn accept_legacy(
        &self,
        claims: &Legacy,
        user: Arc<UserInfo>,
        token: &str,
        requested: &[String],
        now: jiff::Timestamp,
    ) -> Result<Accepted, Error> {
        for (value, what) in [
            (&claims.namespace, "namespace"),
            (&claims.secret, "secretName"),
            (&claims.name, "serviceAccountName"),
            (&claims.uid, "serviceAccountUID"),
        ] {
            if value.is_empty() {
                return Err(Error::Credentials(format!("{what} claim is missing")));
            }
        }
        if claims.sub != super::username(&claims.namespace, &claims.name) {
            return Err(bad("sub claim is invalid"));
        }
        let audiences = self.audiences(&self.api_audiences, requested)?;
        if self.lookup {
            let secret = self.live(&SECRETS, &claims.namespace, &claims.secret, "", now)?;
            let stored = base64::engine::general_purpose::STANDARD.decode(secret.str_at(&["data", "token"]));
            if stored.unwrap_or_default() != token.as_bytes() {
                return Err(bad("service account token has been invalidated"));
            }
            self.live(&SERVICE_ACCOUNTS, &claims.namespace, &claims.name, &claims.uid, now)?;
        }
        Ok(Accepted { user, audiences, stale: false })
    }

    /// The token's audiences among those asked for; none of them is an error.
    fn audiences(&self, of_token: &[String], requested: &[String]) -> Result<Vec<String>, Error> {
        let of_token = if of_token.is_empty() { &self.api_audiences } else { of_token };
        let common: Vec<String> = of_token.iter().filter(|a| requested.contains(a)).cloned().collect();
        if common.is_empty() && !self.api_audiences.is_empty() {
            return Err(Error::Credentials(format!(
                "token audiences {of_token:?} is invalid for the target audiences {requested:?}"
            )));
        }
        Ok(common)
    }

    fn check_objects(&self, claims: &Claims, now: jiff::Timestamp) -> Result<(), Error> {
        let private = &claims.private;
        let namespace = private.namespace.as_str();
        let live = |resource: &GroupResource, namespace: &str, of: &Reference| {
            self.live(resource, namespace, &of.name, &of.uid, now).map(drop)
        };
        live(&SERVICE_ACCOUNTS, namespace, &private.serviceaccount)?;
        if let Some(secret) = &private.secret {
            live(&SECRETS, namespace, secret)?;
        }
        if let Some(pod) = &private.pod {
            live(&PODS, namespace, pod)?;
        } else if let Some(node) = &private.node {
            live(&NODES, "", node)?;
        }
        Ok(())
    }

    /// The object if it is still there, not long in deletion, and the same one.
    fn live(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        uid: &str,
        now: jiff::Timestamp,
    ) -> Result<Arc<Value>, Error> {
        let found = self.objects.get(resource, namespace, name);
        let what = resource.resource.trim_end_matches('s');
        let Some(object) = found else {
            return Err(Error::Credentials(format!(
                "{what} {namespace}/{name} not found: its tokens are invalid"
            )));
        };
        let deleted = object.value.str_at(&["metadata", "deletionTimestamp"]).parse::<jiff::Timestamp>();
        if deleted.is_ok_and(|t| t.as_second() < now.as_second() - DELETION_GRACE_SECONDS) {
            return Err(Error::Credentials(format!("{what} {namespace}/{name} has been deleted")));
        }
        let present = object.value.str_at(&["metadata", "uid"]);
        if !uid.is_empty() && present != uid {
            return Err(Error::Credentials(format!(
                "{what} UID ({present}) does not match claim ({uid}): service account token has been invalidated"
            )));
        }
        Ok(object.value)
    }
}

/// The user of a bound token, with what it is bound to.
fn bound_user(claims: &Claims) -> UserInfo {
    let private = &claims.private;
    let account = &private.serviceaccount;
    let mut extra = BTreeMap::new();
    let mut put = |key: &str, value: &str| {
        if !value.is_empty() {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        }
    };
    if let Some(pod) = &private.pod {
        put("pod-name", &pod.name);
        put("pod-uid", &pod.uid);
    }
    if let Some(node) = &private.node {
        put("node-name", &node.name);
        put("node-uid", &node.uid);
    }
    if !claims.jti.is_empty() {
        put("credential-id", &format!("JTI={}", claims.jti));
    }
    user(&private.namespace, &account.name, &account.uid, extra)
}

fn check_times(claims: &Claims, now: jiff::Timestamp) -> Result<(), Error> {
    let now = now.as_second();
    if claims.nbf > now + LEEWAY_SECONDS {
        return Err(bad("service account token is not valid yet"));
    }
    if claims.exp < now - LEEWAY_SECONDS {
        return Err(bad("service account token has expired"));
    }
    if claims.iat > now + LEEWAY_SECONDS {
        return Err(bad("service account token is issued in the future"));
    }
    Ok(())
}

fn user(namespace: &str, name: &str, uid: &str, extra: BTreeMap<String, Vec<String>>) -> UserInfo {
    let groups = vec![
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        crate::authn::AUTHENTICATED.to_owned(),
    ];
    UserInfo { name: super::username(namespace, name), uid: uid.to_owned(), groups, extra }
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

fn bad(text: &str) -> Error {
    Error::Credentials(text.to_owned())
}
