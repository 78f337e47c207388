//! What DNS reads of Services, EndpointSlices and Namespaces.

use std::net::IpAddr;
use std::sync::Arc;

use client::{ObjectMeta, Resource, Store, view};
use compact_str::CompactString;
use serde::Deserialize;

use crate::zone::Source;

pub const SERVICES: Resource = Resource::of("", "v1", "services", "Service", true);
pub const ENDPOINT_SLICES: Resource =
    Resource::of("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true);
pub const NAMESPACES: Resource = Resource::of("", "v1", "namespaces", "Namespace", false);

/// Slices of a Service, under `namespace/name`.
pub const BY_SERVICE: &str = "service";
/// Services by cluster IP, slices by endpoint.
pub const BY_ADDRESS: &str = "address";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Namespace {
    pub metadata: ObjectMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    pub metadata: ObjectMeta,
    pub spec: ServiceSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpec {
    #[serde(rename = "type")]
    pub kind: CompactString,
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<CompactString>,
    pub external_name: CompactString,
    pub ports: Vec<Port>,
    pub publish_not_ready_addresses: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Port {
    pub name: CompactString,
    pub protocol: CompactString,
    pub port: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Slice {
    pub metadata: ObjectMeta,
    pub endpoints: Vec<Endpoint>,
    pub ports: Vec<Port>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    pub addresses: Vec<CompactString>,
    pub conditions: Conditions,
    pub hostname: CompactString,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Conditions {
    pub ready: Option<bool>,
}

view!(Namespace, Service, Slice);

impl Service {
    pub fn is_headless(&self) -> bool {
        self.spec.cluster_ips.first().is_some_and(|ip| ip == "None")
    }
}

impl Slice {
    /// `namespace/service`, from the label that says whose slice this is.
    pub fn service_key(&self) -> Option<String> {
        let name = self.metadata.labels.get("kubernetes.io/service-name")?;
        Some(format!("{}/{name}", self.metadata.namespace))
    }

    pub fn addresses(&self) -> Vec<String> {
        self.endpoints.iter().flat_map(|e| e.addresses.iter().map(ToString::to_string)).collect()
    }
}

/// The informers' stores.
pub struct Stores {
    pub services: Store<Service>,
    pub slices: Store<Slice>,
    pub namespaces: Store<Namespace>,
}

impl Source for Stores {
    fn namespace_exists(&self, name: &str) -> bool {
        self.namespaces.get("", name).is_some()
    }

    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.get(namespace, name)
    }

    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<Slice>> {
        self.slices.by_index(BY_SERVICE, &format!("{namespace}/{service}"))
    }

    fn services_at(&self, address: IpAddr) -> Vec<Arc<Service>> {
        self.services.by_index(BY_ADDRESS, &address.to_string())
    }

    fn slices_at(&self, address: IpAddr) -> Vec<Arc<Slice>> {
        self.slices.by_index(BY_ADDRESS, &address.to_string())
    }
}
