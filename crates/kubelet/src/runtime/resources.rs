//! Requests and limits as the kernel takes them, quality of service classes, and out-of-memory scores.

use std::collections::BTreeMap;

use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::pod::{PodExt, is_sidecar};
use crate::quantity;

/// Period of the CPU quota in microseconds.
pub const QUOTA_PERIOD: i64 = 100_000;
const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;
const MIN_QUOTA: i64 = 1000;

/// Quality of service class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Qos {
    /// Requests equal limits everywhere.
    Guaranteed,
    /// Something is requested.
    Burstable,
    /// Nothing is requested.
    BestEffort,
}

impl Qos {
    /// As in `status.qosClass`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

type List = BTreeMap<String, Quantity>;

fn positive<'a>(list: Option<&'a List>, name: &str) -> Option<&'a str> {
    let quantity = list?.get(name)?.0.as_str();
    (quantity::milli(quantity)? > 0).then_some(quantity)
}

/// The class of a pod, by its containers' CPU and memory.
#[must_use]
pub fn qos(pod: &Pod) -> Qos {
    if let Some(resources) = pod.spec().resources.as_ref() {
        return qos_of(std::iter::once(resources));
    }
    let all = pod.containers().iter().chain(pod.init_containers());
    let empty = ResourceRequirements::default();
    qos_of(all.map(|container| container.resources.as_ref().unwrap_or(&empty)))
}

fn qos_of<'a>(all: impl Iterator<Item = &'a ResourceRequirements>) -> Qos {
    let (mut guaranteed, mut any) = (true, false);
    for resources in all {
        for name in ["cpu", "memory"] {
            let limit = positive(resources.limits.as_ref(), name);
            let request = positive(resources.requests.as_ref(), name).or(limit);
            any |= request.is_some();
            let equal =
                limit.is_some() && limit.and_then(quantity::milli) == request.and_then(quantity::milli);
            guaranteed &= equal;
        }
    }
    match (any, guaranteed) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

/// CPU weight of thousandths of a core.
#[must_use]
pub fn shares(milli: i64) -> i64 {
    if milli == 0 { MIN_SHARES } else { (milli * 1024 / 1000).clamp(MIN_SHARES, MAX_SHARES) }
}

/// CPU quota in a period of `period` microseconds; zero means none.
#[must_use]
pub fn quota(milli: i64, period: i64) -> i64 {
    if milli == 0 { 0 } else { (milli * period / 1000).max(MIN_QUOTA) }
}

/// One container's requests and limits as integers; `None` where unset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Thousandths of a core requested.
    pub cpu_request: Option<i64>,
    /// Thousandths of a core allowed.
    pub cpu_limit: Option<i64>,
    /// Bytes requested.
    pub memory_request: Option<i64>,
    /// Bytes allowed.
    pub memory_limit: Option<i64>,
}

/// Reads requests and limits.
#[must_use]
pub fn amounts(resources: Option<&ResourceRequirements>) -> Amounts {
    let get = |list: Option<&List>, name: &str| list.and_then(|list| list.get(name)).map(|q| q.0.clone());
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    Amounts {
        cpu_request: get(requests, "cpu").as_deref().and_then(quantity::milli),
        cpu_limit: get(limits, "cpu").as_deref().and_then(quantity::milli),
        memory_request: get(requests, "memory").as_deref().and_then(quantity::value),
        memory_limit: get(limits, "memory").as_deref().and_then(quantity::value),
    }
}

/// A pod's requests and limits: containers and sidecars added up, or the largest init container if that is more.
/// A limit is only there if every container has one.
#[must_use]
pub fn of_pod(pod: &Pod) -> Amounts {
    type Part = fn(&Amounts) -> Option<i64>;
    let parts: [Part; 4] = [|a| a.cpu_request, |a| a.cpu_limit, |a| a.memory_request, |a| a.memory_limit];
    let [cpu_request, cpu_limit, memory_request, memory_limit] = parts.map(|part| pod_amount(pod, part));
    let own = amounts(pod.spec().resources.as_ref());
    let bounded = |limit: fn(&Amounts) -> Option<i64>| {
        pod.containers()
            .iter()
            .chain(pod.init_containers())
            .all(|c| limit(&amounts(c.resources.as_ref())).is_some_and(|l| l > 0))
    };
    Amounts {
        cpu_request: own.cpu_request.or(cpu_request),
        cpu_limit: own.cpu_limit.or(cpu_limit.filter(|_| bounded(|a| a.cpu_limit))),
        memory_request: own.memory_request.or(memory_request),
        memory_limit: own.memory_limit.or(memory_limit.filter(|_| bounded(|a| a.memory_limit))),
    }
}

fn pod_amount(pod: &Pod, part: fn(&Amounts) -> Option<i64>) -> Option<i64> {
    let of = |container: &Container| part(&amounts(container.resources.as_ref()));
    let add = |a: Option<i64>, b: Option<i64>| {
        if a.is_none() && b.is_none() { None } else { Some(a.unwrap_or(0) + b.unwrap_or(0)) }
    };
    let mut sum = pod.containers().iter().map(of).fold(None, add);
    let (mut sidecars, mut peak) = (None, None);
    for container in pod.init_containers() {
        let amount = of(container);
        if is_sidecar(container) {
            sidecars = add(sidecars, amount);
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(if amount.is_some() { add(sidecars, amount) } else { None });
        }
    }
    sum = add(sum, sidecars);
    sum.max(peak)
}

/// The kernel's limits of a container.
#[must_use]
pub fn of_container(
    pod: &Pod,
    container: &Container,
    memory_capacity: i64,
    enforce_quota: bool,
    period: i64,
) -> v1::LinuxContainerResources {
    let own = amounts(container.resources.as_ref());
    let request = match (own.cpu_request, own.cpu_limit) {
        (None | Some(0), Some(limit)) => limit,
        (request, _) => request.unwrap_or(0),
    };
    v1::LinuxContainerResources {
        cpu_shares: shares(request),
        cpu_period: if enforce_quota { period } else { 0 },
        cpu_quota: if enforce_quota { quota(own.cpu_limit.unwrap_or(0), period) } else { 0 },
        memory_limit_in_bytes: own.memory_limit.unwrap_or(0),
        oom_score_adj: oom_score(pod, container, memory_capacity),
        ..Default::default()
    }
}

/// The kernel's limits of a whole pod, told to the runtime with the sandbox.
#[must_use]
pub fn of_sandbox(pod: &Pod, period: i64) -> v1::LinuxContainerResources {
    let sum = of_pod(pod);
    v1::LinuxContainerResources {
        cpu_shares: shares(sum.cpu_request.or(sum.cpu_limit).unwrap_or(0)),
        cpu_period: period,
        cpu_quota: quota(sum.cpu_limit.unwrap_or(0), period),
        memory_limit_in_bytes: sum.memory_limit.unwrap_or(0),
        ..Default::default()
    }
}

/// How early the kernel kills a container when memory runs out: -997 last, 1000 first.
#[must_use]
pub fn oom_score(pod: &Pod, container: &Container, memory_capacity: i64) -> i64 {
    const GUARANTEED: i64 = -997;
    if pod.spec().priority.is_some_and(|priority| priority >= 2_000_001_000) {
        return GUARANTEED;
    }
    match qos(pod) {
        Qos::Guaranteed => GUARANTEED,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let own = amounts(container.resources.as_ref());
            let request = own.memory_request.or(own.memory_limit).unwrap_or(0);
            let score = 1000 - 1000 * request / memory_capacity.max(1);
            if score < 1000 + GUARANTEED {
                1000 + GUARANTEED
            } else if score == 1000 {
                999
            } else {
                score
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(containers: serde_json::Value, inits: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"spec": {"containers": containers, "initContainers": inits}})).unwrap()
    }

    fn resources(cpu: &str, memory: &str) -> serde_json::Value {
        json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}})
    }

    #[test]
    fn classes() {
        let one = |resources: serde_json::Value| {
            qos(&pod(json!([{"name": "c", "resources": resources}]), json!([])))
        };
        assert_eq!(one(resources("1", "1Gi")), Qos::Guaranteed);
        assert_eq!(one(json!({})), Qos::BestEffort);
        assert_eq!(one(json!({"requests": {"cpu": "1m"}})), Qos::Burstable);
        assert_eq!(one(json!({"limits": {"cpu": "1", "memory": "1Gi"}})), Qos::Guaranteed);
        assert_eq!(one(json!({"requests": {"ephemeral-storage": "1"}})), Qos::BestEffort);
    }

    #[test]
    fn sums() {
        let both = pod(
            json!([{"name": "a", "resources": resources("100m", "10Mi")}, {"name": "b", "resources": resources("200m", "20Mi")}]),
            json!([{"name": "i", "resources": resources("1", "1Mi")}]),
        );
        let got = of_pod(&both);
        assert_eq!((got.cpu_request, got.memory_limit), (Some(1000), Some(30 << 20)));
        let open =
            pod(json!([{"name": "a", "resources": resources("100m", "10Mi")}, {"name": "b"}]), json!([]));
        assert_eq!((of_pod(&open).cpu_request, of_pod(&open).cpu_limit), (Some(100), None));
    }

    #[test]
    fn kernel_numbers() {
        assert_eq!((shares(0), shares(1), shares(1000)), (2, 2, 1024));
        assert_eq!(
            (quota(0, QUOTA_PERIOD), quota(5, QUOTA_PERIOD), quota(250, QUOTA_PERIOD)),
            (0, 1000, 25_000)
        );
        let burst = pod(json!([{"name": "c", "resources": {"requests": {"memory": "512Mi"}}}]), json!([]));
        assert_eq!(oom_score(&burst, &burst.containers()[0], 1 << 30), 500);
        let none = pod(json!([{"name": "c"}]), json!([]));
        assert_eq!(oom_score(&none, &none.containers()[0], 1 << 30), 1000);
    }
}
