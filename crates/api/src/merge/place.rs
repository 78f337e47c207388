//! What merging needs to know of the type at a place of an object: is a map granular or atomic, is a list a set, keyed
//! or atomic, what are the keys and their defaults.

use std::sync::LazyLock;

use crate::schema::{ListType, Node, Shape, Type, TypeRef, by_name};
use crate::value::Value;

/// The type at some place. Copies are free.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// A whole object.
    Root(&'a Type),
    Node(&'a Node),
    /// Nothing is declared: maps are granular, lists atomic.
    Untyped,
}

/// How a value at a place is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Scalars, and whatever is replaced as a whole.
    Leaf,
    /// A struct or map, field by field.
    Map,
    Set,
    Keyed,
}

impl<'a> Place<'a> {
    /// The way to merge; a value decides where the type does not. Null fits every declared kind.
    pub fn kind(self, value: &Value) -> Kind {
        match self {
            Self::Root(of) if of.atomic => Kind::Leaf,
            Self::Root(_) => Kind::Map,
            Self::Untyped => untyped(value),
            Self::Node(node) => match &node.shape {
                Shape::Struct(_) | Shape::Map(_) if node.is_atomic() => Kind::Leaf,
                Shape::Struct(_) | Shape::Map(_) => Kind::Map,
                Shape::Any => {
                    if node.is_atomic() && node.merge.is_some() {
                        Kind::Leaf
                    } else {
                        untyped(value)
                    }
                }
                Shape::List(_) => list_kind(node),
                _ => Kind::Leaf,
            },
        }
    }

    fn of_struct(self) -> Option<&'a Type> {
        match self {
            Self::Root(of) => Some(of),
            Self::Node(node) => node.as_struct(),
            Self::Untyped => None,
        }
    }

    /// The place of a field or entry, and whether it is a field that the type lists. None: unknown, and unknown fields
    /// are not kept here.
    pub fn field(self, name: &str) -> Option<(Place<'a>, bool)> {
        if let Some(of) = self.of_struct() {
            return match of.field(name) {
                Some(field) => Some((Self::Node(&field.node), true)),
                None => embedded(of, name).or_else(|| of.preserve_unknown.then_some((Self::Untyped, false))),
            };
        }
        match self {
            Self::Node(node) => match &node.shape {
                Shape::Map(of) => Some((Self::Node(of), false)),
                _ => Some((Self::Untyped, false)),
            },
            _ => Some((Self::Untyped, false)),
        }
    }

    /// The place of a list's items.
    pub fn item(self) -> Place<'a> {
        match self {
            Self::Node(node) => node.element().map_or(Self::Untyped, Self::Node),
            _ => Self::Untyped,
        }
    }

    /// The names of a keyed list's keys.
    pub fn keys(self) -> Vec<&'a str> {
        let Self::Node(node) = self else { return Vec::new() };
        let declared = node.list_map_keys();
        if declared.is_empty() {
            node.patch_merge_key().into_iter().collect()
        } else {
            declared.iter().map(AsRef::as_ref).collect()
        }
    }

    /// The declared default of a field of a list's items: what a key that is not given means.
    pub fn key_default(self, key: &str) -> Option<&'a Value> {
        let Self::Node(node) = self.item() else { return None };
        node.as_struct()?.field(key)?.node.default.as_deref()
    }
}

/// An embedded resource always has apiVersion, kind and metadata.
fn embedded<'a>(of: &'a Type, name: &str) -> Option<(Place<'a>, bool)> {
    static METADATA: LazyLock<Option<TypeRef>> =
        LazyLock::new(|| by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"));
    match name {
        _ if !of.embedded_resource => None,
        "apiVersion" | "kind" => Some((Place::Untyped, true)),
        "metadata" => Some((METADATA.as_ref().map_or(Place::Untyped, |of| Place::Root(of)), true)),
        _ => None,
    }
}

fn untyped(value: &Value) -> Kind {
    if matches!(value, Value::Map(_)) { Kind::Map } else { Kind::Leaf }
}

/// Where no list type is declared, a patch strategy with `merge` says the same.
fn list_kind(node: &Node) -> Kind {
    match node.merge.as_ref().and_then(|m| m.list_type) {
        Some(ListType::Atomic) => Kind::Leaf,
        Some(ListType::Set) => Kind::Set,
        Some(ListType::Map) => Kind::Keyed,
        None if matches!(node.patch_strategy(), "merge" | "merge,retainKeys") => {
            if node.patch_merge_key().is_some() { Kind::Keyed } else { Kind::Set }
        }
        None => Kind::Leaf,
    }
}
