//! A `kube::Client` from a kubeconfig: HTTP/2 where the server has it, requests spread over as many connections
//! as their number needs, and Go's rule for server certificates.

mod pool;
mod verifier;

pub use verifier::{AnyCertificate, LeafInPool};

use std::path::Path;

use hyper_rustls::FixedServerNameResolver;
use hyper_util::client::legacy::connect::HttpConnector;
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustls::pki_types::ServerName;
use tower::{BoxError, ServiceBuilder};

use crate::flags::ClientOptions;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the kubeconfig {path}: {source}")]
    Kubeconfig { path: String, source: kube::config::KubeconfigError },
    #[error("in-cluster configuration: {0}")]
    InCluster(#[from] kube::config::InClusterError),
    #[error("--master={0} is no address")]
    Master(String),
    #[error("tls-server-name {0:?} is no server name")]
    ServerName(String),
    #[error("the credentials or the TLS configuration: {0}")]
    Tls(#[from] kube::Error),
    #[error("certificate verification: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// The configuration that the flags name: the kubeconfig, `--master`, or the pod's own.
pub async fn config(options: &ClientOptions) -> Result<Config, ClientError> {
    let mut config = if !options.kubeconfig.is_empty() {
        config_from_file(Path::new(&options.kubeconfig)).await?
    } else if !options.master.is_empty() {
        Config::new(parse_master(&options.master)?)
    } else {
        Config::incluster()?
    };
    if !options.master.is_empty() {
        config.cluster_url = parse_master(&options.master)?;
    }
    Ok(config)
}

fn parse_master(master: &str) -> Result<http::Uri, ClientError> {
    let text = if master.contains("://") { master.to_owned() } else { format!("http://{master}") };
    text.parse().map_err(|_| ClientError::Master(master.into()))
}

/// The configuration of a kubeconfig's current context; paths in it are relative to the file.
pub async fn config_from_file(path: &Path) -> Result<Config, ClientError> {
    let wrap = |source| ClientError::Kubeconfig { path: path.display().to_string(), source };
    let kubeconfig = Kubeconfig::read_from(path).map_err(wrap)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(wrap)
}

/// [`config`], then [`client`].
pub async fn client_from_options(options: &ClientOptions) -> Result<Client, ClientError> {
    client(config(options).await?)
}

/// A client of the configuration's server with its credentials. Long requests (watches) do not hold up others.
pub fn client(config: Config) -> Result<Client, ClientError> {
    install_crypto();
    let mut tls = config.rustls_client_config()?;
    if let (Some(roots), false) = (&config.root_cert, config.accept_invalid_certs) {
        tls.dangerous().set_certificate_verifier(verifier::LeafInPool::new(roots)?);
    }
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(std::time::Duration::from_secs(30)));
    let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    let builder = match &config.tls_server_name {
        Some(name) => {
            let name =
                ServerName::try_from(name.clone()).map_err(|_| ClientError::ServerName(name.clone()))?;
            builder.with_server_name_resolver(FixedServerNameResolver::new(name))
        }
        None => builder,
    };
    let connector = builder.enable_all_versions().wrap_connector(http);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(pool::Pool::new(connector));
    Ok(Client::new(service, config.default_namespace))
}

/// Makes ring the process's crypto provider, once; rustls has none by itself.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
