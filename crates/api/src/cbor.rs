//! CBOR (RFC 8949) as the API speaks it (KEP-4222): a self-described item, texts as byte strings, map keys
//! sorted by their encoded bytes, floats as short as they are exact, `bytes` fields tagged for base64.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::canonical::{self, DecodeError, Found};
use crate::json;
use crate::schema::{Node, Shape, Special, Type};
use crate::value::{Key, Map, Value};

/// The tag of self-described CBOR, which every body begins with.
pub const MAGIC: [u8; 3] = [0xd9, 0xd9, 0xf7];

/// Deeper nesting is refused.
const MAX_DEPTH: usize = 200;
/// Byte strings that stand for base64 text.
const TAG_BASE64URL: u64 = 21;
const TAG_BASE64: u64 = 22;
const TAG_BASE16: u64 = 23;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    #[error("cbor: unexpected EOF")]
    End,
    #[error("cbor: {0} bytes of extraneous data")]
    Extra(usize),
    #[error("cbor: invalid UTF-8 string")]
    Utf8,
    #[error("cbor: exceeded max nested level")]
    Depth,
    #[error("cbor: number out of range of int64")]
    Range,
    #[error("cbor: map key is no string")]
    Key,
    #[error("cbor: found duplicate map key")]
    Duplicate,
    #[error("cbor: unsupported item {0:#x}")]
    Item(u8),
}

/// Reads a tree.
pub fn parse(bytes: &[u8]) -> Result<Value, CborError> {
    let mut reader = Reader { rest: bytes };
    let value = reader.value(0)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(CborError::Extra(reader.rest.len())) }
}

/// Reads an object of a type into its canonical form.
pub fn decode(bytes: &[u8], of: &Type) -> Result<(Value, Found), DecodeError> {
    let mut value = parse(bytes)?;
    let mut found = Found::default();
    canonical::canonicalize(&mut value, of, &mut found)?;
    Ok((value, found))
}

/// Writes an object of a type.
pub fn encode(value: &Value, of: &Type) -> Vec<u8> {
    let mut text = Vec::new();
    json::write(&mut text, value, of);
    let shown = json::parse_typed(&text, of).map(|p| p.value).unwrap_or_default();
    let mut out = MAGIC.to_vec();
    write(&mut out, &shown, Hint::Fields(of));
    out
}

/// Writes a tree without a type.
pub fn to_vec(value: &Value) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    write(&mut out, value, Hint::Nothing);
    out
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], CborError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(CborError::End)?;
        self.rest = rest;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, CborError> {
        Ok(self.take(1)?[0])
    }

    /// The argument of a head; None for an indefinite length.
    fn argument(&mut self, head: u8) -> Result<Option<u64>, CborError> {
        let size = match head & 0x1f {
            n @ 0..=23 => return Ok(Some(n.into())),
            n @ 24..=27 => 1usize << (n - 24),
            31 => return Ok(None),
            _ => return Err(CborError::Item(head)),
        };
        Ok(Some(self.take(size)?.iter().fold(0, |n, b| n << 8 | u64::from(*b))))
    }

    fn at_break(&mut self) -> bool {
        let ends = self.rest.first() == Some(&0xff);
        if ends {
            self.rest = &self.rest[1..];
        }
        ends
    }

    fn bytes(&mut self, length: Option<u64>) -> Result<Vec<u8>, CborError> {
        if let Some(n) = length {
            return Ok(self.take(usize::try_from(n).map_err(|_| CborError::End)?)?.to_vec());
        }
        let mut out = Vec::new();
        while !self.at_break() {
            let head = self.byte()?;
            let part = self.argument(head)?.ok_or(CborError::Item(head))?;
            out.extend(self.bytes(Some(part))?);
        }
        Ok(out)
    }

    fn text(&mut self, length: Option<u64>) -> Result<Key, CborError> {
        let bytes = self.bytes(length)?;
        std::str::from_utf8(&bytes).map(Key::from).map_err(|_| CborError::Utf8)
    }

    fn value(&mut self, depth: usize) -> Result<Value, CborError> {
        if depth > MAX_DEPTH {
            return Err(CborError::Depth);
        }
        let head = self.byte()?;
        if head >> 5 == 7 {
            return self.simple(head);
        }
        let argument = self.argument(head)?;
        let number = || argument.ok_or(CborError::Item(head));
        Ok(match head >> 5 {
            0 => Value::Int(i64::try_from(number()?).map_err(|_| CborError::Range)?),
            1 => Value::Int(-1 - i64::try_from(number()?).map_err(|_| CborError::Range)?),
            2 | 3 => Value::String(self.text(argument)?),
            4 => self.list(argument, depth)?,
            5 => self.map(argument, depth)?,
            _ => self.tagged(number()?, depth)?,
        })
    }

    fn list(&mut self, length: Option<u64>, depth: usize) -> Result<Value, CborError> {
        let mut list = Vec::new();
        while length.map_or_else(|| !self.at_break(), |n| (list.len() as u64) < n) {
            list.push(self.value(depth + 1)?);
        }
        Ok(Value::List(list))
    }

    fn map(&mut self, length: Option<u64>, depth: usize) -> Result<Value, CborError> {
        let mut map = Map::new();
        while length.map_or_else(|| !self.at_break(), |n| (map.len() as u64) < n) {
            let head = self.byte()?;
            if !matches!(head >> 5, 2 | 3) {
                return Err(CborError::Key);
            }
            let length = self.argument(head)?;
            let key = self.text(length)?;
            if map.insert(key, self.value(depth + 1)?).is_some() {
                return Err(CborError::Duplicate);
            }
        }
        Ok(Value::Map(map))
    }

    fn tagged(&mut self, tag: u64, depth: usize) -> Result<Value, CborError> {
        if !matches!(tag, TAG_BASE64URL | TAG_BASE64 | TAG_BASE16) {
            return self.value(depth + 1);
        }
        let head = self.byte()?;
        if head >> 5 != 2 {
            return Err(CborError::Item(head));
        }
        let length = self.argument(head)?;
        let bytes = self.bytes(length)?;
        Ok(Value::from(match tag {
            TAG_BASE64URL => URL_SAFE_NO_PAD.encode(bytes),
            TAG_BASE64 => STANDARD.encode(bytes),
            _ => bytes.iter().map(|b| format!("{b:02X}")).collect(),
        }))
    }

    fn simple(&mut self, head: u8) -> Result<Value, CborError> {
        let float = |n: f64| if n.is_finite() { Ok(Value::Float(n)) } else { Err(CborError::Item(head)) };
        match head {
            0xf4 => Ok(Value::Bool(false)),
            0xf5 => Ok(Value::Bool(true)),
            0xf6 | 0xf7 => Ok(Value::Null),
            0xf9 => float(half(u16::from_be_bytes([self.byte()?, self.byte()?]))),
            0xfa => {
                let mut b = [0; 4];
                b.copy_from_slice(self.take(4)?);
                float(f32::from_be_bytes(b).into())
            }
            0xfb => {
                let mut b = [0; 8];
                b.copy_from_slice(self.take(8)?);
                float(f64::from_be_bytes(b))
            }
            other => Err(CborError::Item(other)),
        }
    }
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        e => (1.0 + fraction / 1024.0) * 2f64.powi(e - 15),
    }
}

/// The bits of a number as binary16, if it is one exactly.
fn to_half(n: f64) -> Option<u16> {
    let sign = if n.is_sign_negative() { 0x8000 } else { 0 };
    let size = n.abs();
    if size == 0.0 {
        return Some(sign);
    }
    let exponent = (size.log2().floor() as i32).clamp(-14, 15);
    let scaled = size / 2f64.powi(exponent) * 1024.0;
    if scaled.fract() != 0.0 || scaled >= 2048.0 {
        return None;
    }
    let bits = scaled as u16;
    let bits = if bits < 1024 { bits } else { ((exponent + 15) as u16) << 10 | (bits & 0x3ff) };
    (half(bits | sign) == n).then_some(bits | sign)
}

fn head(out: &mut Vec<u8>, major: u8, n: u64) {
    let major = major << 5;
    match n {
        0..=23 => out.push(major | n as u8),
        24..=0xff => out.extend([major | 24, n as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend((n as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend((n as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend(n.to_be_bytes());
        }
    }
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    head(out, 2, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What the type says of a value: only `bytes` fields and raw texts need it.
#[derive(Clone, Copy)]
enum Hint<'t> {
    Nothing,
    Fields(&'t Type),
    Node(&'t Node),
}

impl<'t> Hint<'t> {
    fn field(self, name: &str) -> Self {
        let of = match self {
            Self::Fields(of) => of,
            Self::Node(Node { shape: Shape::Struct(of), .. }) => of,
            Self::Node(Node { shape: Shape::Map(inner), .. }) => return Self::Node(inner),
            Self::Node(Node {
                shape:
                    Shape::Special(
                        Special::SchemaOrBool(of) | Special::SchemaOrArray(of) | Special::SchemaOrStrings(of),
                    ),
                ..
            }) => of,
            _ => return Self::Nothing,
        };
        of.field(name).map_or(Self::Nothing, |f| Self::Node(&f.node))
    }

    fn item(self) -> Self {
        match self {
            Self::Node(Node { shape: Shape::List(inner), .. }) => Self::Node(inner),
            Self::Node(Node { shape: Shape::Special(Special::SchemaOrArray(of)), .. }) => Self::Fields(of),
            _ => Self::Nothing,
        }
    }

    fn is_bytes(self) -> bool {
        matches!(self, Self::Node(Node { shape: Shape::Bytes, .. }))
    }
}

fn write(out: &mut Vec<u8>, value: &Value, hint: Hint<'_>) {
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(b) => out.push(if *b { 0xf5 } else { 0xf4 }),
        Value::Int(n) if *n >= 0 => head(out, 0, *n as u64),
        Value::Int(n) => head(out, 1, !*n as u64),
        Value::Float(n) => float(out, *n),
        Value::String(s) if hint.is_bytes() => {
            head(out, 6, TAG_BASE64);
            string(out, &STANDARD.decode(s.as_bytes()).unwrap_or_default());
        }
        Value::String(s) => string(out, s.as_bytes()),
        Value::Raw(text) => write(out, &json::parse(text.as_bytes()).unwrap_or_default(), Hint::Nothing),
        Value::List(list) => {
            head(out, 4, list.len() as u64);
            list.iter().for_each(|item| write(out, item, hint.item()));
        }
        Value::Map(map) => {
            head(out, 5, map.len() as u64);
            let mut entries: Vec<(&Key, &Value)> = map.iter().collect();
            entries.sort_unstable_by(|a, b| {
                a.0.len().cmp(&b.0.len()).then_with(|| a.0.as_bytes().cmp(b.0.as_bytes()))
            });
            for (key, value) in entries {
                string(out, key.as_bytes());
                write(out, value, hint.field(key));
            }
        }
    }
}

fn float(out: &mut Vec<u8>, n: f64) {
    if let Some(bits) = to_half(n) {
        out.push(0xf9);
        out.extend(bits.to_be_bytes());
    } else if f64::from(n as f32) == n {
        out.push(0xfa);
        out.extend((n as f32).to_be_bytes());
    } else {
        out.push(0xfb);
        out.extend(n.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_encoded_as_the_rfc_says() {
        for (value, bytes) in [
            (Value::Int(1000), &[0x19, 0x03, 0xe8][..]),
            (Value::Int(-500), &[0x39, 0x01, 0xf3]),
            (Value::Float(1.5), &[0xf9, 0x3e, 0x00]),
            (Value::Float(5.960_464_477_539_063e-8), &[0xf9, 0x00, 0x01]),
            (Value::Float(100_000.5), &[0xfa, 0x47, 0xc3, 0x50, 0x40]),
            (Value::Float(1.1), &[0xfb, 0x3f, 0xf1, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a]),
            (crate::value!({"bb": [], "a": null}), &[0xa2, 0x41, b'a', 0xf6, 0x42, b'b', b'b', 0x80]),
        ] {
            let encoded = to_vec(&value);
            assert_eq!((&encoded[..3], &encoded[3..]), (&MAGIC[..], bytes), "{value:?}");
            assert_eq!(parse(&encoded).unwrap(), value);
        }
    }

    #[test]
    fn objects_go_round_and_bad_bytes_are_refused() {
        let of = crate::schema::by_gvk("", "v1", "Secret").unwrap();
        let text = br#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"},"data":{"k":"AAEC"}}"#;
        let (secret, _) = json::decode(text, &of).unwrap();
        let bytes = encode(&secret, &of);
        assert!(bytes.windows(5).any(|w| w == [0xd6, 0x43, 0, 1, 2]));
        assert_eq!(decode(&bytes, &of).unwrap().0, secret);
        assert_eq!(parse(&[0x5f, 0x41, b'a', 0x41, b'b', 0xff]).unwrap(), Value::from("ab"));
        for bad in [
            &[0x19][..],
            &[0xa1, 0x01, 0x01],
            &[0x1b, 0xff, 0, 0, 0, 0, 0, 0, 0],
            &[0x00, 0x00],
            &[0x41, 0xff],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(parse(&[0x81; 300]), Err(CborError::Depth));
    }
}
