//! The tree to protobuf.

use apimachinery::time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{MAGIC, ProtoError, wire};
use crate::json;
use crate::schema::{Field, Node, Shape, Slot, Special, Type};
use crate::value::{Key, Map, Value};

/// The bare message of an object, without the envelope.
pub fn encode(value: &Value, of: &Type) -> Result<Vec<u8>, ProtoError> {
    if !of.in_proto {
        return Err(ProtoError::NoMessage("(see the table)"));
    }
    let mut out = Vec::with_capacity(512);
    match value {
        Value::Map(map) => structure(&mut out, map, of),
        _ => structure(&mut out, &Map::new(), of),
    }
    Ok(out)
}

/// The object in the envelope that servers send and stores hold; kind and version are the object's own.
pub fn encode_envelope(value: &Value, of: &Type) -> Result<Vec<u8>, ProtoError> {
    let raw = encode(value, of)?;
    Ok(encode_unknown(value.api_version(), value.kind(), &raw, ""))
}

/// Any bytes in the envelope.
pub fn encode_unknown(api_version: &str, kind: &str, raw: &[u8], content_type: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 64);
    out.extend_from_slice(MAGIC);
    wire::message(&mut out, 1, |out| {
        wire::bytes(out, 1, api_version.as_bytes());
        wire::bytes(out, 2, kind.as_bytes());
    });
    wire::bytes(&mut out, 2, raw);
    wire::bytes(&mut out, 3, b"");
    wire::bytes(&mut out, 4, content_type.as_bytes());
    out
}

/// What stands before and after a message of that many bytes in the envelope, for messages that come in parts.
pub fn around(api_version: &str, kind: &str, size: usize) -> (Vec<u8>, &'static [u8]) {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(MAGIC);
    wire::message(&mut out, 1, |out| {
        wire::bytes(out, 1, api_version.as_bytes());
        wire::bytes(out, 2, kind.as_bytes());
    });
    wire::key(&mut out, 2, 2);
    wire::varint(&mut out, size as u64);
    (out, b"\x1a\0\"\0")
}

/// A frame of a protobuf watch: four bytes of length, then a bare WatchEvent whose object is an envelope.
pub fn watch_frame(event: &str, envelope: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(envelope.len() + 32);
    out.extend_from_slice(&[0; 4]);
    wire::bytes(&mut out, 1, event.as_bytes());
    wire::message(&mut out, 2, |out| wire::bytes(out, 1, envelope));
    let size = (out.len() - 4) as u32;
    out[..4].copy_from_slice(&size.to_be_bytes());
    out
}

fn structure(out: &mut Vec<u8>, map: &Map, of: &Type) {
    for w in of.wire() {
        match w.slot {
            Slot::Field(at) => {
                let f = &of.fields[usize::from(at)];
                field(out, f, map.get(&f.name).unwrap_or(&Value::Null));
            }
            Slot::Embed(at) => {
                let embed = &of.embeds[usize::from(at)];
                wire::message(out, w.tag, |out| structure(out, map, &embed.of));
            }
        }
    }
}

fn field(out: &mut Vec<u8>, f: &Field, value: &Value) {
    if f.node.pointer && value.is_null() {
        return;
    }
    match (&f.node.shape, value) {
        (Shape::List(inner), Value::List(list)) if f.node.wrapped => {
            wire::message(out, f.tag, |out| list.iter().for_each(|item| one(out, 1, inner, item)));
        }
        (Shape::List(inner), Value::List(list)) => list.iter().for_each(|item| one(out, f.tag, inner, item)),
        (Shape::Map(inner), Value::Map(map)) => entries(out, f.tag, map, inner),
        (Shape::List(_) | Shape::Map(_) | Shape::Any, _) => {}
        (Shape::Bytes, Value::Null) => {}
        _ => one(out, f.tag, &f.node, value),
    }
}

fn entries(out: &mut Vec<u8>, tag: u32, map: &Map, inner: &Node) {
    let mut write = |key: &Key, value: &Value| {
        wire::message(out, tag, |out| {
            wire::bytes(out, 1, key.as_bytes());
            match (&inner.shape, value) {
                (Shape::Bytes, Value::Null) => {}
                (Shape::List(item), Value::List(list)) => {
                    wire::message(out, 2, |out| list.iter().for_each(|v| one(out, 1, item, v)));
                }
                (Shape::List(_), _) => wire::bytes(out, 2, b""),
                _ => one(out, 2, inner, value),
            }
        });
    };
    if map.is_sorted() {
        map.iter().for_each(|(k, v)| write(k, v));
    } else {
        let mut list: Vec<_> = map.iter().collect();
        list.sort_unstable_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        list.into_iter().for_each(|(k, v)| write(k, v));
    }
}

/// One value, zero or not.
fn one(out: &mut Vec<u8>, tag: u32, node: &Node, value: &Value) {
    match &node.shape {
        Shape::Bool => wire::number(out, tag, i64::from(value.as_bool().unwrap_or(false))),
        Shape::Int32 | Shape::Int64 => wire::number(out, tag, value.as_int().unwrap_or(0)),
        Shape::Float64 | Shape::Number => {
            let n = match value {
                Value::Float(n) => *n,
                Value::Int(n) => *n as f64,
                _ => 0.0,
            };
            wire::key(out, tag, 1);
            out.extend_from_slice(&n.to_le_bytes());
        }
        Shape::String => wire::bytes(out, tag, value.as_str().unwrap_or_default().as_bytes()),
        Shape::Bytes => {
            wire::bytes(out, tag, &STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default());
        }
        Shape::Struct(of) => wire::message(out, tag, |out| match value {
            Value::Map(map) => structure(out, map, of),
            _ => structure(out, &Map::new(), of),
        }),
        Shape::Special(kind) => wire::message(out, tag, |out| special(out, kind, value)),
        Shape::List(_) | Shape::Map(_) | Shape::Any => {}
    }
}

fn special(out: &mut Vec<u8>, kind: &Special, value: &Value) {
    match (kind, value) {
        (Special::Time | Special::MicroTime, Value::String(text)) => {
            if let Some((seconds, nanos)) = time::parse_rfc3339(text) {
                let nanos = if matches!(kind, Special::Time) { 0 } else { nanos / 1000 * 1000 };
                wire::number(out, 1, seconds);
                wire::number(out, 2, nanos.into());
            }
        }
        (Special::Duration, _) => {
            let nanos = value.as_str().and_then(time::parse_duration).unwrap_or(0);
            wire::number(out, 1, nanos);
        }
        (Special::Quantity, _) => wire::bytes(out, 1, value.as_str().unwrap_or("0").as_bytes()),
        (Special::IntOrString, Value::String(text)) => int_or_string(out, 1, 0, text),
        (Special::IntOrString, _) => int_or_string(out, 0, value.as_int().unwrap_or(0), ""),
        (Special::Raw(_), Value::Null) => {}
        (Special::Raw(_), Value::Raw(text)) if text.is_empty() => {}
        (Special::Raw(_), Value::Raw(text)) => wire::bytes(out, 1, text.as_bytes()),
        (Special::Raw(_), _) => wire::bytes(out, 1, &json::to_vec(value)),
        (Special::SchemaOrBool(_), Value::Bool(allows)) => wire::number(out, 1, i64::from(*allows)),
        (Special::SchemaOrBool(of), Value::Map(map)) => {
            wire::number(out, 1, 1);
            wire::message(out, 2, |out| structure(out, map, of));
        }
        (Special::SchemaOrBool(_), _) => wire::number(out, 1, 0),
        (Special::SchemaOrArray(of) | Special::SchemaOrStrings(of), Value::Map(map)) => {
            wire::message(out, 1, |out| structure(out, map, of));
        }
        (Special::SchemaOrArray(of), Value::List(list)) => {
            for item in list.iter().filter_map(Value::as_map) {
                wire::message(out, 2, |out| structure(out, item, of));
            }
        }
        (Special::SchemaOrStrings(_), Value::List(list)) => {
            list.iter().filter_map(Value::as_str).for_each(|s| wire::bytes(out, 2, s.as_bytes()));
        }
        _ => {}
    }
}

fn int_or_string(out: &mut Vec<u8>, kind: i64, number: i64, text: &str) {
    wire::number(out, 1, kind);
    wire::number(out, 2, number);
    wire::bytes(out, 3, text.as_bytes());
}
