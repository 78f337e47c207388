//! Rollouts step by step.

use client::Time;
use serde_json::{Value, json};

use super::model::{Set, find_new, template_hash};
use super::plan::{Action, Plan, plan};
use crate::views::{Deployment, ReplicaSet};

fn now() -> Time {
    Time("2026-01-01T12:00:00Z".parse().unwrap())
}

/// A Deployment `d` whose template runs `image`; `more` is merged into its spec.
fn deployment(replicas: i32, image: &str, more: Value) -> Deployment {
    let mut spec = json!({
        "replicas": replicas, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"image": image}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let meta =
        json!({"name": "d", "namespace": "n", "uid": "u", "generation": 2, "annotations": {"note": "x"}});
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
}

/// A set of `d`, whose desired and max annotations are `desired` and one fourth more.
fn set(name: &str, image: &str, replicas: i32, available: i32, revision: i32, desired: i32) -> ReplicaSet {
    let max = desired + (desired + 3) / 4;
    serde_json::from_value(json!({
        "metadata": {"name": name, "uid": name, "generation": 1, "creationTimestamp": format!("2026-01-01T0{revision}:00:00Z"),
            "annotations": {"note": "x", "deployment.kubernetes.io/revision": revision.to_string(),
                "deployment.kubernetes.io/desired-replicas": desired.to_string(), "deployment.kubernetes.io/max-replicas": max.to_string()}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "b", "pod-template-hash": name}},
            "template": {"metadata": {"labels": {"a": "b", "pod-template-hash": name}}, "spec": {"image": image}}},
        "status": {"replicas": replicas, "readyReplicas": available, "availableReplicas": available, "observedGeneration": 1},
    }))
    .unwrap()
}

fn planned(deployment: &Deployment, sets: &[ReplicaSet]) -> Plan {
    let refs: Vec<&ReplicaSet> = sets.iter().collect();
    let newest = find_new(deployment, &refs);
    let sets = sets.iter().enumerate().map(|(i, s)| Set::of(s, newest == Some(i))).collect();
    plan(deployment, sets, false, true, now())
}

/// `name: from -> to` of what is scaled.
fn scaled(plan: &Plan) -> Vec<String> {
    let scales = plan.actions.iter().filter_map(|a| match a {
        Action::Scale { name, from, to, .. } => Some(format!("{name}: {from} -> {to}")),
        _ => None,
    });
    scales.collect()
}

#[test]
fn a_first_rollout_makes_the_set() {
    let d = deployment(4, "one", json!({}));
    let plan = planned(&d, &[]);
    let Action::Create { name, hash, replicas, annotations } = &plan.actions[0] else { panic!("{plan:?}") };
    assert_eq!((name.as_str(), *replicas), (&*format!("d-{hash}"), 4));
    assert_eq!(annotations.get("deployment.kubernetes.io/revision"), Some("1"));
    assert_eq!(annotations.get("deployment.kubernetes.io/max-replicas"), Some("5"));
    assert_eq!(annotations.get("note"), Some("x"));
    assert_eq!(plan.revision.as_deref(), Some("1"));
    let reasons: Vec<_> = plan.status.conditions.iter().map(|c| (&*c.kind, &*c.reason)).collect();
    assert_eq!(
        reasons,
        [("Progressing", "NewReplicaSetCreated"), ("Available", "MinimumReplicasUnavailable")]
    );
    assert_eq!(plan.status.unavailable_replicas, 4);
}

#[test]
fn the_hash_is_stable_and_follows_collisions() {
    let d = deployment(1, "one", json!({}));
    let hash = template_hash(&d.spec.template, None);
    assert_eq!(hash, template_hash(&d.spec.template.clone(), None));
    assert_ne!(hash, template_hash(&d.spec.template, Some(1)));
    assert!(hash.bytes().all(|b| !b"aeiou013".contains(&b)), "{hash}");
}

#[test]
fn a_rolling_update_step_by_step() {
    let d = deployment(4, "two", json!({}));
    // The new set begins within the surge.
    let Action::Create { replicas, .. } = &planned(&d, &[set("old", "one", 4, 4, 1, 4)]).actions[0] else {
        panic!()
    };
    assert_eq!(*replicas, 1);
    // At the surge's limit the old one gives up what may be unavailable.
    let sets = [set("old", "one", 4, 4, 1, 4), set("new", "two", 1, 0, 2, 4)];
    assert_eq!(scaled(&planned(&d, &sets)), ["old: 4 -> 3"]);
    // Then the new one grows again, and no more in the same sync.
    let sets = [set("old", "one", 3, 3, 1, 4), set("new", "two", 1, 0, 2, 4)];
    assert_eq!(scaled(&planned(&d, &sets)), ["new: 1 -> 2"]);
    // Nothing to spare: wait.
    let sets = [set("old", "one", 3, 3, 1, 4), set("new", "two", 2, 0, 2, 4)];
    assert_eq!(scaled(&planned(&d, &sets)), [] as [&str; 0]);
    let sets = [set("old", "one", 3, 3, 1, 4), set("new", "two", 2, 2, 2, 4)];
    assert_eq!(scaled(&planned(&d, &sets)), ["old: 3 -> 1"]);
}

#[test]
fn unhealthy_old_pods_go_first() {
    let d = deployment(4, "three", json!({}));
    let sets = [set("a", "one", 2, 2, 1, 4), set("b", "two", 2, 0, 2, 4), set("new", "three", 1, 1, 3, 4)];
    assert_eq!(scaled(&planned(&d, &sets)), ["b: 2 -> 0"]);
}

#[test]
fn recreate_waits_for_the_old_pods() {
    let d = deployment(2, "two", json!({"strategy": {"type": "Recreate"}}));
    let mut old = set("old", "one", 2, 2, 1, 2);
    old.metadata.annotations = old.metadata.annotations.with("deployment.kubernetes.io/max-replicas", "2");
    assert_eq!(scaled(&planned(&d, &[old.clone()])), ["old: 2 -> 0"]);
    old.spec.replicas = Some(0);
    assert_eq!(planned(&d, &[old.clone()]).actions, [], "its status still counts pods");
    old.status.replicas = 0;
    let held = plan(&d, vec![Set::of(&old, false)], true, true, now());
    assert_eq!(held.actions, []);
    let plan = planned(&d, &[old]);
    assert!(matches!(&plan.actions[0], Action::Create { replicas: 2, .. }), "{plan:?}");
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_proportional() {
    let d = deployment(20, "two", json!({}));
    let sets = [set("old", "one", 8, 8, 1, 10), set("new", "two", 5, 5, 2, 10)];
    // 13 pods of 10 + 3 become 25 of 20 + 5.
    assert_eq!(scaled(&planned(&d, &sets)), ["old: 8 -> 15", "new: 5 -> 10"]);
}

#[test]
fn a_paused_one_only_scales() {
    let d = deployment(6, "two", json!({"paused": true}));
    let plan = planned(&d, &[set("old", "one", 4, 4, 1, 4)]);
    assert_eq!(scaled(&plan), ["old: 4 -> 6"]);
    assert!(plan.status.conditions.iter().any(|c| c.reason == "DeploymentPaused"));
}

#[test]
fn completion_and_history() {
    let mut d = deployment(2, "three", json!({"revisionHistoryLimit": 1}));
    let sets = [set("a", "one", 0, 0, 1, 2), set("b", "two", 0, 0, 2, 2), set("c", "three", 2, 2, 3, 2)];
    let first = planned(&d, &sets);
    let progressing = first.status.conditions.iter().find(|c| c.kind == "Progressing").unwrap();
    assert_eq!(
        (&*progressing.reason, &*progressing.message),
        ("NewReplicaSetAvailable", "ReplicaSet \"c\" has successfully progressed.")
    );
    d.status = first.status;
    let second = planned(&d, &sets);
    assert_eq!(second.actions, [Action::Delete { name: "a".into(), uid: "a".into() }]);
    assert_eq!(second.status, d.status);
}

#[test]
fn rolling_back_raises_the_revision() {
    let d = deployment(2, "one", json!({}));
    let plan = planned(&d, &[set("a", "one", 0, 0, 1, 2), set("b", "two", 2, 2, 2, 2)]);
    let Action::Annotate { name, annotations, .. } = &plan.actions[0] else { panic!("{plan:?}") };
    assert_eq!((&**name, annotations.get("deployment.kubernetes.io/revision")), ("a", Some("3")));
    assert_eq!(annotations.get("deployment.kubernetes.io/revision-history"), Some("1"));
    assert_eq!(plan.revision.as_deref(), Some("3"));
}

#[test]
fn the_deadline_passes() {
    let mut d = deployment(2, "one", json!({}));
    let condition = |reason: &str, at: &str| json!([{"type": "Progressing", "status": "True", "reason": reason, "lastUpdateTime": at, "lastTransitionTime": at}]);
    let sets = [set("a", "one", 2, 0, 1, 2)];
    d.status = planned(&d, &sets).status;
    d.status.conditions =
        serde_json::from_value(condition("ReplicaSetUpdated", "2026-01-01T11:55:00Z")).unwrap();
    let waiting = planned(&d, &sets);
    assert_eq!(waiting.again_after, Some(301));
    d.status.conditions =
        serde_json::from_value(condition("ReplicaSetUpdated", "2026-01-01T11:40:00Z")).unwrap();
    let late = planned(&d, &sets);
    let progressing = late.status.conditions.iter().find(|c| c.kind == "Progressing").unwrap();
    assert_eq!((&*progressing.status, &*progressing.reason), ("False", "ProgressDeadlineExceeded"));
}
