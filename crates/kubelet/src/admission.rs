//! Whether the node takes a pod that was bound to it: resources, ports, affinity, taints, sysctls. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Pod};

use crate::context::NodeFacts;
use crate::pod::PodExt;
use crate::quantity;
use crate::runtime::configs::dotted;
use crate::runtime::resources;

/// Why a pod is refused: reason and message of its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// `OutOfcpu`, `NodeAffinity`, ...
    pub reason: String,
    /// For the user.
    pub message: String,
}

fn reject(reason: &str, message: impl Into<String>) -> Option<Rejection> {
    Some(Rejection { reason: reason.to_owned(), message: message.into() })
}

/// Sysctls that are confined to a pod and cannot harm the node.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// Checks `pod` against the node, which runs `others` already.
#[must_use]
pub fn admit(pod: &Pod, others: &[&Pod], node: &NodeFacts, unsafe_sysctls: &[String]) -> Option<Rejection> {
    system(pod)
        .or_else(|| sysctls(pod, unsafe_sysctls))
        .or_else(|| fits(pod, others, node))
        .or_else(|| affinity(pod, node))
        .or_else(|| ports(pod, others))
        .or_else(|| taints(pod, node))
}

/// A pod of another operating system.
fn system(pod: &Pod) -> Option<Rejection> {
    let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/os"));
    if label.is_some_and(|label| label != "linux") {
        let message = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return reject("PodOSSelectorNodeLabelDoesNotMatch", message);
    }
    match &pod.spec().os {
        Some(os) if os.name != "linux" => {
            reject("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
        }
        _ => None,
    }
}

fn sysctls(pod: &Pod, allowed: &[String]) -> Option<Rejection> {
    let context = pod.spec().security_context.as_ref()?;
    for sysctl in context.sysctls.iter().flatten() {
        let name = dotted(&sysctl.name);
        let listed = |pattern: &String| match dotted(pattern).strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => dotted(pattern) == name,
        };
        if !SAFE_SYSCTLS.contains(&name.as_str()) && !allowed.iter().any(listed) {
            return reject("SysctlForbidden", format!("forbidden sysctl: {:?} not allowlisted", sysctl.name));
        }
    }
    None
}

fn requests(pod: &Pod) -> BTreeMap<String, i64> {
    let mut sum: BTreeMap<String, i64> = BTreeMap::new();
    let whole = resources::of_pod(pod);
    sum.insert("cpu".to_owned(), whole.cpu_request.unwrap_or(0));
    sum.insert("memory".to_owned(), whole.memory_request.unwrap_or(0));
    sum.insert("pods".to_owned(), 1);
    for container in pod.containers() {
        for (name, amount) in container.resources.iter().flat_map(|r| r.requests.iter().flatten()) {
            if name != "cpu" && name != "memory" {
                *sum.entry(name.clone()).or_default() += quantity::value(&amount.0).unwrap_or(0);
            }
        }
    }
    sum
}

fn fits(pod: &Pod, others: &[&Pod], node: &NodeFacts) -> Option<Rejection> {
    let mut used: BTreeMap<String, i64> = BTreeMap::new();
    for other in others {
        for (name, amount) in requests(other) {
            *used.entry(name).or_default() += amount;
        }
    }
    for (name, wanted) in requests(pod).into_iter().filter(|(_, wanted)| *wanted > 0) {
        let capacity = node.allocatable.get(&name);
        // what the node does not know as a resource is the business of whoever handed it out
        let Some(capacity) = capacity else { continue };
        let read = if name == "cpu" { quantity::milli } else { quantity::value };
        let capacity = read(capacity).unwrap_or(0);
        let used = used.get(&name).copied().unwrap_or(0);
        if used + wanted > capacity {
            return reject(
                &format!("OutOf{name}"),
                format!(
                    "Node didn't have enough resource: {name}, requested: {wanted}, used: {used}, capacity: {capacity}"
                ),
            );
        }
    }
    None
}

/// Why a running pod cannot be resized: `Infeasible` if the node is too small, `Deferred` if others are in the way.
#[must_use]
pub fn resize_refusal(pod: &Pod, others: &[&Pod], node: &NodeFacts) -> Option<Rejection> {
    if let Some(refusal) = fits(pod, &[], node) {
        let message = refusal.message.replace("enough resource", "enough capacity").replace("used: 0, ", "");
        return reject("Infeasible", message);
    }
    fits(pod, others, node)
        .map(|refusal| Rejection { reason: "Deferred".to_owned(), message: refusal.message })
}

fn affinity(pod: &Pod, node: &NodeFacts) -> Option<Rejection> {
    let spec = pod.spec();
    let selector =
        spec.node_selector.iter().flatten().all(|(key, value)| node.labels.get(key) == Some(value));
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    let name = node.labels.get("kubernetes.io/hostname").cloned().unwrap_or_default();
    let terms = required
        .is_none_or(|required| required.node_selector_terms.iter().any(|term| matches(term, node, &name)));
    if selector && terms {
        return None;
    }
    reject("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")
}

fn matches(term: &NodeSelectorTerm, node: &NodeFacts, name: &str) -> bool {
    let (labels, fields) = (term.match_expressions.as_deref(), term.match_fields.as_deref());
    let (labels, fields) = (labels.unwrap_or_default(), fields.unwrap_or_default());
    !(labels.is_empty() && fields.is_empty())
        && labels.iter().all(|rule| holds(rule, node.labels.get(&rule.key).map(String::as_str)))
        && fields.iter().all(|rule| holds(rule, (rule.key == "metadata.name").then_some(name)))
}

fn holds(rule: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = rule.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|one| one == value));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let bound = number(values.first().map(String::as_str));
    match rule.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => number(value).zip(bound).is_some_and(|(value, bound)| value > bound),
        "Lt" => number(value).zip(bound).is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

fn host_ports(pod: &Pod) -> Vec<(String, String, i32)> {
    let ports = pod.containers().iter().flat_map(|container| container.ports.iter().flatten());
    let ports = ports.filter(|port| port.host_port.is_some_and(|port| port > 0));
    ports
        .map(|port| {
            let ip = port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned());
            (
                ip,
                port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                port.host_port.unwrap_or_default(),
            )
        })
        .collect()
}

fn ports(pod: &Pod, others: &[&Pod]) -> Option<Rejection> {
    let wanted = host_ports(pod);
    let taken = others.iter().flat_map(|other| host_ports(other));
    let any = "0.0.0.0";
    for (ip, protocol, port) in taken {
        let clash = wanted.iter().any(|(own_ip, own_protocol, own_port)| {
            *own_port == port && *own_protocol == protocol && (own_ip == any || ip == any || *own_ip == ip)
        });
        if clash {
            return reject(
                "NodePorts",
                "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
            );
        }
    }
    None
}

/// Only taints that also drive running pods away count, and none for static pods.
fn taints(pod: &Pod, node: &NodeFacts) -> Option<Rejection> {
    if pod.is_static() {
        return None;
    }
    let tolerations = pod.spec().tolerations.as_deref().unwrap_or_default();
    let tolerated = |taint: &k8s_openapi::api::core::v1::Taint| {
        tolerations.iter().any(|toleration| {
            let key = toleration.key.as_deref().unwrap_or_default();
            let effect = toleration.effect.as_deref().unwrap_or_default();
            let exists = toleration.operator.as_deref() == Some("Exists");
            (effect.is_empty() || effect == taint.effect)
                && ((key.is_empty() && exists)
                    || (key == taint.key
                        && (exists
                            || toleration.value.as_deref().unwrap_or_default()
                                == taint.value.as_deref().unwrap_or_default())))
        })
    };
    let bad = node.taints.iter().any(|taint| taint.effect == "NoExecute" && !tolerated(taint));
    if bad {
        reject("TaintToleration", "Predicate TaintToleration failed: node(s) had untolerated taint(s)")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn node() -> NodeFacts {
        NodeFacts {
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            allocatable: [("cpu", "2"), ("memory", "1Gi"), ("pods", "2")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            ..NodeFacts::default()
        }
    }

    fn reason(pod_spec: serde_json::Value, others: &[&Pod]) -> Option<String> {
        admit(&pod(pod_spec), others, &node(), &["kernel.msg*".to_owned()]).map(|rejection| rejection.reason)
    }

    #[test]
    fn resources_and_count() {
        let one = pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1500m"}}}]}));
        let big = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]});
        assert_eq!(reason(big.clone(), &[]), None);
        let got = admit(&pod(big), &[&one], &node(), &[]).unwrap();
        assert_eq!(got.reason, "OutOfcpu");
        assert_eq!(
            got.message,
            "Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000"
        );
        let small = pod(json!({"containers": []}));
        assert_eq!(reason(json!({"containers": []}), &[&small, &small]), Some("OutOfpods".into()));
    }

    #[test]
    fn selectors_ports_and_sysctls() {
        assert_eq!(
            reason(json!({"containers": [], "nodeSelector": {"zone": "b"}}), &[]),
            Some("NodeAffinity".into())
        );
        let affinity = |operator: &str| {
            json!({"containers": [], "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "zone", "operator": operator, "values": ["a"]}]}]}}}})
        };
        assert_eq!(reason(affinity("In"), &[]), None);
        assert_eq!(reason(affinity("NotIn"), &[]), Some("NodeAffinity".into()));
        let port = json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}]}]});
        let other = pod(port.clone());
        assert_eq!(reason(port, &[&other]), Some("NodePorts".into()));
        let sysctl = |name: &str| json!({"containers": [], "securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
        assert_eq!(reason(sysctl("kernel.shm_rmid_forced"), &[]), None);
        assert_eq!(reason(sysctl("kernel.msgmax"), &[]), None);
        assert_eq!(reason(sysctl("vm.swappiness"), &[]), Some("SysctlForbidden".into()));
    }
}
