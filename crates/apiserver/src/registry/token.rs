//! Continue tokens, as upstream writes them: base64url of `{"v":"meta.k8s.io/v1","rv":N,"start":"/key\u0000"}`. `start`
//! is the key after the last one that was answered, relative to the list's own prefix.

use apimachinery::Status;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

const VERSION: &str = "meta.k8s.io/v1";

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    v: String,
    /// -1: at the newest revision, after an expired token.
    #[serde(default)]
    rv: i64,
    start: String,
}

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// None: at the newest revision.
    pub revision: Option<i64>,
    /// Relative to the list's prefix, without the leading `/`.
    pub start: String,
}

/// `last` is the last answered key, relative to the list's prefix.
pub fn encode(last: &str, revision: i64) -> String {
    let token = Token { v: VERSION.into(), rv: revision, start: format!("/{last}\0") };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
}

/// A token that goes on at the newest revision, for a 410 answer.
pub fn encode_inconsistent(from: &From) -> String {
    let token = Token { v: VERSION.into(), rv: -1, start: format!("/{}", from.start) };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
}

pub fn decode(text: &str) -> Result<From, Status> {
    let bad = |why: &str| Status::bad_request(format!("invalid continue token: {why}"));
    let bytes =
        URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| bad("continue key is not valid"))?;
    let parsed = api::json::parse(&bytes).map_err(|e| bad(&format!("continue key is not valid: {e}")));
    parsed?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|_| bad("continue key is not valid"))?;
    if token.v != VERSION {
        return Err(bad("continue key is not valid: server does not recognize this encoded version"));
    }
    if token.rv == 0 {
        return Err(bad(
            "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
        ));
    }
    let start = token.start.trim_start_matches('/').to_owned();
    if start.is_empty() || start.split('/').any(|part| part == "..") {
        return Err(bad("continue key is not valid"));
    }
    Ok(From { revision: (token.rv > 0).then_some(token.rv), start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_upstreams_form() {
        let token = encode("default", 7);
        let json = String::from_utf8(URL_SAFE_NO_PAD.decode(&token).unwrap()).unwrap();
        assert_eq!(json, r#"{"v":"meta.k8s.io/v1","rv":7,"start":"/default\u0000"}"#);
        assert_eq!(decode(&token).unwrap(), From { revision: Some(7), start: "default\0".into() });
        let from = decode(&token).unwrap();
        assert_eq!(
            decode(&encode_inconsistent(&from)).unwrap(),
            From { revision: None, start: "default\0".into() }
        );
        for bad in ["x", "", "eyJ2IjoieCJ9"] {
            assert!(decode(bad).is_err());
        }
    }
}
