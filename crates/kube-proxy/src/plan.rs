//! What one Service means on this node, as a pure function: which addresses and ports it is reached at, and the
//! endpoints behind each.

use std::net::Ipv4Addr;

use crate::views::{Endpoint, Service, ServicePort, Slice};

/// The node that the plan is for.
#[derive(Clone, Debug)]
pub struct Node {
    pub name: String,
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
    pub backends: Vec<Backend>,
}

/// All frontends of a Service; empty for one that is gone or not the proxy's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub balances: Vec<Balance>,
    pub cluster_ips: Vec<Ipv4Addr>,
}

/// The endpoints of one port: anywhere, and on this node.
struct Candidates {
    cluster: Vec<Backend>,
    local: Vec<Backend>,
}

pub fn plan<'a>(service: &Service, slices: impl Iterator<Item = &'a Slice> + Clone, node: &Node) -> Plan {
    if service.spec.kind == "ExternalName" {
        return Plan::default();
    }
    let cluster_ips: Vec<Ipv4Addr> =
        service.spec.cluster_ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    let Some(cluster_ip) = cluster_ips.first().copied() else { return Plan::default() };
    let mut balances = Vec::new();
    for port in &service.spec.ports {
        let Some(protocol) = protocol(&port.protocol) else { continue };
        let candidates = candidates(slices.clone(), port, node);
        let internal_local = service.spec.internal_traffic_policy == "Local";
        balances.push(Balance {
            frontend: Frontend { address: Some(cluster_ip), protocol, port: port.port },
            scope: Scope::All,
            masquerade: Masquerade::NotPods,
            backends: if internal_local { candidates.local.clone() } else { candidates.cluster.clone() },
        });
        let external_local = service.spec.external_traffic_policy == "Local";
        for frontend in external(service, port, protocol) {
            let outside = |scope, masquerade, backends: &Vec<Backend>| Balance {
                frontend,
                scope,
                masquerade,
                backends: backends.clone(),
            };
            balances.push(outside(Scope::All, Masquerade::Always, &candidates.cluster));
            if external_local {
                balances.push(outside(Scope::Outside, Masquerade::Never, &candidates.local));
            }
        }
    }
    balances.sort_unstable();
    balances.dedup_by(|a, b| (a.frontend, a.scope) == (b.frontend, b.scope));
    Plan { balances, cluster_ips: vec![cluster_ip] }
}

/// Where the port is reached from outside the cluster.
fn external(service: &Service, port: &ServicePort, protocol: u8) -> Vec<Frontend> {
    let at = |address: Ipv4Addr| Frontend { address: Some(address), protocol, port: port.port };
    let mut found: Vec<Frontend> =
        service.spec.external_ips.iter().filter_map(|ip| ip.parse().ok()).map(at).collect();
    if service.spec.kind == "LoadBalancer" && service.spec.load_balancer_source_ranges.is_empty() {
        // With source ranges the address stays closed here: letting everybody in would be wrong, and the balancer's
        // own node port still works.
        let vips = service.status.load_balancer.ingress.iter().filter(|i| i.ip_mode != "Proxy");
        found.extend(vips.filter_map(|i| i.ip.parse().ok()).map(at));
    }
    if port.node_port != 0 {
        found.push(Frontend { address: None, protocol, port: port.node_port });
    }
    found
}

fn protocol(name: &str) -> Option<u8> {
    match name {
        "TCP" | "" => Some(6),
        "UDP" => Some(17),
        "SCTP" => Some(132),
        _ => None,
    }
}

/// Ready endpoints; where there is none, those that still serve while they end (KEP-1669). For policy Local both
/// among this node's.
fn candidates<'a>(slices: impl Iterator<Item = &'a Slice>, port: &ServicePort, node: &Node) -> Candidates {
    let mut all: Vec<(Backend, bool, bool)> = Vec::new();
    for slice in slices.filter(|s| s.address_type == "IPv4") {
        let same = |p: &&crate::views::EndpointPort| {
            p.name == port.name && protocol(&p.protocol) == protocol(&port.protocol)
        };
        let Some(target) = slice.ports.iter().find(same).and_then(|p| p.port) else { continue };
        for endpoint in &slice.endpoints {
            let Some(address) = endpoint.addresses.first().and_then(|a| a.parse().ok()) else { continue };
            if let Some(ready) = usable(endpoint) {
                all.push((Backend { address, port: target }, ready, endpoint.node_name == node.name));
            }
        }
    }
    all.sort_unstable();
    all.dedup_by_key(|(backend, ..)| *backend);
    let choose = |local_only: bool| {
        let here = |(_, ready, local): &&(Backend, bool, bool), want: bool| {
            *ready == want && (*local || !local_only)
        };
        let ready: Vec<Backend> = all.iter().filter(|e| here(e, true)).map(|e| e.0).collect();
        if ready.is_empty() { all.iter().filter(|e| here(e, false)).map(|e| e.0).collect() } else { ready }
    };
    Candidates { cluster: choose(false), local: choose(true) }
}

/// True: ready. False: ending, but still serving. None: neither.
fn usable(endpoint: &Endpoint) -> Option<bool> {
    let conditions = &endpoint.conditions;
    let ready = conditions.ready.unwrap_or(true);
    let serving = conditions.serving.unwrap_or(ready);
    let terminating = conditions.terminating.unwrap_or(false);
    if ready { Some(true) } else { (serving && terminating).then_some(false) }
}

#[cfg(test)]
mod tests;
