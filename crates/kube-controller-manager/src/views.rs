//! What the controllers read of objects: one small struct a kind, shared by all controllers of the process, so
//! that each event is decoded once.

pub mod autoscaling;
pub mod batch;
pub mod core;
pub mod disruption;
pub mod network;
pub mod node;
pub mod pod;
pub mod quota;
pub mod stateful;
pub mod storage;
pub mod workload;

use client::Time;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

pub use self::core::{ClusterRole, ConfigMap, Lease, Namespace, ServiceAccount, TokenSecret};
pub use network::{EndpointSlice, Endpoints, Service};
pub use node::{Node, Taint, Toleration};
pub use pod::{Pod, PodTemplate};
pub use storage::{PersistentVolume, PersistentVolumeClaim, StorageClass, VolumeAttributesClass};
pub use workload::{ControllerRevision, DaemonSet, Deployment, ReplicaSet};

/// A condition in the status of any kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: CompactString,
    pub status: CompactString,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_heartbeat_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    pub reason: CompactString,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl Condition {
    pub fn new(kind: &str, status: &str, reason: &str, message: impl Into<String>, now: Time) -> Self {
        Self {
            kind: kind.into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
            last_transition_time: Some(now),
            ..Self::default()
        }
    }

    pub fn is_true(&self) -> bool {
        self.status == "True"
    }
}

/// The condition of a type.
pub fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.kind == kind)
}

pub(crate) fn is_zero(n: &i32) -> bool {
    *n == 0
}

pub(crate) fn is_zero_i64(n: &i64) -> bool {
    *n == 0
}
