//! Service account tokens for projected volumes, asked for by TokenRequest and renewed at four fifths of their life.

use std::collections::HashMap;
use std::time::Duration;

use client::{Api, Resource};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;

use crate::pod::PodExt;

/// A token is renewed after a day at the latest.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
const SERVICE_ACCOUNTS: Resource = Resource::of("", "v1", "serviceaccounts", "ServiceAccount", true);

#[derive(Clone)]
struct Token {
    text: String,
    renew: Timestamp,
    expires: Timestamp,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    pod: String,
    audience: String,
    seconds: i64,
}

/// Tokens of the node's pods.
#[derive(Default)]
pub struct Tokens {
    cache: Mutex<HashMap<Key, Token>>,
}

#[derive(Deserialize)]
struct TokenRequest {
    status: TokenStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenStatus {
    token: String,
    expiration_timestamp: Timestamp,
}

/// When a token made at `made` that ends at `expires` is to be renewed.
fn renewal(made: Timestamp, expires: Timestamp) -> Timestamp {
    let life = Duration::try_from(expires.duration_since(made)).unwrap_or_default();
    made + (life * 4 / 5).min(MAX_AGE)
}

impl Tokens {
    /// A token for a pod's service account, and when to ask again. An empty audience is the API server's.
    ///
    /// # Errors
    /// What the API server said, if there is no older token that still is valid.
    pub async fn get(
        &self,
        api: &Api,
        pod: &Pod,
        audience: &str,
        seconds: i64,
    ) -> Result<(String, Timestamp), client::Error> {
        let key = Key { pod: pod.uid().to_owned(), audience: audience.to_owned(), seconds };
        let now = Timestamp::now();
        let held = self.cache.lock().get(&key).cloned();
        if let Some(token) = held.as_ref().filter(|token| now < token.renew) {
            return Ok((token.text.clone(), token.renew));
        }
        match request(api, pod, audience, seconds).await {
            Ok(status) => {
                let renew = renewal(now, status.expiration_timestamp);
                let token = Token { text: status.token.clone(), renew, expires: status.expiration_timestamp };
                self.cache.lock().insert(key, token);
                Ok((status.token, renew))
            }
            Err(error) => match held.filter(|token| now < token.expires) {
                Some(token) => {
                    tracing::warn!(pod = pod.shown(), %error, "renew service account token");
                    Ok((token.text, now + Duration::from_secs(10)))
                }
                None => Err(error),
            },
        }
    }

    /// Forgets a pod's tokens.
    pub fn forget(&self, uid: &str) {
        self.cache.lock().retain(|key, _| key.pod != uid);
    }
}

async fn request(api: &Api, pod: &Pod, audience: &str, seconds: i64) -> Result<TokenStatus, client::Error> {
    let audiences: Vec<_> = Some(audience).filter(|audience| !audience.is_empty()).into_iter().collect();
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": pod.name(), "uid": pod.uid()});
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": bound},
    });
    let account =
        pod.spec().service_account_name.as_deref().filter(|name| !name.is_empty()).unwrap_or("default");
    let answer: TokenRequest =
        api.create_subresource(&SERVICE_ACCOUNTS, pod.namespace(), account, "token", &body).await?;
    Ok(answer.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renews_at_four_fifths_or_a_day() {
        let made = Timestamp::UNIX_EPOCH;
        let after = |seconds: u64| renewal(made, made + Duration::from_secs(seconds)).as_second();
        assert_eq!(after(600), 480);
        assert_eq!(after(3607), 2885);
        assert_eq!(after(10 * 24 * 3600), 24 * 3600);
    }
}
