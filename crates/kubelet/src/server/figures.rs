//! What node, pods and containers use, gathered for `/stats/summary` and the metrics: from control groups, the runtime's
//! own figures, file systems and the pods' folders.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use cri::v1;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use crate::cgroups::Usage;
use crate::context::Context;
use crate::eviction::measure::{self, PodDisk};
use crate::pod::PodExt;
use crate::runtime::labels;

/// One container.
pub(super) struct ContainerFigures {
    pub id: String,
    pub name: String,
    pub cpu: v1::CpuUsage,
    pub memory: v1::MemoryUsage,
    /// Its image, as the status names it.
    pub image: String,
    /// RFC 3339, empty if it is not known.
    pub started: String,
    /// The same in seconds since the epoch.
    pub started_at: i64,
}

/// One pod.
#[derive(Default)]
pub(super) struct PodFigures {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub started: String,
    pub containers: Vec<ContainerFigures>,
    /// What its control group used; nothing without one.
    pub group: Usage,
    /// Path of its control group.
    pub path: String,
    pub network: Vec<v1::NetworkInterfaceUsage>,
    pub disk: PodDisk,
}

/// The number of an optional message.
pub(super) fn number(value: &Option<v1::UInt64Value>) -> Option<u64> {
    value.as_ref().map(|value| value.value)
}

/// All pods of the node that the runtime has figures of, by namespace and name. `disks`: also what they have on disk,
/// for which their folders are walked through.
pub(super) async fn pods(cx: &Context, disks: bool) -> Vec<PodFigures> {
    let request = v1::ListContainerStatsRequest { filter: None };
    let stats = cx.runtime.list_container_stats(request).await.map(|answer| answer.stats).unwrap_or_default();
    let mut pods: BTreeMap<(String, String, String), PodFigures> = BTreeMap::new();
    let known: HashMap<String, Arc<Pod>> =
        cx.pods.list().into_iter().map(|pod| (pod.uid().to_owned(), pod)).collect();
    for stat in stats {
        let Some(attributes) = stat.attributes else { continue };
        let label = |name: &str| attributes.labels.get(name).cloned().unwrap_or_default();
        let (namespace, name, uid) =
            (label(labels::POD_NAMESPACE), label(labels::POD_NAME), label(labels::POD_UID));
        let pod = pods
            .entry((namespace.clone(), name.clone(), uid.clone()))
            .or_insert_with(|| of_pod(cx, known.get(&uid), uid, namespace, name));
        let (image, started_at, started) = started(cx, &pod.uid, &attributes.id);
        pod.containers.push(ContainerFigures {
            id: attributes.id.clone(),
            name: label(labels::CONTAINER_NAME),
            cpu: stat.cpu.unwrap_or_default(),
            memory: stat.memory.unwrap_or_default(),
            image,
            started,
            started_at,
        });
    }
    add_networks(cx, &mut pods).await;
    if disks {
        let all: Vec<_> = known.into_values().collect();
        let mut found = measure::disks(cx, &all).await;
        for pod in pods.values_mut() {
            pod.disk = found.remove(&pod.uid).unwrap_or_default();
        }
    }
    pods.into_values().collect()
}

fn of_pod(cx: &Context, pod: Option<&Arc<Pod>>, uid: String, namespace: String, name: String) -> PodFigures {
    let status = cx.statuses.get(&uid);
    let started = status.and_then(|status| status.start_time).map(|time| time.0.to_string());
    PodFigures {
        group: pod.and_then(|pod| cx.cgroups.pod_usage(pod).ok()).unwrap_or_default(),
        path: pod.map(|pod| cx.cgroups.of_pod(pod)).unwrap_or_default(),
        started: started.unwrap_or_default(),
        uid,
        namespace,
        name,
        ..PodFigures::default()
    }
}

/// Image and start of a container, as its pod's status has them.
fn started(cx: &Context, uid: &str, id: &str) -> (String, i64, String) {
    let Some(status) = cx.statuses.get(uid) else { return Default::default() };
    let lists =
        [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses];
    let found = lists.into_iter().flatten().flatten().find(|status| {
        status
            .container_id
            .as_deref()
            .and_then(|full| full.split_once("://"))
            .is_some_and(|(_, own)| own == id)
    });
    let Some(found) = found else { return Default::default() };
    let at = found.state.and_then(|state| state.running).and_then(|running| running.started_at);
    let at = at.map(|time| time.0);
    (found.image, at.map_or(0, |at| at.as_second()), at.map(|at| at.to_string()).unwrap_or_default())
}

/// Interfaces of sandboxes; containerd has no such figures before 1.7.
async fn add_networks(cx: &Context, pods: &mut BTreeMap<(String, String, String), PodFigures>) {
    let Ok(answer) = cx.runtime.list_pod_sandbox_stats(v1::ListPodSandboxStatsRequest { filter: None }).await
    else {
        return;
    };
    for stat in answer.stats {
        let uid = stat.attributes.and_then(|a| a.metadata).map(|metadata| metadata.uid).unwrap_or_default();
        let Some(network) = stat.linux.and_then(|linux| linux.network) else { continue };
        if let Some(pod) = pods.values_mut().find(|pod| pod.uid == uid) {
            pod.network = network.default_interface.into_iter().collect();
            // some runtimes name the pod's own among the others again
            let known: Vec<_> = pod.network.iter().map(|interface| interface.name.clone()).collect();
            pod.network.extend(network.interfaces.into_iter().filter(|other| !known.contains(&other.name)));
        }
    }
}

/// CPU rates, from one request to the next.
#[derive(Default)]
pub(super) struct Rates {
    last: Mutex<HashMap<String, (u64, Instant, u64)>>,
}

impl Rates {
    /// Thousandths of a millionth of a core since the last request that was at least a second ago; `None` at the first.
    pub(super) fn of(&self, what: &str, nanos: u64) -> Option<u64> {
        self.at(what, nanos, Instant::now())
    }

    fn at(&self, what: &str, nanos: u64, now: Instant) -> Option<u64> {
        let mut last = self.last.lock();
        let Some((before, then, rate)) = last.get(what).copied() else {
            last.insert(what.to_owned(), (nanos, now, 0));
            return None;
        };
        let past = now.duration_since(then).as_secs_f64();
        if past < 1.0 {
            return Some(rate).filter(|rate| *rate > 0);
        }
        let rate = (nanos.saturating_sub(before) as f64 / past) as u64;
        last.insert(what.to_owned(), (nanos, now, rate));
        Some(rate)
    }

    /// Forgets those that are not among `known`.
    pub(super) fn keep(&self, known: impl Fn(&str) -> bool) {
        self.last.lock().retain(|what, _| known(what));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_of_the_time_between() {
        let (rates, start) = (Rates::default(), Instant::now());
        assert_eq!(rates.at("node", 1000, start), None);
        assert_eq!(rates.at("node", 5000, start + Duration::from_secs(2)), Some(2000));
        assert_eq!(rates.at("node", 5001, start + Duration::from_millis(2100)), Some(2000));
        rates.keep(|_| false);
        assert_eq!(rates.at("node", 0, start), None);
    }
}
