//! What the proxy reads of Services, EndpointSlices and its Node. Lists are boxed slices: a `Vec` read from JSON has room for
//! four where there mostly is one.

use std::net::Ipv4Addr;

use client::{ObjectMeta, Resource, view};
use compact_str::CompactString;
use serde::Deserialize;

pub const SERVICES: Resource = Resource::of("", "v1", "services", "Service", true);
pub const ENDPOINT_SLICES: Resource =
    Resource::of("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true);
pub const NODES: Resource = Resource::of("", "v1", "nodes", "Node", false);

/// Slices of a Service, under `namespace/name`.
pub const BY_SERVICE: &str = "service";

/// Metadata as far as an informer needs it: ten thousand Services are held.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    pub name: CompactString,
    pub namespace: CompactString,
    pub uid: CompactString,
    pub resource_version: CompactString,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    pub metadata: Meta,
    pub spec: ServiceSpec,
    pub status: ServiceStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpec {
    #[serde(rename = "type")]
    pub kind: CompactString,
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Box<[CompactString]>,
    #[serde(rename = "externalIPs")]
    pub external_ips: Box<[CompactString]>,
    pub ports: Box<[ServicePort]>,
    pub external_traffic_policy: CompactString,
    pub internal_traffic_policy: CompactString,
    pub load_balancer_source_ranges: Box<[CompactString]>,
    /// `ClientIP` or `None`.
    pub session_affinity: CompactString,
    pub session_affinity_config: SessionAffinityConfig,
    /// Where a load balancer asks for local endpoints; 0: nowhere.
    pub health_check_node_port: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SessionAffinityConfig {
    #[serde(rename = "clientIP")]
    pub client_ip: ClientIpConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientIpConfig {
    pub timeout_seconds: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServicePort {
    pub name: CompactString,
    pub protocol: CompactString,
    pub port: u16,
    pub node_port: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceStatus {
    pub load_balancer: LoadBalancer,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct LoadBalancer {
    pub ingress: Box<[Ingress]>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Ingress {
    pub ip: CompactString,
    /// `VIP` or `Proxy`; the proxy leaves the latter alone (KEP-1860).
    pub ip_mode: CompactString,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SliceMeta {
    pub name: CompactString,
    pub namespace: CompactString,
    pub uid: CompactString,
    pub resource_version: CompactString,
    pub labels: SliceLabels,
    pub annotations: SliceAnnotations,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SliceLabels {
    #[serde(rename = "kubernetes.io/service-name")]
    pub service: CompactString,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SliceAnnotations {
    /// RFC 3339.
    #[serde(rename = "endpoints.kubernetes.io/last-change-trigger-time")]
    pub trigger: CompactString,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Slice {
    pub metadata: SliceMeta,
    pub address_type: CompactString,
    pub endpoints: Box<[Endpoint]>,
    pub ports: Box<[EndpointPort]>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoint {
    pub addresses: Box<[CompactString]>,
    pub conditions: Conditions,
    pub node_name: CompactString,
    pub hints: Hints,
}

/// For whom the controller means an endpoint (KEP-2433, KEP-3015).
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Hints {
    pub for_zones: Box<[Hint]>,
    pub for_nodes: Box<[Hint]>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Hint {
    pub name: CompactString,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Conditions {
    pub ready: Option<bool>,
    pub serving: Option<bool>,
    pub terminating: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct EndpointPort {
    pub name: CompactString,
    pub protocol: CompactString,
    /// None: all ports, which the proxy cannot serve.
    pub port: Option<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Node {
    pub metadata: ObjectMeta,
    pub spec: NodeSpec,
    pub status: NodeStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    pub taints: Vec<Taint>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Taint {
    pub key: CompactString,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    pub addresses: Box<[Address]>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Address {
    #[serde(rename = "type")]
    pub kind: CompactString,
    pub address: CompactString,
}

view!(Service, Slice, Node);

impl Slice {
    /// Namespace and name of the Service that it belongs to.
    pub fn service(&self) -> Option<(&str, &str)> {
        let service = &*self.metadata.labels.service;
        (!service.is_empty()).then_some((&*self.metadata.namespace, service))
    }

    /// When what changed it happened, in seconds since 1970, as its controller notes it.
    pub fn trigger(&self) -> Option<f64> {
        let time: jiff::Timestamp = self.metadata.annotations.trigger.parse().ok()?;
        Some(time.as_millisecond() as f64 / 1000.0)
    }

    pub fn service_key(&self) -> Option<String> {
        self.service().map(|(namespace, name)| format!("{namespace}/{name}"))
    }
}

impl Node {
    pub fn internal_ip(&self) -> Option<Ipv4Addr> {
        let mut internal = self.status.addresses.iter().filter(|a| a.kind == "InternalIP");
        internal.find_map(|a| a.address.parse().ok())
    }

    /// Empty where the node has none.
    pub fn zone(&self) -> &str {
        self.metadata.labels.get("topology.kubernetes.io/zone").unwrap_or_default()
    }

    /// False when load balancers should send no new connections: the node is about to go (KEP-3836).
    pub fn is_eligible(&self) -> bool {
        let leaves = |t: &Taint| t.key == "ToBeDeletedByClusterAutoscaler";
        self.metadata.deletion_timestamp.is_none() && !self.spec.taints.iter().any(leaves)
    }
}
