//! The whole status of a pod. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::containers::{Reasons, seconds, statuses};
use super::{conditions, phase};
use crate::pod::plan::any_regular_active;
use crate::pod::view::as_container;
use crate::pod::{PodExt, Role, is_sidecar};
use crate::runtime::status::PodRuntime;

/// What the probes say about a running container, by its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether the startup probe succeeded; true without one.
    pub started: bool,
    /// Whether the readiness probe succeeds; true without one.
    pub ready: bool,
}

/// What a status is made of beside the pod.
pub struct Input<'a> {
    /// The runtime's view.
    pub runtime: &'a PodRuntime,
    /// The status that was reported last.
    pub old: &'a PodStatus,
    /// Why containers wait.
    pub reasons: &'a Reasons,
    /// The probes' view.
    pub health: &'a dyn Fn(&Container, &str) -> Health,
    /// Addresses of the node.
    pub host_ips: &'a [String],
    /// Whether the pod is being ended for good.
    pub terminal: bool,
    /// The time.
    pub now: Timestamp,
}

/// The status of a pod.
#[must_use]
pub fn generate(pod: &Pod, input: &Input<'_>) -> PodStatus {
    let api = pod.status.clone().unwrap_or_default();
    let old = input.old;
    let list = |specs: &[Container], role, old: &Option<Vec<ContainerStatus>>| {
        statuses(pod, specs, role, input.runtime, old.as_deref().unwrap_or_default(), input.reasons)
    };
    let mut inits = list(pod.init_containers(), Role::Init, &old.init_container_statuses);
    let mut regular = list(pod.containers(), Role::Regular, &old.container_statuses);
    let ephemeral: Vec<Container> = pod.ephemeral_containers().iter().map(as_container).collect();
    let ephemeral = list(&ephemeral, Role::Ephemeral, &old.ephemeral_container_statuses);
    set_health(pod, input, &mut inits, &mut regular);
    let all: Vec<ContainerStatus> = inits.iter().chain(&regular).cloned().collect();
    let initialized = any_regular_active(pod, input.runtime);
    let mut phase = phase::phase(pod, &all, input.terminal, initialized).to_owned();
    let ended =
        |phase: Option<&String>| phase.filter(|phase| *phase == "Failed" || *phase == "Succeeded").cloned();
    phase = ended(api.phase.as_ref()).or_else(|| ended(old.phase.as_ref())).unwrap_or(phase);
    if phase == "Failed" || phase == "Succeeded" {
        regular.iter_mut().for_each(|status| status.ready = false);
    }
    let all: Vec<ContainerStatus> = inits.iter().chain(&regular).cloned().collect();
    let same = old.phase.as_ref() == Some(&phase);
    let some = |list: Vec<ContainerStatus>| Some(list).filter(|list| !list.is_empty());
    let mut status = PodStatus {
        conditions: Some(all_conditions(pod, input, &api, &all, &phase)),
        reason: if same { old.reason.clone().or(api.reason) } else { None },
        message: if same { old.message.clone().or(api.message) } else { None },
        phase: Some(phase),
        observed_generation: pod.metadata.generation,
        start_time: old.start_time.clone().or(api.start_time).or(Some(Time(seconds(input.now)))),
        init_container_statuses: some(inits),
        container_statuses: some(regular),
        ephemeral_container_statuses: some(ephemeral),
        qos_class: api.qos_class.or_else(|| Some(crate::runtime::resources::qos(pod).name().to_owned())),
        ..PodStatus::default()
    };
    set_addresses(pod, input, &mut status);
    status
}

/// `started` and `ready` of each container.
fn set_health(pod: &Pod, input: &Input<'_>, inits: &mut [ContainerStatus], regular: &mut [ContainerStatus]) {
    let of = |spec: &Container, status: &mut ContainerStatus| {
        let running = status.state.as_ref().is_some_and(|state| state.running.is_some());
        let id = status.container_id.as_deref().and_then(|id| id.split_once("://")).map_or("", |(_, id)| id);
        let health = if running { (input.health)(spec, id) } else { Health::default() };
        status.started = Some(running && health.started);
        status.ready = running && health.started && health.ready;
    };
    for (spec, status) in pod.containers().iter().zip(regular) {
        of(spec, status);
    }
    for (spec, status) in pod.init_containers().iter().zip(inits) {
        if is_sidecar(spec) {
            of(spec, status);
            continue;
        }
        let state = status.state.clone().unwrap_or_default();
        status.ready = state.terminated.is_some_and(|ended| ended.exit_code == 0);
        status.started = Some(state.running.is_some());
    }
}

fn all_conditions(
    pod: &Pod,
    input: &Input<'_>,
    api: &PodStatus,
    all: &[ContainerStatus],
    phase: &str,
) -> Vec<PodCondition> {
    let old = input.old.conditions.as_deref().unwrap_or_default();
    let foreign = api.conditions.iter().flatten().filter(|c| !conditions::OWNED.contains(&c.type_.as_str()));
    let foreign: Vec<PodCondition> = foreign.cloned().collect();
    let containers = conditions::containers_ready(pod, all, phase);
    let owned = [
        conditions::ready_to_start(pod, input.runtime),
        conditions::initialized(pod, old, all, phase),
        conditions::ready(pod, &foreign, &containers),
        containers,
        conditions::scheduled(),
    ];
    let mut out = foreign;
    for mut condition in owned {
        let before = old.iter().chain(api.conditions.iter().flatten()).find(|c| c.type_ == condition.type_);
        let kept = before
            .filter(|before| before.status == condition.status)
            .and_then(|b| b.last_transition_time.clone());
        condition.last_transition_time = kept.or(Some(Time(seconds(input.now))));
        condition.observed_generation = pod.metadata.generation;
        out.push(condition);
    }
    out
}

fn set_addresses(pod: &Pod, input: &Input<'_>, status: &mut PodStatus) {
    status.host_ip = input.host_ips.first().cloned();
    status.host_ips = Some(input.host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect())
        .filter(|ips: &Vec<_>| !ips.is_empty());
    let mut ips: Vec<String> = input.runtime.ips().to_vec();
    if pod.host_network() && ips.is_empty() {
        ips = input.host_ips.to_vec();
    }
    if ips.is_empty() {
        ips = input.old.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect();
    }
    status.pod_ip = ips.first().cloned();
    status.pod_ips =
        Some(ips.into_iter().map(|ip| PodIP { ip }).collect()).filter(|ips: &Vec<_>| !ips.is_empty());
}
