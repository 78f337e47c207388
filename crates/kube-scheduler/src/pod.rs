//! A pod as the scheduler holds it: what identifies it, what it takes from a node, and the part of its
//! specification that filters and scores read. Pods with equal parts share the work of a scheduling cycle.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use client::{ObjectKey, StringMap};
use compact_str::CompactString;

use crate::resources::{PodRequests, Symbol, Symbols, pod_requests};
use crate::views::{Affinity, NodeAffinity, PodView, Toleration, TopologySpreadConstraint};

/// A port on the host that a pod occupies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    pub port: u16,
    pub protocol: Protocol,
    /// None: every address.
    pub address: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl HostPort {
    /// Same port and protocol, and the same address or one of them every address.
    pub fn conflicts(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address.is_none() || other.address.is_none() || self.address == other.address)
    }
}

/// What filters and scores read of a pod's specification.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Spec {
    pub requests: PodRequests,
    pub ports: Vec<HostPort>,
    pub node_name: CompactString,
    pub node_selector: StringMap,
    pub node_affinity: Option<NodeAffinity>,
    pub tolerations: Vec<Toleration>,
    /// Images of containers, init containers and volumes, with tags.
    pub images: Vec<Symbol>,
    pub spread: Vec<TopologySpreadConstraint>,
    pub pod_affinity: Vec<crate::views::PodAffinityTerm>,
    pub pod_anti_affinity: Vec<crate::views::PodAffinityTerm>,
    /// Names of claims, in the pod's namespace.
    pub claims: Vec<CompactString>,
    pub has_resource_claims: bool,
    /// What [`Spec::pod_affinity`], [`Spec::spread`] and [`Spec::claims`] depend on; else empty, so that pods of
    /// all namespaces can be equal.
    pub namespace: CompactString,
    pub labels: StringMap,
}

/// A specification with its hash, so that looking it up costs no second pass.
#[derive(Clone, Debug)]
pub struct Class {
    pub spec: Arc<Spec>,
    hash: u64,
}

impl Class {
    pub fn new(spec: Spec) -> Self {
        let mut hasher = std::hash::DefaultHasher::new();
        spec.hash(&mut hasher);
        Self { hash: hasher.finish(), spec: Arc::new(spec) }
    }
}

impl PartialEq for Class {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && (Arc::ptr_eq(&self.spec, &other.spec) || self.spec == other.spec)
    }
}

impl Eq for Class {}

impl Hash for Class {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// A pod that is on a node or waits for one.
#[derive(Clone, Debug)]
pub struct Pod {
    pub key: ObjectKey,
    pub uid: CompactString,
    pub resource_version: CompactString,
    pub scheduler_name: CompactString,
    pub priority: i32,
    pub node_name: CompactString,
    pub nominated_node_name: CompactString,
    pub is_being_deleted: bool,
    pub gates: Vec<CompactString>,
    pub labels: StringMap,
    /// For events and conditions: `metadata.generation`.
    pub generation: i64,
    pub class: Class,
}

impl Pod {
    pub fn from_view(view: &PodView, symbols: &mut Symbols) -> Self {
        Self {
            key: client::View::key(view),
            uid: view.metadata.uid.clone(),
            resource_version: view.metadata.resource_version.clone(),
            scheduler_name: view.spec.scheduler_name.clone(),
            priority: view.spec.priority.unwrap_or(0),
            node_name: view.spec.node_name.clone(),
            nominated_node_name: view.status.nominated_node_name.clone(),
            is_being_deleted: view.metadata.deletion_timestamp.is_some(),
            gates: view.spec.scheduling_gates.iter().map(|g| g.name.clone()).collect(),
            labels: view.metadata.labels.clone(),
            generation: view.metadata.generation,
            class: Class::new(spec(view, symbols)),
        }
    }

    pub fn spec(&self) -> &Spec {
        &self.class.spec
    }

    pub fn requests(&self) -> &PodRequests {
        &self.class.spec.requests
    }

    pub fn is_assigned(&self) -> bool {
        !self.node_name.is_empty()
    }
}

fn spec(view: &PodView, symbols: &mut Symbols) -> Spec {
    let assigned = !view.spec.node_name.is_empty();
    let none = Affinity::default();
    let affinity = view.spec.affinity.as_ref().unwrap_or(&none);
    let terms =
        |a: &Option<crate::views::PodAffinity>| a.as_ref().map(|a| a.required.clone()).unwrap_or_default();
    let mut made = Spec {
        requests: pod_requests(view, symbols),
        ports: host_ports(view),
        pod_anti_affinity: terms(&affinity.pod_anti_affinity),
        ..Spec::default()
    };
    if assigned {
        // Of a pod that has its node only what it takes there, and whom it repels, is read.
        return made;
    }
    made.node_selector = view.spec.node_selector.clone();
    made.node_affinity = affinity.node_affinity.clone();
    made.tolerations = view.spec.tolerations.clone();
    made.pod_affinity = terms(&affinity.pod_affinity);
    made.spread = view
        .spec
        .topology_spread_constraints
        .iter()
        .filter(|c| c.when_unsatisfiable == "DoNotSchedule")
        .cloned()
        .collect();
    made.images = images(view, symbols);
    made.claims = claims(view);
    made.has_resource_claims = !view.spec.resource_claims.is_empty();
    let reads_own =
        !(made.pod_affinity.is_empty() && made.pod_anti_affinity.is_empty() && made.spread.is_empty());
    if reads_own || !made.claims.is_empty() {
        made.namespace = view.metadata.namespace.clone();
    }
    if reads_own {
        made.labels = view.metadata.labels.clone();
    }
    made
}

fn host_ports(view: &PodView) -> Vec<HostPort> {
    let sidecars = view.spec.init_containers.iter().filter(|c| c.restart_policy == "Always");
    let ports =
        view.spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports).filter(|p| p.host_port > 0);
    ports
        .map(|p| HostPort {
            port: p.host_port,
            protocol: match p.protocol.as_str() {
                "UDP" => Protocol::Udp,
                "SCTP" => Protocol::Sctp,
                _ => Protocol::Tcp,
            },
            address: p.host_ip.parse().ok().filter(|ip| *ip != IpAddr::from([0, 0, 0, 0])),
        })
        .collect()
}

fn images(view: &PodView, symbols: &mut Symbols) -> Vec<Symbol> {
    let containers = view.spec.init_containers.iter().chain(&view.spec.containers).map(|c| &c.image);
    let volumes = view.spec.volumes.iter().filter_map(|v| v.image.as_ref()).map(|i| &i.reference);
    containers.chain(volumes).map(|name| symbols.intern(&with_tag(name))).collect()
}

/// `:latest` where an image's name has no tag.
pub fn with_tag(name: &str) -> std::borrow::Cow<'_, str> {
    if name.rfind(':') > name.rfind('/') { name.into() } else { format!("{name}:latest").into() }
}

fn claims(view: &PodView) -> Vec<CompactString> {
    let of = |volume: &crate::views::Volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => Some(source.claim_name.clone()),
        // A generic ephemeral volume's claim is named after both (KEP-1698).
        (None, Some(_)) => Some(format!("{}-{}", view.metadata.name, volume.name).into()),
        _ => None,
    };
    view.spec.volumes.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_get_tags() {
        for (name, expected) in [
            ("a", "a:latest"),
            ("r:5000/a", "r:5000/a:latest"),
            ("r:5000/a:v1", "r:5000/a:v1"),
            ("a:v1", "a:v1"),
        ] {
            assert_eq!(with_tag(name), expected);
        }
    }

    #[test]
    fn ports_conflict_by_address() {
        let port = |address: &str, protocol| HostPort { port: 80, protocol, address: address.parse().ok() };
        let all = port("", Protocol::Tcp);
        assert!(all.conflicts(&port("10.0.0.1", Protocol::Tcp)));
        assert!(port("10.0.0.1", Protocol::Tcp).conflicts(&port("10.0.0.1", Protocol::Tcp)));
        assert!(!port("10.0.0.1", Protocol::Tcp).conflicts(&port("10.0.0.2", Protocol::Tcp)));
        assert!(!all.conflicts(&port("", Protocol::Udp)));
    }
}
