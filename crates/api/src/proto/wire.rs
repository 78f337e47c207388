//! The wire format: varints, tags, lengths.

/// Bytes that are no message of the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtoError {
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    #[error("unexpected EOF")]
    End,
    #[error("proto: integer overflow")]
    Overflow,
    #[error("proto: wrong wireType = {0} for field")]
    WireType(u8),
    #[error("proto: string field contains invalid UTF-8")]
    Utf8,
    #[error("exceeded max depth")]
    Depth,
    #[error("the type {0} has no protobuf message")]
    NoMessage(&'static str),
    #[error("proto: illegal tag 0")]
    Tag,
}

/// One field as it lies in a message.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32,
}

pub struct Reader<'a> {
    data: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { data }
    }

    fn varint(&mut self) -> Result<u64, ProtoError> {
        let mut n = 0u64;
        for shift in 0..10 {
            let (byte, rest) = self.data.split_first().ok_or(ProtoError::End)?;
            self.data = rest;
            n |= u64::from(byte & 0x7f).checked_shl(shift * 7).unwrap_or(0);
            if *byte < 0x80 {
                return Ok(n);
            }
        }
        Err(ProtoError::Overflow)
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], ProtoError> {
        let (head, rest) = self.data.split_at_checked(n).ok_or(ProtoError::End)?;
        self.data = rest;
        Ok(head)
    }

    /// The next field; None at the end.
    pub fn field(&mut self) -> Result<Option<(u32, Payload<'a>)>, ProtoError> {
        if self.data.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let tag = u32::try_from(key >> 3).map_err(|_| ProtoError::Overflow)?;
        if tag == 0 {
            return Err(ProtoError::Tag);
        }
        let payload = match key & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => {
                let mut fixed = [0; 8];
                fixed.copy_from_slice(self.take(8)?);
                Payload::Fixed64(fixed)
            }
            2 => {
                let size = usize::try_from(self.varint()?).map_err(|_| ProtoError::Overflow)?;
                Payload::Bytes(self.take(size)?)
            }
            5 => {
                self.take(4)?;
                Payload::Fixed32
            }
            other => return Err(ProtoError::WireType(other as u8)),
        };
        Ok(Some((tag, payload)))
    }
}

impl<'a> Payload<'a> {
    pub fn bytes(self) -> Result<&'a [u8], ProtoError> {
        match self {
            Self::Bytes(b) => Ok(b),
            Self::Varint(_) => Err(ProtoError::WireType(0)),
            Self::Fixed64(_) => Err(ProtoError::WireType(1)),
            Self::Fixed32 => Err(ProtoError::WireType(5)),
        }
    }

    pub fn text(self) -> Result<&'a str, ProtoError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| ProtoError::Utf8)
    }

    pub fn number(self) -> Result<u64, ProtoError> {
        match self {
            Self::Varint(n) => Ok(n),
            Self::Fixed64(b) => Ok(u64::from_le_bytes(b)),
            _ => Err(ProtoError::WireType(2)),
        }
    }
}

pub fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub fn key(out: &mut Vec<u8>, tag: u32, wire_type: u64) {
    varint(out, u64::from(tag) << 3 | wire_type);
}

pub fn bytes(out: &mut Vec<u8>, tag: u32, payload: &[u8]) {
    key(out, tag, 2);
    varint(out, payload.len() as u64);
    out.extend_from_slice(payload);
}

pub fn number(out: &mut Vec<u8>, tag: u32, n: i64) {
    key(out, tag, 0);
    varint(out, n as u64);
}

/// A message of unknown length: one byte is kept for the length, more are made room for if needed.
pub fn message(out: &mut Vec<u8>, tag: u32, body: impl FnOnce(&mut Vec<u8>)) {
    key(out, tag, 2);
    let at = out.len();
    out.push(0);
    body(out);
    let size = out.len() - at - 1;
    let more = varint_len(size as u64) - 1;
    if more > 0 {
        out.resize(out.len() + more, 0);
        out.copy_within(at + 1..at + 1 + size, at + 1 + more);
    }
    let mut rest = size;
    for byte in &mut out[at..at + more] {
        *byte = rest as u8 | 0x80;
        rest >>= 7;
    }
    out[at + more] = rest as u8;
}

/// Bytes that a varint takes.
pub fn varint_len(n: u64) -> usize {
    (64 - (n | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_as_many_bytes_as_they_need() {
        for size in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
            let payload = vec![7u8; size];
            let (mut by_message, mut by_bytes) = (vec![1], vec![1]);
            message(&mut by_message, 3, |out| out.extend_from_slice(&payload));
            bytes(&mut by_bytes, 3, &payload);
            assert!(by_message == by_bytes, "{size}");
            assert_eq!(by_bytes.len(), 2 + varint_len(size as u64) + size);
        }
    }
}
