//! The fixed part of the rules: chains that look into the maps which [`crate::state`] fills.
//!
//! ```text
//! prerouting  not from a pod: outside-services, outside-nodeports ─┐
//!             services, nodeports ────────────────────────────────┤ goto  KIND-N   (one chain for each number
//! output      services, nodeports ────────────────────────────────┘                 of endpoints that occurs)
//! KIND-N      mark for masquerading as KIND says; number below N; endpoints[frontend, number] -> dnat
//! forward,    a cluster IP that nothing rewrote has no such port or no endpoint: reject
//! output
//! prerouting  (before nat) outside packets for `no-local-endpoints`: drop
//! postrouting marked, or a pod that reached itself: masquerade
//! ```

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nftables::expr::{Base, Ct, Expr, Meta, Nat, Op, REG1, REG2, Reject, VERDICT, Verdict, state, word};
use nftables::set::{Data, Part};
use nftables::{Batch, Chain, Element, Family, Hook, Key, Policy, Rule, Set};

use crate::plan::{Masquerade, Scope};

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
const NODE_ADDRESSES: &str = "nodeport-ips";
const PODS: &str = "pods";

/// Upstream's bit for packets to masquerade.
const MARK: u32 = 0x4000;
const AF_INET: u8 = 2;

const FRONTEND: &[Part] = &[Part::Ipv4Addr, Part::InetProto, Part::InetService];
const NODE_PORT: &[Part] = &[Part::InetProto, Part::InetService];
const NUMBERED: &[Part] = &[Part::Ipv4Addr, Part::InetProto, Part::InetService, Part::Mark];
const BACKEND: &[Part] = &[Part::Ipv4Addr, Part::InetService];
const PAIR: &[Part] = &[Part::Ipv4Addr, Part::Ipv4Addr];

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
    ] {
        batch.add_set(&Set::new(name, key, data));
    }
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
    let mut drops = vec![
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
    rules(batch, "filter-prerouting", std::mem::take(&mut drops));
    let refuse = |set: &str, load: Vec<Expr>| {
        [is_new(), load, vec![lookup(set), Expr::Reject(Reject::IcmpPortUnreachable)]].concat()
    };
    for (chain, hook) in
        [("filter-input", Hook::Input), ("filter-forward", Hook::Forward), ("filter-output", Hook::Output)]
    {
        batch.add_chain(chain, Some(filter(hook, -110)));
        let mut all = vec![refuse(NO_ENDPOINT_SERVICES, frontend())];
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
    batch.add_chain("nat-postrouting", Some(nat(Hook::Postrouting, 100)));
    rules(batch, "nat-postrouting", masquerading());
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

/// A chain that spreads connections over so many endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spread {
    pub node_port: bool,
    pub scope: Scope,
    pub masquerade: Masquerade,
    pub endpoints: u32,
}

/// Endpoints of scope `Outside` are numbered from here, so that both scopes of a frontend share one map.
pub const OUTSIDE_FROM: u32 = 1 << 16;

impl Spread {
    pub fn first_number(self) -> u32 {
        if self.scope == Scope::Outside { OUTSIDE_FROM } else { 0 }
    }

    pub fn chain(self) -> String {
        let place = if self.node_port { "nodeport" } else { "service" };
        let kind = match (self.scope, self.masquerade) {
            (Scope::Outside, _) => "outside",
            (_, Masquerade::NotPods) => "cluster",
            (_, Masquerade::Always) => "external",
            (_, Masquerade::Never) => "local",
        };
        format!("{place}-{kind}-{}", self.endpoints)
    }

    pub fn add(self, batch: &mut Batch, fixed: &Fixed) {
        let chain = self.chain();
        batch.add_chain(&chain, None);
        if let Some(condition) = self.marks(fixed) {
            let set = [
                Expr::Meta { key: Meta::Mark, to: REG1 },
                Expr::Bitwise {
                    register: REG1,
                    mask: (!MARK).to_ne_bytes().into(),
                    xor: MARK.to_ne_bytes().into(),
                },
                Expr::SetMeta { key: Meta::Mark, from: REG1 },
            ];
            batch.add_rule(&chain, &Rule::new([condition, set.into()].concat()));
        }
        let load = if self.node_port {
            vec![
                Expr::Immediate { to: word(0), value: vec![0; 4] },
                Expr::Meta { key: Meta::L4Proto, to: word(1) },
                Expr::Payload { base: Base::Transport, offset: 2, length: 2, to: word(2) },
            ]
        } else {
            frontend()
        };
        let spread = vec![
            Expr::Numgen { random: true, modulus: self.endpoints, offset: self.first_number(), to: word(3) },
            Expr::Map { set: ENDPOINTS.into(), register: REG1, to: REG2 },
            Expr::Nat {
                kind: Nat::Destination,
                family: AF_INET,
                address: word(4),
                port: Some(word(5)),
                random_fully: false,
            },
        ];
        batch.add_rule(&chain, &Rule::new([load, spread].concat()));
    }

    /// The condition under which a packet is marked; None: never.
    fn marks(self, fixed: &Fixed) -> Option<Vec<Expr>> {
        match self.masquerade {
            Masquerade::Always => Some(Vec::new()),
            Masquerade::NotPods if fixed.masquerade_all => Some(Vec::new()),
            Masquerade::NotPods => fixed.pods.map(|_| not_from_pods(fixed)),
            Masquerade::Never => None,
        }
    }
}
