//! Protobuf to the canonical tree.

use apimachinery::time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::wire::{Payload, Reader};
use super::{Envelope, MAGIC, ProtoError};
use crate::json;
use crate::schema::{Field, Node, Shape, Slot, Special, Type};
use crate::value::{Key, Map, Value};

/// Deeper messages are refused.
const MAX_DEPTH: usize = 200;

/// The parts of an envelope.
pub fn decode_envelope(data: &[u8]) -> Result<Envelope<'_>, ProtoError> {
    let body = data.strip_prefix(MAGIC).ok_or(ProtoError::Magic)?;
    let mut out = Envelope::default();
    let mut reader = Reader::new(body);
    while let Some((tag, payload)) = reader.field()? {
        match tag {
            1 => {
                let mut meta = Reader::new(payload.bytes()?);
                while let Some((tag, payload)) = meta.field()? {
                    match tag {
                        1 => out.api_version = payload.text()?,
                        2 => out.kind = payload.text()?,
                        _ => {}
                    }
                }
            }
            2 => out.raw = payload.bytes()?,
            3 => out.content_encoding = payload.text()?,
            4 => out.content_type = payload.text()?,
            _ => {}
        }
    }
    Ok(out)
}

/// The message in an envelope as an object; `api_version` and `kind` are what the envelope says ("" for items).
pub fn decode(raw: &[u8], of: &Type, api_version: &str, kind: &str) -> Result<Value, ProtoError> {
    let mut set: Vec<(u16, Value)> = Vec::new();
    for (name, text) in [("kind", kind), ("apiVersion", api_version)] {
        if let Some(at) = of.position(name).filter(|_| !text.is_empty()) {
            set.push((at as u16, text.into()));
        }
    }
    fields(raw, of, of, &mut set, 0)?;
    Ok(Value::Map(finish(set, of)))
}

/// A struct in its canonical form.
fn structure(raw: &[u8], of: &Type, depth: usize) -> Result<Value, ProtoError> {
    let mut set: Vec<(u16, Value)> = Vec::with_capacity(8);
    fields(raw, of, of, &mut set, depth)?;
    Ok(Value::Map(finish(set, of)))
}

/// Fields in Go's order, without what Go leaves out, with what it always writes.
fn finish(mut set: Vec<(u16, Value)>, of: &Type) -> Map {
    set.retain(|(at, value)| {
        let field = &of.fields[usize::from(*at)];
        field.in_json && !json::is_omitted(field, value)
    });
    for at in of.always() {
        if !set.iter().any(|(rank, _)| rank == at) {
            let node = &of.fields[usize::from(*at)].node;
            set.push((*at, if node.pointer { Value::Null } else { zero(node) }));
        }
    }
    if !set.is_sorted_by_key(|(rank, _)| *rank) {
        set.sort_by_key(|(rank, _)| *rank);
    }
    Map::from_entries(set.into_iter().map(|(at, v)| (of.fields[usize::from(at)].name.clone(), v)).collect())
}

/// Reads a message of `of` whose fields belong to `outer` (they differ for embedded structs).
fn fields(
    raw: &[u8],
    of: &Type,
    outer: &Type,
    set: &mut Vec<(u16, Value)>,
    depth: usize,
) -> Result<(), ProtoError> {
    if depth > MAX_DEPTH {
        return Err(ProtoError::Depth);
    }
    let mut reader = Reader::new(raw);
    while let Some((tag, payload)) = reader.field()? {
        let Ok(at) = of.wire().binary_search_by_key(&tag, |w| w.tag) else { continue };
        match of.wire()[at].slot {
            Slot::Embed(at) => {
                let embed = &of.embeds[usize::from(at)];
                fields(payload.bytes()?, &embed.of, outer, set, depth + 1)?;
            }
            Slot::Field(at) => {
                let field = &of.fields[usize::from(at)];
                let rank =
                    if std::ptr::eq(of, outer) { Some(usize::from(at)) } else { outer.position(&field.name) };
                let Some(rank) = rank.map(|r| r as u16) else { continue };
                let slot = match set.iter().rposition(|(r, _)| *r == rank) {
                    Some(at) => at,
                    None => {
                        set.push((rank, Value::Null));
                        set.len() - 1
                    }
                };
                read(&mut set[slot].1, field, payload, depth)?;
            }
        }
    }
    Ok(())
}

fn read(into: &mut Value, field: &Field, payload: Payload<'_>, depth: usize) -> Result<(), ProtoError> {
    match &field.node.shape {
        Shape::List(inner) if field.node.wrapped => *into = wrapped(payload.bytes()?, inner, depth)?,
        Shape::List(inner) => {
            if !matches!(into, Value::List(_)) {
                *into = Value::List(Vec::new());
            }
            if let Value::List(list) = into {
                list.push(one(inner, payload, depth)?);
            }
        }
        Shape::Map(inner) => entry(into.as_map_or_make(), inner, payload.bytes()?, depth)?,
        _ => {
            *into = one(&field.node, payload, depth)?;
            if into.is_null() && field.node.pointer {
                // A pointer to a zero time: Go writes `null` for it, and nothing for no pointer.
                *into = Value::Raw("".into());
            }
        }
    }
    Ok(())
}

/// A list that is a message of its own.
fn wrapped(raw: &[u8], inner: &Node, depth: usize) -> Result<Value, ProtoError> {
    let mut list = Vec::new();
    let mut reader = Reader::new(raw);
    while let Some((tag, payload)) = reader.field()? {
        if tag == 1 {
            list.push(one(inner, payload, depth)?);
        }
    }
    Ok(Value::List(list))
}

fn entry(map: &mut Map, inner: &Node, raw: &[u8], depth: usize) -> Result<(), ProtoError> {
    let mut reader = Reader::new(raw);
    let (mut name, mut value) = ("", None);
    while let Some((tag, payload)) = reader.field()? {
        match (tag, &inner.shape) {
            (1, _) => name = payload.text()?,
            (2, Shape::List(item)) => value = Some(wrapped(payload.bytes()?, item, depth)?),
            (2, _) => value = Some(one(inner, payload, depth)?),
            _ => {}
        }
    }
    let value = value.unwrap_or_else(|| match &inner.shape {
        Shape::Bytes => Value::String(Key::const_new("")),
        Shape::List(_) => Value::List(Vec::new()),
        _ => zero(inner),
    });
    let last = map.len().checked_sub(1).and_then(|at| map.entry_at(at)).map(|(k, _)| k.as_str());
    match last {
        Some(last) if last < name => map.push(name, value),
        None => map.push(name, value),
        _ => {
            map.insert(name, value);
            map.sort_keys();
        }
    }
    Ok(())
}

/// What Go holds where nothing was sent.
fn zero(node: &Node) -> Value {
    match &node.shape {
        Shape::Bool => Value::Bool(false),
        Shape::Int32 | Shape::Int64 | Shape::Float64 | Shape::Number => Value::Int(0),
        Shape::String => Value::String(Key::const_new("")),
        Shape::Struct(of) => Value::Map(finish(Vec::new(), of)),
        Shape::Special(Special::Duration) => Value::String(Key::const_new("0s")),
        Shape::Special(Special::Quantity) => Value::String(Key::const_new("0")),
        Shape::Special(Special::IntOrString) => Value::Int(0),
        Shape::Special(Special::SchemaOrBool(_)) => Value::Bool(false),
        _ => Value::Null,
    }
}

fn one(node: &Node, payload: Payload<'_>, depth: usize) -> Result<Value, ProtoError> {
    Ok(match &node.shape {
        Shape::Bool => Value::Bool(payload.number()? != 0),
        Shape::Int32 => Value::Int(i64::from(payload.number()? as i32)),
        Shape::Int64 => Value::Int(payload.number()? as i64),
        Shape::Float64 | Shape::Number => {
            let n = f64::from_bits(payload.number()?);
            let whole = n.fract() == 0.0 && n.abs() < 9e15 && !(n == 0.0 && n.is_sign_negative());
            if whole { Value::Int(n as i64) } else { Value::Float(n) }
        }
        Shape::String => Value::String(payload.text()?.into()),
        Shape::Bytes => Value::String(STANDARD.encode(payload.bytes()?).into()),
        Shape::Struct(of) => structure(payload.bytes()?, of, depth + 1)?,
        Shape::Special(kind) => special(kind, payload.bytes()?, depth)?,
        Shape::List(_) | Shape::Map(_) | Shape::Any => Value::Null,
    })
}

/// The fields 1 to 3 of a special type's message; the last one counts.
fn parts(raw: &[u8]) -> Result<[Option<Payload<'_>>; 3], ProtoError> {
    let mut out = [None; 3];
    let mut reader = Reader::new(raw);
    while let Some((tag, payload)) = reader.field()? {
        if let Some(slot) = out.get_mut(tag as usize - 1) {
            *slot = Some(payload);
        }
    }
    Ok(out)
}

fn special(kind: &Special, raw: &[u8], depth: usize) -> Result<Value, ProtoError> {
    let [first, second, third] = parts(raw)?;
    let number = |p: Option<Payload<'_>>| p.map_or(Ok(0), Payload::number);
    Ok(match kind {
        Special::Time | Special::MicroTime if raw.is_empty() => Value::Null,
        Special::Time => Value::String(time::rfc3339(number(first)? as i64, None).into()),
        Special::MicroTime => {
            let micros = number(second)? as u32 / 1000;
            Value::String(time::rfc3339(number(first)? as i64, Some(micros)).into())
        }
        Special::Duration => Value::String(time::format_duration(number(first)? as i64).into()),
        Special::Quantity => Value::String(first.map_or(Ok("0"), Payload::text)?.into()),
        Special::IntOrString if number(first)? != 0 => {
            Value::String(third.map_or(Ok(""), Payload::text)?.into())
        }
        Special::IntOrString => Value::Int(i64::from(number(second)? as i32)),
        Special::Raw(_) => match first {
            Some(text) if !text.bytes()?.is_empty() => Value::Raw(text.text()?.into()),
            _ => Value::Null,
        },
        Special::SchemaOrBool(of) => match second {
            Some(schema) => structure(schema.bytes()?, of, depth + 1)?,
            None => Value::Bool(number(first)? != 0),
        },
        Special::SchemaOrArray(of) | Special::SchemaOrStrings(of) => or_list(kind, of, raw, depth)?,
    })
}

/// The list if there is one, else the schema, else nothing.
fn or_list(kind: &Special, of: &Type, raw: &[u8], depth: usize) -> Result<Value, ProtoError> {
    let (mut list, mut schema) = (Vec::new(), Value::Null);
    let mut reader = Reader::new(raw);
    while let Some((tag, payload)) = reader.field()? {
        match (tag, kind) {
            (1, _) => schema = structure(payload.bytes()?, of, depth + 1)?,
            (2, Special::SchemaOrStrings(_)) => list.push(Value::String(payload.text()?.into())),
            (2, _) => list.push(structure(payload.bytes()?, of, depth + 1)?),
            _ => {}
        }
    }
    Ok(if list.is_empty() { schema } else { Value::List(list) })
}
