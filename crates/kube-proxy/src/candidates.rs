//! Which endpoints of a port take its connections: those of the whole cluster, as topology hints narrow them, and
//! this node's own.

use crate::plan::{Backend, Node, protocol};
use crate::views::{Endpoint, Hint, ServicePort, Slice};

/// The endpoints of one port: anywhere, and on this node.
pub struct Candidates {
    cluster: Vec<Backend>,
    local: Vec<Backend>,
}

impl Candidates {
    pub fn of(&self, local: bool) -> &[Backend] {
        if local { &self.local } else { &self.cluster }
    }
}

/// One endpoint, and what makes it eligible.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    backend: Backend,
    /// False: ending, but still serving.
    ready: bool,
    here: bool,
    endpoint: &'a Endpoint,
}

/// Ready endpoints; where there is none, those that still serve while they end (KEP-1669). For policy Local both
/// among this node's.
pub fn candidates<'a>(
    slices: impl Iterator<Item = &'a Slice>,
    port: &ServicePort,
    node: &Node,
) -> Candidates {
    let mut all: Vec<Candidate<'a>> = Vec::new();
    for slice in slices.filter(|s| s.address_type == "IPv4") {
        let same = |p: &&crate::views::EndpointPort| {
            p.name == port.name && protocol(&p.protocol) == protocol(&port.protocol)
        };
        let Some(target) = slice.ports.iter().find(same).and_then(|p| p.port) else { continue };
        for endpoint in &slice.endpoints {
            let Some(address) = endpoint.addresses.first().and_then(|a| a.parse().ok()) else { continue };
            let Some(ready) = usable(endpoint) else { continue };
            let backend = Backend { address, port: target };
            all.push(Candidate { backend, ready, here: endpoint.node_name == node.name, endpoint });
        }
    }
    all.sort_unstable_by_key(|c| (c.backend, c.ready, c.here));
    all.dedup_by_key(|c| c.backend);
    let meant = meant_for(&all, node);
    let choose = |wanted: &dyn Fn(&Candidate<'_>) -> bool| -> Vec<Backend> {
        all.iter().filter(|c| wanted(c)).map(|c| c.backend).collect()
    };
    let or_ending = |ready: Vec<Backend>, ending: &dyn Fn(&Candidate<'_>) -> bool| {
        if ready.is_empty() { choose(ending) } else { ready }
    };
    Candidates {
        cluster: or_ending(choose(&|c| c.ready && meant.takes(c)), &|c| !c.ready),
        local: or_ending(choose(&|c| c.ready && c.here), &|c| !c.ready && c.here),
    }
}

/// True: ready. False: ending, but still serving. None: neither.
fn usable(endpoint: &Endpoint) -> Option<bool> {
    let conditions = &endpoint.conditions;
    let ready = conditions.ready.unwrap_or(true);
    let serving = conditions.serving.unwrap_or(ready);
    let terminating = conditions.terminating.unwrap_or(false);
    if ready { Some(true) } else { (serving && terminating).then_some(false) }
}

/// Whose hints are followed.
enum Meant<'a> {
    Everybody,
    Node(&'a str),
    Zone(&'a str),
}

impl Meant<'_> {
    fn takes(&self, candidate: &Candidate<'_>) -> bool {
        match self {
            Self::Everybody => true,
            Self::Node(name) => names(&candidate.endpoint.hints.for_nodes, name),
            Self::Zone(name) => names(&candidate.endpoint.hints.for_zones, name),
        }
    }
}

fn names(hints: &[Hint], name: &str) -> bool {
    hints.iter().any(|h| h.name == name)
}

/// Hints count when every ready endpoint has one and one at least is for this node, else for its zone (KEP-2433,
/// KEP-3015).
fn meant_for<'a>(all: &[Candidate<'_>], node: &'a Node) -> Meant<'a> {
    let ready = || all.iter().filter(|c| c.ready).map(|c| &c.endpoint.hints);
    let every = |of: fn(&crate::views::Hints) -> &[Hint]| ready().all(|h| !of(h).is_empty());
    let some = |of: fn(&crate::views::Hints) -> &[Hint], name: &str| ready().any(|h| names(of(h), name));
    if every(|h| &h.for_nodes) && some(|h| &h.for_nodes, &node.name) {
        Meant::Node(&node.name)
    } else if !node.zone.is_empty() && every(|h| &h.for_zones) && some(|h| &h.for_zones, &node.zone) {
        Meant::Zone(&node.zone)
    } else {
        Meant::Everybody
    }
}
