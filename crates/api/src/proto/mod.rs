//! Protobuf, both ways, byte for byte as Go writes it, by the table alone.
//!
//! Fields by rising tag; what is no pointer is written even when zero; nil is left out; maps sorted by key.
//! Decoding gives the canonical form: zero scalars of `omitempty` fields are gone, those behind pointers stay.

mod decode;
mod encode;
#[cfg(test)]
mod tests;
pub mod wire;

pub use decode::{decode, decode_envelope};
pub use encode::{around, encode, encode_envelope, encode_unknown, watch_frame};
pub use wire::ProtoError;

/// What every envelope begins with.
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// `runtime.Unknown`: the envelope's parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
    pub raw: &'a [u8],
    pub content_encoding: &'a str,
    pub content_type: &'a str,
}
