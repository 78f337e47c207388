//! Conditions that rules often begin with, in the form in which `nft` and `iptables` show them.

use std::net::Ipv4Addr;

use crate::expr::{Base, Expr, Meta, Op, REG1};

/// `ip saddr NETWORK/PREFIX`, or not.
pub fn source(network: Ipv4Addr, prefix: u8, within: bool) -> Vec<Expr> {
    address(12, network, prefix, within)
}

/// `ip daddr NETWORK/PREFIX`, or not.
pub fn destination(network: Ipv4Addr, prefix: u8, within: bool) -> Vec<Expr> {
    address(16, network, prefix, within)
}

fn address(offset: u32, network: Ipv4Addr, prefix: u8, within: bool) -> Vec<Expr> {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    let value = (u32::from(network) & mask).to_be_bytes().into();
    vec![
        Expr::Payload { base: Base::Network, offset, length: 4, to: REG1 },
        Expr::Bitwise { register: REG1, mask: mask.to_be_bytes().into(), xor: vec![0; 4] },
        Expr::Cmp { op: if within { Op::Eq } else { Op::Neq }, register: REG1, value },
    ]
}

/// `iifname NAME`
pub fn enters_by(name: &str) -> Vec<Expr> {
    link(Meta::IifName, name, Op::Eq)
}

/// `oifname NAME`, or not.
pub fn leaves_by(name: &str, is: bool) -> Vec<Expr> {
    link(Meta::OifName, name, if is { Op::Eq } else { Op::Neq })
}

/// With the name's final zero and not beyond, as `iptables` writes it and reads it back.
fn link(key: Meta, name: &str, op: Op) -> Vec<Expr> {
    let value = name.bytes().chain([0]).collect();
    vec![Expr::Meta { key, to: REG1 }, Expr::Cmp { op, register: REG1, value }]
}
