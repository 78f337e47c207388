//! Volumes, claims and their classes.

use client::{LabelSelector, ObjectMeta, view};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Quantities by resource, as text.
pub type Quantities = BTreeMap<CompactString, CompactString>;

/// On a claim: it has got its volume.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The class of volumes and claims before there was a field for it.
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PersistentVolume {
    pub metadata: ObjectMeta,
    pub spec: PersistentVolumeSpec,
    pub status: PersistentVolumeStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeSpec {
    pub capacity: Quantities,
    pub access_modes: Vec<CompactString>,
    pub claim_ref: Option<ClaimReference>,
    pub persistent_volume_reclaim_policy: CompactString,
    pub storage_class_name: CompactString,
    pub volume_mode: CompactString,
    pub volume_attributes_class_name: CompactString,
}

/// The claim that a volume is bound to; without uid: the claim for which it is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimReference {
    pub namespace: CompactString,
    pub name: CompactString,
    pub uid: CompactString,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PersistentVolumeStatus {
    pub phase: CompactString,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PersistentVolumeClaim {
    pub metadata: ObjectMeta,
    pub spec: PersistentVolumeClaimSpec,
    pub status: PersistentVolumeClaimStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeClaimSpec {
    pub access_modes: Vec<CompactString>,
    pub selector: Option<LabelSelector>,
    pub resources: Requests,
    pub volume_name: CompactString,
    pub storage_class_name: Option<CompactString>,
    pub volume_mode: CompactString,
    pub volume_attributes_class_name: CompactString,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Requests {
    pub requests: Quantities,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeClaimStatus {
    pub phase: CompactString,
    pub access_modes: Vec<CompactString>,
    pub capacity: Quantities,
    pub current_volume_attributes_class_name: CompactString,
    pub modify_volume_status: Option<ModifyVolumeStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModifyVolumeStatus {
    pub target_volume_attributes_class_name: CompactString,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageClass {
    pub metadata: ObjectMeta,
    pub provisioner: CompactString,
    pub volume_binding_mode: CompactString,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct VolumeAttributesClass {
    pub metadata: ObjectMeta,
}

view!(PersistentVolume, PersistentVolumeClaim, StorageClass, VolumeAttributesClass);

impl PersistentVolume {
    pub fn class(&self) -> &str {
        self.metadata.annotations.get(OLD_CLASS).unwrap_or(&self.spec.storage_class_name)
    }
}

impl PersistentVolumeClaim {
    /// Whether it got a volume once; it may have lost it since.
    pub fn is_bound(&self) -> bool {
        self.metadata.annotations.contains_key(BIND_COMPLETED)
    }

    /// Empty: none.
    pub fn class(&self) -> &str {
        let field = self.spec.storage_class_name.as_deref().unwrap_or_default();
        self.metadata.annotations.get(OLD_CLASS).unwrap_or(field)
    }
}
