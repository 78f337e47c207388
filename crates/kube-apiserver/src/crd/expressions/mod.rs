//! `x-kubernetes-validations` of custom resources (KEP-2876): checked and weighed when a definition is written
//! ([`written`]), compiled once for each version that is served ([`Rules`]), evaluated when objects are written.

mod cost;
mod field_path;
mod judge;
mod rule;
#[cfg(test)]
mod tests;
mod written;

use std::collections::HashMap;

use api::Value;
use cel::Schema;

use super::structural::{Additional, EMBEDDED, additional, flag, properties};
use rule::{Rule, Scope};

pub(super) use judge::judge;
pub(super) use written::written;

/// Where rules stand in schemas.
pub(super) const VALIDATIONS: &str = "x-kubernetes-validations";

/// The rules of one place and of all below it; places without any are left out.
#[derive(Debug)]
pub struct Rules {
    /// `type` of the schema: it stands in errors where a value would say too much.
    kind: String,
    /// The type of values here.
    of: Schema,
    rules: Vec<Rule>,
    items: Option<Box<Rules>>,
    properties: HashMap<String, Rules>,
    additional: Option<Box<Rules>>,
    /// By which old items are found.
    schema: Value,
}

/// Whether a schema has rules anywhere.
pub(super) fn any(schema: &Value) -> bool {
    !schema.list_at(&[VALIDATIONS]).is_empty()
        || properties(schema).any(|(_, of)| any(of))
        || ["items", "additionalProperties"].iter().any(|k| schema.get(k).is_some_and(any))
}

impl Rules {
    /// Of a version's `openAPIV3Schema`; None: it has no rules.
    pub fn compile(schema: &Value) -> Option<Self> {
        if !any(schema) {
            return None;
        }
        Self::at(schema, &Schema::of_open_api(schema, true)?)
    }

    fn at(schema: &Value, of: &Schema) -> Option<Self> {
        if !any(schema) {
            return None;
        }
        let scope = Scope::new(of);
        let below = |below: &Value| Self::at(below, of.element()?).map(Box::new);
        Some(Self {
            kind: schema.str_at(&["type"]).to_owned(),
            of: of.clone(),
            rules: schema
                .list_at(&[VALIDATIONS])
                .iter()
                .map(|rule| Rule::compile(rule, schema, &scope))
                .collect(),
            items: schema.get("items").and_then(below),
            properties: properties(schema)
                .filter_map(|(name, below)| {
                    Some((name.to_owned(), Self::at(below, &type_of(of, name, below)?)?))
                })
                .collect(),
            additional: match additional(schema) {
                Additional::Of(values) => below(values),
                _ => None,
            },
            schema: schema.clone(),
        })
    }
}

/// The type of a property: the holder's word for it, or its own where its name is none that expressions can say.
fn type_of(holder: &Schema, name: &str, schema: &Value) -> Option<Schema> {
    match cel::escape(name) {
        Some(escaped) => holder.field(&escaped).map(|field| field.schema.clone()),
        None => Schema::of_open_api(schema, flag(schema, EMBEDDED)),
    }
}
