//! The phase of a pod out of its containers' states.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};

use crate::pod::view::restarts_after;
use crate::pod::{PodExt, is_sidecar};

enum Now {
    Running,
    Ended(i32),
    /// Waiting, after having run and ended with a code.
    Between(i32),
    Waiting,
    Unknown,
}

fn now(statuses: &[ContainerStatus], name: &str) -> (Now, bool) {
    let Some(status) = statuses.iter().find(|status| status.name == name) else {
        return (Now::Unknown, false);
    };
    let started = status.started == Some(true);
    let state = status.state.clone().unwrap_or_default();
    let now = if state.running.is_some() {
        Now::Running
    } else if let Some(ended) = state.terminated {
        Now::Ended(ended.exit_code)
    } else if state.waiting.is_some() {
        match status.last_state.as_ref().and_then(|last| last.terminated.as_ref()) {
            Some(last) => Now::Between(last.exit_code),
            None => Now::Waiting,
        }
    } else {
        Now::Unknown
    };
    (now, started)
}

#[derive(Default)]
struct Count {
    unknown: usize,
    running: usize,
    waiting: usize,
    stopped: usize,
    final_stops: usize,
    succeeded: usize,
    pending_sidecars: usize,
}

/// The phase. `terminal`: the pod is being ended for good; `initialized`: a regular container ran in its sandbox.
#[must_use]
pub fn phase(pod: &Pod, statuses: &[ContainerStatus], terminal: bool, initialized: bool) -> &'static str {
    let mut pending_inits = 0;
    for container in pod.init_containers().iter().filter(|container| !is_sidecar(container)) {
        match now(statuses, &container.name).0 {
            Now::Ended(code) | Now::Between(code) if code != 0 => {
                if !restarts_after(container, pod, code) {
                    return "Failed";
                }
            }
            Now::Ended(_) | Now::Between(_) => {}
            Now::Running | Now::Waiting | Now::Unknown => pending_inits += 1,
        }
    }
    let mut count = Count::default();
    for container in pod.init_containers().iter().filter(|container| is_sidecar(container)) {
        count_sidecar(&mut count, statuses, container);
    }
    for container in pod.containers() {
        count_regular(&mut count, statuses, container, pod);
    }
    if pending_inits > 0 || (count.pending_sidecars > 0 && !initialized) || count.waiting > 0 {
        return "Pending";
    }
    if count.running > 0 && count.unknown == 0 {
        return "Running";
    }
    if count.running > 0 || count.stopped == 0 || count.unknown > 0 {
        return "Pending";
    }
    let ended = if count.stopped == count.succeeded { "Succeeded" } else { "Failed" };
    if (terminal && !pod.is_static()) || count.stopped == count.final_stops { ended } else { "Running" }
}

fn count_sidecar(count: &mut Count, statuses: &[ContainerStatus], container: &Container) {
    let (now, started) = now(statuses, &container.name);
    match now {
        Now::Running => {
            count.running += 1;
            count.pending_sidecars += usize::from(!started);
        }
        Now::Ended(_) | Now::Between(_) => {}
        Now::Waiting => {
            count.pending_sidecars += 1;
            count.waiting += 1;
        }
        Now::Unknown => count.unknown += 1,
    }
}

fn count_regular(count: &mut Count, statuses: &[ContainerStatus], container: &Container, pod: &Pod) {
    let (now, _) = now(statuses, &container.name);
    match now {
        Now::Running => count.running += 1,
        Now::Ended(code) => {
            count.stopped += 1;
            count.succeeded += usize::from(code == 0);
            count.final_stops += usize::from(!restarts_after(container, pod, code));
        }
        Now::Between(code) => {
            count.stopped += 1;
            count.final_stops += usize::from(!restarts_after(container, pod, code));
        }
        Now::Waiting => count.waiting += 1,
        Now::Unknown => count.unknown += 1,
    }
}
