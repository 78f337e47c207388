//! Request headers of an authenticating front proxy (another API server's aggregator): believed only when the
//! connection's certificate is signed by the proxy's own CA and its name is allowed.

use std::collections::BTreeMap;
use std::sync::Arc;

use apiserver::auth::{Authenticated, Peer};
use apiserver::request::UserInfo;
use http::HeaderMap;

use super::{Error, x509};

/// `--requestheader-*`.
#[derive(Debug)]
pub struct RequestHeader {
    pub pool: x509::CaPool,
    /// Empty: any name.
    pub allowed_names: Vec<String>,
    pub username_headers: Vec<String>,
    pub uid_headers: Vec<String>,
    pub group_headers: Vec<String>,
    pub extra_prefixes: Vec<String>,
}

impl RequestHeader {
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
        now: jiff::Timestamp,
    ) -> Result<Option<Authenticated>, Error> {
        let Some(leaf) = peer.certificates.first() else { return Ok(None) };
        // Upstream verifies first; without a user name there is nothing to believe, so look for that first.
        let Some(name) = first(headers, &self.username_headers) else { return Ok(None) };
        self.pool.verify(&peer.certificates, now)?;
        let cn = x509::common_name(leaf)?;
        if !self.allowed_names.is_empty() && !self.allowed_names.contains(&cn) {
            return Err(Error::Credentials(format!("x509: subject with cn={cn} is not in the allowed list")));
        }
        let user = UserInfo {
            name,
            uid: first(headers, &self.uid_headers).unwrap_or_default(),
            groups: self.groups(headers),
            extra: self.extra(headers),
        };
        Ok(Some(Authenticated { user: Arc::new(user), audiences: Vec::new() }))
    }

    fn groups(&self, headers: &HeaderMap) -> Vec<String> {
        let values = self.group_headers.iter().flat_map(|h| headers.get_all(h.as_str()));
        values.filter_map(|v| v.to_str().ok()).filter(|v| !v.is_empty()).map(str::to_owned).collect()
    }

    fn extra(&self, headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers {
            for prefix in &self.extra_prefixes {
                // Header names are lower-case here, as upstream makes the keys.
                let Some(key) = name.as_str().strip_prefix(prefix.to_ascii_lowercase().as_str()) else {
                    continue;
                };
                let Ok(value) = value.to_str() else { continue };
                extra.entry(unescape(key)).or_default().push(value.to_owned());
            }
        }
        extra
    }
}

fn first(headers: &HeaderMap, names: &[String]) -> Option<String> {
    names
        .iter()
        .filter_map(|name| headers.get(name.as_str())?.to_str().ok())
        .find(|value| !value.is_empty())
        .map(str::to_owned)
}

/// Percent-decoding of an extra key; a key that does not decode stays as it is.
pub fn unescape(key: &str) -> String {
    let mut out = Vec::with_capacity(key.len());
    let mut bytes = key.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let hex = |b: u8| char::from(b).to_digit(16);
        match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
            (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
            _ => return key.to_owned(),
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| key.to_owned())
}

/// The other way: what is no header token, and `%`, as `%XX`.
pub fn escape(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for b in key.bytes() {
        let token = b.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&b);
        if token { out.push(char::from(b)) } else { out.push_str(&format!("%{b:02X}")) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_escape_both_ways() {
        for key in ["plain", "example.com/thing", "100%", "a b"] {
            assert_eq!(unescape(&escape(key)), key);
        }
        assert_eq!(unescape("bad%zz"), "bad%zz");
        assert_eq!(escape("example.org/x"), "example.org%2Fx");
    }
}
