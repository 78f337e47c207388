//! Stopping containers and pods: hooks, grace periods, and what is left in the runtime.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container as Spec, LifecycleHandler, Pod};

use super::plan::KillReason;
use super::{PodExt, is_sidecar};
use crate::context::Context;
use crate::events;
use crate::probes::check::{self, Action, Outcome};
use crate::runtime::status::{Container, PodRuntime, State};

/// Containers always get this long between their stop signal and the kill.
const LEAST_GRACE: i64 = 2;

/// The grace period of one container, in seconds. Pure.
#[must_use]
pub fn grace(
    pod: &Pod,
    spec: Option<&Spec>,
    container: &Container,
    reason: Option<KillReason>,
    override_: Option<i64>,
) -> i64 {
    if let Some(seconds) = override_ {
        return seconds.max(0);
    }
    let of_probe = spec.and_then(|spec| match reason {
        Some(KillReason::Liveness) => spec.liveness_probe.as_ref(),
        Some(KillReason::Startup) => spec.startup_probe.as_ref(),
        _ => None,
    });
    let own = of_probe.and_then(|probe| probe.termination_grace_period_seconds);
    let deletion = pod.metadata.deletion_grace_period_seconds;
    own.or(deletion).or(pod.spec().termination_grace_period_seconds).or(container.grace_period).unwrap_or(30)
}

/// Stops one container: its pre-stop hook, then its signal, then the kill.
pub async fn container(
    cx: &Context,
    pod: &Arc<Pod>,
    container: &Container,
    reason: Option<KillReason>,
    message: &str,
    override_: Option<i64>,
) -> Result<(), cri::Error> {
    let found = pod.container(&container.name);
    let spec = found.as_ref().map(|(_, spec)| spec.as_ref());
    let path = events::container_path(pod, &container.name);
    let message = if message.is_empty() {
        format!("Stopping container {}", container.name)
    } else {
        message.to_owned()
    };
    cx.events.emit(pod, events::Kind::Normal, "Killing", &message, &path);
    let began = Instant::now();
    let grace = grace(pod, spec, container, reason, override_);
    let of_spec =
        spec.and_then(|spec| spec.lifecycle.as_ref()).and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    let hook = of_spec.or(container.pre_stop.as_ref());
    if let (Some(hook), true) = (hook, grace > 0 && container.state == State::Running) {
        pre_stop(cx, pod, spec, container, hook, grace, &path).await;
    }
    let spent = i64::try_from(began.elapsed().as_secs()).unwrap_or(i64::MAX);
    let left = Duration::from_secs(u64::try_from((grace - spent).max(LEAST_GRACE)).unwrap_or(0));
    match cx.runtime.stop_container(&container.id, left).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

async fn pre_stop(
    cx: &Context,
    pod: &Pod,
    spec: Option<&Spec>,
    container: &Container,
    hook: &LifecycleHandler,
    grace: i64,
    path: &str,
) {
    let empty = Spec::default();
    let limit = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
    let action = Action::of_hook(hook);
    let ip = cx.pod_ip(pod);
    let run = check::run(&cx.runtime, spec.unwrap_or(&empty), &container.id, &ip, &action, limit);
    let failure = match tokio::time::timeout(limit, run).await {
        Ok(Outcome::Success | Outcome::Warning(_)) => return,
        Ok(Outcome::Failure(text) | Outcome::Error(text)) => text,
        Err(_) => return,
    };
    tracing::info!(pod = pod.shown(), container = container.name, failure, "pre-stop hook");
    cx.events.emit(pod, events::Kind::Warning, "FailedPreStopHook", "PreStopHook failed", path);
}

/// Stops every container of a pod, sidecars after the others in reverse order, then its sandboxes.
///
/// # Errors
/// The first thing that could not be stopped.
pub async fn pod(
    cx: &Context,
    pod: &Arc<Pod>,
    runtime: &PodRuntime,
    override_: Option<i64>,
) -> Result<(), cri::Error> {
    let began = Instant::now();
    let (mut stops, mut sidecars) = (Vec::new(), Vec::new());
    for one in runtime.running() {
        match sidecar_index(pod, &one.name) {
            Some(index) => sidecars.push((index, one)),
            None => stops.push(container(cx, pod, one, None, "", override_)),
        }
    }
    let results = join_all(stops).await;
    sidecars.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
    for (_, sidecar) in sidecars {
        let total = override_.unwrap_or_else(|| {
            pod.metadata.deletion_grace_period_seconds.unwrap_or_else(|| pod.grace_period())
        });
        let left = total - i64::try_from(began.elapsed().as_secs()).unwrap_or(i64::MAX);
        container(cx, pod, sidecar, None, "", Some(left.max(LEAST_GRACE))).await?;
    }
    results.into_iter().collect::<Result<Vec<_>, _>>()?;
    for sandbox in &runtime.sandboxes {
        if sandbox.ready || !sandbox.ips.is_empty() {
            stop_sandbox(cx, &sandbox.id).await?;
        }
    }
    Ok(())
}

/// Where a container stands among the init containers, if it is a sidecar.
fn sidecar_index(pod: &Pod, name: &str) -> Option<usize> {
    pod.init_containers().iter().position(|spec| spec.name == name && is_sidecar(spec))
}

async fn stop_sandbox(cx: &Context, id: &str) -> Result<(), cri::Error> {
    match cx.runtime.stop_pod_sandbox(id).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// Removes a pod's containers and sandboxes from the runtime, with the links to its logs.
///
/// # Errors
/// What the runtime said.
pub async fn remove(
    cx: &Context,
    namespace: &str,
    name: &str,
    runtime: &PodRuntime,
) -> Result<(), cri::Error> {
    for container in &runtime.containers {
        remove_container(cx, namespace, name, container).await?;
    }
    for sandbox in &runtime.sandboxes {
        stop_sandbox(cx, &sandbox.id).await?;
        match cx.runtime.remove_pod_sandbox(&sandbox.id).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Removes a dead container with its log.
///
/// # Errors
/// What the runtime said.
pub async fn remove_container(
    cx: &Context,
    namespace: &str,
    pod: &str,
    container: &Container,
) -> Result<(), cri::Error> {
    let link = cx.paths.log_link(namespace, pod, &container.name, &container.id);
    let _ = std::fs::remove_file(link);
    if !container.log_path.is_empty() {
        let _ = std::fs::remove_file(&container.log_path);
    }
    match cx.runtime.remove_container(&container.id).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
