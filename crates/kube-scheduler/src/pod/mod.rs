//! A pod as the scheduler holds it: what identifies it, what it takes from a node, and the parts of its
//! specification that filters and scores read: [`Spec`] by those that look at one node at a time, [`kin`] by those
//! that look at other pods. Pods with equal parts share the work of a scheduling cycle.

mod kin;

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use client::{ObjectKey, StringMap};
use compact_str::CompactString;

use kin::kin;
pub use kin::{Kin, Ties, WantedTerm};

use crate::resources::{PodRequests, Symbol, Symbols, pod_requests};
use crate::views::{NodeAffinity, PodView, Toleration};

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

/// What filters and scores read of a pod's specification that look at one node at a time.
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
    /// Names of claims, in the pod's namespace.
    pub claims: Vec<CompactString>,
    pub has_resource_claims: bool,
    /// Where [`Spec::claims`] are; else empty, so that pods of all namespaces can be equal.
    pub namespace: CompactString,
}

/// A value with its hash, so that looking it up costs no second pass; equal ones are mostly the same one.
#[derive(Debug)]
pub struct Hashed<T> {
    value: Arc<T>,
    hash: u64,
}

impl<T: Hash> Hashed<T> {
    pub fn new(value: T) -> Self {
        let mut hasher = std::hash::DefaultHasher::new();
        value.hash(&mut hasher);
        Self { hash: hasher.finish(), value: Arc::new(value) }
    }
}

impl<T> Clone for Hashed<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), hash: self.hash }
    }
}

impl<T> std::ops::Deref for Hashed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Hashed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && (Arc::ptr_eq(&self.value, &other.value) || self.value == other.value)
    }
}

impl<T: Eq> Eq for Hashed<T> {}

impl<T> Hash for Hashed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Pods of one class are the same to every node.
pub type Class = Hashed<Spec>;

/// A pod that is on a node or waits for one.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// For events and conditions: `metadata.generation`.
    pub generation: i64,
    /// `preemptionPolicy: Never`.
    pub never_preempts: bool,
    /// It is being deleted because a scheduler preempted it.
    pub is_preempted: bool,
    /// When its kubelet began with it.
    pub started: Option<client::Time>,
    pub class: Class,
    pub kin: Kin,
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
            generation: view.metadata.generation,
            never_preempts: view.spec.preemption_policy == "Never",
            is_preempted: view.metadata.deletion_timestamp.is_some() && is_preempted(&view.status),
            started: view.status.start_time,
            class: Class::new(spec(view, symbols)),
            kin: Kin::new(kin(view, symbols)),
        }
    }

    pub fn spec(&self) -> &Spec {
        &self.class
    }

    pub fn requests(&self) -> &PodRequests {
        &self.class.requests
    }

    pub fn labels(&self) -> &StringMap {
        &self.kin.labels
    }

    /// Whether it is the same to other pods, and takes the same from its node.
    pub fn is_alike(&self, other: &Self) -> bool {
        self.is_being_deleted == other.is_being_deleted
            && self.kin.is_alike(&other.kin)
            && self.spec().requests == other.spec().requests
            && self.spec().ports == other.spec().ports
            && self.spec().claims == other.spec().claims
    }

    pub fn is_assigned(&self) -> bool {
        !self.node_name.is_empty()
    }
}

fn is_preempted(status: &crate::views::PodStatus) -> bool {
    status
        .condition("DisruptionTarget")
        .is_some_and(|c| c.status == "True" && c.reason == "PreemptionByScheduler")
}

fn spec(view: &PodView, symbols: &mut Symbols) -> Spec {
    let mut made = Spec {
        requests: pod_requests(view, symbols),
        ports: host_ports(view),
        claims: claims(view),
        ..Spec::default()
    };
    if !made.claims.is_empty() {
        made.namespace = view.metadata.namespace.clone();
    }
    if !view.spec.node_name.is_empty() {
        // Of a pod that has its node only what it takes there is read.
        return made;
    }
    made.node_selector = view.spec.node_selector.clone();
    made.node_affinity = view.spec.affinity.as_ref().and_then(|a| a.node_affinity.clone());
    made.tolerations = view.spec.tolerations.clone();
    made.images = images(view, symbols);
    made.has_resource_claims = !view.spec.resource_claims.is_empty();
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
