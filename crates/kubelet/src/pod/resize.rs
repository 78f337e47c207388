//! Resources of running containers that differ from the specification (KEP-1287): what to change in place, what
//! to restart, and what the node cannot give.

use std::collections::HashMap;

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
pub fn changes(
    pod: &Pod,
    runtime: &PodRuntime,
    requested: &Requested,
    settings: &NodeSettings,
) -> Vec<Change> {
    let mut changes: Vec<_> = runtime
        .containers
        .iter()
        .filter(|container| container.state == State::Running)
        .filter_map(|container| change(pod, container, requested, settings))
        .collect();
    changes.sort_by_key(|change| (change.resources.cpu_quota, change.resources.memory_limit_in_bytes));
    changes
}

/// The memory that running containers requested when they were started, by the runtime's ids: the runtime is not told
/// it. Not known of containers that an earlier kubelet started: those have what they have.
#[derive(Clone, Debug, Default)]
pub struct Requested(HashMap<String, Option<i64>>);

impl Requested {
    /// Takes note of new containers, forgets those that are gone, and of a container that need not be restarted for
    /// it takes what it requests now.
    pub fn note(&mut self, pod: &Pod, runtime: &PodRuntime) {
        let running = |container: &&Container| container.state == State::Running;
        let running: Vec<&Container> = runtime.containers.iter().filter(running).collect();
        self.0.retain(|id, _| running.iter().any(|container| container.id == *id));
        for container in running {
            let Some((_, spec)) = pod.container(&container.name) else { continue };
            let now = memory_request(&spec);
            let known = self.0.entry(container.id.clone()).or_insert(now);
            if !restarts(&spec, "memory") {
                *known = now;
            }
        }
    }

    fn differs(&self, id: &str, spec: &Spec) -> bool {
        self.0.get(id).is_some_and(|known| *known != memory_request(spec))
    }
}

fn memory_request(spec: &Spec) -> Option<i64> {
    resources::amounts(spec.resources.as_ref()).memory_request
}

fn change(
    pod: &Pod,
    container: &Container,
    requested: &Requested,
    settings: &NodeSettings,
) -> Option<Change> {
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
    let memory = actual.memory_limit_in_bytes.max(0) != wanted.memory_limit_in_bytes
        || requested.differs(&container.id, &spec);
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
        let none = Requested::default();
        assert_eq!(changes(&pod("100m", "NotRequired"), &runtime, &none, &settings()), []);
        let got = changes(&pod("200m", "NotRequired"), &runtime, &none, &settings());
        assert_eq!(
            (got[0].resources.cpu_quota, got[0].resources.cpu_shares, got[0].restart),
            (20_000, 204, false)
        );
        assert!(changes(&pod("200m", "RestartContainer"), &runtime, &none, &settings())[0].restart);
    }

    #[test]
    fn a_request_of_memory_is_a_change_where_it_restarts() {
        let pod = |request: &str, policy: &str| -> Pod {
            let policies = json!([{"resourceName": "memory", "restartPolicy": policy}]);
            let container = json!({"name": "c", "image": "i", "resizePolicy": policies,
                "resources": {"requests": {"memory": request}}});
            serde_json::from_value(json!({"metadata": {"uid": "u"}, "spec": {"containers": [container]}}))
                .unwrap()
        };
        let mut container = running("c");
        container.resources = Some(v1::LinuxContainerResources::default());
        let runtime = sandboxed(vec![container]);
        for (policy, restarts) in [("RestartContainer", true), ("NotRequired", false)] {
            let mut requested = Requested::default();
            requested.note(&pod("1Mi", policy), &runtime);
            assert_eq!(changes(&pod("1Mi", policy), &runtime, &requested, &settings()), []);
            requested.note(&pod("2Mi", policy), &runtime);
            let got = changes(&pod("2Mi", policy), &runtime, &requested, &settings());
            assert_eq!(got.iter().any(|change| change.restart), restarts, "{policy}");
        }
    }

    #[test]
    fn keeps_what_was_allocated() {
        let (old, new) = (pod("100m", "NotRequired"), pod("9", "NotRequired"));
        assert!(!same_resources(&old, &new));
        assert!(same_resources(&with_resources_of(&new, &old), &old));
    }
}
