//! Resources of running containers that differ from the specification (KEP-1287): what to change in place, what
//! to restart, and what the node cannot give.

use cri::v1;
use k8s_openapi::api::core::v1::{Container as Spec, Pod};

use super::{PodExt, Role, is_sidecar};
use crate::runtime::configs::NodeSettings;
use crate::runtime::resources;
use crate::runtime::status::{Container, PodRuntime, State};

/// A running container whose resources are not those of its specification.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The runtime's id.
    pub id: String,
    /// Name in the pod.
    pub name: String,
    /// Whether the container has to be restarted for it.
    pub restart: bool,
    /// What it is to get.
    pub resources: v1::LinuxContainerResources,
}

/// What to change of a pod's running containers. Those that shrink come first, so that the pod's own limits hold
/// at every step.
#[must_use]
pub fn changes(pod: &Pod, runtime: &PodRuntime, settings: &NodeSettings) -> Vec<Change> {
    let mut changes: Vec<_> = runtime
        .containers
        .iter()
        .filter(|container| container.state == State::Running)
        .filter_map(|container| change(pod, container, settings))
        .collect();
    changes.sort_by_key(|change| (change.resources.cpu_quota, change.resources.memory_limit_in_bytes));
    changes
}

fn change(pod: &Pod, container: &Container, settings: &NodeSettings) -> Option<Change> {
    let (role, spec) = pod.container(&container.name)?;
    let resizable = role == Role::Regular || (role == Role::Init && is_sidecar(&spec));
    let actual = container.resources.as_ref().filter(|_| resizable)?;
    let wanted = resources::of_container(
        pod,
        &spec,
        settings.memory_capacity,
        settings.enforce_quota,
        settings.quota_period,
    );
    // a runtime that does not tell a number leaves it at zero: nothing can be said then
    let cpu = (actual.cpu_shares > 0 && actual.cpu_shares != wanted.cpu_shares)
        || quota(actual.cpu_quota) != quota(wanted.cpu_quota);
    let memory = actual.memory_limit_in_bytes.max(0) != wanted.memory_limit_in_bytes;
    if !cpu && !memory {
        return None;
    }
    let restart = (cpu && restarts(&spec, "cpu")) || (memory && restarts(&spec, "memory"));
    Some(Change { id: container.id.clone(), name: container.name.clone(), restart, resources: wanted })
}

/// No quota is written as zero or as -1.
fn quota(value: i64) -> i64 {
    value.max(0)
}

fn restarts(spec: &Spec, resource: &str) -> bool {
    let mut policies = spec.resize_policy.iter().flatten();
    policies.any(|policy| policy.resource_name == resource && policy.restart_policy == "RestartContainer")
}

/// Gives `pod` the resources that `allocated` has, container by container.
#[must_use]
pub fn with_resources_of(pod: &Pod, allocated: &Pod) -> Pod {
    let mut pod = pod.clone();
    let Some(spec) = &mut pod.spec else { return pod };
    spec.resources.clone_from(&allocated.spec().resources);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        if let Some((_, before)) = allocated.container(&container.name) {
            container.resources.clone_from(&before.resources);
        }
    }
    pod
}

/// Whether two specifications ask for the same resources.
#[must_use]
pub fn same_resources(a: &Pod, b: &Pod) -> bool {
    let of = |pod: &Pod| -> Vec<_> {
        let all = pod.containers().iter().chain(pod.init_containers());
        all.map(|container| (container.name.clone(), resources::amounts(container.resources.as_ref())))
            .collect()
    };
    of(a) == of(b)
        && resources::amounts(a.spec().resources.as_ref()) == resources::amounts(b.spec().resources.as_ref())
}

#[cfg(test)]
mod tests {
    use super::super::plan_tests::{running, sandboxed};
    use super::*;
    use serde_json::json;

    fn pod(cpu: &str, policy: &str) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"uid": "u"}, "spec": {"containers": [{"name": "c", "image": "i",
            "resizePolicy": [{"resourceName": "cpu", "restartPolicy": policy}],
            "resources": {"limits": {"cpu": cpu}, "requests": {"cpu": cpu}}}]}}),
        )
        .unwrap()
    }

    fn settings() -> NodeSettings {
        NodeSettings {
            memory_capacity: 1 << 30,
            enforce_quota: true,
            quota_period: 100_000,
            seccomp_default: false,
            root: String::new(),
        }
    }

    #[test]
    fn finds_what_differs() {
        let mut container = running("c");
        container.resources = Some(v1::LinuxContainerResources {
            cpu_shares: 102,
            cpu_quota: 10_000,
            cpu_period: 100_000,
            ..Default::default()
        });
        let runtime = sandboxed(vec![container]);
        assert_eq!(changes(&pod("100m", "NotRequired"), &runtime, &settings()), []);
        let got = changes(&pod("200m", "NotRequired"), &runtime, &settings());
        assert_eq!(
            (got[0].resources.cpu_quota, got[0].resources.cpu_shares, got[0].restart),
            (20_000, 204, false)
        );
        assert!(changes(&pod("200m", "RestartContainer"), &runtime, &settings())[0].restart);
    }

    #[test]
    fn keeps_what_was_allocated() {
        let (old, new) = (pod("100m", "NotRequired"), pod("9", "NotRequired"));
        assert!(!same_resources(&old, &new));
        assert!(same_resources(&with_resources_of(&new, &old), &old));
    }
}
