//! Patches and server-side apply: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7396), Strategic Merge Patch, and the
//! ownership of fields (KEP-555), all on [`Value`] and by the table, whether its rows are built in or made from a
//! custom resource's schema.
//!
//! Deliberately absent: HTTP, storage, retries (see `apiserver`'s registry), union handling.

mod compare;
mod items;
mod json;
mod json_patch;
mod last_applied;
mod managed;
mod manager;
mod merge_patch;
mod mutate;
mod path;
mod place;
mod reset;
mod set;
mod set_json;
mod strategic;
mod typed;
mod updater;
mod validate;

use apimachinery::GroupVersionKind;

pub use compare::{Comparison, compare, field_set};
pub use json_patch::{json_mutation, json_patch};
pub use managed::{Entry, Managed, Manager, Operation, ignore_timestamps};
pub use manager::FieldManager;
pub use merge_patch::merge_patch;
pub use mutate::mutate;
pub use path::{PathElement, path_text};
pub use place::{Kind, Place};
pub use reset::reset_fields;
pub use set::Set;
pub use strategic::{go_text, strategic_merge_patch};
pub use updater::{Conflicts, Versions};

use crate::schema::{Node, Omit, Shape, Special, Type};
use crate::value::{Map, Value};

/// An object of the type without anything set, as Go writes it: what a create is compared with. Custom kinds have
/// apiVersion and kind only.
pub fn empty(of: &Type, kind: &GroupVersionKind) -> Value {
    let mut map = if of.custom { Map::new() } else { empty_struct(of) };
    let api_version = if kind.group.is_empty() {
        kind.version.to_string()
    } else {
        format!("{}/{}", kind.group, kind.version)
    };
    map.insert("apiVersion", api_version);
    map.insert("kind", &*kind.kind);
    Value::Map(map)
}

fn empty_struct(of: &Type) -> Map {
    let written = of.fields.iter().filter(|f| f.in_json);
    written.filter_map(|f| Some((f.name.clone(), zero(&f.node, f.omit)?))).collect()
}

/// Go's zero value where it is written at all.
fn zero(node: &Node, omit: Omit) -> Option<Value> {
    match &node.shape {
        Shape::Struct(of) if !node.pointer => return Some(Value::Map(empty_struct(of))),
        Shape::Special(Special::Time | Special::MicroTime) if !node.pointer && omit != Omit::Zero => {
            return Some(Value::Null);
        }
        _ if omit != Omit::Never => return None,
        _ => {}
    }
    Some(match &node.shape {
        _ if node.pointer => Value::Null,
        Shape::Bool => Value::Bool(false),
        Shape::Int32 | Shape::Int64 | Shape::Float64 | Shape::Number => Value::Int(0),
        Shape::String => Value::from(""),
        Shape::Special(Special::IntOrString) => Value::Int(0),
        Shape::Special(Special::Quantity) => Value::from("0"),
        Shape::Special(Special::Duration) => Value::from("0s"),
        _ => Value::Null,
    })
}
