//! The shell around the plan: reads from the informers' stores and writes to the kernel.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use client::{ObjectKey, Store, View};
use compact_str::CompactString;

use crate::check_ports::{self, CheckPorts};
use crate::config::Settings;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::state::State;
use crate::views::{BY_SERVICE, Service, Slice};
use crate::{Error, conntrack, plan, sweep, table};

/// What an informer has seen.
pub enum Change {
    /// A Service or one of its slices, and when what caused it happened, in seconds since 1970.
    Service(ObjectKey, Option<f64>),
    /// This node.
    Node { zone: CompactString, address: Option<Ipv4Addr> },
}

/// Changes that are written together.
#[derive(Default)]
pub struct Pending {
    services: HashSet<ObjectKey>,
    triggers: Vec<f64>,
    zone: Option<CompactString>,
}

impl Pending {
    pub fn add(&mut self, change: Change) {
        match change {
            Change::Service(key, trigger) => {
                self.services.insert(key);
                self.triggers.extend(trigger);
            }
            Change::Node { zone, .. } => self.zone = Some(zone),
        }
    }

    /// Of this node only.
    pub fn add_node(&mut self, change: Change) {
        if let Change::Node { .. } = change {
            self.add(change);
        }
    }
}

/// Where the proxy reads.
pub struct Objects {
    pub services: Store<Service>,
    pub slices: Store<Slice>,
}

/// The proxy of a node.
pub struct Proxy {
    objects: Objects,
    node: plan::Node,
    state: State,
    check_ports: CheckPorts,
    connection: Arc<Mutex<nftables::Connection>>,
    health: Health,
    metrics: Metrics,
}

impl Proxy {
    pub fn new(
        settings: &Settings,
        address: Ipv4Addr,
        objects: Objects,
        health: Health,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let fixed = table::Fixed {
            node_addresses: vec![address],
            pods: settings.cluster_cidr,
            masquerade_all: settings.masquerade_all,
        };
        let node =
            plan::Node { name: settings.node.clone(), address: Some(address), ..plan::Node::default() };
        Ok(Self {
            objects,
            node,
            state: State::new(fixed),
            check_ports: CheckPorts::new(address, health.clone()),
            connection: Arc::new(Mutex::new(nftables::Connection::open()?)),
            health,
            metrics,
        })
    }

    /// Everything from nothing, in place of whatever an earlier process left, but for which client had which endpoint.
    pub async fn start(&mut self) -> Result<(), Error> {
        let begin = Instant::now();
        let services = self.objects.services.list();
        let notes = sweep::notes(&mut self.connection.lock().unwrap_or_else(PoisonError::into_inner));
        match self.build(&services, &notes).await {
            Err(error) if !notes.is_empty() => {
                tracing::warn!(%error, "which client had which endpoint cannot be kept");
                self.build(&services, &[]).await?;
            }
            built => built?,
        }
        for service in services {
            self.set_check_port(&service.key(), Some(&service)).await;
        }
        give_back_memory();
        self.health.updated();
        self.metrics.synced(true, begin, self.state.no_local());
        tracing::info!(services = self.state.services(), "rules are in place");
        Ok(())
    }

    async fn build(&mut self, services: &[Arc<Service>], notes: &[sweep::Note]) -> Result<(), Error> {
        let plans = services.iter().map(|s| (s.key(), self.plan(s))).collect();
        for batch in self.state.rebuild(plans, notes) {
            self.commit(batch).await?;
        }
        Ok(())
    }

    fn slices(&self, key: &ObjectKey) -> Vec<Arc<Slice>> {
        self.objects.slices.by_index(BY_SERVICE, &key.to_string())
    }

    fn plan(&self, service: &Service) -> plan::Plan {
        let slices = self.slices(&service.key());
        plan::plan(service, slices.iter().map(AsRef::as_ref), &self.node)
    }

    /// The difference that changes make. `anew`: all rules, as an earlier difference was refused: somebody else
    /// changed the table.
    pub async fn apply(&mut self, pending: Pending, anew: bool) -> Result<(), Error> {
        let moved = pending.zone.filter(|zone| *zone != self.node.zone);
        if moved.is_none() && pending.services.is_empty() && !anew {
            return Ok(());
        }
        self.health.queued();
        let keys: Vec<ObjectKey> = match moved {
            Some(zone) => {
                self.node.zone = zone.into();
                self.objects.services.list().iter().map(|s| s.key()).collect()
            }
            None => pending.services.into_iter().collect(),
        };
        let written = if anew { self.start().await } else { self.write(&keys).await };
        if let Err(error) = written {
            self.metrics.failed();
            tracing::error!(%error, "the rules cannot be written; all of them are tried anew");
            return Err(error);
        }
        pending.triggers.into_iter().for_each(|trigger| self.metrics.programmed(trigger));
        Ok(())
    }

    async fn write(&mut self, keys: &[ObjectKey]) -> Result<(), Error> {
        let begin = Instant::now();
        let mut plans = Vec::with_capacity(keys.len());
        for key in keys {
            let service = self.objects.services.get_key(key);
            self.set_check_port(key, service.as_deref()).await;
            plans.push((key.clone(), service.map(|s| self.plan(&s)).unwrap_or_default()));
        }
        let changed = self.state.change(plans);
        if let Err(error) = self.commit(changed.batch).await {
            self.metrics.failed();
            tracing::warn!(%error, "a change of the rules was refused; writing all of them anew");
            return self.start().await;
        }
        self.health.updated();
        self.metrics.synced(false, begin, self.state.no_local());
        if changed.sweep {
            self.sweep();
        }
        self.forget(changed.stale).await;
        Ok(())
    }

    async fn set_check_port(&mut self, key: &ObjectKey, service: Option<&Service>) {
        let wanted = service.and_then(check_ports::port).map(|port| {
            let slices = self.slices(key);
            (port, check_ports::local_endpoints(slices.iter().map(AsRef::as_ref), &self.node.name))
        });
        self.check_ports.set(key, wanted).await;
    }

    /// Few clients are noted, and this is rare: no thread of its own for it.
    fn sweep(&self) {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = sweep::sweep(&mut connection, |f, b| self.state.is_noted(f, b)) {
            tracing::warn!(%error, "clients of endpoints that are gone are still noted");
        }
    }

    async fn forget(&self, stale: Vec<conntrack::Stale>) {
        if stale.is_empty() {
            return;
        }
        let begin = Instant::now();
        match tokio::task::spawn_blocking(move || conntrack::forget(&stale)).await {
            Ok(Ok(count)) => self.metrics.connections_forgotten(begin, count),
            Ok(Err(error)) => {
                tracing::warn!(%error, "connections to endpoints that are gone are still tracked");
            }
            Err(_) => {}
        }
    }

    async fn commit(&self, batch: nftables::Batch) -> Result<(), Error> {
        let connection = self.connection.clone();
        let done = tokio::task::spawn_blocking(move || {
            connection.lock().unwrap_or_else(PoisonError::into_inner).commit(batch)
        });
        done.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic())).map_err(Into::into)
    }
}

/// The lists and the transactions of a cold start are many times what is kept of them, and glibc would hold on to
/// their memory.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes a number and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
