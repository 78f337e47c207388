//! What a pod needs next: a pure function of its specification, the runtime's state, probes and the time.
//!
//! It decides; it never talks to the runtime. Termination of the whole pod (deletion, deadline) is not decided
//! here but by the worker, which then stops everything regardless of this plan.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as Spec, Pod};

use super::view::{PodExt, Role, is_sidecar, restarts_after};
use crate::runtime::status::{Container, PodRuntime, State};

/// Outcome of a container's probes as far as restarts go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeVerdict {
    /// `Some(true)` after the startup probe succeeded, `Some(false)` after it failed for good.
    pub startup: Option<bool>,
    /// `Some(false)` if the liveness probe failed for good.
    pub liveness: Option<bool>,
}

/// Why a running container is stopped, where it matters for its grace period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillReason {
    /// Its specification changed.
    Changed,
    /// The startup probe failed.
    Startup,
    /// The liveness probe failed.
    Liveness,
    /// The runtime cannot tell its state.
    Unknown,
}

/// A container to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// The runtime's id.
    pub id: String,
    /// Name in the pod.
    pub name: String,
    /// What the event says.
    pub message: String,
    /// Why.
    pub reason: KillReason,
}

/// A container to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The list that it stands in.
    pub role: Role,
    /// Its index there.
    pub index: usize,
}

/// What to do, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// Stop every container and the sandbox; with `create_sandbox` to begin anew, else because the pod is done.
    pub kill_pod: bool,
    /// Make a sandbox.
    pub create_sandbox: bool,
    /// Number of the sandbox to make.
    pub attempt: u32,
    /// Containers to stop.
    pub kill: Vec<Kill>,
    /// Containers to start, in order.
    pub start: Vec<Start>,
}

impl Actions {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.kill_pod && !self.create_sandbox && self.kill.is_empty() && self.start.is_empty()
    }
}

/// Probe outcomes by container id.
pub type Probes<'a> = &'a dyn Fn(&str) -> ProbeVerdict;

/// Whether a new sandbox is needed, its number, and why, in the words of the pod's condition.
#[must_use]
pub fn sandbox_changed(pod: &Pod, runtime: &PodRuntime) -> Option<(u32, &'static str)> {
    let Some(newest) = runtime.sandboxes.first() else {
        return Some((0, ""));
    };
    let next = newest.attempt + 1;
    let ready = runtime.sandboxes.iter().filter(|sandbox| sandbox.ready).count();
    if ready > 1 {
        return Some((next, "multiple sandboxes are ready"));
    }
    if !newest.ready {
        return Some((next, ""));
    }
    if newest.host_network != pod.host_network() {
        return Some((next, ""));
    }
    if !pod.host_network() && newest.ips.is_empty() {
        return Some((next, "the sandbox has no IP address"));
    }
    None
}

/// Hash of the part of a container's specification whose change restarts it: name and image. The same number as
/// upstream's, so that a container that a Go kubelet started is not taken for changed, and the other way round:
/// FNV-1a of how Go prints the bytes of the JSON.
#[must_use]
pub fn container_hash(container: &Spec) -> u64 {
    let image = container.image.as_deref().unwrap_or_default();
    let json = serde_json::json!({"image": image, "name": container.name}).to_string();
    let json = json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    let bytes: Vec<String> = json.bytes().map(|byte| byte.to_string()).collect();
    let printed = format!("([]uint8)[{}]", bytes.join(" "));
    let fold = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    u64::from(printed.bytes().fold(2_166_136_261u32, fold))
}

fn changed(container: &Spec, status: &Container) -> bool {
    status.hash.is_some_and(|hash| hash != container_hash(container))
}

/// Whether a container that does not run is to be started (again).
#[must_use]
pub fn should_restart(container: &Spec, pod: &Pod, runtime: &PodRuntime) -> bool {
    if pod.metadata.deletion_timestamp.is_some() {
        return false;
    }
    match runtime.container(&container.name) {
        None => true,
        Some(status) => match status.state {
            State::Running => false,
            State::Unknown | State::Created => true,
            State::Exited => restarts_after(container, pod, status.exit_code),
        },
    }
}

/// The actions for a pod that is to run.
#[must_use]
pub fn plan(pod: &Pod, runtime: &PodRuntime, probes: Probes<'_>) -> Actions {
    if let Some((attempt, _)) = sandbox_changed(pod, runtime) {
        return plan_sandbox(pod, runtime, attempt);
    }
    let mut actions =
        Actions { attempt: runtime.sandboxes.first().map_or(0, |s| s.attempt), ..Actions::default() };
    for (index, container) in pod.ephemeral_containers().iter().enumerate() {
        if runtime.container(&container.name).is_none() {
            actions.start.push(Start { role: Role::Ephemeral, index });
        }
    }
    if plan_init(pod, runtime, probes, &mut actions) {
        plan_regular(pod, runtime, probes, &mut actions);
    }
    actions
}

/// A new sandbox: everything starts from the beginning, unless the pod is done.
fn plan_sandbox(pod: &Pod, runtime: &PodRuntime, attempt: u32) -> Actions {
    let mut actions = Actions { kill_pod: true, create_sandbox: true, attempt, ..Actions::default() };
    if pod.restart_policy() == "Never" && attempt != 0 && !runtime.containers.is_empty() {
        actions.create_sandbox = false;
        return actions;
    }
    let succeeded = |name: &str| {
        runtime.container(name).is_some_and(|status| status.state == State::Exited && status.exit_code == 0)
    };
    let policy = |container: &Spec| container.restart_policy.clone();
    let pending = pod.containers().iter().enumerate().filter(|(_, container)| {
        let policy = policy(container).unwrap_or_else(|| pod.restart_policy().to_owned());
        !(policy == "OnFailure" && succeeded(&container.name))
    });
    let start: Vec<_> = pending.map(|(index, _)| Start { role: Role::Regular, index }).collect();
    let created = pod.containers().iter().any(|container| runtime.container(&container.name).is_some());
    if start.is_empty() && created {
        actions.create_sandbox = false;
    } else if pod.init_containers().is_empty() {
        actions.start = start;
    } else {
        actions.start = vec![Start { role: Role::Init, index: 0 }];
    }
    actions
}

/// Init containers, in order. True once the regular containers may run.
fn plan_init(pod: &Pod, runtime: &PodRuntime, probes: Probes<'_>, actions: &mut Actions) -> bool {
    let inits = pod.init_containers();
    if inits.is_empty() {
        return true;
    }
    let initialized = any_regular_active(pod, runtime);
    // the last one that was begun in this sandbox tells how far the pod is: those before it are done
    let reached = inits.iter().rposition(|container| runtime.active(&container.name).is_some());
    let Some(reached) = reached else {
        if initialized {
            restart_sidecars(pod, runtime, probes, inits.len(), actions);
        } else {
            actions.start.push(Start { role: Role::Init, index: 0 });
        }
        return initialized;
    };
    if initialized {
        restart_sidecars(pod, runtime, probes, inits.len(), actions);
        return true;
    }
    restart_sidecars(pod, runtime, probes, reached, actions);
    match init_progress(pod, runtime, probes, reached, actions) {
        Progress::Done if reached + 1 == inits.len() => true,
        Progress::Done => {
            actions.start.push(Start { role: Role::Init, index: reached + 1 });
            false
        }
        Progress::Waiting => false,
        Progress::Failed => {
            actions.kill_pod = true;
            actions.start.clear();
            false
        }
    }
}

/// Whether a regular container of the newest sandbox was ever started.
#[must_use]
pub fn any_regular_active(pod: &Pod, runtime: &PodRuntime) -> bool {
    pod.containers().iter().any(|container| {
        runtime.active(&container.name).is_some_and(|status| {
            matches!(status.state, State::Running | State::Exited) || status.state == State::Unknown
        })
    })
}

enum Progress {
    Done,
    Waiting,
    Failed,
}

/// How the newest init container is doing; pushes its restart if it needs one.
fn init_progress(
    pod: &Pod,
    runtime: &PodRuntime,
    probes: Probes<'_>,
    index: usize,
    actions: &mut Actions,
) -> Progress {
    let container = &pod.init_containers()[index];
    let Some(status) = runtime.active(&container.name) else { return Progress::Waiting };
    if is_sidecar(container) {
        return sidecar(container, status, index, probes, actions);
    }
    match status.state {
        State::Running => Progress::Waiting,
        State::Created => restart(index, actions),
        State::Exited if status.exit_code == 0 => Progress::Done,
        State::Exited if restarts_after(container, pod, status.exit_code) => restart(index, actions),
        State::Unknown if pod.restart_policy() != "Never" => {
            actions.kill.push(unknown_state("Init container", status));
            restart(index, actions)
        }
        State::Exited | State::Unknown => Progress::Failed,
    }
}

fn restart(index: usize, actions: &mut Actions) -> Progress {
    actions.start.push(Start { role: Role::Init, index });
    Progress::Waiting
}

fn unknown_state(kind: &str, status: &Container) -> Kill {
    let message = format!("{kind} is in {:?} state, try killing it before restart", status.state.name());
    Kill { id: status.id.clone(), name: status.name.clone(), message, reason: KillReason::Unknown }
}

/// Keeps the sidecars before `end` running.
fn restart_sidecars(pod: &Pod, runtime: &PodRuntime, probes: Probes<'_>, end: usize, actions: &mut Actions) {
    for (index, container) in pod.init_containers()[..end].iter().enumerate() {
        if !is_sidecar(container) {
            continue;
        }
        match runtime.active(&container.name) {
            None => actions.start.push(Start { role: Role::Init, index }),
            Some(status) => {
                let _ = sidecar(container, status, index, probes, actions);
            }
        }
    }
}

/// A sidecar is done as soon as it has started up; it is restarted whenever it ends.
fn sidecar(
    container: &Spec,
    status: &Container,
    index: usize,
    probes: Probes<'_>,
    actions: &mut Actions,
) -> Progress {
    let verdict = probes(&status.id);
    let mut kill = |what: &str, reason: KillReason| {
        let message = format!("Init container {} {what}", container.name);
        actions.kill.push(Kill { id: status.id.clone(), name: container.name.clone(), message, reason });
        actions.start.push(Start { role: Role::Init, index });
    };
    match status.state {
        State::Running if container.startup_probe.is_some() && verdict.startup != Some(true) => {
            if verdict.startup == Some(false) {
                kill("failed startup probe", KillReason::Startup);
            }
            Progress::Waiting
        }
        State::Running => {
            if changed(container, status) {
                kill("definition changed", KillReason::Changed);
            } else if verdict.liveness == Some(false) {
                kill("failed liveness probe", KillReason::Liveness);
            }
            Progress::Done
        }
        State::Unknown => {
            actions.kill.push(unknown_state("Init container", status));
            restart(index, actions)
        }
        State::Created | State::Exited => restart(index, actions),
    }
}

/// Regular containers: started, restarted or kept; a pod in which none is left to run is stopped.
fn plan_regular(pod: &Pod, runtime: &PodRuntime, probes: Probes<'_>, actions: &mut Actions) {
    let mut keep = 0;
    for (index, container) in pod.containers().iter().enumerate() {
        let start = Start { role: Role::Regular, index };
        let status = runtime.container(&container.name).filter(|status| status.state == State::Running);
        let Some(status) = status else {
            if should_restart(container, pod, runtime) {
                actions.start.push(start);
                if let Some(unknown) =
                    runtime.container(&container.name).filter(|s| s.state == State::Unknown)
                {
                    actions.kill.push(unknown_state("Container", unknown));
                }
            }
            continue;
        };
        match running_verdict(container, status, probes) {
            None => keep += 1,
            Some((message, reason)) => {
                let policy = container.restart_policy.as_deref().unwrap_or(pod.restart_policy());
                let again = reason == KillReason::Changed || policy != "Never";
                let message = if again { format!("{message}, will be restarted") } else { message };
                if again {
                    actions.start.push(start);
                }
                actions.kill.push(Kill {
                    id: status.id.clone(),
                    name: container.name.clone(),
                    message,
                    reason,
                });
            }
        }
    }
    if keep == 0 && !actions.start.iter().any(|start| start.role == Role::Regular) {
        actions.kill_pod = true;
        actions.start.retain(|start| start.role != Role::Init);
    }
}

/// Why a running container must be stopped, if it must.
fn running_verdict(container: &Spec, status: &Container, probes: Probes<'_>) -> Option<(String, KillReason)> {
    let verdict = probes(&status.id);
    let (what, reason) = if changed(container, status) {
        ("definition changed", KillReason::Changed)
    } else if verdict.liveness == Some(false) {
        ("failed liveness probe", KillReason::Liveness)
    } else if verdict.startup == Some(false) {
        ("failed startup probe", KillReason::Startup)
    } else {
        return None;
    };
    Some((format!("Container {} {what}", container.name), reason))
}

/// Restart back-off of a pod's containers: doubles from `initial` to `max`, forgotten after twice `max` of peace.
#[derive(Clone, Debug)]
pub struct Backoffs {
    initial: Duration,
    max: Duration,
    entries: HashMap<(String, u64), (Duration, Timestamp)>,
}

impl Backoffs {
    /// The back-off begins at `initial` and grows to `max`.
    #[must_use]
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self { initial: initial.min(max), max, entries: HashMap::new() }
    }

    /// Asks to restart a container that ended at `ended`. `Err` gives the back-off and when it is over;
    /// `Ok` counts the restart.
    ///
    /// # Errors
    /// The current back-off and its end.
    pub fn restart(
        &mut self,
        container: &Spec,
        ended: Timestamp,
        now: Timestamp,
    ) -> Result<(), (Duration, Timestamp)> {
        let key = (container.name.clone(), container_hash(container));
        let peace = self.max * 2;
        let entry = self.entries.get(&key).copied();
        if let Some((delay, since)) = entry {
            let expired = span(since, ended) > peace;
            if !expired && span(ended, now) < delay {
                return Err((delay, ended + delay));
            }
            let next = if expired { self.initial } else { (delay * 2).min(self.max) };
            self.entries.insert(key, (next, now));
        } else {
            self.entries.insert(key, (self.initial, now));
        }
        Ok(())
    }
}

/// Time from `earlier` to `later`, zero if it is negative.
fn span(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}
