//! Bootstrap tokens: which are in force, and the signatures of the cluster's public kubeconfig by them (JWS with a
//! detached payload, HS256).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use client::{ObjectMeta, Time, view};
use serde::Deserialize;

pub const PREFIX: &str = "jws-kubeconfig-";

/// A Secret of type bootstrap.kubernetes.io/token.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TokenSecret {
    pub metadata: ObjectMeta,
    /// Base64 values.
    data: BTreeMap<String, String>,
}

view!(TokenSecret);

impl TokenSecret {
    fn text(&self, key: &str) -> Option<String> {
        String::from_utf8(STANDARD.decode(self.data.get(key)?).ok()?).ok()
    }

    /// When the token ends, if it does.
    pub fn expiration(&self) -> Option<Time> {
        self.text("expiration")?.parse().ok().map(Time)
    }

    pub fn is_expired(&self, now: Time) -> bool {
        // One whose end cannot be read is taken as ended.
        self.data.contains_key("expiration") && self.expiration().is_none_or(|end| end <= now)
    }

    /// Id and secret of a token that signs.
    fn signing(&self, now: Time) -> Option<(String, String)> {
        let (id, secret) = (self.text("token-id")?, self.text("token-secret")?);
        let named = self.metadata.name == format!("bootstrap-token-{id}");
        let signs = self.text("usage-bootstrap-signing").as_deref() == Some("true");
        (named && signs && !id.is_empty() && !secret.is_empty() && !self.is_expired(now))
            .then_some((id, secret))
    }
}

/// The data of the ConfigMap with the signatures of all tokens, or None if they are there.
pub fn sign(
    data: &BTreeMap<String, String>,
    tokens: &[impl std::ops::Deref<Target = TokenSecret>],
    now: Time,
) -> Option<BTreeMap<String, String>> {
    let content = data.get("kubeconfig")?;
    let mut new: BTreeMap<String, String> =
        data.iter().filter(|(k, _)| !k.starts_with(PREFIX)).map(|(k, v)| (k.clone(), v.clone())).collect();
    for (id, secret) in tokens.iter().filter_map(|t| t.signing(now)) {
        new.insert(format!("{PREFIX}{id}"), detached(content, &id, &secret));
    }
    (new != *data).then_some(new)
}

fn detached(content: &str, id: &str, secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{id}"}}"#));
    let payload = URL_SAFE_NO_PAD.encode(content);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = ring::hmac::sign(&key, format!("{header}.{payload}").as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: &str, expiration: &str) -> Box<TokenSecret> {
        let encode = |text: &str| STANDARD.encode(text);
        let mut data: BTreeMap<String, String> =
            [("token-id", id), ("token-secret", "0123456789abcdef"), ("usage-bootstrap-signing", "true")]
                .into_iter()
                .map(|(k, v)| (k.to_owned(), encode(v)))
                .collect();
        if !expiration.is_empty() {
            data.insert("expiration".into(), encode(expiration));
        }
        let metadata = ObjectMeta { name: format!("bootstrap-token-{id}").into(), ..ObjectMeta::default() };
        Box::new(TokenSecret { metadata, data })
    }

    #[test]
    fn tokens_in_force_sign() {
        let now = Time("2026-01-01T00:00:00Z".parse().unwrap());
        let tokens = [
            token("abcdef", ""),
            token("expire", "2025-12-31T00:00:00Z"),
            token("future", "2026-12-31T00:00:00Z"),
        ];
        let data: BTreeMap<String, String> =
            [("kubeconfig".to_owned(), "content".to_owned()), (format!("{PREFIX}gone"), "x".into())].into();
        let signed = sign(&data, &tokens, now).unwrap();
        let keys: Vec<_> = signed.keys().map(String::as_str).collect();
        assert_eq!(keys, ["jws-kubeconfig-abcdef", "jws-kubeconfig-future", "kubeconfig"]);
        assert_eq!(
            signed["jws-kubeconfig-abcdef"].split("..").next(),
            Some("eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9")
        );
        assert!(sign(&signed, &tokens, now).is_none());
        assert!(tokens[1].is_expired(now) && !tokens[2].is_expired(now));
    }
}
