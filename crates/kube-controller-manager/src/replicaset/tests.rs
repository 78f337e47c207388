//! Which pods come and go, and the status.

use std::sync::Arc;

use client::Time;
use serde_json::json;

use super::plan::{Scale, scale, status, victims};
use crate::views::{Pod, ReplicaSet};

fn now() -> Time {
    Time("2026-01-01T12:00:00Z".parse().unwrap())
}

/// A pod on `node` in `phase`, ready since `ready` (empty: not ready).
fn pod(name: &str, node: &str, phase: &str, ready: &str) -> Arc<Pod> {
    let conditions = if ready.is_empty() {
        json!([])
    } else {
        json!([{"type": "Ready", "status": "True", "lastTransitionTime": ready}])
    };
    let pod = json!({
        "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T10:00:00Z", "labels": {"a": "b"}},
        "spec": {"nodeName": node}, "status": {"phase": phase, "conditions": conditions},
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

#[test]
fn scales() {
    assert_eq!(scale(3, 3), Scale::Nothing);
    assert_eq!(scale(1, 3), Scale::Create(2));
    assert_eq!(scale(3, 0), Scale::Delete(3));
    assert_eq!(scale(0, 2000), Scale::Create(500));
}

#[test]
fn the_least_useful_pods_go_first() {
    let early = "2026-01-01T10:00:00Z";
    let pods = vec![
        pod("old", "n1", "Running", early),
        pod("young", "n2", "Running", "2026-01-01T11:59:00Z"),
        pod("unready", "n1", "Running", ""),
        pod("pending", "n1", "Pending", ""),
        pod("unassigned", "", "Pending", ""),
    ];
    let order: Vec<_> = (1..5)
        .map(|n| victims(pods.clone(), &[], n, now()).last().unwrap().metadata.name.to_string())
        .collect();
    assert_eq!(order, ["unassigned", "pending", "unready", "young"]);
}

#[test]
fn a_crowded_node_and_a_low_cost_go_first() {
    let early = "2026-01-01T10:00:00Z";
    let pods = vec![
        pod("a", "n1", "Running", early),
        pod("b", "n2", "Running", early),
        pod("c", "n2", "Running", early),
    ];
    assert_eq!(victims(pods.clone(), &pods, 1, now())[0].spec.node_name, "n2");
    let mut cheap = (*pods[0]).clone();
    cheap.metadata.annotations = [("controller.kubernetes.io/pod-deletion-cost", "-1")].into_iter().collect();
    let pods = vec![Arc::new(cheap), pods[1].clone(), pods[2].clone()];
    assert_eq!(victims(pods.clone(), &pods, 1, now())[0].metadata.name, "a");
}

#[test]
fn status_counts_and_conditions() {
    let set: ReplicaSet = serde_json::from_value(json!({
        "metadata": {"name": "s", "generation": 4},
        "spec": {"replicas": 3, "minReadySeconds": 120, "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}}},
    }))
    .unwrap();
    let pods = [
        pod("a", "n", "Running", "2026-01-01T10:00:00Z"),
        pod("b", "n", "Running", "2026-01-01T11:59:00Z"),
        pod("c", "n", "Pending", ""),
    ];
    let new = status(&set, &pods, Some(1), Some(("FailedCreate", "no".into())), now());
    assert_eq!(
        (new.replicas, new.fully_labeled_replicas, new.ready_replicas, new.available_replicas),
        (3, 3, 2, 1)
    );
    assert_eq!((new.terminating_replicas, new.observed_generation), (Some(1), 4));
    assert_eq!((&*new.conditions[0].kind, &*new.conditions[0].reason), ("ReplicaFailure", "FailedCreate"));
    let failed = ReplicaSet { status: new, ..set };
    assert!(status(&failed, &pods, None, None, now()).conditions.is_empty());
}
