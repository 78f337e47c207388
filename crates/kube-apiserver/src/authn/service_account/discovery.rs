//! `/.well-known/openid-configuration` and `/openid/v1/jwks`, by which others verify tokens (OpenID Connect
//! Discovery 1.0).

use super::Keys;

pub const CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";
pub const JWKS_PATH: &str = "/openid/v1/jwks";

/// The two documents, ready to send.
#[derive(Clone, Debug)]
pub struct Documents {
    pub configuration: String,
    pub jwks: String,
}

impl Documents {
    /// `jwks_uri`: `--service-account-jwks-uri`, or `https://ADDRESS/openid/v1/jwks` of this server. None if the
    /// issuer is no https URL: then upstream serves no documents.
    pub fn new(issuer: &str, jwks_uri: &str, keys: &Keys) -> Option<Self> {
        if !issuer.starts_with("https://") {
            return None;
        }
        let mut algorithms: Vec<&str> = keys.0.iter().map(|k| k.algorithm.name()).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        let configuration = serde_json::json!({
            "issuer": issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
        });
        let jwks = serde_json::json!({"keys": keys.0.iter().map(super::PublicKey::jwk).collect::<Vec<_>>()});
        Some(Self { configuration: configuration.to_string(), jwks: jwks.to_string() })
    }

    /// Body and content type of a path, for a GET; cacheable for an hour (`Cache-Control: public, max-age=3600`).
    pub fn get(&self, path: &str) -> Option<(&str, &'static str)> {
        match path {
            CONFIGURATION_PATH => Some((&self.configuration, "application/json")),
            JWKS_PATH => Some((&self.jwks, "application/jwk-set+json")),
            _ => None,
        }
    }
}
