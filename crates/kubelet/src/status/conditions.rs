//! The conditions that the kubelet owns.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::containers::seconds;
use crate::admission::Rejection;
use crate::pod::plan::sandbox_changed;
use crate::pod::{PodExt, is_sidecar};
use crate::runtime::status::PodRuntime;

/// Conditions that only the kubelet writes.
pub const OWNED: [&str; 7] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    RESIZE_PENDING,
    "PodResizeInProgress",
];

fn condition(kind: &str, status: bool, reason: &str, message: String) -> PodCondition {
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    PodCondition {
        type_: kind.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: text(reason.to_owned()),
        message: text(message),
        ..PodCondition::default()
    }
}

/// Names as Go prints a slice of them.
fn names(list: &[&str]) -> String {
    format!("[{}]", list.join(" "))
}

fn find<'a>(statuses: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    statuses.iter().find(|status| status.name == name)
}

fn messages(unknown: &[&str], known: &[&str], what: &str) -> String {
    let mut parts = Vec::new();
    if !unknown.is_empty() {
        parts.push(format!("containers with unknown status: {}", names(unknown)));
    }
    if !known.is_empty() {
        parts.push(format!("containers with {what} status: {}", names(known)));
    }
    parts.join(", ")
}

/// `ContainersReady`
#[must_use]
pub fn containers_ready(pod: &Pod, statuses: &[ContainerStatus], phase: &str) -> PodCondition {
    const KIND: &str = "ContainersReady";
    if statuses.is_empty() {
        return condition(KIND, false, "UnknownContainerStatuses", String::new());
    }
    let sidecars = pod.init_containers().iter().filter(|container| is_sidecar(container));
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    for container in sidecars.chain(pod.containers()) {
        match find(statuses, &container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) if !status.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return condition(KIND, false, "PodCompleted", String::new());
    }
    if phase == "Failed" {
        return condition(KIND, false, "PodFailed", String::new());
    }
    let message = messages(&unknown, &unready, "unready");
    let ready = message.is_empty();
    condition(KIND, ready, if ready { "" } else { "ContainersNotReady" }, message)
}

/// `Ready`: the containers, and every readiness gate.
#[must_use]
pub fn ready(pod: &Pod, others: &[PodCondition], containers_ready: &PodCondition) -> PodCondition {
    if containers_ready.status != "True" {
        return PodCondition { type_: "Ready".to_owned(), ..containers_ready.clone() };
    }
    let mut unready = Vec::new();
    for gate in pod.spec().readiness_gates.iter().flatten() {
        let kind = &gate.condition_type;
        match others.iter().find(|condition| condition.type_ == *kind) {
            None => unready
                .push(format!("corresponding condition of pod readiness gate {kind:?} does not exist.")),
            Some(condition) if condition.status != "True" => unready.push(format!(
                "the status of pod readiness gate {kind:?} is not \"True\", but {}",
                condition.status
            )),
            Some(_) => {}
        }
    }
    let ready = unready.is_empty();
    condition("Ready", ready, if ready { "" } else { "ReadinessGatesNotReady" }, unready.join(", "))
}

/// `Initialized`
#[must_use]
pub fn initialized(
    pod: &Pod,
    old: &[PodCondition],
    statuses: &[ContainerStatus],
    phase: &str,
) -> PodCondition {
    const KIND: &str = "Initialized";
    if statuses.is_empty() && !pod.init_containers().is_empty() {
        return condition(KIND, false, "UnknownContainerStatuses", String::new());
    }
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for container in pod.init_containers() {
        let Some(status) = find(statuses, &container.name) else {
            unknown.push(container.name.as_str());
            continue;
        };
        let done = if is_sidecar(container) { status.started == Some(true) } else { status.ready };
        if !done {
            incomplete.push(container.name.as_str());
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return condition(KIND, true, "PodCompleted", String::new());
    }
    let ran = |status: &ContainerStatus| {
        let ended = |state: Option<&k8s_openapi::api::core::v1::ContainerState>| {
            state.is_some_and(|s| s.terminated.is_some())
        };
        status.state.as_ref().is_some_and(|state| state.running.is_some())
            || ended(status.state.as_ref())
            || ended(status.last_state.as_ref())
    };
    let was = old.iter().any(|condition| condition.type_ == KIND && condition.status == "True");
    if was || pod.containers().iter().any(|container| find(statuses, &container.name).is_some_and(ran)) {
        return condition(KIND, true, "", String::new());
    }
    let message = messages(&unknown, &incomplete, "incomplete");
    let done = message.is_empty();
    condition(KIND, done, if done { "" } else { "ContainersNotInitialized" }, message)
}

/// `PodReadyToStartContainers`: the sandbox is up and has its network.
#[must_use]
pub fn ready_to_start(pod: &Pod, runtime: &PodRuntime) -> PodCondition {
    const KIND: &str = "PodReadyToStartContainers";
    match sandbox_changed(pod, runtime) {
        None => condition(KIND, true, "", String::new()),
        Some((_, why)) => condition(KIND, false, "PodSandboxNotReady", why.to_owned()),
    }
}

const RESIZE_PENDING: &str = "PodResizePending";

/// `PodResizePending`: there while the node does not give the resources that are asked for.
pub fn set_resize_pending(status: &mut PodStatus, why: Option<&Rejection>, generation: Option<i64>) {
    let conditions = status.conditions.get_or_insert_default();
    let before = conditions
        .iter()
        .position(|condition| condition.type_ == RESIZE_PENDING)
        .map(|at| conditions.remove(at));
    let Some(why) = why else { return };
    let mut pending = condition(RESIZE_PENDING, true, &why.reason, why.message.clone());
    pending.observed_generation = generation;
    let since = before.and_then(|before| before.last_transition_time);
    pending.last_transition_time = since.or_else(|| Some(Time(seconds(jiff::Timestamp::now()))));
    conditions.push(pending);
}

/// `PodScheduled`
#[must_use]
pub fn scheduled() -> PodCondition {
    condition("PodScheduled", true, "", String::new())
}

/// The node ended the pod for its own sake.
pub fn set_disruption(status: &mut PodStatus, message: &str, generation: Option<i64>) {
    let list = status.conditions.get_or_insert_default();
    list.retain(|condition| condition.type_ != "DisruptionTarget");
    list.push(PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some("TerminationByKubelet".to_owned()),
        message: Some(message.to_owned()),
        observed_generation: generation,
        last_transition_time: Some(Time(crate::status::containers::seconds(jiff::Timestamp::now()))),
        ..PodCondition::default()
    });
}
