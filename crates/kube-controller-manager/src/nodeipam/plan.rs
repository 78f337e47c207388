//! The ranges of pod addresses: blocks of the cluster's network, one a node, each given to one node at a time.

use ipnet::IpNet;

/// Blocks of one network.
#[derive(Debug)]
pub struct Blocks {
    network: IpNet,
    mask: u8,
    used: Vec<u64>,
    count: usize,
    next: usize,
}

/// Blocks beyond which a network is cut off: 65,536 nodes.
const MOST: u32 = 16;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("{0} is no network")]
    Syntax(String),
    #[error("the nodes' mask /{mask} is shorter than that of {network}")]
    Mask { network: IpNet, mask: u8 },
    #[error("there are no remaining CIDRs left to allocate in the accepted range")]
    Full,
    #[error("{0} lies outside of the cluster's network")]
    Outside(String),
}

impl Blocks {
    /// `mask` is the prefix length of a node's block.
    pub fn new(network: &str, mask: u8) -> Result<Self, RangeError> {
        let network: IpNet = network.parse().map_err(|_| RangeError::Syntax(network.into()))?;
        let network = network.trunc();
        let bits = mask.checked_sub(network.prefix_len()).ok_or(RangeError::Mask { network, mask })?;
        let count = 1_usize << u32::from(bits).min(MOST);
        Ok(Self { network, mask, used: vec![0; count.div_ceil(64)], count, next: 0 })
    }

    pub fn is_ipv6(&self) -> bool {
        matches!(self.network, IpNet::V6(_))
    }

    fn width(&self) -> u32 {
        if self.is_ipv6() { 128 } else { 32 }
    }

    fn shift(&self) -> u32 {
        self.width() - u32::from(self.mask)
    }

    /// Marks what a network covers as taken, or free. A network outside of ours is an error.
    fn mark(&mut self, network: &str, taken: bool) -> Result<(), RangeError> {
        let other: IpNet = network.parse().map_err(|_| RangeError::Syntax(network.into()))?;
        let outside = || RangeError::Outside(network.into());
        if !self.network.contains(&other.network()) && !other.contains(&self.network.network()) {
            return Err(outside());
        }
        let (base, start, end) =
            (number(self.network.network()), number(other.network()), number(other.broadcast()));
        let first = (start.saturating_sub(base) >> self.shift()) as usize;
        let last =
            ((end.checked_sub(base).ok_or_else(outside)? >> self.shift()) as usize).min(self.count - 1);
        for at in first..=last {
            let bit = 1_u64 << (at % 64);
            if taken { self.used[at / 64] |= bit } else { self.used[at / 64] &= !bit }
        }
        Ok(())
    }

    /// A block, or any network (such as the services'), is taken.
    pub fn occupy(&mut self, network: &str) -> Result<(), RangeError> {
        self.mark(network, true)
    }

    /// A block is free again.
    pub fn release(&mut self, network: &str) -> Result<(), RangeError> {
        self.mark(network, false)
    }

    /// Takes the next free block, round and round, so that a block rests before it is used again.
    pub fn allocate(&mut self) -> Result<IpNet, RangeError> {
        for step in 0..self.count {
            let at = (self.next + step) % self.count;
            if self.used[at / 64] & (1 << (at % 64)) == 0 {
                self.used[at / 64] |= 1 << (at % 64);
                self.next = (at + 1) % self.count;
                return Ok(self.block(at));
            }
        }
        Err(RangeError::Full)
    }

    fn block(&self, at: usize) -> IpNet {
        let address = number(self.network.network()) + ((at as u128) << self.shift());
        let address = match self.network {
            IpNet::V4(_) => std::net::IpAddr::V4(std::net::Ipv4Addr::from(address as u32)),
            IpNet::V6(_) => std::net::IpAddr::V6(std::net::Ipv6Addr::from(address)),
        };
        IpNet::new(address, self.mask).unwrap_or(self.network)
    }
}

fn number(address: std::net::IpAddr) -> u128 {
    match address {
        std::net::IpAddr::V4(a) => u32::from(a).into(),
        std::net::IpAddr::V6(a) => a.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_given_once_and_again_after_release() {
        let mut blocks = Blocks::new("10.244.0.0/22", 24).unwrap();
        blocks.occupy("10.244.1.0/24").unwrap();
        let given: Vec<String> = (0..3).map(|_| blocks.allocate().unwrap().to_string()).collect();
        assert_eq!(given, ["10.244.0.0/24", "10.244.2.0/24", "10.244.3.0/24"]);
        assert_eq!(blocks.allocate(), Err(RangeError::Full));
        blocks.release("10.244.2.0/24").unwrap();
        assert_eq!(blocks.allocate().unwrap().to_string(), "10.244.2.0/24");
    }

    #[test]
    fn other_networks() {
        let mut blocks = Blocks::new("10.0.0.0/8", 24).unwrap();
        blocks.occupy("10.0.0.0/12").unwrap();
        assert_eq!(blocks.allocate().unwrap().to_string(), "10.16.0.0/24");
        assert!(matches!(blocks.occupy("192.168.0.0/24"), Err(RangeError::Outside(_))));
        assert!(matches!(Blocks::new("10.0.0.0/25", 24), Err(RangeError::Mask { .. })));
        let mut blocks = Blocks::new("fd00::/48", 64).unwrap();
        blocks.allocate().unwrap();
        assert_eq!(blocks.allocate().unwrap().to_string(), "fd00:0:0:1::/64");
    }
}
