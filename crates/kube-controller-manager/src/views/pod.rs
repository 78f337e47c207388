//! Pods and pod templates.

use std::collections::BTreeMap;

use client::{ObjectMeta, StringMap, Time, view};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::autoscaling::Milli;
use super::node::{NodeSelector, Toleration};
use super::{Condition, condition};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    pub metadata: ObjectMeta,
    pub spec: PodSpec,
    pub status: PodStatus,
}

view!(Pod);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    pub node_name: CompactString,
    pub hostname: CompactString,
    pub subdomain: CompactString,
    pub host_network: bool,
    pub termination_grace_period_seconds: Option<i64>,
    pub tolerations: Vec<Toleration>,
    pub containers: Vec<Container>,
    pub init_containers: Vec<Container>,
    /// Of the pod as a whole (KEP-2837).
    pub resources: Resources,
    pub affinity: Option<Affinity>,
    pub resource_claims: Vec<serde::de::IgnoredAny>,
    /// Only those that name a claim, or get one of their own.
    #[serde(deserialize_with = "with_claims")]
    pub volumes: Vec<Volume>,
}

/// Most volumes are of no interest here, and there are several a pod.
fn with_claims<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Volume>, D::Error> {
    let mut volumes = Vec::<Volume>::deserialize(deserializer)?;
    volumes.retain(|v| v.persistent_volume_claim.is_some() || v.ephemeral.is_some());
    volumes.shrink_to_fit();
    Ok(volumes)
}

/// A volume of a pod, as far as it names a claim.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    pub name: CompactString,
    pub persistent_volume_claim: Option<ClaimSource>,
    pub ephemeral: Option<serde::de::IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimSource {
    pub claim_name: CompactString,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    pub name: CompactString,
    pub ports: Vec<ContainerPort>,
    pub restart_policy: CompactString,
    pub resources: Resources,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    pub requests: BTreeMap<CompactString, Milli>,
}

impl Resources {
    /// In thousandths.
    fn request(&self, resource: &str) -> Option<i64> {
        self.requests.get(resource).map(|q| q.0)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    pub name: CompactString,
    pub container_port: i32,
    pub protocol: CompactString,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Affinity {
    pub node_affinity: Option<NodeAffinity>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Option<NodeSelector>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    pub phase: CompactString,
    pub reason: CompactString,
    pub conditions: Vec<Condition>,
    #[serde(rename = "podIP")]
    pub pod_ip: CompactString,
    #[serde(rename = "podIPs")]
    pub pod_ips: Vec<PodIp>,
    pub start_time: Option<Time>,
    pub container_statuses: Vec<ContainerStatus>,
    pub init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PodIp {
    pub ip: CompactString,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    pub name: CompactString,
    pub restart_count: i32,
    pub state: ContainerState,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    pub terminated: Option<Terminated>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    pub exit_code: i32,
    pub finished_at: Option<Time>,
}

impl Pod {
    /// The pod's Ready condition.
    pub fn ready_condition(&self) -> Option<&Condition> {
        condition(&self.status.conditions, "Ready")
    }

    pub fn is_ready(&self) -> bool {
        self.ready_condition().is_some_and(Condition::is_true)
    }

    /// Ready for at least `min_ready_seconds`.
    pub fn is_available(&self, min_ready_seconds: i32, now: Time) -> bool {
        let Some(ready) = self.ready_condition().filter(|c| c.is_true()) else { return false };
        let long_enough = |since: Time| since.seconds() + i64::from(min_ready_seconds) <= now.seconds();
        min_ready_seconds == 0 || ready.last_transition_time.is_some_and(long_enough)
    }

    /// The claims that its volumes use, also those that are made for it (ephemeral volumes).
    pub fn claims(&self) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
        self.spec.volumes.iter().filter_map(|v| match (&v.persistent_volume_claim, &v.ephemeral) {
            (Some(source), _) => Some(source.claim_name.as_str().into()),
            (None, Some(_)) => Some(format!("{}-{}", self.metadata.name, v.name).into()),
            (None, None) => None,
        })
    }

    /// What the pod requests of a resource, in thousandths; or the container of that name, unless that is empty.
    /// The error is the first container without a request.
    pub fn requests(&self, resource: &str, container: &str) -> Result<i64, &str> {
        if let (true, Some(whole)) = (container.is_empty(), self.spec.resources.request(resource)) {
            return Ok(whole);
        }
        let sidecars = self.spec.init_containers.iter().filter(|c| c.restart_policy == "Always");
        let meant = |c: &&Container| container.is_empty() || c.name == container;
        let mut sum = 0;
        for one in self.spec.containers.iter().chain(sidecars).filter(meant) {
            sum += one.resources.request(resource).ok_or(&*one.name)?;
        }
        Ok(sum)
    }

    /// Succeeded or Failed.
    pub fn is_terminal(&self) -> bool {
        matches!(&*self.status.phase, "Succeeded" | "Failed")
    }

    /// Neither terminal nor being deleted.
    pub fn is_active(&self) -> bool {
        !self.is_terminal() && !self.metadata.is_being_deleted()
    }

    /// The addresses, also of a status that has only `podIP`.
    pub fn ips(&self) -> impl Iterator<Item = &str> {
        let single = (self.status.pod_ips.is_empty() && !self.status.pod_ip.is_empty())
            .then_some(&*self.status.pod_ip);
        self.status.pod_ips.iter().map(|ip| &*ip.ip).chain(single)
    }
}

/// `spec.template` of a workload. Its pod spec is kept as the server's JSON text.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PodTemplate {
    pub metadata: TemplateMeta,
    pub spec: RawSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateMeta {
    #[serde(skip_serializing_if = "StringMap::is_empty")]
    pub labels: StringMap,
    #[serde(skip_serializing_if = "StringMap::is_empty")]
    pub annotations: StringMap,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<CompactString>,
}

/// JSON text that is passed on as it came.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawSpec(pub Box<RawValue>);

impl Default for RawSpec {
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

impl RawSpec {
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// From a tree; trees always serialise.
    pub fn from_value(value: &serde_json::Value) -> Self {
        serde_json::value::to_raw_value(value).map_or_else(|_| Self::default(), Self)
    }
}

impl PartialEq for RawSpec {
    /// Equal as JSON; equal texts, the usual case, are found without parsing.
    fn eq(&self, other: &Self) -> bool {
        let parse = |raw: &Self| serde_json::from_str::<serde_json::Value>(raw.text()).ok();
        self.text() == other.text() || parse(self) == parse(other)
    }
}

impl PartialEq for PodTemplate {
    fn eq(&self, other: &Self) -> bool {
        self.metadata == other.metadata && self.spec == other.spec
    }
}
