//! The paths of an object, and the paths in which two objects differ: what ownership is counted in.

use std::iter::Peekable;

use super::items::Indexed;
use super::json;
use super::path::PathElement;
use super::place::{Kind, Place};
use super::set::Set;
use crate::value::{Key, Map, Value};

/// The paths in which a new object differs from an old one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    pub added: Set,
    pub removed: Set,
    pub modified: Set,
}

impl Comparison {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.modified.is_empty()
    }

    /// Without the paths of `ignored` and what lies below them.
    #[must_use]
    pub fn without(self, ignored: &Set) -> Self {
        if ignored.is_empty() {
            return self;
        }
        Self {
            added: self.added.recursive_difference(ignored),
            removed: self.removed.recursive_difference(ignored),
            modified: self.modified.recursive_difference(ignored),
        }
    }

    fn put_child(&mut self, element: &PathElement, own: Option<Change>, below: Self) {
        match own {
            Some(Change::Added) => self.added.insert_member(element.clone()),
            Some(Change::Removed) => self.removed.insert_member(element.clone()),
            Some(Change::Modified) => self.modified.insert_member(element.clone()),
            None => {}
        }
        if !below.is_empty() {
            self.added.put_child(element.clone(), below.added);
            self.removed.put_child(element.clone(), below.removed);
            self.modified.put_child(element.clone(), below.modified);
        }
    }
}

/// All paths of an object.
pub fn field_set(place: Place<'_>, value: &Value) -> Set {
    let mut set = Set::new();
    walk(place, value, &mut set);
    set
}

/// Collects the paths below a value; true where the value's own path counts.
fn walk(place: Place<'_>, value: &Value, out: &mut Set) -> bool {
    match (place.kind(value), value) {
        (Kind::Map, Value::Map(map)) => {
            for (key, value) in map.iter() {
                let Some((below, listed)) = place.field(key) else { continue };
                let mut child = Set::new();
                let own = walk(below, value, &mut child);
                put(out, PathElement::Field(key.clone()), own || !listed, child);
            }
            map.is_empty()
        }
        (kind @ (Kind::Set | Kind::Keyed), Value::List(list)) => {
            let indexed = Indexed::of(place, kind, list);
            for (element, items) in indexed.order.into_iter().zip(indexed.items) {
                let mut child = Set::new();
                if let [one] = items[..] {
                    walk(place.item(), one, &mut child);
                }
                put(out, element, true, child);
            }
            false
        }
        _ => true,
    }
}

fn put(out: &mut Set, element: PathElement, own: bool, child: Set) {
    if own {
        out.insert_member(element.clone());
    }
    out.put_child(element, child);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Added,
    Removed,
    Modified,
}

/// Where `new` differs from `old`; both of one type.
pub fn compare(place: Place<'_>, old: &Value, new: &Value) -> Comparison {
    let mut out = Comparison::default();
    pair(place, Some(old), Some(new), &mut out);
    out
}

/// Compares what is below; the answer is what happened to the own path.
fn pair(place: Place<'_>, old: Option<&Value>, new: Option<&Value>, out: &mut Comparison) -> Option<Change> {
    let kind_of = |v: Option<&Value>| v.map(|v| place.kind(v));
    let kind = match (kind_of(old), kind_of(new)) {
        (None, None) => return None,
        (Some(a), Some(b)) if a != b => return differing(place, old, new, out),
        (_, Some(kind)) | (Some(kind), None) => kind,
    };
    match kind {
        Kind::Leaf => return leaf(old, new),
        _ if is_bare(old) && is_bare(new) => return leaf(old, new),
        Kind::Map => maps(place, old.and_then(Value::as_map), new.and_then(Value::as_map), out),
        Kind::Set | Kind::Keyed => lists(place, kind, items(old), items(new), out),
    }
    match (old, new) {
        (None, _) => Some(Change::Added),
        (_, None) => Some(Change::Removed),
        _ => None,
    }
}

/// An undeclared value that turned from a map into something else, or back.
fn differing(
    place: Place<'_>,
    old: Option<&Value>,
    new: Option<&Value>,
    out: &mut Comparison,
) -> Option<Change> {
    maps(place, old.and_then(Value::as_map), None, out);
    maps(place, None, new.and_then(Value::as_map), out);
    Some(Change::Modified)
}

fn leaf(old: Option<&Value>, new: Option<&Value>) -> Option<Change> {
    match (old, new) {
        (None, Some(_)) => Some(Change::Added),
        (Some(_), None) => Some(Change::Removed),
        (old, new) if !same(old, new) => Some(Change::Modified),
        _ => None,
    }
}

/// 1 and 1.0 are the same, and so are raw text and the tree that it means.
fn same(old: Option<&Value>, new: Option<&Value>) -> bool {
    match (old, new) {
        (Some(a), Some(b)) => same_value(a, b),
        (a, b) => a == b,
    }
}

pub(super) fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Int(i), Value::Float(f)) | (Value::Float(f), Value::Int(i)) => *i as f64 == *f,
        (Value::Raw(text), other) | (other, Value::Raw(text)) if !matches!(other, Value::Raw(_)) => {
            json::parse(text).is_some_and(|tree| tree == *other)
        }
        _ => a == b,
    }
}

/// Absent, null or without elements.
fn is_bare(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Map(map)) => map.is_empty(),
        Some(Value::List(list)) => list.is_empty(),
        _ => false,
    }
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_list).unwrap_or_default()
}

fn maps(place: Place<'_>, old: Option<&Map>, new: Option<&Map>, out: &mut Comparison) {
    let empty = Map::new();
    let (old, new) = (old.unwrap_or(&empty), new.unwrap_or(&empty));
    let mut cursor = cursor_of(new);
    let mut common = 0;
    for (key, was) in old.iter() {
        let is = cursor.find(key);
        common += usize::from(is.is_some());
        entry(place, key, Some(was), is, out);
    }
    if common == new.len() {
        return;
    }
    let mut cursor = cursor_of(old);
    for (key, is) in new.iter() {
        if cursor.find(key).is_none() {
            entry(place, key, None, Some(is), out);
        }
    }
}

fn entry(place: Place<'_>, key: &Key, old: Option<&Value>, new: Option<&Value>, out: &mut Comparison) {
    let Some((below, _)) = place.field(key) else { return };
    let mut child = Comparison::default();
    let own = pair(below, old, new, &mut child);
    if own.is_some() || !child.is_empty() {
        out.put_child(&PathElement::Field(key.clone()), own, child);
    }
}

/// Looks keys up in a map that very likely has them in the same order.
struct Cursor<'a, I: Iterator<Item = (&'a Key, &'a Value)>> {
    map: &'a Map,
    next: Peekable<I>,
}

fn cursor_of<'a>(map: &'a Map) -> Cursor<'a, impl Iterator<Item = (&'a Key, &'a Value)>> {
    Cursor { map, next: map.iter().peekable() }
}

impl<'a, I: Iterator<Item = (&'a Key, &'a Value)>> Cursor<'a, I> {
    fn find(&mut self, key: &str) -> Option<&'a Value> {
        if self.next.peek().is_some_and(|(k, _)| k.as_str() == key) {
            return self.next.next().map(|(_, v)| v);
        }
        self.map.get(key)
    }
}

fn lists(place: Place<'_>, kind: Kind, old: &[Value], new: &[Value], out: &mut Comparison) {
    if old == new {
        return;
    }
    let (old, new) = (Indexed::of(place, kind, old), Indexed::of(place, kind, new));
    for (element, was) in old.order.iter().zip(&old.items) {
        item(place, element, was, new.get(element), out);
    }
    for (element, is) in new.order.iter().zip(&new.items) {
        if old.find(element).is_none() {
            item(place, element, &[], is, out);
        }
    }
}

/// Duplicates are compared as a whole.
fn item(place: Place<'_>, element: &PathElement, old: &[&Value], new: &[&Value], out: &mut Comparison) {
    let mut child = Comparison::default();
    let own = if old.len() <= 1 && new.len() <= 1 {
        pair(place.item(), old.first().copied(), new.first().copied(), &mut child)
    } else if old.is_empty() {
        Some(Change::Added)
    } else if new.is_empty() {
        Some(Change::Removed)
    } else {
        (old != new).then_some(Change::Modified)
    };
    if own.is_some() || !child.is_empty() {
        out.put_child(element, own, child);
    }
}
