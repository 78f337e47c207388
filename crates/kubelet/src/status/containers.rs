//! The statuses of a pod's containers: the runtime's view merged with what was reported before.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{
    Container as Spec, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, ContainerUser, LinuxContainerUser, Pod, ResourceRequirements,
    VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::pod::plan::should_restart;
use crate::pod::{PodExt, Role, is_sidecar};
use crate::quantity;
use crate::runtime::configs::stop_signal_name;
use crate::runtime::status::{Container, PodRuntime, State};

/// Why containers wait, by name: reason and message.
pub type Reasons = HashMap<String, (String, String)>;

fn waiting(reason: &str, message: &str) -> ContainerState {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let waiting = ContainerStateWaiting { reason: text(reason), message: text(message) };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn terminated(state: ContainerStateTerminated) -> ContainerState {
    ContainerState { terminated: Some(state), ..ContainerState::default() }
}

/// The statuses of the containers of one list of the specification, in its order.
#[must_use]
pub fn statuses(
    pod: &Pod,
    specs: &[Spec],
    role: Role,
    runtime: &PodRuntime,
    old: &[ContainerStatus],
    reasons: &Reasons,
) -> Vec<ContainerStatus> {
    specs
        .iter()
        .map(|spec| status(pod, spec, role, runtime, old.iter().find(|old| old.name == spec.name), reasons))
        .collect()
}

fn status(
    pod: &Pod,
    spec: &Spec,
    role: Role,
    runtime: &PodRuntime,
    old: Option<&ContainerStatus>,
    reasons: &Reasons,
) -> ContainerStatus {
    let mut known = runtime.containers.iter().filter(|container| container.name == spec.name);
    let mut status = match known.next() {
        Some(newest) => {
            let mut status = of_runtime(spec, newest, old);
            if let Some(previous) = known.next() {
                status.last_state = Some(state_of(previous, None).0);
            }
            status
        }
        None => of_nothing(pod, spec, role, old),
    };
    if status.volume_mounts.is_none() {
        status.volume_mounts = volume_mounts(spec);
    }
    apply_reason(pod, spec, role, runtime, reasons, &mut status);
    status.last_state.get_or_insert_default();
    status
}

/// No container of that name is in the runtime: it is to come, or was lost.
fn of_nothing(pod: &Pod, spec: &Spec, role: Role, old: Option<&ContainerStatus>) -> ContainerStatus {
    let default = if !pod.init_containers().is_empty() { "PodInitializing" } else { "ContainerCreating" };
    let mut status = ContainerStatus {
        name: spec.name.clone(),
        image: spec.image.clone().unwrap_or_default(),
        state: Some(waiting(default, "")),
        started: (role != Role::Ephemeral).then_some(false),
        ..ContainerStatus::default()
    };
    let Some(old) = old else { return status };
    let old_state = old.state.clone().unwrap_or_default();
    if old_state.terminated.is_some() {
        return old.clone();
    }
    status.restart_count = old.restart_count;
    status.last_state = old.last_state.clone();
    if old_state.running.is_some() && status.last_state.as_ref().is_none_or(|last| last.terminated.is_none())
    {
        status.last_state = Some(terminated(ContainerStateTerminated {
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some(
                "The container could not be located when the pod was deleted.  The container used to be Running"
                    .to_owned(),
            ),
            exit_code: 137,
            ..ContainerStateTerminated::default()
        }));
        if pod.metadata.deletion_timestamp.is_none() {
            status.restart_count += 1;
        }
    }
    status
}

fn of_runtime(spec: &Spec, newest: &Container, old: Option<&ContainerStatus>) -> ContainerStatus {
    let (state, restarts) = state_of(newest, old);
    let mut status = ContainerStatus {
        name: spec.name.clone(),
        image: newest.image.clone(),
        image_id: newest.image_ref.clone(),
        container_id: Some(newest.full_id()),
        restart_count: restarts,
        state: Some(state),
        resources: Some(actual_resources(spec, newest)),
        allocated_resources: spec.resources.as_ref().and_then(|resources| resources.requests.clone()),
        stop_signal: stop_signal_name(newest.stop_signal),
        volume_mounts: old.and_then(|old| old.volume_mounts.clone()),
        ..ContainerStatus::default()
    };
    if let Some(user) = &newest.user {
        let groups = Some(user.supplemental_groups.clone()).filter(|groups| !groups.is_empty());
        let linux = LinuxContainerUser { uid: user.uid, gid: user.gid, supplemental_groups: groups };
        status.user = Some(ContainerUser { linux: Some(linux) });
    }
    if let Some(old) = old {
        let last = old.state.as_ref().filter(|state| state.terminated.is_some());
        let changed = old.container_id != status.container_id;
        status.last_state = match last {
            Some(last) if changed => Some(last.clone()),
            _ => old.last_state.clone(),
        };
    }
    status
}

/// A container's state and its restart count.
fn state_of(container: &Container, old: Option<&ContainerStatus>) -> (ContainerState, i32) {
    let restarts = i32::try_from(container.restart_count).unwrap_or(i32::MAX);
    let time = |at: Option<jiff::Timestamp>| at.map(seconds).map(Time);
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    match container.state {
        State::Running => {
            let running = ContainerStateRunning { started_at: time(container.started_at) };
            (ContainerState { running: Some(running), ..ContainerState::default() }, restarts)
        }
        State::Exited => {
            let ended = ContainerStateTerminated {
                exit_code: container.exit_code,
                reason: text(&container.reason),
                message: text(&container.message),
                started_at: time(container.started_at),
                finished_at: time(container.finished_at),
                container_id: Some(container.full_id()),
                signal: None,
            };
            (terminated(ended), restarts)
        }
        State::Unknown
            if old.is_some_and(|old| old.state.as_ref().is_some_and(|state| state.running.is_some())) =>
        {
            let lost = ContainerStateTerminated {
                reason: Some("ContainerStatusUnknown".to_owned()),
                message: Some("The container could not be located when the pod was terminated".to_owned()),
                exit_code: 137,
                ..ContainerStateTerminated::default()
            };
            (terminated(lost), old.map_or(0, |old| old.restart_count) + 1)
        }
        State::Created | State::Unknown => (waiting("", ""), restarts),
    }
}

/// Times in the API have whole seconds.
#[must_use]
pub fn seconds(at: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// What the container has in fact: its specification with what the runtime set.
fn actual_resources(spec: &Spec, container: &Container) -> ResourceRequirements {
    let mut resources = spec.resources.clone().unwrap_or_default();
    let Some(actual) = container.resources.as_ref().filter(|_| container.state == State::Running) else {
        return resources;
    };
    let set = |list: Option<&mut BTreeMap<String, _>>, name: &str, value| {
        if let Some(list) = list {
            list.insert(name.to_owned(), value);
        }
    };
    if actual.memory_limit_in_bytes > 0 && has(resources.limits.as_ref(), "memory") {
        let old =
            resources.limits.as_ref().and_then(|list| list.get("memory")).and_then(|q| quantity::value(&q.0));
        if old != Some(actual.memory_limit_in_bytes) {
            set(resources.limits.as_mut(), "memory", quantity::from_bytes(actual.memory_limit_in_bytes));
        }
    }
    if actual.cpu_quota > 0 && actual.cpu_period > 0 && has(resources.limits.as_ref(), "cpu") {
        let milli = actual.cpu_quota * 1000 / actual.cpu_period;
        let old =
            resources.limits.as_ref().and_then(|list| list.get("cpu")).and_then(|q| quantity::milli(&q.0));
        if milli > 10 && old != Some(milli) {
            set(resources.limits.as_mut(), "cpu", quantity::from_milli(milli));
        }
    }
    resources
}

fn has<V>(list: Option<&BTreeMap<String, V>>, name: &str) -> bool {
    list.is_some_and(|list| list.contains_key(name))
}

fn volume_mounts(spec: &Spec) -> Option<Vec<VolumeMountStatus>> {
    let mounts = spec.volume_mounts.as_ref().filter(|mounts| !mounts.is_empty())?;
    let one = |mount: &k8s_openapi::api::core::v1::VolumeMount| {
        let recursive =
            if mount.recursive_read_only.as_deref() == Some("Enabled") { "Enabled" } else { "Disabled" };
        VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: mount.read_only.filter(|on| *on),
            recursive_read_only: mount.read_only.filter(|on| *on).map(|_| recursive.to_owned()),
            ..VolumeMountStatus::default()
        }
    };
    Some(mounts.iter().map(one).collect())
}

/// A container that is to be started again waits, for the reason why it was not started yet.
fn apply_reason(
    pod: &Pod,
    spec: &Spec,
    role: Role,
    runtime: &PodRuntime,
    reasons: &Reasons,
    status: &mut ContainerStatus,
) {
    let newest = runtime.container(&spec.name);
    if role == Role::Init {
        if newest.is_some_and(|newest| newest.state == State::Exited && newest.exit_code == 0)
            && !is_sidecar(spec)
        {
            return;
        }
        let created = pod.containers().iter().any(|container| runtime.container(&container.name).is_some());
        let waits = status.state.as_ref().is_some_and(|state| state.waiting.is_some());
        if newest.is_none() && created && waits && !is_sidecar(spec) {
            status.state = Some(terminated(ContainerStateTerminated {
                reason: Some("Completed".to_owned()),
                message: Some("The init container is gone from the runtime; the pod was initialized, so it had completed".to_owned()),
                ..ContainerStateTerminated::default()
            }));
            return;
        }
    }
    if !should_restart(spec, pod, runtime) {
        return;
    }
    let Some((reason, message)) = reasons.get(&spec.name) else { return };
    if status.state.as_ref().is_some_and(|state| state.terminated.is_some()) {
        status.last_state = status.state.take();
    }
    status.state = Some(waiting(reason, message));
}
