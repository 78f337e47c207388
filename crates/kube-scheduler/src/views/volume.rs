//! Claims, volumes and their classes, as far as a pod waits for them.

use client::view;
use compact_str::CompactString;
use serde::Deserialize;

use super::{Meta, NodeSelector};

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
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeView {
    pub metadata: Meta,
    pub spec: VolumeSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeSpec {
    pub node_affinity: Option<VolumeNodeAffinity>,
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
}

/// A namespace's labels, which affinity terms may select by.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NamespaceView {
    pub metadata: Meta,
}

view!(ClaimView, VolumeView, StorageClassView, NamespaceView);
