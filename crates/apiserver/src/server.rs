//! Putting a server together and starting it: what `kube-apiserver` calls.
//!
//! ```ignore
//! let builder = ServerBuilder::new(store, Options::default());
//! let objects = builder.objects();            // for strategies, plugins, authorizers
//! for serve in ... { builder.serve(serve)?; } // or later, at run time, through builder.catalog()
//! let server = builder.authenticator(..).authorizer(..).plugin(..).start().await?;
//! server.in_memory(Some(identity));           // tower service through the same chain
//! ```
//!
//! Deliberately absent: flags, certificates' making, any kind.

mod listen;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::GroupVersion;
use arc_swap::ArcSwap;
use component_base::health::Health;
use tokio_util::sync::CancellationToken;

use crate::admission::Plugin;
use crate::audit::Auditor;
use crate::auth::{Authenticator, Authorizer};
use crate::catalog::{Catalog, Serve};
use crate::endpoint::Endpoint;
use crate::http::{Chain, InMemory};
use crate::registry::Registry;
use crate::registry::transform::{Identity, Transformer};
use crate::request::UserInfo;
use crate::resource::Objects;

/// What the server can be told; the defaults are upstream's.
#[derive(Clone)]
pub struct Options {
    /// `--etcd-prefix`.
    pub etcd_prefix: String,
    /// `--request-timeout`, of requests that are neither watches nor streams.
    pub request_timeout: Duration,
    /// `--min-request-timeout`: a watch without timeoutSeconds ends after this to twice this.
    pub min_request_timeout: Duration,
    /// `--max-requests-inflight` and `--max-mutating-requests-inflight`, added.
    pub max_in_flight: usize,
    /// Bytes of a request's body.
    pub max_body: usize,
    /// `--shutdown-delay-duration`: between failing /readyz and refusing connections.
    pub shutdown_delay: Duration,
    /// `--event-ttl`; rows that ask for a lease get what the row says unless this is set.
    pub event_ttl: Option<Duration>,
    /// gitVersion of `/version`.
    pub version: Version,
    /// `--feature-gates`, which declarative rules ask for.
    pub gates: component_base::FeatureGates,
}

/// What `/version` answers.
#[derive(Clone, Debug)]
pub struct Version {
    pub git_version: String,
    pub git_commit: String,
    pub build_date: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            etcd_prefix: "/registry".into(),
            request_timeout: Duration::from_secs(60),
            min_request_timeout: Duration::from_secs(1800),
            max_in_flight: 600,
            max_body: 3 << 20,
            shutdown_delay: Duration::ZERO,
            event_ttl: None,
            gates: component_base::FeatureGates::default(),
            version: Version {
                git_version: component_base::KUBERNETES_VERSION.into(),
                git_commit: String::new(),
                build_date: "1970-01-01T00:00:00Z".into(),
            },
        }
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("{resource} cannot be served: {why}")]
    Resource { resource: String, why: String },
}

/// Where to listen: the TLS configuration can be exchanged at any time, new connections take the newest.
/// To get client certificates, its verifier must offer (not demand) them; ALPN should be `h2`, `http/1.1`.
#[derive(Clone)]
pub struct Tls(pub Arc<ArcSwap<rustls::ServerConfig>>);

/// See the module.
pub struct ServerBuilder {
    pub(crate) registry: Arc<Registry>,
    pub(crate) options: Options,
    pub(crate) authenticators: Vec<Arc<dyn Authenticator>>,
    pub(crate) authorizer: Option<Arc<dyn Authorizer>>,
    pub(crate) paths: Vec<(String, Arc<dyn Endpoint>)>,
    pub(crate) audit: Option<Auditor>,
    pub(crate) health: Health,
    listeners: Vec<(Listening, Option<Tls>)>,
}

enum Listening {
    At(SocketAddr),
    On(std::net::TcpListener),
}

impl ServerBuilder {
    pub fn new(store: etcd::SharedStore, options: Options) -> Self {
        Self::with_transformers(store, options, |_| Arc::new(Identity))
    }

    /// With encryption at rest: the transformer of each (group, resource).
    pub fn with_transformers(
        store: etcd::SharedStore,
        options: Options,
        transformers: impl Fn(&apimachinery::GroupResource) -> Arc<dyn Transformer> + Send + Sync + 'static,
    ) -> Self {
        let registry = Registry::new(store, options.clone(), Box::new(transformers));
        Self {
            registry,
            options,
            authenticators: Vec::new(),
            authorizer: None,
            paths: Vec::new(),
            audit: None,
            health: Health::new(),
            listeners: Vec::new(),
        }
    }

    /// Stored objects, from now on (reads wait for nothing: what is not served yet is not found).
    pub fn objects(&self) -> Arc<dyn Objects> {
        self.registry.clone()
    }

    /// The table of what is served, to be changed at run time.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.registry.catalog.clone()
    }

    /// The registry, which also adds and removes resources at run time ([`Registry::serve`],
    /// [`Registry::withdraw`]).
    pub fn registry(&self) -> Arc<Registry> {
        self.registry.clone()
    }

    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Adds or replaces a resource in one version.
    pub fn serve(&self, serve: Serve) -> Result<(), Error> {
        self.registry.serve(serve)
    }

    /// Asked in the order of the calls; none: everybody is `system:anonymous`.
    #[must_use]
    pub fn authenticator(mut self, with: Arc<dyn Authenticator>) -> Self {
        self.authenticators.push(with);
        self
    }

    /// None: nothing is written of any request.
    #[must_use]
    pub fn audit(mut self, with: Option<Auditor>) -> Self {
        self.audit = with;
        self
    }

    /// None: everything is allowed.
    #[must_use]
    pub fn authorizer(mut self, with: Arc<dyn Authorizer>) -> Self {
        self.authorizer = Some(with);
        self
    }

    /// Adds an admission plugin behind those that were added before. They also hold for [`Objects::create`].
    #[must_use]
    pub fn plugin(self, plugin: Arc<dyn Plugin>) -> Self {
        self.registry.plugins.rcu(|list| {
            let mut list = Vec::clone(list);
            list.push(plugin.clone());
            list
        });
        self
    }

    /// An endpoint of a path that is no resource; a `prefix` that ends with `/` takes all below it.
    #[must_use]
    pub fn path(mut self, prefix: impl Into<String>, endpoint: Arc<dyn Endpoint>) -> Self {
        self.paths.push((prefix.into(), endpoint));
        self
    }

    /// Listens there too (port 0: any; see [`Server::local_addrs`]). Without TLS only for tests and probes.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr, tls: Option<Tls>) -> Self {
        self.listeners.push((Listening::At(address), tls));
        self
    }

    /// Serves a listener that is bound already.
    #[must_use]
    pub fn listener(mut self, listener: std::net::TcpListener, tls: Option<Tls>) -> Self {
        self.listeners.push((Listening::On(listener), tls));
        self
    }

    /// Binds, starts to accept, and returns. The watch caches fill in the background; `/readyz` tells.
    pub async fn start(mut self) -> Result<Server, Error> {
        let listeners = std::mem::take(&mut self.listeners);
        let stop = self.registry.stop.clone();
        let registry = self.registry.clone();
        let delay = self.options.shutdown_delay;
        tokio::spawn(registry.clone().sweep());
        let chain = Chain::new(self);
        let mut local_addrs = Vec::new();
        let connections = listen::Connections::default();
        for (at, tls) in listeners {
            local_addrs.push(listen::start(at, tls, chain.clone(), stop.clone(), connections.clone()).await?);
        }
        Ok(Server { local_addrs, chain, registry, stop, connections, delay })
    }
}

/// A running server. Dropping it does not end it; [`Server::shutdown`] does.
pub struct Server {
    /// Where it listens, in the order of the calls of [`ServerBuilder::listen`].
    pub local_addrs: Vec<SocketAddr>,
    chain: Arc<Chain>,
    registry: Arc<Registry>,
    stop: CancellationToken,
    connections: listen::Connections,
    delay: Duration,
}

impl Server {
    /// The whole chain as a tower service in this process, for `kube::Client`. `identity` is who the caller is by
    /// construction; None leaves it to the request's headers.
    pub fn in_memory(&self, identity: Option<UserInfo>) -> InMemory {
        InMemory::new(self.chain.clone(), identity.map(Arc::new))
    }

    pub fn objects(&self) -> Arc<dyn Objects> {
        self.registry.clone()
    }

    pub fn health(&self) -> &Health {
        &self.chain.health
    }

    pub fn registry(&self) -> Arc<Registry> {
        self.registry.clone()
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        self.registry.catalog.clone()
    }

    /// Takes a group-version's discovery priority from elsewhere (see [`Catalog::set_priority`]).
    pub fn set_priority(&self, gv: GroupVersion, priority: crate::catalog::Priority) {
        self.registry.catalog.set_priority(gv, priority);
    }

    /// Fails `/readyz`, waits for the shutdown delay, ends watches, lets running requests finish (at most for the
    /// request timeout), closes connections, and lets go of all resources and of the store.
    pub async fn shutdown(&self) {
        self.chain.not_ready();
        tokio::time::sleep(self.delay).await;
        self.stop.cancel();
        self.connections.drained(self.chain.options.request_timeout).await;
        self.registry.close();
    }
}
