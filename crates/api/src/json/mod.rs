//! JSON: bytes to the object tree and back, as Go reads and writes it.
//!
//! Parsing knows the type only where it must: what Go keeps as raw text stays raw, and double keys are reported
//! with their path. What the fields may hold is `canonical`'s business. Writing follows the type: fields in
//! Go's order, empty ones left out or written as Go does.

mod parse;
#[cfg(test)]
mod tests;
mod write;

pub use parse::{JsonError, Parsed, TypeMeta, parse, parse_canonical, parse_strict, parse_typed, type_meta};
pub(crate) use write::is_omitted;
pub use write::{compact_raw, to_string, to_vec, write, write_value};

use crate::canonical::{self, DecodeError, Found};
use crate::schema::Type;
use crate::value::Value;

/// Reads an object of a type into its canonical form.
pub fn decode(bytes: &[u8], of: &Type) -> Result<(Value, Found), DecodeError> {
    let parsed = parse_typed(bytes, of)?;
    let mut value = parsed.value;
    let mut found = parsed.found;
    canonical::canonicalize(&mut value, of, &mut found)?;
    Ok((value, found))
}

/// Writes an object of a type with the newline that ends Go's bodies.
pub fn encode(value: &Value, of: &Type) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    write(&mut out, value, of);
    out.push(b'\n');
    out
}
