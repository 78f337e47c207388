//! Which volume a claim gets, and the phases of both.

use std::sync::Arc;

use serde_json::{Value, json};

use super::plan::*;
use crate::views::storage::BIND_COMPLETED;
use crate::views::{PersistentVolume, PersistentVolumeClaim, StorageClass};

fn volume(name: &str, size: &str, more: Value) -> Arc<PersistentVolume> {
    let mut spec = json!({"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "s"});
    let mut meta = json!({"name": name, "labels": {"size": size}});
    let mut phase = json!("Available");
    for (key, value) in more.as_object().unwrap() {
        match key.as_str() {
            "phase" => phase = value.clone(),
            "annotations" => meta["annotations"] = value.clone(),
            _ => spec[key] = value.clone(),
        }
    }
    Arc::new(
        serde_json::from_value(json!({"metadata": meta, "spec": spec, "status": {"phase": phase}})).unwrap(),
    )
}

fn claim(more: Value) -> PersistentVolumeClaim {
    let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}},
        "storageClassName": "s"});
    let mut meta = json!({"name": "c", "namespace": "n", "uid": "u"});
    for (key, value) in more.as_object().unwrap() {
        if key == "annotations" {
            meta["annotations"] = value.clone();
        } else {
            spec[key] = value.clone();
        }
    }
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
}

fn reference(name: &str, uid: &str) -> Value {
    json!({"claimRef": {"namespace": "n", "name": name, "uid": uid}})
}

/// In short: `bind NAME`, `PHASE REASON`, or `ask PROVISIONER`.
fn found(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    class: Option<&StorageClass>,
) -> String {
    match claim_step(claim, volumes, class) {
        ClaimStep::Bind(volume) => format!("bind {}", volume.metadata.name),
        ClaimStep::Phase(phase, told) => format!("{phase} {}", told.map_or("-", |t| t.reason)),
        ClaimStep::Provision(who) => format!("ask {who}"),
    }
}

#[test]
fn the_smallest_that_suits() {
    let volumes = [
        volume("big", "10Gi", json!({})),
        volume("fit", "3Gi", json!({})),
        volume("small", "1Gi", json!({})),
        volume("other-class", "2Gi", json!({"storageClassName": "t"})),
        volume("block", "2Gi", json!({"volumeMode": "Block"})),
        volume("read", "2Gi", json!({"accessModes": ["ReadOnlyMany"]})),
        volume("taken", "2Gi", reference("x", "y")),
        volume("released", "2Gi", json!({"phase": "Released"})),
    ];
    for (more, expected) in [
        (json!({}), "bind fit"),
        (json!({"resources": {"requests": {"storage": "4Gi"}}}), "bind big"),
        (json!({"selector": {"matchLabels": {"size": "10Gi"}}}), "bind big"),
        (json!({"volumeMode": "Block"}), "bind block"),
        (json!({"storageClassName": "t"}), "bind other-class"),
        (json!({"storageClassName": ""}), "Pending FailedBinding"),
        (json!({"resources": {"requests": {"storage": "1Ti"}}}), "Pending ProvisioningFailed"),
        (json!({"volumeName": "fit"}), "bind fit"),
        (json!({"volumeName": "small"}), "Pending VolumeMismatch"),
        (json!({"volumeName": "taken"}), "Pending FailedBinding"),
        (json!({"volumeName": "missing"}), "Pending -"),
    ] {
        assert_eq!(found(&claim(more.clone()), &volumes, None), expected, "{more}");
    }
    let kept = [volumes[1].clone(), volume("kept", "5Gi", reference("c", ""))];
    assert_eq!(found(&claim(json!({})), &kept, None), "bind kept");
}

#[test]
fn classes_decide_who_waits() {
    let class = |provisioner: &str, mode: &str| -> StorageClass {
        serde_json::from_value(json!({"provisioner": provisioner, "volumeBindingMode": mode})).unwrap()
    };
    let free = [volume("v", "5Gi", json!({}))];
    let wait = class("example.com/x", "WaitForFirstConsumer");
    assert_eq!(found(&claim(json!({})), &free, Some(&wait)), "Pending WaitForFirstConsumer");
    let chosen = claim(json!({"annotations": {SELECTED_NODE: "n1"}}));
    assert_eq!(found(&chosen, &free, Some(&wait)), "bind v");
    let now = class("example.com/x", "Immediate");
    assert_eq!(found(&claim(json!({})), &[], Some(&now)), "ask example.com/x");
    let none = class("kubernetes.io/no-provisioner", "Immediate");
    assert_eq!(found(&claim(json!({})), &[], Some(&none)), "Pending ProvisioningFailed");
}

#[test]
fn a_bound_claim_stays_or_is_lost() {
    let done = json!({BIND_COMPLETED: "yes"});
    for (name, volumes, expected) in [
        ("v", vec![volume("v", "5Gi", reference("c", "u"))], "bind v"),
        ("v", vec![volume("v", "5Gi", json!({}))], "bind v"),
        ("v", vec![volume("v", "5Gi", reference("c", "older"))], "Lost ClaimMisbound"),
        ("v", vec![], "Lost ClaimLost"),
        ("", vec![], "Lost ClaimLost"),
    ] {
        let claim = claim(json!({"annotations": done, "volumeName": name}));
        assert_eq!(found(&claim, &volumes, None), expected, "{name} {}", volumes.len());
    }
}

#[test]
fn phases_of_a_volume() {
    let policy = |policy: &str| {
        let mut more = reference("c", "u");
        more["persistentVolumeReclaimPolicy"] = policy.into();
        volume("v", "5Gi", more)
    };
    let bound = claim(json!({"volumeName": "v"}));
    let mut by_controller = reference("c", "u");
    by_controller["annotations"] = json!({BOUND_BY_CONTROLLER: "yes"});
    for (case, volume, claim, expected) in [
        ("free", volume("v", "5Gi", json!({})), None, VolumeStep::Phase("Available")),
        (
            "kept for one to come",
            volume("v", "5Gi", reference("c", "")),
            None,
            VolumeStep::Phase("Available"),
        ),
        ("bound", policy("Retain"), Some(&bound), VolumeStep::Phase("Bound")),
        ("half bound", policy("Retain"), Some(&claim(json!({}))), VolumeStep::Wait),
        ("kept data", policy("Retain"), None, VolumeStep::Reclaim(Reclaim::Release)),
        (
            "a namesake",
            volume("v", "5Gi", reference("c", "x")),
            Some(&bound),
            VolumeStep::Reclaim(Reclaim::Release),
        ),
        (
            "chose another",
            policy("Retain"),
            Some(&claim(json!({"volumeName": "w"}))),
            VolumeStep::Unbind(false),
        ),
        (
            "lost a race",
            volume("v", "5Gi", by_controller),
            Some(&claim(json!({"volumeName": "w"}))),
            VolumeStep::Unbind(true),
        ),
    ] {
        assert_eq!(volume_step(&volume, claim), expected, "{case}");
    }
    assert!(matches!(
        volume_step(&policy("Delete"), None),
        VolumeStep::Reclaim(Reclaim::Fail("VolumeFailedDelete", _))
    ));
}
