//! Nodes.

use client::view;
use compact_str::CompactString;
use serde::Deserialize;

use super::{Meta, ResourceList};

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeView {
    pub metadata: Meta,
    pub spec: NodeSpec,
    pub status: NodeStatus,
}

view!(NodeView);

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    pub unschedulable: bool,
    pub taints: Vec<Taint>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Taint {
    pub key: CompactString,
    pub value: CompactString,
    pub effect: CompactString,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    pub allocatable: ResourceList,
    pub images: Vec<ContainerImage>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerImage {
    pub names: Vec<CompactString>,
    pub size_bytes: i64,
}
