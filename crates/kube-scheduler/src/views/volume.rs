//! Claims, volumes and their classes, as far as a pod waits for them.

use client::view;
use compact_str::CompactString;
use serde::Deserialize;

use super::{LabelExpression, Meta, NodeSelector, ResourceList};

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimView {
    pub metadata: Meta,
    pub spec: ClaimSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimSpec {
    pub volume_name: CompactString,
    pub storage_class_name: Option<CompactString>,
    pub access_modes: Vec<CompactString>,
    pub resources: ClaimResources,
    pub selector: Option<LabelExpression>,
    pub volume_mode: CompactString,
    pub volume_attributes_class_name: CompactString,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClaimResources {
    pub requests: ResourceList,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeView {
    pub metadata: Meta,
    pub spec: VolumeSpec,
    pub status: VolumeStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeSpec {
    pub node_affinity: Option<VolumeNodeAffinity>,
    pub claim_ref: Option<ClaimRef>,
    pub capacity: ResourceList,
    pub access_modes: Vec<CompactString>,
    pub storage_class_name: CompactString,
    pub volume_mode: CompactString,
    pub volume_attributes_class_name: CompactString,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClaimRef {
    pub namespace: CompactString,
    pub name: CompactString,
    pub uid: CompactString,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct VolumeStatus {
    pub phase: CompactString,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct VolumeNodeAffinity {
    pub required: Option<NodeSelector>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageClassView {
    pub metadata: Meta,
    pub volume_binding_mode: CompactString,
    pub provisioner: CompactString,
    pub allowed_topologies: Vec<TopologyTerm>,
}

/// One of `allowedTopologies`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologyTerm {
    pub match_label_expressions: Vec<TopologyRequirement>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TopologyRequirement {
    pub key: CompactString,
    pub values: Vec<CompactString>,
}

/// A namespace's labels, which affinity terms may select by.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NamespaceView {
    pub metadata: Meta,
}

view!(ClaimView, VolumeView, StorageClassView, NamespaceView);
