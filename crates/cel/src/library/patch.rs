//! `jsonpatch.escapeKey`: a key as a step of a JSON pointer (RFC 6901). Only mutating policies have it.

use crate::functions::{Declared, Refused, Style};
use crate::value::Value;

/// Functions that an environment has only with [`Builder::patches`](crate::Builder::patches).
pub(crate) const PREFIX: &str = "jsonpatch.";

pub(super) const DECLARED: &[Declared] = &[Declared {
    name: "jsonpatch.escapeKey",
    overloads: &[("string_jsonpatch_escapeKey_string", "(string) string")],
    code: |args| {
        let key = args[0].as_str().ok_or(Refused::NoOverload)?;
        Ok(Value::text(key.replace('~', "~0").replace('/', "~1")))
    },
    style: Style::Guarded,
}];
