//! Sets and maps: their key and data types, and elements as bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::expr::Verdict;

/// One part of a key. The numbers are `nft`'s data types, by which it prints elements; the kernel only sees lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Ipv4Addr,
    Ipv6Addr,
    InetProto,
    InetService,
    Mark,
    Ifname,
}

impl Part {
    fn kind(self) -> u32 {
        match self {
            Self::Ipv4Addr => 7,
            Self::Ipv6Addr => 8,
            Self::InetProto => 12,
            Self::InetService => 13,
            Self::Mark => 19,
            Self::Ifname => 41,
        }
    }

    fn length(self) -> u32 {
        match self {
            Self::Ipv4Addr | Self::Mark => 4,
            Self::Ipv6Addr | Self::Ifname => 16,
            Self::InetProto => 1,
            Self::InetService => 2,
        }
    }
}

/// The number of a concatenation, six bits a part, as `nft` computes it.
pub(crate) fn kind_of(parts: &[Part]) -> u32 {
    parts.iter().fold(0, |all, part| all << 6 | part.kind())
}

/// Bytes of a key: a part alone has its own length, in a concatenation each is padded to four.
pub(crate) fn length_of(parts: &[Part]) -> u32 {
    match parts {
        [one] => one.length(),
        _ => parts.iter().map(|p| p.length().next_multiple_of(4)).sum(),
    }
}

/// The key of an element, built part by part in the order of the set's parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub(crate) bytes: Vec<u8>,
    parts: u8,
    /// Length before padding, which is what a key of one part has.
    first: u8,
}

impl Key {
    pub fn new() -> Self {
        Self::default()
    }

    fn part(mut self, bytes: &[u8]) -> Self {
        if self.parts == 0 {
            self.first = bytes.len() as u8;
        }
        self.parts += 1;
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    #[must_use]
    pub fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(a) => self.ipv4(a),
            IpAddr::V6(a) => self.ipv6(a),
        }
    }

    #[must_use]
    pub fn ipv4(self, address: Ipv4Addr) -> Self {
        self.part(&address.octets())
    }

    #[must_use]
    pub fn ipv6(self, address: Ipv6Addr) -> Self {
        self.part(&address.octets())
    }

    /// IPPROTO_TCP, ...
    #[must_use]
    pub fn protocol(self, protocol: u8) -> Self {
        self.part(&[protocol])
    }

    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.part(&port.to_be_bytes())
    }

    /// In the byte order of the machine, as marks and numbers made by `numgen` are.
    #[must_use]
    pub fn number(self, number: u32) -> Self {
        self.part(&number.to_ne_bytes())
    }

    /// A concatenation, or the data that a map has of one, as the kernel has it.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), parts: 2, first: 0 }
    }

    /// As the kernel has it: parts of a concatenation padded to four bytes each.
    pub fn as_bytes(&self) -> &[u8] {
        if self.parts == 1 { &self.bytes[..usize::from(self.first)] } else { &self.bytes }
    }
}

/// What a map leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// A set, no map.
    None,
    Verdict,
    Parts(&'static [Part]),
}

/// A set or map.
#[derive(Clone, Debug)]
pub struct Set<'a> {
    pub name: &'a str,
    pub key: &'static [Part],
    pub data: Data,
    /// Elements are ranges: of a key of one part two elements each, the second marked as the end; of a concatenation
    /// one element each, made by [`Element::between`].
    pub interval: bool,
    /// Rules add to it (session affinity, limits).
    pub dynamic: bool,
    /// Milliseconds after which an element goes by itself.
    pub timeout: Option<u64>,
    /// The most elements that rules may add; None: the kernel's 65,535.
    pub size: Option<u32>,
    pub comment: &'a str,
}

impl<'a> Set<'a> {
    pub fn new(name: &'a str, key: &'static [Part], data: Data) -> Self {
        Self { name, key, data, interval: false, dynamic: false, timeout: None, size: None, comment: "" }
    }
}

/// What an element of a map leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    None,
    Verdict(Verdict),
    Data(Key),
}

/// How long an element lives, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// From when it is added or refreshed; None: the set's own time.
    pub whole: Option<u64>,
    /// From now.
    pub left: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    pub key: Key,
    pub value: Value,
    /// The end of a range, which is the first key after it.
    pub end: bool,
    /// The last key of a range of a concatenation.
    pub last: Option<Key>,
    /// In sets whose elements go by themselves; None: as long as the set says.
    pub life: Option<Life>,
}

impl Element {
    pub fn key(key: Key) -> Self {
        Self { key, value: Value::None, end: false, last: None, life: None }
    }

    pub fn verdict(key: Key, verdict: Verdict) -> Self {
        Self { key, value: Value::Verdict(verdict), end: false, last: None, life: None }
    }

    pub fn data(key: Key, data: Key) -> Self {
        Self { key, value: Value::Data(data), end: false, last: None, life: None }
    }

    /// One that goes by itself.
    #[must_use]
    pub fn living(self, life: Life) -> Self {
        Self { life: Some(life), ..self }
    }

    /// Every key whose parts lie between those of `first` and `last`, both included.
    pub fn between(first: Key, last: Key) -> Self {
        Self { key: first, value: Value::None, end: false, last: Some(last), life: None }
    }

    /// Both elements of the range of addresses of a prefix.
    pub fn range(first: IpAddr, prefix: u8) -> Vec<Self> {
        let end = match first {
            IpAddr::V4(a) => u32::from(a)
                .checked_add(1u32.checked_shl(32 - u32::from(prefix)).unwrap_or(0))
                .map(|n| IpAddr::V4(n.into())),
            IpAddr::V6(a) => u128::from(a)
                .checked_add(1u128.checked_shl(128 - u32::from(prefix)).unwrap_or(0))
                .map(|n| IpAddr::V6(n.into())),
        };
        let mut both = vec![Self::key(Key::new().address(first))];
        if let Some(end) = end.filter(|e| *e != first) {
            both.push(Self { end: true, ..Self::key(Key::new().address(end)) });
        }
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_concatenation_are_padded() {
        let key = Key::new().ipv4(Ipv4Addr::new(10, 0, 0, 1)).protocol(6).port(80);
        assert_eq!(key.as_bytes(), [10, 0, 0, 1, 6, 0, 0, 0, 0, 80, 0, 0]);
        assert_eq!(Key::new().port(80).as_bytes(), [0, 80]);
        assert_eq!(length_of(&[Part::Ipv4Addr, Part::InetProto, Part::InetService]), 12);
        assert_eq!(kind_of(&[Part::Ipv4Addr, Part::InetProto, Part::InetService]), 7 << 12 | 12 << 6 | 13);
    }

    #[test]
    fn a_range_ends_behind_its_last_address() {
        let both = Element::range("10.0.0.0".parse().unwrap(), 8);
        assert_eq!(both[1].key.as_bytes(), [11, 0, 0, 0]);
        assert!(both[1].end);
        assert_eq!(Element::range("0.0.0.0".parse().unwrap(), 0).len(), 1);
    }
}
