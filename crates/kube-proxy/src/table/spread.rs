//! The chains that many Services share: those that spread connections over endpoints, one for each number of
//! endpoints and treatment of the source address that occurs; and those that note which endpoint a client got, one
//! for each time of affinity.
//!
//! A client's endpoint is noted where the packet has its new destination already, so that every rule stays one that
//! `nft` can read and show. The note names the frontend, not the Service: who comes to a Service by its cluster IP
//! and by a node port may have one endpoint for each. Notes of endpoints that are gone are removed by [`crate::sweep`].

use nftables::expr::{Base, Change, Ct, Expr, Meta, REG1, REG2, VERDICT, word};
use nftables::{Batch, Rule};

use super::{
    AFFINITY, ENDPOINTS, Fixed, MARK, NODE_ADDRESSES, NODE_PORT_NOTES, NOTES, frontend, lookup, not_from_pods,
};
use crate::plan::{Masquerade, Scope};

/// A chain that Services share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shared {
    Spread(Spread),
    Note(Note),
}

impl Shared {
    pub fn chain(self) -> String {
        match self {
            Self::Spread(spread) => spread.chain(),
            Self::Note(note) => note.chain(),
        }
    }

    pub fn add(self, batch: &mut Batch, fixed: &Fixed) {
        match self {
            Self::Spread(spread) => spread.add(batch, fixed),
            Self::Note(note) => note.add(batch),
        }
    }
}

/// A chain that spreads connections over so many endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spread {
    pub node_port: bool,
    pub scope: Scope,
    pub masquerade: Masquerade,
    /// A client gets the endpoint that it had.
    pub affinity: bool,
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
        let affinity = if self.affinity { "-affinity" } else { "" };
        format!("{place}-{kind}{affinity}-{}", self.endpoints)
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
        if self.affinity {
            batch.add_rule(&chain, &Rule::new(self.same_as_before()));
        }
        batch.add_rule(&chain, &Rule::new(self.any()));
    }

    fn any(self) -> Vec<Expr> {
        let choice = vec![
            Expr::Numgen { random: true, modulus: self.endpoints, offset: self.first_number(), to: word(3) },
            Expr::Map { set: ENDPOINTS.into(), register: REG1, to: REG2 },
            Expr::dnat_to_map(),
        ];
        let load = if self.node_port { node_port_at(0) } else { frontend() };
        [load, choice].concat()
    }

    fn same_as_before(self) -> Vec<Expr> {
        let mut rule = vec![Expr::Payload { base: Base::Network, offset: 12, length: 4, to: word(0) }];
        if self.node_port {
            rule.extend(node_port_at(1));
        } else {
            rule.extend([
                Expr::Payload { base: Base::Network, offset: 16, length: 4, to: word(1) },
                Expr::Meta { key: Meta::L4Proto, to: word(2) },
                Expr::Payload { base: Base::Transport, offset: 2, length: 2, to: word(3) },
            ]);
        }
        rule.extend([Expr::Map { set: AFFINITY.into(), register: REG1, to: REG2 }, Expr::dnat_to_map()]);
        rule
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

/// The frontend of a node port into three words from `at` on.
fn node_port_at(at: u32) -> Vec<Expr> {
    vec![
        Expr::Immediate { to: word(at), value: vec![0; 4] },
        Expr::Meta { key: Meta::L4Proto, to: word(at + 1) },
        Expr::Payload { base: Base::Transport, offset: 2, length: 2, to: word(at + 2) },
    ]
}

/// A chain that notes which endpoint a client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Note {
    pub node_port: bool,
    /// Until the note is gone, if the client makes no new connection.
    pub seconds: u32,
}

impl Note {
    pub fn chain(self) -> String {
        let place = if self.node_port { "nodeport" } else { "service" };
        format!("{place}-affinity-{}s", self.seconds)
    }

    fn add(self, batch: &mut Batch) {
        let address = if self.node_port {
            Expr::Immediate { to: word(1), value: vec![0; 4] }
        } else {
            Expr::CtOriginal { key: Ct::DestinationIp, to: word(1) }
        };
        let rule = vec![
            Expr::CtOriginal { key: Ct::SourceIp, to: word(0) },
            address,
            Expr::Meta { key: Meta::L4Proto, to: word(2) },
            Expr::CtOriginal { key: Ct::DestinationPort, to: word(3) },
            Expr::Payload { base: Base::Network, offset: 16, length: 4, to: word(4) },
            Expr::Payload { base: Base::Transport, offset: 2, length: 2, to: word(5) },
            Expr::Update {
                change: Change::Refresh,
                set: AFFINITY.into(),
                key: REG1,
                data: Some(REG2),
                timeout_ms: Some(u64::from(self.seconds) * 1000),
            },
        ];
        batch.add_chain(&self.chain(), None);
        batch.add_rule(&self.chain(), &Rule::new(rule));
    }
}

/// The rules that lead to the chains of [`Note`].
pub fn noting() -> Vec<Vec<Expr>> {
    let port = |at| {
        [
            Expr::Meta { key: Meta::L4Proto, to: word(at) },
            Expr::CtOriginal { key: Ct::DestinationPort, to: word(at + 1) },
        ]
    };
    let jump = |map: &str| Expr::Map { set: map.into(), register: REG1, to: VERDICT };
    let address = |to| Expr::CtOriginal { key: Ct::DestinationIp, to };
    vec![
        [vec![address(word(0))], port(1).into(), vec![jump(NOTES)]].concat(),
        [vec![address(REG1), lookup(NODE_ADDRESSES)], port(0).into(), vec![jump(NODE_PORT_NOTES)]].concat(),
    ]
}
