//! Which pods are garbage: terminated ones beyond the threshold, those of nodes that are gone or out of service,
//! and those that are being deleted without ever having had a node.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use client::Time;

use crate::views::{Node, Pod, condition};

/// How long a node must be known to be missing.
pub const QUARANTINE_SECONDS: i64 = 40;

/// Why a pod is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Terminated,
    /// Its node may be gone: the caller asks the server for the node first.
    Orphaned,
    Unscheduled,
    OutOfService,
}

/// What the plan looks at.
pub struct Snapshot<'a> {
    pub pods: &'a [Arc<Pod>],
    pub nodes: &'a [Arc<Node>],
    /// Above so many terminated pods the oldest go; below 1 none do.
    pub threshold: i32,
    pub now: Time,
}

/// The pods to delete. `missing` remembers since when a node that pods name is not there.
pub fn plan(snapshot: &Snapshot<'_>, missing: &mut HashMap<String, Time>) -> Vec<(Arc<Pod>, Why)> {
    let mut found = terminated(snapshot);
    let names: HashSet<&str> = snapshot.nodes.iter().map(|n| n.metadata.name.as_str()).collect();
    note_missing(snapshot, &names, missing);
    let out_of_service: HashSet<&str> =
        snapshot.nodes.iter().filter(|n| is_out_of_service(n)).map(|n| n.metadata.name.as_str()).collect();
    for pod in snapshot.pods {
        let node = pod.spec.node_name.as_str();
        let deleting = pod.metadata.is_being_deleted();
        if deleting && out_of_service.contains(node) {
            found.push((pod.clone(), Why::OutOfService));
        } else if missing
            .get(node)
            .is_some_and(|since| snapshot.now.seconds() - since.seconds() >= QUARANTINE_SECONDS)
        {
            found.push((pod.clone(), Why::Orphaned));
        } else if deleting && node.is_empty() {
            found.push((pod.clone(), Why::Unscheduled));
        }
    }
    found
}

fn terminated(snapshot: &Snapshot<'_>) -> Vec<(Arc<Pod>, Why)> {
    let Some(threshold) = usize::try_from(snapshot.threshold).ok().filter(|t| *t > 0) else { return vec![] };
    let mut pods: Vec<&Arc<Pod>> = snapshot.pods.iter().filter(|p| p.is_terminal()).collect();
    let surplus = pods.len().saturating_sub(threshold);
    // Evicted ones first, then by age.
    pods.sort_by_key(|p| {
        (p.status.reason != "Evicted", p.metadata.creation_timestamp, p.metadata.name.clone())
    });
    pods.into_iter().take(surplus).map(|p| (p.clone(), Why::Terminated)).collect()
}

fn note_missing(snapshot: &Snapshot<'_>, names: &HashSet<&str>, missing: &mut HashMap<String, Time>) {
    let named: HashSet<&str> = snapshot
        .pods
        .iter()
        .map(|p| p.spec.node_name.as_str())
        .filter(|n| !n.is_empty() && !names.contains(n))
        .collect();
    missing.retain(|name, _| named.contains(name.as_str()));
    for name in named {
        missing.entry(name.to_owned()).or_insert(snapshot.now);
    }
}

fn is_out_of_service(node: &Node) -> bool {
    let ready = condition(&node.status.conditions, "Ready").is_some_and(|c| c.is_true());
    !ready && node.spec.taints.iter().any(|t| t.key == "node.kubernetes.io/out-of-service")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, node: &str, phase: &str, deleting: bool) -> Arc<Pod> {
        let mut value = json!({"metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:0{}Z", name.len())},
            "spec": {"nodeName": node}, "status": {"phase": phase}});
        if deleting {
            value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn at(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    fn found(
        pods: &[Arc<Pod>],
        nodes: &[Arc<Node>],
        missing: &mut HashMap<String, Time>,
        now: i64,
    ) -> Vec<(String, Why)> {
        let snapshot = Snapshot { pods, nodes, threshold: 1, now: at(now) };
        plan(&snapshot, missing).into_iter().map(|(p, why)| (p.metadata.name.to_string(), why)).collect()
    }

    #[test]
    fn each_reason() {
        let node = json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]}});
        let nodes = [Arc::new(serde_json::from_value::<Node>(node).unwrap())];
        let pods = [
            pod("a", "n", "Succeeded", false),
            pod("ab", "n", "Failed", false),
            pod("abc", "n", "Running", true),
            pod("abcd", "gone", "Running", false),
            pod("abcde", "", "Pending", true),
            pod("abcdef", "", "Pending", false),
        ];
        let mut missing = HashMap::new();
        let first = [("a", Why::Terminated), ("abc", Why::OutOfService), ("abcde", Why::Unscheduled)];
        let names =
            |list: &[(&str, Why)]| list.iter().map(|(n, w)| ((*n).to_owned(), *w)).collect::<Vec<_>>();
        assert_eq!(found(&pods, &nodes, &mut missing, 100), names(&first));
        let later = found(&pods, &nodes, &mut missing, 140);
        assert!(later.contains(&("abcd".into(), Why::Orphaned)));
        found(&pods[..3], &nodes, &mut missing, 150);
        assert!(missing.is_empty());
    }
}
