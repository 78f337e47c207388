//! Eviction under pressure: when memory, disk, inodes or process ids run short, the node says so, refuses new pods, and
//! ends running ones until there is enough again. Also ends pods that use more local disk than they may.
//!
//! Signals are looked at every ten seconds. Absent: the kernel's own memory notifications (`kernelMemcgNotification`),
//! a file system of its own for containers' layers, and `allocatableMemory.available` (the kernel limits all pods
//! together by their control group).

pub mod measure;
pub mod plan;
pub mod thresholds;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cri::v1;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use parking_lot::{Mutex, RwLock};

use crate::admission::Rejection;
use crate::context::Context;
use crate::events::Kind;
use crate::pod::PodExt;
use crate::runtime::{labels, resources};
use crate::{containers_gc, images_gc, quantity};
use measure::PodDisk;
use plan::{Memory, Observations, Usage};
use thresholds::{Condition, Signal, Threshold};

const PERIOD: Duration = Duration::from_secs(10);
/// Reason of evicted pods.
pub const REASON: &str = "Evicted";
/// Priority from which on a pod is critical to the cluster.
const CRITICAL: i32 = 2_000_000_000;

/// The order to end a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// For the user.
    pub message: String,
    /// Seconds until the kill.
    pub grace: i64,
}

/// What the kubelet knows of pressure.
pub struct Pressure {
    thresholds: Vec<Threshold>,
    memory: Mutex<Memory>,
    conditions: RwLock<Vec<Condition>>,
}

impl Pressure {
    /// With the thresholds of the configuration.
    #[must_use]
    pub fn new(thresholds: Vec<Threshold>) -> Self {
        Self { thresholds, memory: Mutex::default(), conditions: RwLock::default() }
    }

    /// Whether the node has a condition.
    #[must_use]
    pub fn has(&self, condition: Condition) -> bool {
        self.conditions.read().contains(&condition)
    }

    /// Why a new pod is not taken now: under pressure of memory only those that did not say what they need.
    #[must_use]
    pub fn refuse(&self, pod: &Pod) -> Option<Rejection> {
        let conditions = self.conditions.read();
        if conditions.is_empty() || critical(pod) {
            return None;
        }
        if *conditions == [Condition::Memory] {
            let modest = resources::qos(pod) != resources::Qos::BestEffort;
            if modest || tolerates_memory_pressure(pod) {
                return None;
            }
        }
        let names: Vec<_> = conditions.iter().map(|condition| condition.name()).collect();
        let message = format!("The node had condition: [{}]. ", names.join(" "));
        Some(Rejection { reason: REASON.to_owned(), message })
    }
}

/// Whether a pod is never evicted.
fn critical(pod: &Pod) -> bool {
    pod.is_static() || pod.is_mirror() || pod.spec().priority.is_some_and(|priority| priority >= CRITICAL)
}

fn tolerates_memory_pressure(pod: &Pod) -> bool {
    pod.spec().tolerations.iter().flatten().any(|toleration| {
        let effect = toleration.effect.as_deref().unwrap_or_default();
        let key = toleration.key.as_deref().unwrap_or_default();
        let exists = toleration.operator.as_deref() == Some("Exists");
        (effect.is_empty() || effect == "NoSchedule")
            && ((key.is_empty() && exists)
                || (key == "node.kubernetes.io/memory-pressure"
                    && (exists || toleration.value.as_deref().unwrap_or_default().is_empty())))
    })
}

/// Works until the kubelet ends.
pub async fn run(cx: Arc<Context>, memory: i64) {
    let work = async {
        let mut tick = tokio::time::interval(PERIOD);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            round(&cx, memory).await;
        }
    };
    let _ = cx.shutdown.run_until_cancelled(work).await;
}

async fn round(cx: &Context, memory: i64) {
    local_storage(cx).await;
    if cx.pressure.thresholds.is_empty() {
        return;
    }
    let observations = measure::observe(cx, &cx.pressure.thresholds, memory).await;
    let Some(threshold) = look(cx, &observations) else { return };
    let resource = threshold.signal.resource();
    tracing::warn!(resource, "attempting to reclaim");
    cx.events.emit_node(Kind::Warning, "EvictionThresholdMet", &format!("Attempting to reclaim {resource}"));
    if threshold.signal.condition() == Condition::Disk {
        containers_gc::free_all(cx).await;
        images_gc::free_all(cx).await;
        let observations = measure::observe(cx, &cx.pressure.thresholds, memory).await;
        if look(cx, &observations).is_none() {
            return;
        }
    }
    evict_one(cx, &threshold, &observations).await;
}

/// Brings the conditions up to date; the threshold for which something must go.
fn look(cx: &Context, observations: &Observations) -> Option<Threshold> {
    let pressure = &cx.pressure;
    let transition = cx.config.eviction_pressure_transition_period.map_or(Duration::from_secs(300), |d| d.0);
    let verdict = plan::look(
        &pressure.thresholds,
        observations,
        &mut pressure.memory.lock(),
        transition,
        Timestamp::now(),
    );
    let changed = std::mem::replace(&mut *pressure.conditions.write(), verdict.conditions.clone());
    if changed != verdict.conditions {
        cx.node_news.notify_one();
    }
    verdict.reclaim.map(|index| pressure.thresholds[index])
}

/// Pods that are not over yet.
fn active(cx: &Context) -> Vec<Arc<Pod>> {
    let over = |pod: &Pod| {
        let status = cx.statuses.get(pod.uid()).or_else(|| pod.status.clone());
        status.and_then(|status| status.phase).is_some_and(|phase| phase == "Succeeded" || phase == "Failed")
    };
    cx.pods.list().into_iter().filter(|pod| !over(pod)).collect()
}

async fn evict_one(cx: &Context, threshold: &Threshold, observations: &Observations) {
    let signal = threshold.signal;
    let pods = active(cx);
    let disks = match signal.condition() {
        Condition::Disk => measure::disks(cx, &pods).await,
        _ => HashMap::new(),
    };
    let usages: Vec<Usage> = pods.iter().map(|pod| usage(cx, signal, pod, disks.get(pod.uid()))).collect();
    for index in plan::rank(signal, &usages) {
        let pod = &pods[index];
        if critical(pod) {
            continue;
        }
        let grace = match threshold.hard {
            true => 1,
            false => pod.grace_period().min(cx.config.eviction_max_pod_grace_period),
        };
        let mut message = low(threshold, observations);
        message.push_str(&consumption(cx, signal, pod, disks.get(pod.uid())).await);
        if evict(cx, pod, message, grace) {
            return;
        }
    }
    tracing::warn!(resource = signal.resource(), "no pod can be evicted");
}

fn usage(cx: &Context, signal: Signal, pod: &Pod, disk: Option<&PodDisk>) -> Usage {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let group = || cx.cgroups.pod_usage(pod).unwrap_or_default();
    let disk = || disk.map(PodDisk::total).unwrap_or_default();
    let (used, requested) = match signal {
        Signal::Memory => (group().working_set, resources::of_pod(pod).memory_request.unwrap_or(0)),
        Signal::Processes => (group().pids, 0),
        Signal::NodeDisk | Signal::ImageDisk => (disk().bytes, storage(pod, false)),
        Signal::NodeInodes | Signal::ImageInodes => (disk().inodes, 0),
    };
    Usage { used: signed(used), requested, priority: pod.spec().priority.unwrap_or(0) }
}

/// The sum of what containers request of, or are limited to, local disk.
fn storage(pod: &Pod, limit: bool) -> i64 {
    pod.containers().iter().filter_map(|container| storage_of(container, limit)).sum()
}

fn storage_of(container: &Container, limit: bool) -> Option<i64> {
    let resources = container.resources.as_ref()?;
    let list = if limit { &resources.limits } else { &resources.requests };
    quantity::value(&list.as_ref()?.get("ephemeral-storage")?.0)
}

/// The beginning of the message: what is low, and how far.
fn low(threshold: &Threshold, observations: &Observations) -> String {
    let signal = threshold.signal;
    let mut message = format!("The node was low on resource: {}. ", signal.resource());
    if let Some(seen) = observations.get(&signal) {
        let (least, left) = (signal.show(threshold.amount.of(seen.capacity)), signal.show(seen.available));
        message.push_str(&format!("Threshold quantity: {least}, available: {left}. "));
    }
    message
}

/// Which containers use more than they requested.
async fn consumption(cx: &Context, signal: Signal, pod: &Pod, disk: Option<&PodDisk>) -> String {
    let used: HashMap<String, i64> = match signal {
        Signal::Memory => memory_of(cx, pod.uid()).await,
        Signal::NodeDisk | Signal::ImageDisk => {
            let sum = |disk: &measure::ContainerDisk| i64::try_from(disk.root.bytes + disk.logs.bytes);
            let all = disk.into_iter().flat_map(|disk| &disk.containers);
            all.map(|(name, disk)| (name.clone(), sum(disk).unwrap_or(i64::MAX))).collect()
        }
        _ => HashMap::new(),
    };
    let mut message = String::new();
    for container in pod.containers() {
        let Some(used) = used.get(&container.name) else { continue };
        let requested = match signal {
            Signal::Memory => container
                .resources
                .as_ref()
                .and_then(|r| r.requests.as_ref()?.get("memory"))
                .and_then(|amount| quantity::value(&amount.0)),
            _ => storage_of(container, false),
        };
        let requested = requested.unwrap_or(0);
        if *used > requested {
            let (used, requested) = (signal.show(*used), signal.show(requested));
            message.push_str(&format!(
                "Container {} was using {used}, request is {requested}, has larger consumption of {}. ",
                container.name,
                signal.resource()
            ));
        }
    }
    message
}

/// Working sets of a pod's containers.
async fn memory_of(cx: &Context, uid: &str) -> HashMap<String, i64> {
    let label_selector = [(labels::POD_UID.to_owned(), uid.to_owned())].into();
    let filter = v1::ContainerStatsFilter { label_selector, ..Default::default() };
    let request = v1::ListContainerStatsRequest { filter: Some(filter) };
    let stats = cx.runtime.list_container_stats(request).await.map(|answer| answer.stats).unwrap_or_default();
    let one = |stat: v1::ContainerStats| {
        let name = stat.attributes?.labels.get(labels::CONTAINER_NAME)?.clone();
        Some((name, i64::try_from(stat.memory?.working_set_bytes?.value).ok()?))
    };
    stats.into_iter().filter_map(one).collect()
}

/// Ends pods that use more local disk than their volumes or containers are limited to.
async fn local_storage(cx: &Context) {
    let limited = |pod: &Arc<Pod>| {
        let by_volume = volume_limits(pod).next().is_some();
        by_volume || pod.containers().iter().any(|container| storage_of(container, true).is_some())
    };
    let pods: Vec<_> = active(cx).into_iter().filter(limited).collect();
    if pods.is_empty() {
        return;
    }
    let disks = measure::disks(cx, &pods).await;
    for pod in &pods {
        let disk = disks.get(pod.uid()).cloned().unwrap_or_default();
        if let Some(message) = over_limit(pod, &disk)
            && !critical(pod)
        {
            evict(cx, pod, message, 1);
        }
    }
}

/// Limited emptyDir volumes on disk, with their limits as written.
fn volume_limits(pod: &Pod) -> impl Iterator<Item = (&str, &str)> {
    pod.spec().volumes.iter().flatten().filter_map(|volume| {
        let dir = volume.empty_dir.as_ref()?;
        let limit =
            dir.size_limit.as_ref().filter(|_| dir.medium.as_deref().unwrap_or_default().is_empty())?;
        quantity::value(&limit.0).filter(|limit| *limit > 0)?;
        Some((volume.name.as_str(), limit.0.as_str()))
    })
}

/// Which limit a pod is over, if any.
fn over_limit(pod: &Pod, disk: &PodDisk) -> Option<String> {
    let more = |used: u64, limit: i64| used > u64::try_from(limit).unwrap_or(0);
    for (name, limit) in volume_limits(pod) {
        let used = disk.volumes.get(name).map_or(0, |disk| disk.bytes);
        if more(used, quantity::value(limit)?) {
            return Some(format!("Usage of EmptyDir volume {name:?} exceeds the limit {limit:?}. "));
        }
    }
    let all = pod.containers().iter().all(|container| storage_of(container, true).is_some());
    let total = storage(pod, true);
    if all && total > 0 && more(disk.total().bytes, total) {
        let shown = quantity::from_bytes(total).0;
        return Some(format!(
            "Pod ephemeral local storage usage exceeds the total limit of containers {shown}. "
        ));
    }
    pod.containers().iter().find_map(|container| {
        let limit = storage_of(container, true)?;
        let used = disk.containers.get(&container.name)?;
        let shown = quantity::from_bytes(limit).0;
        more(used.root.bytes + used.logs.bytes, limit).then(|| {
            format!("Container {} exceeded its local ephemeral storage limit {shown:?}. ", container.name)
        })
    })
}

/// Tells a pod's worker to end it. False if it is ending already.
fn evict(cx: &Context, pod: &Pod, message: String, grace: i64) -> bool {
    let eviction = Eviction { message: message.clone(), grace: grace.max(0) };
    if !cx.pods.evict(pod.uid(), eviction) {
        return false;
    }
    tracing::warn!(pod = pod.shown(), message, "evicted");
    cx.events.emit(pod, Kind::Warning, REASON, &message, "");
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use measure::{ContainerDisk, Disk};
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec})).unwrap()
    }

    #[test]
    fn refuses_what_would_make_it_worse() {
        let pressure = Pressure::new(Vec::new());
        let careless = pod(json!({"containers": [{"name": "c"}]}));
        let modest =
            pod(json!({"containers": [{"name": "c", "resources": {"requests": {"memory": "1Mi"}}}]}));
        let brave = pod(json!({"containers": [{"name": "c"}], "tolerations": [
            {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}]}));
        let vital = pod(json!({"priority": 2_000_000_000, "containers": [{"name": "c"}]}));
        let refused = |pod: &Pod| pressure.refuse(pod).map(|rejection| rejection.message);
        assert_eq!(refused(&careless), None);
        *pressure.conditions.write() = vec![Condition::Memory];
        assert_eq!(refused(&careless).as_deref(), Some("The node had condition: [MemoryPressure]. "));
        assert_eq!([refused(&modest), refused(&brave), refused(&vital)], [None, None, None]);
        *pressure.conditions.write() = vec![Condition::Disk, Condition::Memory];
        let both = "The node had condition: [DiskPressure MemoryPressure]. ";
        assert_eq!(refused(&modest).as_deref(), Some(both));
        assert_eq!(refused(&vital), None);
    }

    #[test]
    fn local_disk_is_limited() {
        let limited =
            |limit: &str| json!({"name": "c", "resources": {"limits": {"ephemeral-storage": limit}}});
        let volume = pod(json!({"containers": [{"name": "c"}],
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Ki"}}]}));
        let used = |bytes| Disk { bytes, inodes: 1 };
        let mut disk = PodDisk::default();
        disk.volumes.insert("v".into(), used(2000));
        let over = over_limit(&volume, &disk).unwrap();
        assert_eq!(over, "Usage of EmptyDir volume \"v\" exceeds the limit \"1Ki\". ");
        disk.volumes.clear();
        assert_eq!(over_limit(&volume, &disk), None);
        disk.containers.insert("c".into(), ContainerDisk { root: used(1500), logs: used(1000) });
        let all = over_limit(&pod(json!({"containers": [limited("2Ki")]})), &disk).unwrap();
        assert_eq!(all, "Pod ephemeral local storage usage exceeds the total limit of containers 2Ki. ");
        let one = over_limit(&pod(json!({"containers": [limited("2Ki"), {"name": "d"}]})), &disk).unwrap();
        assert_eq!(one, "Container c exceeded its local ephemeral storage limit \"2Ki\". ");
    }
}
