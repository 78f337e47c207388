//! Records in the store that masters share and that are no objects of the API's own resources: the protobuf envelope
//! around messages whose fields are all strings or messages. Objects go through `api`'s codec, not through this.

const MAGIC: &[u8] = b"k8s\0";

/// Why bytes are no such record.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the stored record is not readable: {0}")]
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

/// Length-delimited fields of a message, in order; other wire types are an error.
pub fn fields(mut data: &[u8]) -> Result<Vec<(u64, &[u8])>, Unreadable> {
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

/// The first field with a tag.
pub fn field(data: &[u8], tag: u64) -> Result<Option<&[u8]>, Unreadable> {
    Ok(fields(data)?.into_iter().find(|(t, _)| *t == tag).map(|(_, v)| v))
}

/// Writes a string or a message.
pub fn put(out: &mut Vec<u8>, tag: u64, value: &[u8]) {
    put_varint(out, tag << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// The message inside.
pub fn open(bytes: &[u8]) -> Result<&[u8], Unreadable> {
    let body = bytes.strip_prefix(MAGIC).ok_or(Unreadable("it is no protobuf envelope"))?;
    field(body, 2)?.ok_or(Unreadable("the envelope is empty"))
}

/// The envelope around a message.
pub fn close(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut meta = Vec::new();
    put(&mut meta, 1, api_version.as_bytes());
    put(&mut meta, 2, kind.as_bytes());
    let mut out = MAGIC.to_vec();
    put(&mut out, 1, &meta);
    put(&mut out, 2, raw);
    put(&mut out, 3, b"");
    put(&mut out, 4, b"");
    out
}
