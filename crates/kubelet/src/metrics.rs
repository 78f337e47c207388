//! The kubelet's own metrics, by upstream's names. What pods use is told in `server::stats`, not here.

use std::time::Duration;

use component_base::metrics::{CounterVec, HistogramVec};

use crate::pod::Role;

/// Upstream's word for a container's list.
fn container_type(role: Role) -> &'static str {
    match role {
        Role::Regular => "container",
        Role::Init => "init_container",
        Role::Ephemeral => "ephemeral_container",
    }
}

/// A container was started.
pub fn container_started(role: Role) {
    let help = "Cumulative number of containers started";
    CounterVec::new("kubelet_started_containers_total", help, &["container_type"])
        .with(&[container_type(role)])
        .inc();
}

/// A container has ended.
pub fn container_terminated(role: Role, exit_code: i32, reason: &str) {
    let labels = ["container_type", "exit_code", "reason"];
    let help = "Cumulative number of container terminations.";
    CounterVec::new("kubelet_terminated_containers_total", help, &labels)
        .with(&[container_type(role), &exit_code.to_string(), reason])
        .inc();
}

/// A pod's sandbox is made; `failed`: it could not be.
pub fn pod_started(failed: bool) {
    count("kubelet_started_pods_total", "Cumulative number of pods started", true);
    count("kubelet_started_pods_errors_total", "Cumulative number of errors when starting pods", failed);
}

/// A pod with users of its own was begun; `failed`: something of it could not be started.
pub fn user_namespaced_pod_started(failed: bool) {
    let help = "Cumulative number of pods with user namespaces started. This metric will only be collected on Linux.";
    count("kubelet_started_user_namespaced_pods_total", help, true);
    let help = "Cumulative number of errors when starting pods with user namespaces. This metric will only be \
                collected on Linux.";
    count("kubelet_started_user_namespaced_pods_errors_total", help, failed);
}

fn count(name: &str, help: &str, one: bool) {
    component_base::metrics::counter(name, help, &[]).add(u64::from(one));
}

/// Upstream's name of a call to the runtime.
fn operation(call: &str) -> String {
    match call {
        "RunPodSandbox" => "run_podsandbox".to_owned(),
        "StopPodSandbox" => "stop_podsandbox".to_owned(),
        "RemovePodSandbox" => "remove_podsandbox".to_owned(),
        "PodSandboxStatus" => "podsandbox_status".to_owned(),
        "ListPodSandbox" => "list_podsandbox".to_owned(),
        "ImageFsInfo" => "image_fs_info".to_owned(),
        other => {
            let mut name = String::new();
            for letter in other.chars() {
                if letter.is_ascii_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.push(letter.to_ascii_lowercase());
            }
            name
        }
    }
}

/// Counts calls to the runtime, their errors and their seconds.
#[must_use]
pub fn runtime_operations() -> cri::Observer {
    let labels = ["operation_type"];
    let count = CounterVec::new(
        "kubelet_runtime_operations_total",
        "Calls to the container runtime by operation.",
        &labels,
    );
    let errors = CounterVec::new(
        "kubelet_runtime_operations_errors_total",
        "Failed calls to the container runtime by operation.",
        &labels,
    );
    let bounds = component_base::metrics::exponential_buckets(0.005, 2.5, 14);
    let seconds = HistogramVec::new(
        "kubelet_runtime_operations_duration_seconds",
        "Duration of calls to the container runtime by operation.",
        &labels,
        &bounds,
    );
    std::sync::Arc::new(move |call: &'static str, took: Duration, failed: bool| {
        let name = operation(call);
        count.with(&[&name]).inc();
        seconds.with(&[&name]).observe(took.as_secs_f64());
        if failed {
            errors.with(&[&name]).inc();
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_upstreams_names() {
        for (call, name) in [
            ("RunPodSandbox", "run_podsandbox"),
            ("CreateContainer", "create_container"),
            ("ExecSync", "exec_sync"),
            ("ListContainers", "list_containers"),
        ] {
            assert_eq!(operation(call), name);
        }
    }
}
