//! The fields of the API's objects that scheduling reads. All else is skipped while decoding.

mod node;
mod pod;
mod volume;
mod workload;

pub use node::{ContainerImage, NodeStatus, NodeView, Taint};
pub use pod::{
    Affinity, Condition, Container, ContainerPort, LabelExpression, NodeAffinity, NodeSelector,
    NodeSelectorTerm, PodAffinity, PodAffinityTerm, PodSpec, PodStatus, PodView, PreferredTerm, Requirement,
    SchedulingGate, Toleration, TopologySpreadConstraint, Volume, WeightedTerm,
};
pub use volume::{ClaimView, NamespaceView, StorageClassView, TopologyTerm, VolumeView};
pub use workload::{BudgetView, ServiceView, WorkloadView};

use client::StringMap;
use compact_str::CompactString;
use serde::Deserialize;

/// The metadata that scheduling reads.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    pub name: CompactString,
    pub namespace: CompactString,
    pub uid: CompactString,
    pub resource_version: CompactString,
    pub creation_timestamp: Option<client::Time>,
    pub deletion_timestamp: Option<client::Time>,
    pub labels: StringMap,
    pub annotations: Annotations,
    pub generation: i64,
    pub owner_references: Vec<Owner>,
}

/// An owner, as far as pods of one are told from others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Owner {
    pub kind: CompactString,
    pub name: CompactString,
    pub controller: Option<bool>,
}

/// The annotations that matter: those of claims.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Annotations {
    #[serde(rename = "pv.kubernetes.io/bind-completed")]
    pub bind_completed: Option<CompactString>,
    /// Where a claim's volume is to be provisioned.
    #[serde(rename = "volume.kubernetes.io/selected-node")]
    pub selected_node: Option<CompactString>,
}

/// Quantities by resource name, as text.
pub type ResourceList = StringMap;

#[cfg(test)]
mod tests {
    //! What Go's encoder writes is read.
    use super::*;

    #[test]
    fn lists_can_be_null() {
        let node: NodeView = client::decode::from_slice(br#"{"metadata": {"name": "n"}, "status": {"images": [{"names": null, "sizeBytes": 5}], "allocatable": null}}"#).unwrap();
        assert!(node.status.images[0].names.is_empty());
        let pod: PodView = client::decode::from_slice(
            br#"{"spec": {"containers": null, "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": null}}}}, "status": {"conditions": null}}"#,
        )
        .unwrap();
        assert!(pod.spec.containers.is_empty());
    }
}
