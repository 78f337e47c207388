//! FieldsV1: the JSON form of a [`Set`] (KEP-555). An element that is itself a path and has paths below it says so
//! with an entry `"."`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::path::PathElement;
use super::set::Set;
use crate::value::Value;

impl Set {
    /// None where the text is no FieldsV1.
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str::<Node>(text).ok().map(|node| node.set)
    }

    /// Reads `fieldsV1` of an entry of managedFields, in either form in which a tree holds it.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Raw(text) => Self::from_json(text),
            Value::Null => Some(Self::new()),
            Value::Map(map) => {
                let mut set = Self::new();
                for (name, below) in map.iter().filter(|(k, _)| k.as_str() != ".") {
                    let child = Self::from_value(below)?;
                    let own = child.is_empty() || below.get(".").is_some();
                    set.put(PathElement::parse(name)?, own, child);
                }
                Some(set)
            }
            _ => None,
        }
    }

    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(false, &mut out);
        out
    }

    fn put(&mut self, element: PathElement, own: bool, child: Self) {
        if own {
            self.insert_member(element.clone());
        }
        self.put_child(element, child);
    }

    fn write_json(&self, own: bool, out: &mut String) {
        out.push('{');
        let mut first = true;
        if own && !self.is_empty() {
            out.push_str("\".\":{}");
            first = false;
        }
        let (mut m, mut c) = (self.members.iter().peekable(), self.children.iter().peekable());
        loop {
            let order = match (m.peek(), c.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some((b, _))) => (*a).cmp(b),
            };
            let member = if order == Ordering::Greater { None } else { m.next() };
            let child = if order == Ordering::Less { None } else { c.next() };
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            write_entry(member, child, out);
        }
        out.push('}');
    }
}

fn write_entry(member: Option<&PathElement>, child: Option<&(PathElement, Set)>, out: &mut String) {
    let Some(element) = member.or(child.map(|c| &c.0)) else { return };
    let mut name = String::new();
    element.write(&mut name);
    super::json::write_string(&name, out);
    out.push(':');
    match child {
        Some((_, set)) => set.write_json(member.is_some(), out),
        None => out.push_str("{}"),
    }
}

/// The value of an entry: the set below it, and whether it has a `"."`.
struct Node {
    set: Set,
    own: bool,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FieldsV1")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut node = Node { set: Set::new(), own: false };
        while let Some(name) = access.next_key::<Cow<'de, str>>()? {
            if name == "." {
                access.next_value::<IgnoredAny>()?;
                node.own = true;
                continue;
            }
            let element =
                PathElement::parse(&name).ok_or_else(|| A::Error::custom("unknown path element"))?;
            let below: Node = access.next_value()?;
            let own = below.own || below.set.is_empty();
            node.set.put(element, own, below.set);
        }
        Ok(node)
    }
}
