//! The expressions of rules. Registers: 1 to 4 hold sixteen bytes each; 8 to 23 are the same space in words, so
//! that a concatenation is loaded word by word into neighbours.

use crate::attr::Writer;

/// Where a rule goes from here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
}

impl Verdict {
    pub(crate) fn write(&self, w: &mut Writer, kind: u16) {
        let (code, chain) = match self {
            Self::Drop => (0, None),
            Self::Accept => (1, None),
            Self::Jump(chain) => (-3, Some(chain)),
            Self::Goto(chain) => (-4, Some(chain)),
            Self::Return => (-5, None),
        };
        w.nest(kind, |w| {
            w.u32(1, code as u32);
            if let Some(chain) = chain {
                w.text(2, chain);
            }
        });
    }
}

/// The register of a verdict.
pub const VERDICT: u32 = 0;
/// Sixteen-byte registers.
pub const REG1: u32 = 1;
pub const REG2: u32 = 2;
pub const REG3: u32 = 3;

/// The nth word of the register space; `word(0)` is the first of [`REG1`].
pub const fn word(n: u32) -> u32 {
    8 + n
}

/// The header that a payload is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Base {
    Link = 0,
    Network = 1,
    Transport = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Meta {
    Protocol = 1,
    Mark = 3,
    Iif = 4,
    Oif = 5,
    IifName = 6,
    OifName = 7,
    NfProto = 15,
    L4Proto = 16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Ct {
    State = 0,
    Direction = 1,
    Status = 2,
    Mark = 3,
    DestinationPort = 12,
    /// IPv4.
    SourceIp = 19,
    DestinationIp = 20,
}

/// Bits of `ct state`.
pub mod state {
    pub const INVALID: u32 = 1;
    pub const ESTABLISHED: u32 = 2;
    pub const RELATED: u32 = 4;
    pub const NEW: u32 = 8;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Op {
    Eq = 0,
    Neq = 1,
    Lt = 2,
    Lte = 3,
    Gt = 4,
    Gte = 5,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Nat {
    Source = 0,
    Destination = 1,
}

/// What a rule does to a dynamic set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Change {
    /// An element that is there stays as it is.
    Add = 0,
    /// An element that is there keeps its data; its time begins anew.
    Refresh = 1,
    /// Since Linux 5.4. A map's data must be given here too.
    Delete = 2,
}

/// How a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// Port unreachable, in the words of the packet's family; for tables of family inet.
    PortUnreachable,
    /// ICMP's port unreachable; for tables of family ip, which drop silently at the one above.
    IcmpPortUnreachable,
    TcpReset,
}

/// One expression of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    Payload {
        base: Base,
        offset: u32,
        length: u32,
        to: u32,
    },
    Meta {
        key: Meta,
        to: u32,
    },
    SetMeta {
        key: Meta,
        from: u32,
    },
    Ct {
        key: Ct,
        to: u32,
    },
    /// Of the connection's first packet, before any rewriting.
    CtOriginal {
        key: Ct,
        to: u32,
    },
    Cmp {
        op: Op,
        register: u32,
        value: Vec<u8>,
    },
    /// register = register & mask ^ xor
    Bitwise {
        register: u32,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    /// Goes on if the key in `register` is in the set (not in it: `inverted`).
    Lookup {
        set: String,
        register: u32,
        inverted: bool,
    },
    /// Goes on with the map's data in `to`, or follows its verdict (`to` = [`VERDICT`]).
    Map {
        set: String,
        register: u32,
        to: u32,
    },
    Immediate {
        to: u32,
        value: Vec<u8>,
    },
    Verdict(Verdict),
    /// `to` = random number below `modulus` (or a round-robin one) plus `offset`.
    Numgen {
        random: bool,
        modulus: u32,
        offset: u32,
        to: u32,
    },
    /// Rewrites to the address and port in registers. `persistent`: the same choice for a client.
    Nat {
        kind: Nat,
        family: u8,
        address: u32,
        port: Option<u32>,
        random_fully: bool,
    },
    Masquerade {
        random_fully: bool,
    },
    Reject(Reject),
    /// The type of the packet's destination (`fib daddr type`), a number of `rtnetlink`'s RTN_*.
    FibDaddrType {
        to: u32,
    },
    /// Changes a dynamic set by a key, with `data` for a map.
    Update {
        change: Change,
        set: String,
        key: u32,
        data: Option<u32>,
        timeout_ms: Option<u64>,
    },
    Counter,
}

/// `fib daddr type local`.
pub const RTN_LOCAL: u32 = 2;

impl Expr {
    /// `dnat ip to`, where a map left an IPv4 address and a port in the words of the second register.
    pub fn dnat_to_map() -> Self {
        const AF_INET: u8 = 2;
        Self::Nat {
            kind: Nat::Destination,
            family: AF_INET,
            address: word(4),
            port: Some(word(5)),
            random_fully: false,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Payload { .. } => "payload",
            Self::Meta { .. } | Self::SetMeta { .. } => "meta",
            Self::Ct { .. } | Self::CtOriginal { .. } => "ct",
            Self::Cmp { .. } => "cmp",
            Self::Bitwise { .. } => "bitwise",
            Self::Lookup { .. } | Self::Map { .. } => "lookup",
            Self::Immediate { .. } | Self::Verdict(_) => "immediate",
            Self::Numgen { .. } => "numgen",
            Self::Nat { .. } => "nat",
            Self::Masquerade { .. } => "masq",
            Self::Reject(_) => "reject",
            Self::FibDaddrType { .. } => "fib",
            Self::Update { .. } => "dynset",
            Self::Counter => "counter",
        }
    }

    /// `set_id` resolves the name of a set made in the same batch.
    pub(crate) fn write(&self, w: &mut Writer, set_id: &impl Fn(&str) -> Option<u32>) {
        w.nest(1, |w| {
            w.text(1, self.name());
            w.nest(2, |w| self.write_data(w, set_id));
        });
    }

    fn write_data(&self, w: &mut Writer, set_id: &impl Fn(&str) -> Option<u32>) {
        let data = |w: &mut Writer, kind: u16, value: &[u8]| w.nest(kind, |w| w.raw(1, value));
        let set = |w: &mut Writer, (name, name_kind): (&str, u16), id_kind: u16| {
            w.text(name_kind, name);
            if let Some(id) = set_id(name) {
                w.u32(id_kind, id);
            }
        };
        match self {
            Self::Payload { base, offset, length, to } => {
                w.u32(1, *to);
                w.u32(2, *base as u32);
                w.u32(3, *offset);
                w.u32(4, *length);
            }
            Self::Meta { key, to } => {
                w.u32(1, *to);
                w.u32(2, *key as u32);
            }
            Self::SetMeta { key, from } => {
                w.u32(2, *key as u32);
                w.u32(3, *from);
            }
            Self::Ct { key, to } => {
                w.u32(1, *to);
                w.u32(2, *key as u32);
            }
            Self::CtOriginal { key, to } => {
                w.u32(1, *to);
                w.u32(2, *key as u32);
                w.raw(3, &[0]);
            }
            Self::Cmp { op, register, value } => {
                w.u32(1, *register);
                w.u32(2, *op as u32);
                data(w, 3, value);
            }
            Self::Bitwise { register, mask, xor } => {
                w.u32(1, *register);
                w.u32(2, *register);
                w.u32(3, mask.len() as u32);
                data(w, 4, mask);
                data(w, 5, xor);
            }
            Self::Lookup { set: name, register, inverted } => {
                set(w, (name, 1), 4);
                w.u32(2, *register);
                if *inverted {
                    w.u32(5, 1);
                }
            }
            Self::Map { set: name, register, to } => {
                set(w, (name, 1), 4);
                w.u32(2, *register);
                w.u32(3, *to);
            }
            Self::Immediate { to, value } => {
                w.u32(1, *to);
                data(w, 2, value);
            }
            Self::Verdict(verdict) => {
                w.u32(1, VERDICT);
                w.nest(2, |w| verdict.write(w, 2));
            }
            Self::Numgen { random, modulus, offset, to } => {
                w.u32(1, *to);
                w.u32(2, *modulus);
                w.u32(3, u32::from(*random));
                w.u32(4, *offset);
            }
            Self::Nat { kind, family, address, port, random_fully } => {
                w.u32(1, *kind as u32);
                w.u32(2, u32::from(*family));
                w.u32(3, *address);
                if let Some(port) = port {
                    w.u32(5, *port);
                }
                if *random_fully {
                    w.u32(7, 1 << 4);
                }
            }
            Self::Masquerade { random_fully } => {
                if *random_fully {
                    w.u32(1, 1 << 4);
                }
            }
            Self::Reject(kind) => match kind {
                // NFT_REJECT_ICMPX_UNREACH with the code that both families know; NFT_REJECT_TCP_RST.
                Reject::PortUnreachable => {
                    w.u32(1, 2);
                    w.raw(2, &[1]);
                }
                // NFT_REJECT_ICMP_UNREACH with ICMP_PORT_UNREACH.
                Reject::IcmpPortUnreachable => {
                    w.u32(1, 0);
                    w.raw(2, &[3]);
                }
                Reject::TcpReset => w.u32(1, 1),
            },
            Self::FibDaddrType { to } => {
                w.u32(1, *to);
                w.u32(2, 3);
                w.u32(3, 1 << 1);
            }
            Self::Update { change, set: name, key, data, timeout_ms } => {
                set(w, (name, 1), 2);
                w.u32(3, *change as u32);
                w.u32(4, *key);
                if let Some(data) = data {
                    w.u32(5, *data);
                }
                if let Some(timeout) = timeout_ms {
                    w.u64(6, *timeout);
                }
            }
            Self::Counter => {}
        }
    }
}
