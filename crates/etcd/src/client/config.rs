//! Where a real etcd is and how to speak to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::{Error, Result};

/// How to reach a real etcd cluster.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// URLs of its members, `http://` or `https://`.
    pub endpoints: Vec<String>,
    /// PEM of the authority that signed the servers' certificates; needed for `https://`.
    pub ca_file: Option<PathBuf>,
    /// PEM of our certificate, together with its key.
    pub cert_file: Option<PathBuf>,
    /// PEM of its key.
    pub key_file: Option<PathBuf>,
    /// How long a connection may take to be made.
    pub dial_timeout: Duration,
    /// How long one request may take, with all attempts.
    pub request_timeout: Duration,
    /// How often an idle connection is asked whether it lives.
    pub keepalive_every: Duration,
    /// How long it may take to answer that.
    pub keepalive_timeout: Duration,
}

impl ClientConfig {
    /// The defaults, for some endpoints.
    pub fn new<S: Into<String>>(endpoints: impl IntoIterator<Item = S>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            dial_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(30),
            keepalive_every: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
        }
    }

    /// The endpoints as tonic wants them.
    pub(super) fn build(&self) -> Result<Vec<(String, Endpoint)>> {
        if self.endpoints.is_empty() {
            return Err(config("no endpoint is given".into()));
        }
        let tls = self.tls()?;
        self.endpoints.iter().map(|url| Ok((url.clone(), self.endpoint(url, tls.as_ref())?))).collect()
    }

    fn endpoint(&self, url: &str, tls: Option<&ClientTlsConfig>) -> Result<Endpoint> {
        let bad = |e: tonic::transport::Error| config(format!("endpoint {url}: {e:?}"));
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(bad)?
            .connect_timeout(self.dial_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.keepalive_every)
            .keep_alive_timeout(self.keepalive_timeout)
            .keep_alive_while_idle(true)
            .initial_connection_window_size(8 << 20)
            .initial_stream_window_size(4 << 20);
        match (url.split_once("://").map(|(scheme, _)| scheme), tls) {
            (Some("http"), _) => Ok(endpoint),
            (Some("https"), Some(tls)) => endpoint.tls_config(tls.clone()).map_err(bad),
            (Some("https"), None) => Err(config(format!("endpoint {url} needs a CA file"))),
            _ => Err(config(format!("endpoint {url} is neither http:// nor https://"))),
        }
    }

    fn tls(&self) -> Result<Option<ClientTlsConfig>> {
        let Some(ca) = &self.ca_file else { return Ok(None) };
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
        match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => Ok(Some(tls.identity(Identity::from_pem(read(cert)?, read(key)?)))),
            (None, None) => Ok(Some(tls)),
            _ => Err(config("a certificate and its key go together".into())),
        }
    }
}

fn config(reason: String) -> Error {
    Error::Config { reason }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| config(format!("cannot read {}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_configurations_are_told_apart() {
        for (endpoints, wanted) in [
            (vec![], "no endpoint"),
            (vec!["https://127.0.0.1:1"], "needs a CA file"),
            (vec!["127.0.0.1:1"], "neither"),
            (vec!["unix:///x"], "neither"),
        ] {
            let error = ClientConfig::new(endpoints).build().unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let mut half = ClientConfig::new(["http://127.0.0.1:1"]);
        half.ca_file = Some("/nowhere/ca.pem".into());
        assert!(half.build().unwrap_err().to_string().contains("/nowhere/ca.pem"));
    }
}
