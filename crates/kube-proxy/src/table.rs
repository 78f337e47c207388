//! The fixed part of the rules: chains that look into the maps which [`crate::state`] fills.
//!
//! ```text
//! prerouting  not from a pod: outside-services, outside-nodeports ─┐
//!             services, nodeports ────────────────────────────────┤ goto  KIND-N   (one chain for each number
//! output      services, nodeports ────────────────────────────────┘                 of endpoints that occurs)
//! KIND-N      mark for masquerading as KIND says; number below N; endpoints[frontend, number] -> dnat
//!             with affinity before that: affinity[client, frontend] -> dnat
//! postrouting, notes of frontends with affinity: affinity[client, frontend] = where the packet goes
//! input
//! forward,    a cluster IP that nothing rewrote has no such port or no endpoint: reject
//! output
//! prerouting  (before nat) outside packets for `no-local-endpoints`: drop
//! prerouting, (before nat) clients outside the `source-ranges` of a frontend in `firewall`: drop
//! output
//! postrouting marked, or a pod that reached itself: masquerade
//! ```

pub mod spread;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nftables::expr::{Base, Ct, Expr, Meta, Op, REG1, Reject, VERDICT, Verdict, state, word};
use nftables::set::{Data, Part};
use nftables::{Batch, Chain, Element, Family, Hook, Key, Policy, Rule, Set};

/// Upstream's name, so that either proxy cleans up after the other.
pub const TABLE: &str = "kube-proxy";
pub const FAMILY: Family = Family::Ip;

pub const SERVICES: &str = "services";
pub const OUTSIDE_SERVICES: &str = "outside-services";
pub const NODE_PORTS: &str = "nodeports";
pub const OUTSIDE_NODE_PORTS: &str = "outside-nodeports";
pub const ENDPOINTS: &str = "endpoints";
pub const HAIRPIN: &str = "hairpin";
pub const CLUSTER_IPS: &str = "cluster-ips";
pub const NO_LOCAL_ENDPOINTS: &str = "no-local-endpoints";
pub const NO_LOCAL_NODE_PORTS: &str = "no-local-nodeports";
pub const NO_ENDPOINT_NODE_PORTS: &str = "no-endpoint-nodeports";
pub const NO_ENDPOINT_SERVICES: &str = "no-endpoint-services";
/// Which client had which endpoint; filled by the rules that the next two lead to.
pub const AFFINITY: &str = "affinity";
pub const NOTES: &str = "affinity-notes";
pub const NODE_PORT_NOTES: &str = "affinity-nodeport-notes";
/// Frontends that only some clients may come to, and those clients.
pub const FIREWALL: &str = "firewall";
pub const SOURCE_RANGES: &str = "source-ranges";
const NODE_ADDRESSES: &str = "nodeport-ips";
const PODS: &str = "pods";

/// Upstream's bit for packets to masquerade.
const MARK: u32 = 0x4000;

const FRONTEND: &[Part] = &[Part::Ipv4Addr, Part::InetProto, Part::InetService];
const NODE_PORT: &[Part] = &[Part::InetProto, Part::InetService];
const NUMBERED: &[Part] = &[Part::Ipv4Addr, Part::InetProto, Part::InetService, Part::Mark];
const BACKEND: &[Part] = &[Part::Ipv4Addr, Part::InetService];
const PAIR: &[Part] = &[Part::Ipv4Addr, Part::Ipv4Addr];
/// Client and frontend, whose address is 0.0.0.0 for a node port.
const CLIENT: &[Part] = &[Part::Ipv4Addr, Part::Ipv4Addr, Part::InetProto, Part::InetService];
const SOURCE: &[Part] = &[Part::Ipv4Addr, Part::InetProto, Part::InetService, Part::Ipv4Addr];
/// Clients that are remembered; the oldest make room by their time alone.
const CLIENTS: u32 = 1 << 20;

/// What the fixed part is made of.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// Where node ports are open.
    pub node_addresses: Vec<Ipv4Addr>,
    /// The pods of the cluster; None: nobody is told apart by his address, and only hairpins are masqueraded.
    pub pods: Option<Ipv4Net>,
    pub masquerade_all: bool,
}

/// Adds everything but elements of Services and the `KIND-N` chains. Base chains come last, so that no packet sees
/// half of it.
pub fn add(batch: &mut Batch, fixed: &Fixed) {
    batch.add_table();
    for (name, key, data) in [
        (SERVICES, FRONTEND, Data::Verdict),
        (OUTSIDE_SERVICES, FRONTEND, Data::Verdict),
        (NODE_PORTS, NODE_PORT, Data::Verdict),
        (OUTSIDE_NODE_PORTS, NODE_PORT, Data::Verdict),
        (ENDPOINTS, NUMBERED, Data::Parts(BACKEND)),
        (HAIRPIN, PAIR, Data::None),
        (CLUSTER_IPS, &[Part::Ipv4Addr], Data::None),
        (NO_LOCAL_ENDPOINTS, FRONTEND, Data::None),
        (NO_LOCAL_NODE_PORTS, NODE_PORT, Data::None),
        (NO_ENDPOINT_NODE_PORTS, NODE_PORT, Data::None),
        (NO_ENDPOINT_SERVICES, FRONTEND, Data::None),
        (NODE_ADDRESSES, &[Part::Ipv4Addr], Data::None),
        (NOTES, FRONTEND, Data::Verdict),
        (NODE_PORT_NOTES, NODE_PORT, Data::Verdict),
        (FIREWALL, FRONTEND, Data::None),
    ] {
        batch.add_set(&Set::new(name, key, data));
    }
    batch.add_set(&Set {
        dynamic: true,
        timeout: Some(10_800_000),
        size: Some(CLIENTS),
        ..Set::new(AFFINITY, CLIENT, Data::Parts(BACKEND))
    });
    batch.add_set(&Set { interval: true, ..Set::new(SOURCE_RANGES, SOURCE, Data::None) });
    batch.add_set(&Set { interval: true, ..Set::new(PODS, &[Part::Ipv4Addr], Data::None) });
    let addresses: Vec<Element> =
        fixed.node_addresses.iter().map(|a| Element::key(Key::new().ipv4(*a))).collect();
    batch.add_elements(NODE_ADDRESSES, &addresses);
    if let Some(pods) = fixed.pods {
        batch.add_elements(PODS, &Element::range(pods.network().into(), pods.prefix_len()));
    }
}

/// The base chains and their rules; see [`add`].
pub fn add_hooks(batch: &mut Batch, fixed: &Fixed) {
    let nat = |hook, priority| Chain { kind: "nat", hook, priority, policy: Policy::Accept };
    let filter = |hook, priority| Chain { kind: "filter", hook, priority, policy: Policy::Accept };
    let rules = |batch: &mut Batch, chain: &str, rules: Vec<Vec<Expr>>| {
        for expressions in rules {
            batch.add_rule(chain, &Rule::new(expressions));
        }
    };
    batch.add_chain("filter-prerouting", Some(filter(Hook::Prerouting, -110)));
    let drops = vec![
        not_allowed(),
        [
            is_new(),
            not_from_pods(fixed),
            frontend(),
            vec![lookup(NO_LOCAL_ENDPOINTS), Expr::Verdict(Verdict::Drop)],
        ]
        .concat(),
        [
            is_new(),
            not_from_pods(fixed),
            to_node_address(),
            node_port(),
            vec![lookup(NO_LOCAL_NODE_PORTS), Expr::Verdict(Verdict::Drop)],
        ]
        .concat(),
    ];
    rules(batch, "filter-prerouting", drops);
    let refuse = |set: &str, load: Vec<Expr>| {
        [is_new(), load, vec![lookup(set), Expr::Reject(Reject::IcmpPortUnreachable)]].concat()
    };
    for (chain, hook) in
        [("filter-input", Hook::Input), ("filter-forward", Hook::Forward), ("filter-output", Hook::Output)]
    {
        batch.add_chain(chain, Some(filter(hook, -110)));
        let mut all = if hook == Hook::Output { vec![not_allowed()] } else { Vec::new() };
        all.push(refuse(NO_ENDPOINT_SERVICES, frontend()));
        if hook == Hook::Input || hook == Hook::Output {
            all.push(refuse(NO_ENDPOINT_NODE_PORTS, [to_node_address(), node_port()].concat()));
        }
        rules(batch, chain, all);
    }
    // A cluster IP that is still the destination behind the rewriting has no such port.
    for (chain, hook) in [("filter-unknown-forward", Hook::Forward), ("filter-unknown-output", Hook::Output)]
    {
        batch.add_chain(chain, Some(filter(hook, 0)));
        rules(batch, chain, vec![refuse(CLUSTER_IPS, destination())]);
    }
    batch.add_chain("nat-prerouting", Some(nat(Hook::Prerouting, -100)));
    let outside = [
        [not_from_pods(fixed), frontend(), vec![dispatch(OUTSIDE_SERVICES)]].concat(),
        [not_from_pods(fixed), to_node_address(), node_port(), vec![dispatch(OUTSIDE_NODE_PORTS)]].concat(),
    ];
    rules(batch, "nat-prerouting", outside.into_iter().chain(everybody()).collect());
    batch.add_chain("nat-output", Some(nat(Hook::Output, -100)));
    rules(batch, "nat-output", everybody());
    // To an endpoint on the node itself there is no postrouting.
    batch.add_chain("nat-input", Some(nat(Hook::Input, 100)));
    rules(batch, "nat-input", spread::noting());
    batch.add_chain("nat-postrouting", Some(nat(Hook::Postrouting, 100)));
    rules(batch, "nat-postrouting", [spread::noting(), masquerading()].concat());
}

fn everybody() -> Vec<Vec<Expr>> {
    vec![
        [frontend(), vec![dispatch(SERVICES)]].concat(),
        [to_node_address(), node_port(), vec![dispatch(NODE_PORTS)]].concat(),
    ]
}

fn masquerading() -> Vec<Vec<Expr>> {
    let mark = || Expr::Meta { key: Meta::Mark, to: REG1 };
    let set = |xor: u32| {
        [
            Expr::Bitwise {
                register: REG1,
                mask: (!MARK).to_ne_bytes().into(),
                xor: xor.to_ne_bytes().into(),
            },
            Expr::SetMeta { key: Meta::Mark, from: REG1 },
        ]
    };
    let marked = vec![
        mark(),
        Expr::Bitwise { register: REG1, mask: MARK.to_ne_bytes().into(), xor: vec![0; 4] },
        Expr::Cmp { op: Op::Eq, register: REG1, value: MARK.to_ne_bytes().into() },
        mark(),
    ];
    let marked = [marked, set(0).into(), vec![Expr::Masquerade { random_fully: true }]].concat();
    let itself = vec![
        Expr::Payload { base: Base::Network, offset: 12, length: 4, to: word(0) },
        Expr::Payload { base: Base::Network, offset: 16, length: 4, to: word(1) },
        lookup(HAIRPIN),
        Expr::Masquerade { random_fully: true },
    ];
    vec![marked, itself]
}

/// `ct state new`
fn is_new() -> Vec<Expr> {
    vec![
        Expr::Ct { key: Ct::State, to: REG1 },
        Expr::Bitwise { register: REG1, mask: state::NEW.to_ne_bytes().into(), xor: vec![0; 4] },
        Expr::Cmp { op: Op::Neq, register: REG1, value: vec![0; 4] },
    ]
}

/// Nothing where the pods' range is unknown: then everybody counts as outside.
fn not_from_pods(fixed: &Fixed) -> Vec<Expr> {
    if fixed.pods.is_none() {
        return Vec::new();
    }
    vec![
        Expr::Payload { base: Base::Network, offset: 12, length: 4, to: REG1 },
        Expr::Lookup { set: PODS.into(), register: REG1, inverted: true },
    ]
}

/// New connections to a frontend with source ranges from outside of them: dropped.
fn not_allowed() -> Vec<Expr> {
    let among = vec![
        lookup(FIREWALL),
        Expr::Payload { base: Base::Network, offset: 12, length: 4, to: word(3) },
        Expr::Lookup { set: SOURCE_RANGES.into(), register: REG1, inverted: true },
        Expr::Verdict(Verdict::Drop),
    ];
    [is_new(), frontend(), among].concat()
}

fn destination() -> Vec<Expr> {
    vec![Expr::Payload { base: Base::Network, offset: 16, length: 4, to: REG1 }]
}

fn to_node_address() -> Vec<Expr> {
    [destination(), vec![lookup(NODE_ADDRESSES)]].concat()
}

/// `ip daddr . meta l4proto . th dport` into the first three words.
fn frontend() -> Vec<Expr> {
    vec![
        Expr::Payload { base: Base::Network, offset: 16, length: 4, to: word(0) },
        Expr::Meta { key: Meta::L4Proto, to: word(1) },
        Expr::Payload { base: Base::Transport, offset: 2, length: 2, to: word(2) },
    ]
}

/// `meta l4proto . th dport` into the first two words.
fn node_port() -> Vec<Expr> {
    vec![
        Expr::Meta { key: Meta::L4Proto, to: word(0) },
        Expr::Payload { base: Base::Transport, offset: 2, length: 2, to: word(1) },
    ]
}

fn lookup(set: &str) -> Expr {
    Expr::Lookup { set: set.into(), register: REG1, inverted: false }
}

fn dispatch(map: &str) -> Expr {
    Expr::Map { set: map.into(), register: REG1, to: VERDICT }
}
