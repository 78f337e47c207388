//! The fields of the API's objects that scheduling reads. All else is skipped while decoding.

mod node;
mod pod;
mod volume;

pub use node::{ContainerImage, NodeStatus, NodeView, Taint};
pub use pod::{
    Affinity, Condition, Container, ContainerPort, LabelExpression, NodeAffinity, NodeSelector,
    NodeSelectorTerm, PodAffinity, PodAffinityTerm, PodSpec, PodStatus, PodView, PreferredTerm, Requirement,
    SchedulingGate, Toleration, TopologySpreadConstraint, Volume,
};
pub use volume::{ClaimView, NamespaceView, StorageClassView, VolumeView};

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
}

/// The one annotation that matters: who was the volume's binder.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Annotations {
    #[serde(rename = "pv.kubernetes.io/bind-completed")]
    pub bind_completed: Option<CompactString>,
}

/// Quantities by resource name, as text.
pub type ResourceList = StringMap;

#[cfg(test)]
mod tests {
    //! What Go's encoder writes is read.
    use super::*;

    #[test]
    fn lists_can_be_null() {
        let node: NodeView = serde_json::from_str(r#"{"metadata": {"name": "n"}, "status": {"images": [{"names": null, "sizeBytes": 5}], "allocatable": null}}"#).unwrap();
        assert!(node.status.images[0].names.is_empty());
        let pod: PodView = serde_json::from_str(
            r#"{"spec": {"containers": null, "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": null}}}}, "status": {"conditions": null}}"#,
        )
        .unwrap();
        assert!(pod.spec.containers.is_empty());
    }
}
