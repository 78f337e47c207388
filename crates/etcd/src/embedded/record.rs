//! Bytes on disk: one record of a change's metadata, one of its value, and the marker that ends
//! every batch. All numbers are little endian, except in keys, which sort as their bytes do.
//!
//! | key | record |
//! |---|---|
//! | `r` revision (8, big endian) in `meta` | crc, flags, create revision, version, lease, key |
//! | revision (8, big endian) in `values` | crc, lease, value |
//! | `l` lease id (8, big endian) in `meta` | crc, seconds to live |
//! | `c` in `meta` | crc, compact revision |
//! | `m` in `meta` | the marker of the last batch |
//!
//! Each crc covers the record's own key too, so that a record in the wrong place is found.

use bytes::Bytes;

use super::index::Item;
use super::rev::Rev;

/// First byte of a change's metadata key.
pub const CHANGE: u8 = b'r';
/// First byte of a lease's key.
pub const LEASE: u8 = b'l';
/// The key of the compact revision.
pub const COMPACT: &[u8] = b"c";
/// The key of the batch marker.
pub const MARKER: &[u8] = b"m";

const FLAG_LAST: u8 = 1;
const CHANGE_HEAD: usize = 4 + 1 + 8 + 4 + 8;
const VALUE_HEAD: usize = 4 + 8;
const MARKER_MAGIC: [u8; 8] = *b"\xf5KLSNgm1";
/// Length of a marker.
pub const MARKER_LEN: usize = 8 + 8 + 4 + 4;

/// Why a record cannot be read.
pub type Bad = &'static str;

/// A change's metadata, as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Revision, creation and version; version 0 for a deletion.
    pub item: Item,
    /// The lease that the key hangs on from here on.
    pub lease: i64,
    /// Whether it is the last of its transaction.
    pub last: bool,
    /// The key.
    pub key: Vec<u8>,
}

fn crc(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

fn sealed(key: &[u8], body_after_crc: &mut [u8]) {
    let sum = crc(&[key, &body_after_crc[4..]]);
    body_after_crc[..4].copy_from_slice(&sum.to_le_bytes());
}

fn open<'a>(key: &[u8], record: &'a [u8]) -> Result<&'a [u8], Bad> {
    let (sum, body) = record.split_first_chunk::<4>().ok_or("record too short")?;
    if u32::from_le_bytes(*sum) != crc(&[key, body]) {
        return Err("checksum differs");
    }
    Ok(body)
}

fn u64_at(body: &[u8], at: usize) -> Result<u64, Bad> {
    let bytes = body.get(at..at + 8).and_then(|b| b.first_chunk::<8>());
    bytes.map(|b| u64::from_le_bytes(*b)).ok_or("record too short")
}

/// The key of a change's metadata.
pub fn change_key(rev: Rev) -> [u8; 9] {
    let mut key = [CHANGE; 9];
    key[1..].copy_from_slice(&rev.packed().to_be_bytes());
    key
}

/// The key of a value.
pub fn value_key(rev: Rev) -> [u8; 8] {
    rev.packed().to_be_bytes()
}

/// The key of a lease.
pub fn lease_key(id: i64) -> [u8; 9] {
    let mut key = [LEASE; 9];
    key[1..].copy_from_slice(&id.to_be_bytes());
    key
}

/// Writes a change's metadata.
pub fn encode_change(item: &Item, lease: i64, last: bool, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(CHANGE_HEAD + key.len());
    out.extend_from_slice(&[0; 4]);
    out.push(if last { FLAG_LAST } else { 0 });
    out.extend_from_slice(&item.create.to_le_bytes());
    out.extend_from_slice(&item.version.to_le_bytes());
    out.extend_from_slice(&lease.to_le_bytes());
    out.extend_from_slice(key);
    sealed(&change_key(item.rev), &mut out);
    out
}

/// Reads a change's metadata.
pub fn decode_change(disk_key: &[u8], record: &[u8]) -> Result<Change, Bad> {
    let packed = disk_key.get(1..9).and_then(|b| b.first_chunk::<8>()).ok_or("key too short")?;
    let rev = Rev::from_packed(u64::from_be_bytes(*packed)).ok_or("revision is zero")?;
    let body = open(disk_key, record)?;
    if body.len() < CHANGE_HEAD - 4 {
        return Err("record too short");
    }
    let version = body.get(9..13).and_then(|b| b.first_chunk::<4>()).ok_or("record too short")?;
    let item = Item { rev, create: u64_at(body, 1)? as i64, version: u32::from_le_bytes(*version) };
    Ok(Change {
        item,
        lease: u64_at(body, 13)? as i64,
        last: body[0] & FLAG_LAST != 0,
        key: body[21..].to_vec(),
    })
}

/// Writes a value.
pub fn encode_value(rev: Rev, lease: i64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(VALUE_HEAD + value.len());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&lease.to_le_bytes());
    out.extend_from_slice(value);
    sealed(&value_key(rev), &mut out);
    out
}

/// Reads a value and its lease. Copies, so that no block of the engine's cache stays pinned.
pub fn decode_value(rev: Rev, record: &[u8]) -> Result<(i64, Bytes), Bad> {
    let body = open(&value_key(rev), record)?;
    let lease = u64_at(body, 0)? as i64;
    Ok((lease, Bytes::copy_from_slice(&body[8..])))
}

/// Writes a single number (a lease's seconds, the compact revision).
pub fn encode_number(key: &[u8], number: i64) -> Vec<u8> {
    let mut out = vec![0; 12];
    out[4..].copy_from_slice(&number.to_le_bytes());
    sealed(key, &mut out);
    out
}

/// Reads a single number.
pub fn decode_number(key: &[u8], record: &[u8]) -> Result<i64, Bad> {
    Ok(u64_at(open(key, record)?, 0)? as i64)
}

/// The last record of every batch. Its presence proves that everything up to `durable` was on disk
/// before this batch was begun, whatever happened to the bytes between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// The newest durable revision when the batch was written.
    pub durable: i64,
    /// Checksum over keys and values of the batch's other records, in order.
    pub sum: u32,
}

impl Marker {
    /// Writes it.
    pub fn encode(&self) -> [u8; MARKER_LEN] {
        let mut out = [0; MARKER_LEN];
        out[..8].copy_from_slice(&MARKER_MAGIC);
        out[8..16].copy_from_slice(&self.durable.to_le_bytes());
        out[16..20].copy_from_slice(&self.sum.to_le_bytes());
        let own = crc(&[&out[..20]]);
        out[20..].copy_from_slice(&own.to_le_bytes());
        out
    }
    /// Reads it; `None` if these bytes are no marker.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<MARKER_LEN>()?;
        if bytes[..8] != MARKER_MAGIC || crc(&[&bytes[..20]]).to_le_bytes() != bytes[20..] {
            return None;
        }
        let durable = i64::from_le_bytes(*bytes[8..].first_chunk()?);
        Some(Self { durable, sum: u32::from_le_bytes(*bytes[16..].first_chunk()?) })
    }
    /// The markers anywhere in `bytes`.
    pub fn find_all(bytes: &[u8]) -> impl Iterator<Item = Self> + '_ {
        bytes
            .windows(MARKER_LEN)
            .filter(|window| window[0] == MARKER_MAGIC[0] && window[..8] == MARKER_MAGIC)
            .filter_map(Self::decode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_any_flipped_bit_is_found() {
        let item = Item { rev: Rev::new(9, 1), create: 4, version: 3 };
        let record = encode_change(&item, 7, true, b"/registry/pods/a");
        let key = change_key(item.rev);
        let change = decode_change(&key, &record).unwrap();
        assert_eq!(change, Change { item, lease: 7, last: true, key: b"/registry/pods/a".to_vec() });
        for bit in 0..record.len() * 8 {
            let mut bad = record.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_change(&key, &bad).is_err(), "bit {bit}");
        }
        assert!(decode_change(&change_key(Rev::new(9, 2)), &record).is_err(), "wrong place");
        assert!(decode_change(&key, &record[..10]).is_err());
    }

    #[test]
    fn values_and_numbers_come_back() {
        let rev = Rev::new(5, 0);
        let record = encode_value(rev, -3, b"value");
        assert_eq!(decode_value(rev, &record), Ok((-3, Bytes::from_static(b"value"))));
        assert!(decode_value(Rev::new(5, 1), &record).is_err());
        assert_eq!(decode_number(COMPACT, &encode_number(COMPACT, 12)), Ok(12));
        assert!(decode_number(MARKER, &encode_number(COMPACT, 12)).is_err());
    }

    #[test]
    fn markers_are_found_among_other_bytes() {
        let marker = Marker { durable: 42, sum: 7 };
        let mut bytes = b"junk\xf5KLSNgm1 not one".to_vec();
        bytes.extend_from_slice(&marker.encode());
        bytes.extend_from_slice(b"tail");
        assert_eq!(Marker::find_all(&bytes).collect::<Vec<_>>(), [marker]);
    }
}
