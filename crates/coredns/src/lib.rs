//! Cluster DNS: Kubernetes' DNS specification 1.1.0 for Services, headless Services, pods and SRV records, answered
//! from informers; every other name is forwarded.
//!
//! [`zone`] says what a name means (pure), [`wire`] turns it into bytes, [`cache`] keeps those bytes while nothing
//! changes, [`server`] moves datagrams in batches, [`forward`] asks other servers.
//!
//! Deliberately absent: DNSSEC, zone transfers, Corefiles (this is not CoreDNS' plugin chain).

pub mod cache;
pub mod forward;
pub mod server;
pub mod views;
pub mod wire;
pub mod zone;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use client::{Api, Informer, InformerOptions};
use tokio_util::sync::CancellationToken;

use views::{ENDPOINT_SLICES, NAMESPACES, Namespace, SERVICES, Service, Slice, Stores};

/// What the server listens on and answers for.
#[derive(Clone, Debug)]
pub struct Options {
    /// UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// `cluster.local`
    pub domain: String,
    /// Whose `nameserver` lines are asked for names outside the domain, as they are at the time. None, or a file
    /// without any: they are refused.
    pub resolv_conf: Option<PathBuf>,
    /// Addresses that are never asked: our own.
    pub not_upstream: Vec<IpAddr>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("listening on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("{what}: {source}")]
    Io { what: &'static str, source: std::io::Error },
}

/// A server whose sockets are bound and whose records are there.
pub struct Ready {
    tasks: tokio::task::JoinSet<Result<(), Error>>,
}

/// Starts informers and sockets; returns when the first records are there and queries are answered.
pub async fn start(
    options: Options,
    client: kube::Client,
    shutdown: CancellationToken,
) -> Result<Ready, Error> {
    let api = Api::new(client, "keelson-coredns");
    let cache = Arc::new(cache::Cache::default());
    let services: Informer<Service> = Informer::new(api.clone(), SERVICES, InformerOptions::default())
        .with_index(views::BY_ADDRESS, |s: &Service| {
            s.spec.cluster_ips.iter().map(ToString::to_string).collect()
        });
    let slices: Informer<Slice> = Informer::new(api.clone(), ENDPOINT_SLICES, InformerOptions::default())
        .with_index(views::BY_SERVICE, |s: &Slice| s.service_key().into_iter().collect())
        .with_index(views::BY_ADDRESS, Slice::addresses);
    let namespaces: Informer<Namespace> = Informer::new(api, NAMESPACES, InformerOptions::default());
    forget_on_change(&services, &cache);
    forget_on_change(&slices, &cache);
    forget_on_change(&namespaces, &cache);
    let stores =
        Stores { services: services.store(), slices: slices.store(), namespaces: namespaces.store() };
    let forwarder = forward::Forwarder::from_file(options.resolv_conf, &options.not_upstream);
    let resolver =
        Arc::new(server::Resolver::new(Some((zone::Zone::new(&options.domain), stores)), forwarder, cache));
    let tasks = serve(&options.listen, &resolver, &shutdown)?;
    services.start(shutdown.clone());
    slices.start(shutdown.clone());
    namespaces.start(shutdown);
    tokio::join!(services.wait_synced(), slices.wait_synced(), namespaces.wait_synced());
    resolver.open();
    Ok(Ready { tasks })
}

/// A server that passes every question on to `servers`: for nodes whose host only has a resolver on its loopback,
/// which they do not reach. Runs until shutdown.
pub async fn relay(
    listen: SocketAddr,
    servers: Vec<SocketAddr>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let forwarder = forward::Forwarder::new(servers);
    let resolver = Arc::new(server::Resolver::new(None, forwarder, Arc::new(cache::Cache::default())));
    resolver.open();
    Ready { tasks: serve(&[listen], &resolver, &shutdown)? }.wait().await
}

fn serve(
    listen: &[SocketAddr],
    resolver: &Arc<server::Resolver>,
    shutdown: &CancellationToken,
) -> Result<tokio::task::JoinSet<Result<(), Error>>, Error> {
    let mut tasks = tokio::task::JoinSet::new();
    for address in listen {
        let (udp, tcp) = server::bind(*address)?;
        tasks.spawn(server::serve_udp(udp, resolver.clone(), shutdown.clone()));
        tasks.spawn(server::serve_tcp(tcp, resolver.clone(), shutdown.clone()));
    }
    Ok(tasks)
}

fn forget_on_change<V: client::View>(informer: &Informer<V>, cache: &Arc<cache::Cache>) {
    let cache = cache.clone();
    informer.add_handler(move |_| cache.clear());
}

impl Ready {
    /// Until shutdown, or until a socket fails.
    pub async fn wait(mut self) -> Result<(), Error> {
        while let Some(ended) = self.tasks.join_next().await {
            if let Ok(Err(error)) = ended {
                return Err(error);
            }
        }
        Ok(())
    }
}
