//! When a finalizer that keeps a volume, a claim or a class goes on or off.

use client::{ObjectMeta, Store};

use crate::informers::BY_CLAIM;
use crate::views::{PersistentVolume, PersistentVolumeClaim, Pod};

/// What is to be done with the finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Nothing,
    Add,
    /// If it turns out that nothing uses the object.
    Remove,
}

/// By the object's metadata alone; whether it is used is asked only where it matters.
pub fn step(meta: &ObjectMeta, finalizer: &str) -> Step {
    match (meta.is_being_deleted(), meta.has_finalizer(finalizer)) {
        (true, true) => Step::Remove,
        (false, false) => Step::Add,
        _ => Step::Nothing,
    }
}

/// Whether a pod keeps a claim. Only one that has a node does: no kubelet starts a pod with a claim that is being
/// deleted. Ended pods do so too, until they are gone.
pub fn pod_uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let meta = &pod.metadata;
    let shut_down = meta.is_being_deleted() && meta.deletion_grace_period_seconds == Some(0);
    let name = claim.metadata.name.as_str();
    let uses = |v: &crate::views::pod::Volume| match &v.persistent_volume_claim {
        Some(source) => source.claim_name == name,
        None => {
            v.ephemeral.is_some()
                && !shut_down
                && name == format!("{}-{}", meta.name, v.name)
                && claim.metadata.is_controlled_by(&meta.uid)
        }
    };
    meta.namespace == claim.metadata.namespace
        && !pod.spec.node_name.is_empty()
        && pod.spec.volumes.iter().any(uses)
}

/// Whether any of the known pods keeps a claim.
pub fn claim_is_used(pods: &Store<Pod>, claim: &PersistentVolumeClaim) -> bool {
    pods.by_index(BY_CLAIM, claim.metadata.key().as_str()).iter().any(|pod| pod_uses(pod, claim))
}

/// A bound volume is kept until its claim is gone.
pub fn volume_is_used(volume: &PersistentVolume) -> bool {
    volume.status.phase == "Bound"
}

/// The classes (VolumeAttributesClass) that a claim keeps: wanted, in force, or on the way.
pub fn classes_of(claim: &PersistentVolumeClaim) -> impl Iterator<Item = &str> {
    let target =
        claim.status.modify_volume_status.as_ref().map(|m| m.target_volume_attributes_class_name.as_str());
    let named = [
        claim.spec.volume_attributes_class_name.as_str(),
        claim.status.current_volume_attributes_class_name.as_str(),
        target.unwrap_or_default(),
    ];
    named.into_iter().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FINALIZER: &str = "kubernetes.io/pvc-protection";

    fn claim(deleting: bool, protected: bool) -> PersistentVolumeClaim {
        let mut meta = json!({"name": "p-data", "namespace": "n", "uid": "c",
            "ownerReferences": [{"kind": "Pod", "name": "p", "uid": "u", "controller": true}]});
        if deleting {
            meta["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        if protected {
            meta["finalizers"] = json!(["other", FINALIZER]);
        }
        serde_json::from_value(json!({"metadata": meta})).unwrap()
    }

    #[test]
    fn finalizers_come_and_go() {
        for (deleting, protected, expected) in [
            (false, false, Step::Add),
            (false, true, Step::Nothing),
            (true, true, Step::Remove),
            (true, false, Step::Nothing),
        ] {
            assert_eq!(
                step(&claim(deleting, protected).metadata, FINALIZER),
                expected,
                "{deleting} {protected}"
            );
        }
    }

    #[test]
    fn which_pods_keep_a_claim() {
        let direct = json!({"name": "v", "persistentVolumeClaim": {"claimName": "p-data"}});
        let ephemeral = json!({"name": "data", "ephemeral": {}});
        for (case, node, phase, uid, volume, grace, expected) in [
            ("running", "n1", "Running", "u", &direct, None, true),
            ("not scheduled", "", "Pending", "u", &direct, None, false),
            ("ended but there", "n1", "Failed", "u", &direct, None, true),
            ("its own", "n1", "Running", "u", &ephemeral, None, true),
            ("a namesake's", "n1", "Running", "other", &ephemeral, None, false),
            ("its own, shut down", "n1", "Running", "u", &ephemeral, Some(0), false),
            ("shut down", "n1", "Running", "u", &direct, Some(0), true),
            ("another volume", "n1", "Running", "u", &json!({"name": "v", "emptyDir": {}}), None, false),
        ] {
            let mut pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": uid},
                "spec": {"nodeName": node, "volumes": [volume]}, "status": {"phase": phase}});
            if let Some(grace) = grace {
                pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
                pod["metadata"]["deletionGracePeriodSeconds"] = grace.into();
            }
            let pod: Pod = serde_json::from_value(pod).unwrap();
            assert_eq!(pod_uses(&pod, &claim(true, true)), expected, "{case}");
        }
    }

    #[test]
    fn classes_that_a_claim_keeps() {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "spec": {"volumeAttributesClassName": "gold"},
            "status": {"currentVolumeAttributesClassName": "silver",
                "modifyVolumeStatus": {"targetVolumeAttributesClassName": "gold", "status": "Pending"}},
        }))
        .unwrap();
        assert_eq!(classes_of(&claim).collect::<Vec<_>>(), ["gold", "silver", "gold"]);
        assert_eq!(classes_of(&PersistentVolumeClaim::default()).count(), 0);
    }
}
