//! RangeAllocation as Go masters keep it under one key: a bitmap of the ports of a range in a protobuf envelope.
//! Only the bitmap and the range are touched; what else is in the object is kept as it is.

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

const MAGIC: &[u8] = b"k8s\0";

/// Why bytes are no RangeAllocation.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the stored range allocation is not readable: {0}")]
pub struct Unreadable(&'static str);

fn varint(data: &mut &[u8]) -> Result<u64, Unreadable> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = data.split_first().ok_or(Unreadable("it ends early"))?;
        *data = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Unreadable("a number is too long"))
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Length-delimited fields of a message, in order; other wire types do not occur in what is read here.
fn fields(mut data: &[u8]) -> Result<Vec<(u64, &[u8])>, Unreadable> {
    let mut out = Vec::new();
    while !data.is_empty() {
        let key = varint(&mut data)?;
        if key & 7 != 2 {
            return Err(Unreadable("a field is no string"));
        }
        let len = usize::try_from(varint(&mut data)?).map_err(|_| Unreadable("a field is too long"))?;
        if len > data.len() {
            return Err(Unreadable("it ends early"));
        }
        let (value, rest) = data.split_at(len);
        out.push((key >> 3, value));
        data = rest;
    }
    Ok(out)
}

fn put(out: &mut Vec<u8>, tag: u64, value: &[u8]) {
    put_varint(out, tag << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
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
        let body = bytes.strip_prefix(MAGIC).ok_or(Unreadable("it is no protobuf envelope"))?;
        let envelope = fields(body)?;
        let raw = envelope.iter().find(|(tag, _)| *tag == 2).ok_or(Unreadable("the envelope is empty"))?.1;
        let mut out = Self::default();
        for (tag, value) in fields(raw)? {
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
        put(&mut raw, 1, &self.metadata);
        put(&mut raw, 2, self.range.as_bytes());
        put(&mut raw, 3, &self.data);
        let mut kind = Vec::new();
        put(&mut kind, 1, b"v1");
        put(&mut kind, 2, b"RangeAllocation");
        let mut out = MAGIC.to_vec();
        put(&mut out, 1, &kind);
        put(&mut out, 2, &raw);
        put(&mut out, 3, b"");
        put(&mut out, 4, b"");
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
