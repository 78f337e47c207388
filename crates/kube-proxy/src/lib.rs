//! Services as nftables rules on a node: upstream's kube-proxy in nftables mode.
//!
//! [`plan`] turns one Service and its EndpointSlices into the elements of a few large maps (pure); [`table`] is the
//! fixed part of the rules, which look into those maps; [`state`] remembers what was written and makes the
//! difference one netlink transaction. No chain and no set belongs to a single Service, so a change costs as much as
//! what changed, and ten thousand Services cost ten thousand elements.
//!
//! Deliberately absent: iptables and IPVS modes, IPv6 (a later issue).

mod candidates;
pub mod config;
pub mod conntrack;
pub mod plan;
pub mod state;
pub mod sweep;
pub mod table;
pub mod views;

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use client::{Api, Informer, InformerOptions, ObjectKey, Store};
use component_base::health::Health;
use component_base::metrics;
use component_base::serving::{Server, component_handler};
use tokio_util::sync::CancellationToken;

use config::Settings;
use state::State;
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
    #[error("the node {node} has no IPv4 address")]
    NoAddress { node: String },
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
    let not_headless = InformerOptions {
        label_selector: "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name".into(),
        ..InformerOptions::default()
    };
    let services: Informer<Service> = Informer::new(api.clone(), SERVICES, not_headless.clone());
    let slices: Informer<Slice> = Informer::new(api.clone(), ENDPOINT_SLICES, not_headless)
        .with_index(BY_SERVICE, |s: &Slice| s.service_key().into_iter().collect());
    let (changed, mut changes) = tokio::sync::mpsc::unbounded_channel();
    let by_service = changed.clone();
    services.add_handler(move |event| drop(by_service.send(event.object().metadata.key())));
    slices.add_handler(move |event| {
        if let Some((namespace, name)) = event.object().service() {
            // The receiver is gone only at the end.
            let _ = changed.send(ObjectKey::new(namespace, name));
        }
    });
    services.start(shutdown.clone());
    slices.start(shutdown.clone());
    let healthy = Arc::new(AtomicBool::new(false));
    serve(&settings, &healthy, &shutdown).await?;
    let address = node_address(&api, &settings, &shutdown).await?;
    tokio::join!(services.wait_synced(), slices.wait_synced());
    if shutdown.is_cancelled() {
        return Ok(());
    }
    let objects = Objects { services: services.store(), slices: slices.store() };
    let mut proxy = Proxy::new(&settings, address, objects)?;
    proxy.start().await?;
    healthy.store(true, Ordering::Relaxed);
    written.send_modify(|n| *n += 1);
    tracing::info!(services = proxy.state.services(), "rules are in place");
    loop {
        let first = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            key = changes.recv() => key,
        };
        let Some(first) = first else { return Ok(()) };
        let mut keys = HashSet::from([first]);
        while let Ok(key) = changes.try_recv() {
            keys.insert(key);
        }
        healthy.store(proxy.apply(keys).await.is_ok(), Ordering::Relaxed);
        written.send_modify(|n| *n += 1);
    }
}

struct Objects {
    services: Store<Service>,
    slices: Store<Slice>,
}

/// The shell around the plan: what it reads and where it writes.
struct Proxy {
    objects: Objects,
    node: plan::Node,
    state: State,
    connection: Arc<std::sync::Mutex<nftables::Connection>>,
    metrics: Metrics,
}

struct Metrics {
    syncs: metrics::Histogram,
    last: metrics::Gauge,
    failures: metrics::Counter,
}

impl Proxy {
    fn new(settings: &Settings, address: Ipv4Addr, objects: Objects) -> Result<Self, Error> {
        let connection = nftables::Connection::open()?;
        let fixed = table::Fixed {
            node_addresses: vec![address],
            pods: settings.cluster_cidr,
            masquerade_all: settings.masquerade_all,
        };
        let bounds = metrics::exponential_buckets(0.001, 2.0, 15);
        Ok(Self {
            objects,
            node: plan::Node { name: settings.node.clone(), address: Some(address), ..plan::Node::default() },
            state: State::new(fixed),
            connection: Arc::new(std::sync::Mutex::new(connection)),
            metrics: Metrics {
                syncs: metrics::histogram(
                    "kubeproxy_sync_proxy_rules_duration_seconds",
                    "SyncProxyRules latency in seconds",
                    &[("ip_family", "IPv4")],
                    &bounds,
                ),
                last: metrics::gauge(
                    "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                    "The last time proxy rules were successfully synced",
                    &[("ip_family", "IPv4")],
                ),
                failures: metrics::counter(
                    "kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
                    "Cumulative proxy nftables sync failures",
                    &[("ip_family", "IPv4")],
                ),
            },
        })
    }

    /// Everything from nothing, in place of whatever an earlier process left.
    async fn start(&mut self) -> Result<(), Error> {
        let plans =
            self.objects.services.list().into_iter().map(|s| (s.metadata.key(), self.plan(&s))).collect();
        for batch in self.state.rebuild(plans) {
            self.commit(batch).await?;
        }
        Ok(())
    }

    fn plan(&self, service: &Service) -> plan::Plan {
        let slices = self.objects.slices.by_index(BY_SERVICE, &service.metadata.key().to_string());
        plan::plan(service, slices.iter().map(AsRef::as_ref), &self.node)
    }

    /// The difference that these Services make. A transaction that the kernel refuses means that somebody else
    /// changed the table: then all of it is written anew.
    async fn apply(&mut self, keys: HashSet<ObjectKey>) -> Result<(), Error> {
        let begin = Instant::now();
        let plans: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let found = self.objects.services.get_key(&key).map(|s| self.plan(&s));
                (key, found.unwrap_or_default())
            })
            .collect();
        let changed = self.state.change(plans);
        if let Err(error) = self.commit(changed.batch).await {
            self.metrics.failures.inc();
            tracing::warn!(%error, "a change of the rules was refused; writing all of them anew");
            if let Err(error) = self.start().await {
                self.metrics.failures.inc();
                tracing::error!(%error, "the rules cannot be written");
                return Err(error);
            }
        }
        if changed.sweep {
            let mut connection = self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            // Few clients are noted, and this is rare: no thread of its own for it.
            if let Err(error) = sweep::sweep(&mut connection, |f, b| self.state.is_noted(f, b)) {
                tracing::warn!(%error, "clients of endpoints that are gone are still noted");
            }
        }
        if !changed.stale.is_empty() {
            let stale = changed.stale;
            let removed = tokio::task::spawn_blocking(move || conntrack::forget(&stale)).await;
            if let Ok(Err(error)) = removed {
                tracing::warn!(%error, "connections to endpoints that are gone are still tracked");
            }
        }
        self.metrics.syncs.observe(begin.elapsed().as_secs_f64());
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.metrics.last.set(now.as_secs_f64());
        Ok(())
    }

    async fn commit(&self, batch: nftables::Batch) -> Result<(), Error> {
        let connection = self.connection.clone();
        let done = tokio::task::spawn_blocking(move || {
            connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner).commit(batch)
        });
        done.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic())).map_err(Into::into)
    }
}

/// This node's address, for node ports: as soon as its Node object says one.
async fn node_address(
    api: &Api,
    settings: &Settings,
    shutdown: &CancellationToken,
) -> Result<Ipv4Addr, Error> {
    if let Some(address) = settings.node_ip {
        return Ok(address);
    }
    let options = InformerOptions {
        field_selector: format!("metadata.name={}", settings.node),
        ..InformerOptions::default()
    };
    let nodes: Informer<Node> = Informer::new(api.clone(), NODES, options);
    let mut events = nodes.subscribe();
    let stop = shutdown.child_token();
    let _stop = stop.clone().drop_guard();
    nodes.start(stop);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Err(Error::NoAddress { node: settings.node.clone() }),
            event = events.recv() => {
                let Some(event) = event else { return Err(Error::NoAddress { node: settings.node.clone() }) };
                if let Some(address) = event.object().internal_ip() {
                    return Ok(address);
                }
            }
        }
    }
}

/// `/healthz`, `/livez` on one address, these and `/metrics` on the other.
async fn serve(
    settings: &Settings,
    healthy: &Arc<AtomicBool>,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let health = Health::new();
    let flag = healthy.clone();
    health.add("rules", move || {
        if flag.load(Ordering::Relaxed) { Ok(()) } else { Err("the rules are not in place".into()) }
    });
    for address in [settings.healthz, settings.metrics].into_iter().flatten() {
        let server =
            Server::bind(address, None).await.map_err(|source| Error::Serving { address, source })?;
        let proxy_mode: Arc<dyn Fn(&str) -> Option<_> + Send + Sync> = Arc::new(|path: &str| {
            (path == "/proxyMode")
                .then(|| component_base::health::text(http::StatusCode::OK, "nftables".into()))
        });
        let handler = component_handler(health.clone(), None, Some(proxy_mode));
        tokio::spawn(server.serve(handler, shutdown.clone(), Duration::from_secs(1)));
    }
    Ok(())
}
