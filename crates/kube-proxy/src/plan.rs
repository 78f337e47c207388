//! What one Service means on this node, as a pure function: which addresses and ports it is reached at, and the
//! endpoints behind each.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::candidates::{Candidates, candidates};
use crate::views::{Service, ServicePort, Slice};

/// The node that the plan is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    /// Empty: the node has none, and hints for zones have no meaning here.
    pub zone: String,
    pub address: Option<Ipv4Addr>,
}

/// Where a Service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frontend {
    /// None: a node port, at every address of this node that takes them.
    pub address: Option<Ipv4Addr>,
    /// IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP.
    pub protocol: u8,
    pub port: u16,
}

/// One endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Backend {
    pub address: Ipv4Addr,
    pub port: u16,
}

/// Whose source address is hidden behind the node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Masquerade {
    /// Of clients that are no pods: the way of a cluster IP.
    NotPods,
    /// Of every client: the way of what comes from outside with policy Cluster.
    Always,
    /// Of nobody: policy Local keeps the client's address.
    Never,
}

/// Which packets a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    All,
    /// From outside the pod network, which policy Local treats apart. Stands before `All`.
    Outside,
}

/// A frontend and the endpoints that share its connections. Without endpoints its packets go no further.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Balance {
    pub frontend: Frontend,
    pub scope: Scope,
    pub masquerade: Masquerade,
    /// Some: a client comes back to its endpoint, for so many seconds after its last new connection.
    pub affinity: Option<u32>,
    pub backends: Vec<Backend>,
}

/// Who may come to the address of a load balancer: everybody else's packets are dropped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allowed {
    pub frontend: Frontend,
    pub sources: Vec<Ipv4Net>,
}

/// All frontends of a Service; empty for one that is gone or not the proxy's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub balances: Vec<Balance>,
    pub cluster_ips: Vec<Ipv4Addr>,
    pub allowed: Vec<Allowed>,
    /// Ports whose policy is Local and whose endpoints are all on other nodes, at internal and external addresses.
    pub no_local: [u32; 2],
}

pub fn plan<'a>(service: &Service, slices: impl Iterator<Item = &'a Slice> + Clone, node: &Node) -> Plan {
    if service.spec.kind == "ExternalName" {
        return Plan::default();
    }
    let cluster_ips: Vec<Ipv4Addr> =
        service.spec.cluster_ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    let Some(cluster_ip) = cluster_ips.first().copied() else { return Plan::default() };
    let mut plan = Plan { cluster_ips: vec![cluster_ip], ..Plan::default() };
    for port in &service.spec.ports {
        let Some(protocol) = protocol(&port.protocol) else { continue };
        let candidates = candidates(slices.clone(), port, node);
        plan.balances.push(internal(
            service,
            Frontend { address: Some(cluster_ip), protocol, port: port.port },
            &candidates,
        ));
        let (internal_local, external_local) = local_policies(service);
        let none_here = !candidates.of(false).is_empty() && candidates.of(true).is_empty();
        plan.no_local[0] += u32::from(none_here && internal_local);
        plan.no_local[1] += u32::from(none_here && external_local);
        for frontend in external(service, port, protocol) {
            plan.balances.extend(outside(service, frontend, &candidates));
        }
        plan.allowed.extend(allowed(service, port, protocol, node));
    }
    plan.balances.sort_unstable();
    plan.balances.dedup_by(|a, b| (a.frontend, a.scope) == (b.frontend, b.scope));
    plan.allowed.sort_unstable();
    plan.allowed.dedup_by_key(|a| a.frontend);
    plan.balances.shrink_to_fit();
    plan
}

/// Whether the policies of internal and external traffic are Local.
fn local_policies(service: &Service) -> (bool, bool) {
    let spec = &service.spec;
    (spec.internal_traffic_policy == "Local", spec.external_traffic_policy == "Local")
}

fn internal(service: &Service, frontend: Frontend, candidates: &Candidates) -> Balance {
    let (local, _) = local_policies(service);
    Balance {
        frontend,
        scope: Scope::All,
        masquerade: Masquerade::NotPods,
        affinity: affinity(service),
        backends: candidates.of(local).to_vec(),
    }
}

/// Seconds. Upstream's default, which the API server also sets, is three hours.
fn affinity(service: &Service) -> Option<u32> {
    let seconds = service.spec.session_affinity_config.client_ip.timeout_seconds;
    (service.spec.session_affinity == "ClientIP").then(|| seconds.unwrap_or(10_800))
}

/// With policy Local, clients from outside get this node's endpoints; pods and the node itself, which lose nothing
/// by another node's, are treated as at a cluster IP.
fn outside(service: &Service, frontend: Frontend, candidates: &Candidates) -> impl Iterator<Item = Balance> {
    let balance = |scope, masquerade, local: bool| Balance {
        frontend,
        scope,
        masquerade,
        affinity: affinity(service),
        backends: candidates.of(local).to_vec(),
    };
    let (_, local) = local_policies(service);
    let all = if local { Masquerade::NotPods } else { Masquerade::Always };
    let all = balance(Scope::All, all, false);
    let here = local.then(|| balance(Scope::Outside, Masquerade::Never, true));
    std::iter::once(all).chain(here)
}

/// The addresses that a load balancer leads to the nodes as they are (KEP-1860).
fn balancer_addresses(service: &Service) -> impl Iterator<Item = Ipv4Addr> {
    let is_balancer = service.spec.kind == "LoadBalancer";
    let ingress = service.status.load_balancer.ingress.iter();
    ingress.filter(move |i| is_balancer && i.ip_mode != "Proxy").filter_map(|i| i.ip.parse().ok())
}

/// Where the port is reached from outside the cluster.
fn external(service: &Service, port: &ServicePort, protocol: u8) -> Vec<Frontend> {
    let at = |address: Ipv4Addr| Frontend { address: Some(address), protocol, port: port.port };
    let external_ips = service.spec.external_ips.iter().filter_map(|ip| ip.parse().ok());
    let mut found: Vec<Frontend> = external_ips.chain(balancer_addresses(service)).map(at).collect();
    if port.node_port != 0 {
        found.push(Frontend { address: None, protocol, port: port.node_port });
    }
    found
}

/// The source ranges of the port's balancer addresses; nothing where there are none of this family.
fn allowed(service: &Service, port: &ServicePort, protocol: u8, node: &Node) -> Vec<Allowed> {
    let ranges = service.spec.load_balancer_source_ranges.iter();
    let ranges: Vec<Ipv4Net> = ranges.filter_map(|r| r.trim().parse::<Ipv4Net>().ok()).collect();
    if ranges.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for address in balancer_addresses(service) {
        let mut sources = ranges.clone();
        // Where the balancer's address is one of the node's own, the node comes to it from just that address.
        if node.address.is_some_and(|own| ranges.iter().any(|r| r.contains(&own))) {
            sources.push(address.into());
        }
        let sources = Ipv4Net::aggregate(&sources);
        found.push(Allowed {
            frontend: Frontend { address: Some(address), protocol, port: port.port },
            sources,
        });
    }
    found
}

/// The protocol's number; None for one that is not the proxy's.
pub(crate) fn protocol(name: &str) -> Option<u8> {
    match name {
        "TCP" | "" => Some(6),
        "UDP" => Some(17),
        "SCTP" => Some(132),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
