//! Services as nftables rules on a node: upstream's kube-proxy in nftables mode.
//!
//! [`plan`] turns one Service and its EndpointSlices into the elements of a few large maps (pure); [`table`] is the
//! fixed part of the rules, which look into those maps; [`state`] remembers what was written and makes the
//! difference one netlink transaction. No chain and no set belongs to a single Service, so a change costs as much as
//! what changed, and ten thousand Services cost ten thousand elements.
//!
//! Deliberately absent: iptables and IPVS modes, IPv6 (a later issue).

mod candidates;
pub mod check_ports;
pub mod config;
pub mod conntrack;
pub mod health;
pub mod metrics;
pub mod plan;
mod proxy;
pub mod state;
pub mod sweep;
pub mod table;
pub mod views;

use std::net::Ipv4Addr;
use std::time::Duration;

use client::{Api, Event, Informer, InformerOptions, ObjectKey, View};
use component_base::serving::{Server, component_handler};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use config::Settings;
use health::Health;
use metrics::Metrics;
use proxy::{Change, Objects, Pending, Proxy};
use views::{BY_SERVICE, ENDPOINT_SLICES, NODES, Node, SERVICES, Service, Slice};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] component_base::config::ConfigError),
    #[error("{field}: {why}")]
    Setting { field: &'static str, why: String },
    #[error(transparent)]
    Rules(#[from] nftables::Error),
    #[error("serving on {address}: {source}")]
    Serving { address: std::net::SocketAddr, source: component_base::serving::ServingError },
    /// Node ports are open at one address for as long as the proxy runs; who started it starts it again.
    #[error("the node {node} has the address {to} in place of {from}")]
    AddressChanged { node: String, from: Ipv4Addr, to: Ipv4Addr },
    #[error(transparent)]
    Client(#[from] component_base::kubeconfig::ClientError),
}

/// Runs until shutdown; leaves the rules in place, so that connections outlive a restart.
pub async fn run(settings: Settings, client: kube::Client, shutdown: CancellationToken) -> Result<(), Error> {
    run_telling(settings, client, tokio::sync::watch::Sender::new(0), shutdown).await
}

/// The same; `written` counts the changes of the rules that are in place, for those who wait for one.
pub async fn run_telling(
    settings: Settings,
    client: kube::Client,
    written: tokio::sync::watch::Sender<u64>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let api = Api::new(client, "kube-proxy");
    let (health, metrics) = (Health::default(), Metrics::default());
    let (changed, mut changes) = mpsc::unbounded_channel();
    let nodes = follow_node(&api, &settings.node, changed.clone(), &health);
    let (services, slices) = follow_services(&api, &changed, &metrics);
    services.start(shutdown.clone());
    slices.start(shutdown.clone());
    nodes.start(shutdown.clone());
    serve(&settings, &health, &metrics, &shutdown).await?;
    let Some(address) = node_address(&settings, &mut changes, &shutdown).await else { return Ok(()) };
    tokio::join!(services.wait_synced(), slices.wait_synced());
    if shutdown.is_cancelled() {
        return Ok(());
    }
    let objects = Objects { services: services.store(), slices: slices.store() };
    let mut proxy = Proxy::new(&settings, address, objects, health, metrics)?;
    // What is known before the first reading of the stores is in it.
    let mut early = Pending::default();
    while let Ok(change) = changes.try_recv() {
        early.add_node(change);
    }
    proxy.start().await?;
    proxy.apply(early, false).await?;
    written.send_modify(|n| *n += 1);
    let mut retry = false;
    loop {
        let first = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            change = changes.recv() => change,
            () = tokio::time::sleep(RETRY), if retry => None,
        };
        let mut pending = Pending::default();
        for change in first.into_iter().chain(std::iter::from_fn(|| changes.try_recv().ok())) {
            if let Change::Node { address: Some(now), .. } = &change
                && settings.node_ip.is_none()
                && *now != address
            {
                return Err(Error::AddressChanged { node: settings.node, from: address, to: *now });
            }
            pending.add(change);
        }
        retry = proxy.apply(pending, retry).await.is_err();
        written.send_modify(|n| *n += 1);
    }
}

/// After a refusal of the kernel.
const RETRY: Duration = Duration::from_secs(1);

/// Services and their EndpointSlices, whose changes go to `changed`.
fn follow_services(
    api: &Api,
    changed: &mpsc::UnboundedSender<Change>,
    metrics: &Metrics,
) -> (Informer<Service>, Informer<Slice>) {
    let not_headless = InformerOptions {
        label_selector: "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name".into(),
        ..InformerOptions::default()
    };
    let services: Informer<Service> = Informer::new(api.clone(), SERVICES, not_headless.clone());
    let slices: Informer<Slice> = Informer::new(api.clone(), ENDPOINT_SLICES, not_headless)
        .with_index(BY_SERVICE, |s: &Slice| s.service_key().into_iter().collect());
    let (send, counted) = (changed.clone(), metrics.clone());
    services.add_handler(move |event| {
        counted.service_changed();
        // The receiver is gone only at the end.
        let _ = send.send(Change::Service(event.object().key(), None));
    });
    let (send, counted) = (changed.clone(), metrics.clone());
    slices.add_handler(move |event| {
        counted.endpoints_changed();
        let before = if let Event::Modified { old, .. } = event { Some(old) } else { None };
        let owners = [Some(event.object()), before].into_iter().flatten().map(|slice| slice.service());
        let mut last = None;
        for owner in owners.flatten().filter(|owner| last.replace(*owner) != Some(*owner)) {
            let _ = send.send(Change::Service(ObjectKey::new(owner.0, owner.1), event.object().trigger()));
        }
    });
    (services, slices)
}

/// This node's Node.
fn follow_node(
    api: &Api,
    name: &str,
    changed: mpsc::UnboundedSender<Change>,
    health: &Health,
) -> Informer<Node> {
    let field_selector = format!("metadata.name={name}");
    let nodes: Informer<Node> =
        Informer::new(api.clone(), NODES, InformerOptions { field_selector, ..InformerOptions::default() });
    let health = health.clone();
    nodes.add_handler(move |event| {
        let node = event.object();
        health.set_eligible(!matches!(event, Event::Deleted(_)) && node.is_eligible());
        let _ = changed.send(Change::Node { zone: node.zone().into(), address: node.internal_ip() });
    });
    nodes
}

/// This node's address, for node ports: as soon as its Node object says one. None at shutdown.
async fn node_address(
    settings: &Settings,
    changes: &mut mpsc::UnboundedReceiver<Change>,
    shutdown: &CancellationToken,
) -> Option<Ipv4Addr> {
    if settings.node_ip.is_some() {
        return settings.node_ip;
    }
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return None,
            // Changes of Services that pass here are in the stores from which all rules are made.
            change = changes.recv() => if let Change::Node { address: Some(address), .. } = change? {
                return Some(address);
            },
        }
    }
}

/// `/healthz` and `/livez` on one address; `/metrics` and the like on the other.
async fn serve(
    settings: &Settings,
    health: &Health,
    metrics: &Metrics,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let component =
        component_handler(component_base::health::Health::new(), None, Some(health::proxy_mode()));
    let handlers = [(settings.healthz, health.handler(metrics.clone())), (settings.metrics, component)];
    for (address, handler) in handlers {
        let Some(address) = address else { continue };
        let server =
            Server::bind(address, None).await.map_err(|source| Error::Serving { address, source })?;
        tokio::spawn(server.serve(handler, shutdown.clone(), Duration::from_secs(1)));
    }
    Ok(())
}
