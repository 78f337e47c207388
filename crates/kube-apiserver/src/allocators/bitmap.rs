//! RangeAllocation as Go masters keep it under one key: a bitmap of the ports of a range in a protobuf envelope.
//! Only the bitmap and the range are touched; what else is in the object is kept as it is.

use super::envelope::{self, Unreadable};

/// Bits of a range; bit `i` is the range's first number plus `i`. Bytes are those of one big-endian number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap {
    bits: Vec<u64>,
    size: usize,
}

impl Bitmap {
    pub fn new(size: usize) -> Self {
        Self { bits: vec![0; size.div_ceil(64)], size }
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn has(&self, i: usize) -> bool {
        i < self.size && self.bits[i / 64] & (1 << (i % 64)) != 0
    }

    pub fn set(&mut self, i: usize, on: bool) {
        if i >= self.size {
            return;
        }
        let mask = 1u64 << (i % 64);
        if on { self.bits[i / 64] |= mask } else { self.bits[i / 64] &= !mask }
    }

    pub fn free(&self) -> usize {
        self.size - self.bits.iter().map(|w| w.count_ones() as usize).sum::<usize>()
    }

    /// As Go's `big.Int.Bytes`: big-endian, without leading zeros.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.bits.iter().flat_map(|w| w.to_le_bytes()).collect();
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        bytes.reverse();
        bytes
    }

    pub fn from_bytes(size: usize, bytes: &[u8]) -> Self {
        let mut map = Self::new(size);
        for (i, byte) in bytes.iter().rev().enumerate() {
            for bit in 0..8 {
                if byte & (1 << bit) != 0 {
                    map.set(i * 8 + bit, true);
                }
            }
        }
        map
    }

    /// The `n`th free bit at or after `from`.
    pub fn free_after(&self, from: usize, n: usize) -> Option<usize> {
        (from..self.size).filter(|i| !self.has(*i)).nth(n)
    }
}

/// What is stored: the range's text, its bitmap's bytes, and the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    pub range: String,
    pub data: Vec<u8>,
    metadata: Vec<u8>,
}

impl Stored {
    pub fn new(range: &str) -> Self {
        Self { range: range.into(), ..Self::default() }
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut out = Self::default();
        for (tag, value) in envelope::fields(envelope::open(bytes)?)? {
            match tag {
                1 => out.metadata = value.to_vec(),
                2 => out.range = String::from_utf8_lossy(value).into_owned(),
                3 => out.data = value.to_vec(),
                _ => {}
            }
        }
        Ok(out)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut raw = Vec::new();
        envelope::put(&mut raw, 1, &self.metadata);
        envelope::put(&mut raw, 2, self.range.as_bytes());
        envelope::put(&mut raw, 3, &self.data);
        envelope::close("v1", "RangeAllocation", &raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_a_big_endian_number() {
        let mut map = Bitmap::new(2768);
        map.set(0, true);
        map.set(9, true);
        assert_eq!(map.to_bytes(), [2, 1]);
        assert_eq!(Bitmap::from_bytes(2768, &[2, 1]), map);
        assert_eq!(map.free(), 2766);
        assert_eq!(map.free_after(0, 0), Some(1));
        assert_eq!(map.free_after(8, 1), Some(10));
        assert!(Bitmap::new(8).to_bytes().is_empty());
    }

    #[test]
    fn an_envelope_comes_back() {
        let mut stored = Stored::new("30000-32767");
        stored.data = vec![1, 0, 255];
        stored.metadata = vec![10, 1, b'a'];
        assert_eq!(Stored::decode(&stored.encode()).unwrap(), stored);
        assert!(Stored::decode(b"{}").is_err());
    }
}
