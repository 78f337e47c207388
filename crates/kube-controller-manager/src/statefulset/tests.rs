//! The steps of StatefulSets, their claims and their revisions.

use std::sync::Arc;

use client::Time;
use serde_json::{Value, json};

use super::claims;
use super::plan::{REVISION, Snapshot, Step, status, steps};
use crate::views::Pod;
use crate::views::stateful::StatefulSet;

fn now() -> Time {
    Time("2026-01-01T12:00:00Z".parse().unwrap())
}

fn set(more: Value) -> StatefulSet {
    let mut spec = json!({"replicas": 3, "podManagementPolicy": "OrderedReady", "serviceName": "svc",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"volumes": [{"name": "tmp"}]}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]});
    more.as_object().unwrap().iter().for_each(|(k, v)| spec[k] = v.clone());
    serde_json::from_value(json!({"metadata": {"name": "s", "namespace": "n", "uid": "set"}, "spec": spec}))
        .unwrap()
}

/// `0` a ready pod of revision new, `0o` of revision old, `0u` unready, `0p` pending, `0f` failed, `0d` being deleted.
fn pods(text: &str) -> Vec<Arc<Pod>> {
    text.split_whitespace().map(pod).collect()
}

fn pod(text: &str) -> Arc<Pod> {
    let has = |c| text.contains(c);
    let name = format!("s-{}", text.trim_end_matches(|c: char| !c.is_ascii_digit()));
    let mut meta = json!({"name": name, "namespace": "n", "uid": format!("uid-{name}"),
        "labels": {REVISION: if has('o') { "old" } else { "new" }, "statefulset.kubernetes.io/pod-name": name}});
    if has('d') {
        meta["deletionTimestamp"] = "2026-01-01T11:00:00Z".into();
    }
    let phase = if has('f') {
        "Failed"
    } else if has('p') {
        "Pending"
    } else {
        "Running"
    };
    let ready = if has('u') || has('p') || has('f') { "False" } else { "True" };
    let condition = json!({"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T11:59:50Z"});
    Arc::new(
        serde_json::from_value(
            json!({"metadata": meta, "status": {"phase": phase, "conditions": [condition]}}),
        )
        .unwrap(),
    )
}

/// In short: `+0` created (`+0o` from the old revision), `-1` deleted, `-1!` as it had ended, `?0` claims looked at.
fn found(set: &StatefulSet, list: &str) -> String {
    let pods = pods(list);
    let snapshot = Snapshot { set, pods: &pods, current: "old", update: "new", now: now() };
    let short = |step: &Step| match step {
        Step::Create { ordinal, updated } => format!("+{ordinal}{}", if *updated { "" } else { "o" }),
        Step::Delete(pod, why) => format!("-{}{}", &pod.metadata.name[2..], why.map_or("", |_| "!")),
        Step::Claims(_, ordinal) => format!("?{ordinal}"),
        Step::Identify(_, ordinal) => format!("={ordinal}"),
    };
    steps(&snapshot).iter().map(short).collect::<Vec<_>>().join(" ")
}

#[test]
fn one_step_after_the_other() {
    for (list, expected) in [
        ("", "+0"),
        ("0p", "?0"),
        ("0u", ""),
        ("0", "+1"),
        ("0 1u", ""),
        ("0 1 2", ""),
        ("0f 1 2", "-0!"),
        ("0d 1 2", ""),
        ("1 2", "+0"),
        ("0 1 2 3 4", "-4"),
        ("0 1 2 3 4d", ""),
        ("0 1 2 3u 4", "-4"),
        ("0 1 2 3 4u", "-4"),
        ("0u 1 2 3", ""),
        ("0 1 2o", "-2"),
        ("0 1o 2u", ""),
        ("0o 1o 2", "-1"),
        ("0o 1d 2", ""),
        ("0 1o 2 3", "-3"),
    ] {
        assert_eq!(found(&set(json!({})), list), expected, "{list}");
    }
}

#[test]
fn all_steps_at_a_time() {
    let parallel = json!({"podManagementPolicy": "Parallel"});
    for (list, expected) in
        [("", "+0 +1 +2"), ("0u 1f", "-1! +2"), ("0 1u 2 3 4u", "-4 -3"), ("0o 1o 2o", "-2")]
    {
        assert_eq!(found(&set(parallel.clone()), list), expected, "{list}");
    }
}

#[test]
fn partitions_and_strategies() {
    let strategy =
        |more: Value| set(json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": more}}));
    assert_eq!(found(&strategy(json!({"partition": 2})), "0o 1o 2"), "");
    assert_eq!(found(&strategy(json!({"partition": 2})), "0o 1o 2o"), "-2");
    assert_eq!(found(&strategy(json!({"partition": 1})), ""), "+0o");
    assert_eq!(found(&strategy(json!({"partition": 1})), "0o"), "+1");
    assert_eq!(found(&strategy(json!({"maxUnavailable": 2})), "0o 1o 2o"), "-2 -1");
    assert_eq!(found(&strategy(json!({"maxUnavailable": 2})), "0o 1o 2o"), "-2 -1");
    let on_delete = set(json!({"updateStrategy": {"type": "OnDelete"}}));
    assert_eq!(found(&on_delete, "0o 1o 2o"), "");
    assert_eq!(found(&on_delete, "0o"), "+1");
    assert_eq!(found(&set(json!({"ordinals": {"start": 2}, "replicas": 2})), "2 3 0"), "-0");
    assert_eq!(found(&set(json!({"minReadySeconds": 60})), "0"), "");
}

#[test]
fn what_the_status_says() {
    let counted = |list: &str| {
        let (set, pods) = (set(json!({})), pods(list));
        let s = status(&Snapshot { set: &set, pods: &pods, current: "old", update: "new", now: now() }, None);
        (s.replicas, s.ready_replicas, s.current_replicas, s.updated_replicas, s.current_revision.to_string())
    };
    assert_eq!(counted("0o 1o 2u"), (3, 2, 2, 1, "old".into()));
    assert_eq!(counted("0o 1od 2"), (3, 3, 1, 1, "old".into()));
    assert_eq!(counted("0 1 2"), (3, 3, 3, 3, "new".into()));
}

#[test]
fn pods_have_names_claims_and_volumes() {
    let set = set(json!({}));
    let pod = claims::pod(&set, &set.spec.template, 1, "rev");
    assert_eq!(pod["metadata"]["name"], "s-1");
    let labels = json!({"a": "b", REVISION: "rev", "statefulset.kubernetes.io/pod-name": "s-1", "apps.kubernetes.io/pod-index": "1"});
    assert_eq!(pod["metadata"]["labels"], labels);
    assert_eq!((&pod["spec"]["hostname"], &pod["spec"]["subdomain"]), (&json!("s-1"), &json!("svc")));
    let volumes =
        json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-s-1"}}, {"name": "tmp"}]);
    assert_eq!(pod["spec"]["volumes"], volumes);
    assert_eq!(claims::names(&set, 1).collect::<Vec<_>>(), ["data-s-1"]);
    assert_eq!(set.ordinal_of("s-01"), None);
    assert_eq!(set.ordinal_of("s-x-1"), None);
}

#[test]
fn who_owns_a_claim() {
    use claims::Owner;
    for (deleted, scaled, condemned, expected) in [
        ("Retain", "Retain", true, None),
        ("Delete", "Retain", true, Some(Owner::Set)),
        ("Retain", "Delete", true, Some(Owner::Pod)),
        ("Retain", "Delete", false, None),
        ("Delete", "Delete", false, Some(Owner::Set)),
        ("Delete", "Delete", true, Some(Owner::Pod)),
    ] {
        let policy =
            json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled}});
        assert_eq!(claims::owner(&set(policy), condemned), expected, "{deleted} {scaled} {condemned}");
    }
}
