//! DaemonSet plans as tables.

use std::sync::Arc;

use client::Time;
use serde_json::{Value, json};

use super::history;
use super::nodes::{SpecMaker, target_node};
use super::plan::{Plan, Snapshot, manage, roll, status};
use crate::views::{ControllerRevision, DaemonSet, Node, Pod};

fn set(update: Value) -> DaemonSet {
    serde_json::from_value(json!({
        "metadata": {"name": "d", "namespace": "n", "uid": "u", "generation": 3},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": update}},
    }))
    .unwrap()
}

fn node(name: &str, taint: &str) -> Arc<Node> {
    let taints = if taint.is_empty() { json!([]) } else { json!([{"key": "k", "effect": taint}]) };
    Arc::new(
        serde_json::from_value(
            json!({"metadata": {"name": name, "labels": {"disk": "ssd"}}, "spec": {"taints": taints}}),
        )
        .unwrap(),
    )
}

/// A pod of revision `hash` on `node`.
fn pod(name: &str, node: &str, hash: &str, phase: &str, ready: bool) -> Arc<Pod> {
    let status = if ready { "True" } else { "False" };
    Arc::new(serde_json::from_value(json!({
        "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"a": "b", "controller-revision-hash": hash}},
        "spec": {"nodeName": node}, "status": {"phase": phase, "conditions": [{"type": "Ready", "status": status}]},
    }))
    .unwrap())
}

fn told(plan: &Plan) -> (Vec<String>, Vec<String>) {
    let create = plan.create.iter().map(ToString::to_string).collect();
    (create, plan.delete.iter().map(|r| r.pod.metadata.name.to_string()).collect())
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

#[test]
fn every_fitting_node_gets_one() {
    let d = set(json!({"maxUnavailable": 1}));
    let nodes = [node("n1", ""), node("n2", "NoSchedule"), node("n3", "NoExecute"), node("n4", "")];
    let pods = [
        pod("on2", "n2", "h", "Running", true),
        pod("on3", "n3", "h", "Running", true),
        pod("failed", "n4", "h", "Failed", false),
        pod("gone", "n9", "h", "Running", true),
    ];
    let snapshot = Snapshot::new(&d, "h", &nodes, &pods, Time::now());
    let plan = manage(&snapshot);
    assert_eq!(told(&plan), (texts(&["n1"]), texts(&["on3", "failed"])));
    assert_eq!(plan.delete[1].ended, Some("FailedDaemonPod"));
    let status = status(&snapshot, None);
    assert_eq!(
        (status.desired_number_scheduled, status.current_number_scheduled, status.number_misscheduled),
        (2, 1, 2)
    );
    assert_eq!((status.number_ready, status.number_unavailable, status.observed_generation), (0, 2, 3));
}

#[test]
fn the_oldest_of_two_stays() {
    let d = set(json!({"maxUnavailable": 1}));
    let nodes = [node("n1", "")];
    let pods = [pod("b", "n1", "h", "Running", true), pod("a", "n1", "h", "Running", true)];
    assert_eq!(told(&manage(&Snapshot::new(&d, "h", &nodes, &pods, Time::now()))), (vec![], texts(&["b"])));
}

#[test]
fn old_pods_are_replaced_within_the_limit() {
    let d = set(json!({"maxUnavailable": 1}));
    let nodes = [node("n1", ""), node("n2", ""), node("n3", "")];
    let old = |n: &str, ready| pod(&format!("old-{n}"), n, "old", "Running", ready);
    let new = |n: &str, ready| pod(&format!("new-{n}"), n, "new", "Running", ready);
    for (pods, expected) in [
        (vec![old("n1", true), old("n2", true), old("n3", true)], vec!["old-n1"]),
        (vec![new("n1", false), old("n2", true), old("n3", true)], vec![]),
        (vec![new("n1", true), old("n2", true), old("n3", true)], vec!["old-n2"]),
        (vec![old("n1", false), old("n2", false), old("n3", true)], vec!["old-n1", "old-n2"]),
        (vec![old("n1", true), old("n2", true)], vec![]),
    ] {
        let plan = roll(&Snapshot::new(&d, "new", &nodes, &pods, Time::now()));
        assert_eq!(told(&plan), (vec![], texts(&expected)));
    }
}

#[test]
fn a_surge_comes_before_the_end() {
    let d = set(json!({"maxSurge": 1, "maxUnavailable": 0}));
    let nodes = [node("n1", ""), node("n2", "")];
    let pods = vec![pod("o1", "n1", "old", "Running", true), pod("o2", "n2", "old", "Running", true)];
    assert_eq!(told(&roll(&Snapshot::new(&d, "new", &nodes, &pods, Time::now()))), (texts(&["n1"]), vec![]));
    let mut more = pods.clone();
    more.push(pod("x1", "n1", "new", "Running", false));
    assert_eq!(told(&roll(&Snapshot::new(&d, "new", &nodes, &more, Time::now()))), (vec![], vec![]));
    more[2] = pod("x1", "n1", "new", "Running", true);
    assert_eq!(
        told(&roll(&Snapshot::new(&d, "new", &nodes, &more, Time::now()))),
        (texts(&["n2"]), texts(&["o1"]))
    );
}

#[test]
fn a_pod_is_bound_to_its_node() {
    let mut d = set(json!({}));
    let spec = json!({"containers": [], "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]}}}});
    d.spec.template.spec = crate::views::pod::RawSpec::from_value(&spec);
    let made = SpecMaker::new(&d).for_node("n1");
    let pod: Pod = serde_json::from_str(&format!(r#"{{"spec":{}}}"#, made.text())).unwrap();
    assert_eq!(target_node(&pod), Some("n1"));
    assert_eq!(pod.spec.tolerations.len(), 6);
    assert!(made.text().contains("ssd"));
    let nodes = [node("n1", "")];
    assert_eq!(manage(&Snapshot::new(&d, "h", &nodes, &[], Time::now())).create, ["n1"]);
}

#[test]
fn a_revision_has_the_bytes_that_clients_compare() {
    let mut d = set(json!({}));
    d.spec.template.spec = crate::views::pod::RawSpec::from_value(
        &json!({"restartPolicy": "Always", "containers": [{"name": "a<b", "image": "i"}]}),
    );
    let expected = r#"{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"image":"i","name":"a\u003cb"}],"restartPolicy":"Always"}}}}"#;
    assert_eq!(history::data(&d).text(), expected);
}

#[test]
fn revisions_are_found_and_cleaned_up() {
    let mut d = set(json!({}));
    d.spec.revision_history_limit = Some(1);
    let (name, body) = history::new_revision(&d, 1, None);
    assert!(name.starts_with("d-"));
    let text = serde_json::to_string(&body).unwrap();
    let current: ControllerRevision = serde_json::from_str(&text).unwrap();
    let mut revisions = vec![Arc::new(current.clone())];
    assert_eq!(history::find_current(&d, &revisions).unwrap().revision, 1);
    for n in 2..5 {
        let mut other = current.clone();
        other.revision = n;
        other.data = None;
        other.metadata.name = format!("d-{n}").into();
        other.metadata.labels = [("controller-revision-hash", &*n.to_string())].into_iter().collect();
        revisions.push(Arc::new(other));
    }
    let pods = [pod("p", "n", "3", "Running", true)];
    let surplus = history::surplus(&d, &revisions, &history::hash_of(&current), &pods);
    assert_eq!(surplus.iter().map(|r| r.revision).collect::<Vec<_>>(), [2]);
}
