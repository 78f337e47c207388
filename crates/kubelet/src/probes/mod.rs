//! Startup, liveness and readiness probes: one task a probe and running container, results by container id.
//!
//! A task begins when its container is first seen running and ends with it. A result that changes wakes the
//! pod's worker; nothing here stops or starts containers.

pub mod check;
mod grpc;
mod http;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::events::Events;
use crate::pod::plan::ProbeVerdict;
use crate::pod::view::as_container;
use crate::pod::{PodExt, is_sidecar};
use crate::runtime::status::{PodRuntime, State};
use crate::status::generate::Health;

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Must succeed once before the others begin.
    Startup,
    /// Restarts the container when it fails.
    Liveness,
    /// Decides whether the container is ready.
    Readiness,
}

impl Kind {
    /// As in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// Results for one container; `None` where there is none yet.
#[derive(Default)]
struct Results {
    startup: Option<bool>,
    liveness: Option<bool>,
    readiness: Option<bool>,
    pod: String,
    stop: CancellationToken,
    /// Told when the startup probe succeeds.
    started: Arc<Notify>,
}

/// Called with the uid of a pod for which a result changed.
pub type Wake = Arc<dyn Fn(&str) + Send + Sync>;

/// All probes of a kubelet; clones share them.
#[derive(Clone)]
pub struct Probes {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: cri::Runtime,
    events: Events,
    wake: Wake,
    results: Mutex<HashMap<String, Results>>,
}

impl Probes {
    /// `wake` is called when a result changes.
    #[must_use]
    pub fn new(runtime: cri::Runtime, events: Events, wake: Wake) -> Self {
        Self { inner: Arc::new(Inner { runtime, events, wake, results: Mutex::default() }) }
    }

    /// Starts the probes of containers that run and ends those of containers that do not. `before` tells what
    /// was reported of a container before the kubelet started: it holds until the first result.
    pub fn observe(
        &self,
        pod: &Arc<Pod>,
        runtime: &PodRuntime,
        ip: &str,
        before: &dyn Fn(&str) -> Option<Health>,
    ) {
        let running: Vec<_> =
            runtime.containers.iter().filter(|container| container.state == State::Running).collect();
        let mut results = self.inner.results.lock();
        results.retain(|id, entry| {
            let keep = entry.pod != pod.uid() || running.iter().any(|container| container.id == *id);
            if !keep {
                entry.stop.cancel();
            }
            keep
        });
        for container in running {
            if results.contains_key(&container.id) {
                continue;
            }
            let Some((role, spec)) = pod.container(&container.name) else { continue };
            if role == crate::pod::Role::Init && !is_sidecar(&spec) {
                continue;
            }
            let mut entry = Results { pod: pod.uid().to_owned(), ..Results::default() };
            if let Some(before) = before(&container.id) {
                entry.startup = Some(true).filter(|_| before.started);
                entry.readiness = Some(before.ready);
            }
            for kind in [Kind::Startup, Kind::Liveness, Kind::Readiness] {
                if kind.of(&spec).is_some() && !(kind == Kind::Startup && entry.startup == Some(true)) {
                    self.spawn(pod, &spec, kind, container, ip, &entry);
                }
            }
            results.insert(container.id.clone(), entry);
        }
    }

    fn spawn(
        &self,
        pod: &Arc<Pod>,
        spec: &Container,
        kind: Kind,
        container: &crate::runtime::status::Container,
        ip: &str,
        entry: &Results,
    ) {
        let task = worker::Worker {
            probes: self.inner.clone(),
            pod: pod.clone(),
            container: spec.clone(),
            kind,
            id: container.id.clone(),
            ip: ip.to_owned(),
            began: container.started_at,
            started: entry.started.clone(),
        };
        let stop = entry.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(task.run()).await });
    }

    /// Ends the readiness of a pod's containers, as it is being stopped; liveness no longer counts.
    pub fn stop(&self, uid: &str) {
        let mut results = self.inner.results.lock();
        for entry in results.values_mut().filter(|entry| entry.pod == uid) {
            entry.stop.cancel();
            entry.liveness = None;
            entry.startup = entry.startup.filter(|started| *started);
        }
    }

    /// Ends only what could restart containers of a pod that is being stopped: readiness is still probed.
    pub fn stop_restarts(&self, uid: &str) {
        let mut results = self.inner.results.lock();
        for entry in results.values_mut().filter(|entry| entry.pod == uid) {
            entry.liveness = None;
        }
    }

    /// Forgets a pod.
    pub fn forget(&self, uid: &str) {
        self.inner.results.lock().retain(|_, entry| {
            if entry.pod == uid {
                entry.stop.cancel();
            }
            entry.pod != uid
        });
    }

    /// What the plan needs of a container.
    #[must_use]
    pub fn verdict(&self, id: &str) -> ProbeVerdict {
        let results = self.inner.results.lock();
        results.get(id).map_or_else(ProbeVerdict::default, |entry| ProbeVerdict {
            startup: entry.startup,
            liveness: entry.liveness,
        })
    }

    /// What the status needs of a running container.
    #[must_use]
    pub fn health(&self, spec: &Container, id: &str) -> Health {
        let results = self.inner.results.lock();
        let entry = results.get(id);
        let started = spec.startup_probe.is_none() || entry.is_some_and(|entry| entry.startup == Some(true));
        let ready =
            spec.readiness_probe.is_none() || entry.is_some_and(|entry| entry.readiness == Some(true));
        Health { started, ready }
    }
}

impl Inner {
    /// Records a result; true if it is new.
    fn record(&self, id: &str, kind: Kind, success: bool) {
        let pod = {
            let mut results = self.results.lock();
            let Some(entry) = results.get_mut(id) else { return };
            let slot = match kind {
                Kind::Startup => &mut entry.startup,
                Kind::Liveness => &mut entry.liveness,
                Kind::Readiness => &mut entry.readiness,
            };
            if slot.replace(success) == Some(success) {
                return;
            }
            if kind == Kind::Startup && success {
                entry.started.notify_waiters();
            }
            entry.pod.clone()
        };
        (self.wake)(&pod);
    }

    fn has_started(&self, id: &str) -> bool {
        self.results.lock().get(id).is_some_and(|entry| entry.startup == Some(true))
    }
}

/// The container of a pod by name, ephemeral ones too.
#[must_use]
pub fn containers(pod: &Pod) -> Vec<Container> {
    let plain = pod.init_containers().iter().chain(pod.containers()).cloned();
    plain.chain(pod.ephemeral_containers().iter().map(as_container)).collect()
}
