//! Putting the API server together: from the command line to one that listens, or that runs in this process for
//! `keelson up`.
//!
//! ```ignore
//! kube_apiserver::run(options, shutdown).await?;              // alone, until `shutdown`
//! let server = InProcess::start(options).await?;              // beside other components
//! let client = server.client(UserInfo { .. });
//! ```

mod assemble;
mod certificates;
mod compaction;
pub(crate) mod files;
mod health;
mod resources;
mod store;

use std::net::SocketAddr;

use apiserver::request::UserInfo;
use tokio_util::sync::CancellationToken;

use crate::options::Options;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Option(String),
    #[error("reading {path}: {source}")]
    File { path: String, source: std::io::Error },
    #[error("{path}: {source}")]
    Key { path: String, source: component_base::jws::Error },
    #[error("the store: {0}")]
    Store(#[from] etcd::Error),
    #[error(transparent)]
    Server(#[from] apiserver::server::Error),
    #[error(transparent)]
    Tls(#[from] component_base::serving::tls::TlsError),
    #[error("making a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error(transparent)]
    Authentication(#[from] crate::authn::Error),
    #[error(transparent)]
    Authorization(#[from] crate::authz::Error),
    #[error(transparent)]
    Admission(#[from] crate::admission::Error),
}

/// A server in this process.
pub struct InProcess {
    server: apiserver::server::Server,
    store: etcd::SharedStore,
    stop: CancellationToken,
}

impl InProcess {
    /// Starts it; returns as soon as it takes requests. `/readyz` tells when it is whole.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let stop = CancellationToken::new();
        let (server, store) = assemble::start(options, stop.clone()).await?;
        Ok(Self { server, store, stop })
    }

    /// A client whose transport is the server itself: the same chain as over HTTPS, without the wire.
    /// Like every identity that was proved, it is a member of `system:authenticated`.
    pub fn client(&self, mut identity: UserInfo) -> kube::Client {
        if !identity.in_group(crate::authn::AUTHENTICATED) {
            identity.groups.push(crate::authn::AUTHENTICATED.into());
        }
        kube::Client::new(self.server.in_memory(Some(identity)), "default")
    }

    /// Until it is whole: `/readyz` would say ok.
    pub async fn ready(&self) {
        self.server.registry().synced().await;
        self.server.health().ready().await;
    }

    /// The generic server underneath.
    pub fn server(&self) -> &apiserver::server::Server {
        &self.server
    }

    /// What it keeps its objects in.
    pub fn store(&self) -> &etcd::SharedStore {
        &self.store
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.server.local_addrs
    }

    /// Ends what runs beside the requests, then the requests.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.server.shutdown().await;
    }
}

/// Runs until `shutdown`.
pub async fn run(options: Options, shutdown: CancellationToken) -> Result<(), Error> {
    let server = InProcess::start(options).await?;
    for address in server.addresses() {
        tracing::info!(%address, "serving");
    }
    shutdown.cancelled().await;
    tracing::info!("shutting down");
    server.shutdown().await;
    Ok(())
}
