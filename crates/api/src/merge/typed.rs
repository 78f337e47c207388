//! Changing objects by the table: laying an applied configuration over the live object, and taking paths out of it.

use super::compare::same_value;
use super::items::{Indexed, element_of};
use super::path::PathElement;
use super::place::{Kind, Place};
use super::set::Set;
use crate::value::{Map, Value};

/// Lays `config` over `live`: what the configuration says wins, everything else stays.
pub fn overlay(place: Place<'_>, live: &mut Value, config: &Value) {
    match (place.kind(config), config) {
        (Kind::Map, Value::Map(from)) if !from.is_empty() => overlay_map(place, live.as_map_or_make(), from),
        (Kind::Map, _) => keep_unless_bare(live, config),
        (kind @ (Kind::Set | Kind::Keyed), Value::List(from)) if !from.is_empty() => {
            let old = std::mem::take(live);
            *live = Value::List(overlay_list(place, kind, old.as_list().unwrap_or_default(), from));
        }
        (Kind::Set | Kind::Keyed, _) => keep_unless_bare(live, config),
        (Kind::Leaf, _) if same_value(live, config) => {}
        (Kind::Leaf, _) => *live = config.clone(),
    }
}

/// An empty or null map or list in a configuration replaces nothing but its like.
fn keep_unless_bare(live: &mut Value, config: &Value) {
    let bare = match live {
        Value::Map(map) => map.is_empty(),
        Value::List(list) => list.is_empty(),
        _ => true,
    };
    if bare {
        *live = config.clone();
    }
}

fn overlay_map(place: Place<'_>, live: &mut Map, from: &Map) {
    for (key, config) in from.iter() {
        let below = place.field(key).map_or(Place::Untyped, |f| f.0);
        match live.get_mut(key) {
            Some(old) => overlay(below, old, config),
            None => live.push(key.clone(), config.clone()),
        }
    }
}

/// The merged list: the configuration's order for what it names, live items where they stood among them.
fn overlay_list(place: Place<'_>, kind: Kind, live: &[Value], from: &[Value]) -> Vec<Value> {
    let (ours, theirs) = (Indexed::of(place, kind, live), Indexed::of(place, kind, from));
    let live: Vec<(PathElement, &Value)> =
        live.iter().filter_map(|item| Some((element_of(place, kind, item).ok()?, item))).collect();
    let merged_item = |element: &PathElement| -> Option<Value> {
        let config = *theirs.get(element).first()?;
        match ours.get(element) {
            [one] => {
                let mut item = (*one).clone();
                overlay(place.item(), &mut item, config);
                Some(item)
            }
            _ => Some(config.clone()),
        }
    };
    let mut shared = theirs.order.iter().filter(|e| ours.find(e).is_some());
    let mut next_shared = shared.next();
    let mut merged = vec![false; theirs.order.len()];
    let mut out = Vec::with_capacity(live.len().max(from.len()));
    let (mut l, mut r) = (0, 0);
    while l < live.len() || r < theirs.order.len() {
        if l < live.len() && r < theirs.order.len() {
            let element = &live[l].0;
            if *element == theirs.order[r] {
                merged[r] = true;
                out.extend(merged_item(element));
                (l, r) = (l + 1, r + 1);
                next_shared = shared.next();
                continue;
            }
            if theirs.find(element).is_some() && next_shared.is_some_and(|s| s != element) {
                l += 1;
                continue;
            }
        }
        if l < live.len() {
            match theirs.find(&live[l].0) {
                None => {
                    out.push(live[l].1.clone());
                    l += 1;
                    continue;
                }
                Some(at) if merged[at] => l += 1,
                Some(_) => {}
            }
        }
        if r < theirs.order.len() {
            let element = &theirs.order[r];
            merged[r] = true;
            out.extend(merged_item(element));
            r += 1;
            if next_shared == Some(element) {
                next_shared = shared.next();
            }
        }
    }
    out
}

/// Takes the paths of a set out of an object. A map or list that loses its last element becomes null.
pub fn remove(place: Place<'_>, value: &mut Value, paths: &Set) {
    if paths.is_empty() {
        return;
    }
    let kind = place.kind(value);
    let emptied = match (kind, &mut *value) {
        (Kind::Map, Value::Map(map)) => {
            map.retain(|key, value| {
                let element = PathElement::Field(key.clone());
                if paths.has_member(&element) {
                    return false;
                }
                if let (Some(below), Some((place, _))) = (paths.child(&element), place.field(key)) {
                    remove(place, value, below);
                }
                true
            });
            map.is_empty()
        }
        (Kind::Set | Kind::Keyed, Value::List(list)) => {
            list.retain_mut(|item| {
                let Ok(element) = element_of(place, kind, item) else { return true };
                if paths.has_member(&element) {
                    return false;
                }
                if let Some(below) = paths.child(&element) {
                    remove(place.item(), item, below);
                }
                true
            });
            list.is_empty()
        }
        (Kind::Leaf, Value::Map(_) | Value::List(_)) => true,
        _ => false,
    };
    if emptied {
        *value = Value::Null;
    }
}

/// The set with every listed field on the way to a path as a path of its own, so that an emptied struct goes too.
pub fn with_named_fields(place: Place<'_>, set: &Set) -> Set {
    let mut out = Set { members: set.members.clone(), children: Vec::with_capacity(set.children.len()) };
    for (element, child) in &set.children {
        let below = match element {
            PathElement::Field(name) => match place.field(name) {
                Some((below, true)) => {
                    out.insert_member(element.clone());
                    below
                }
                Some((below, false)) => below,
                None => Place::Untyped,
            },
            PathElement::Key(_) => place.item(),
            _ => Place::Untyped,
        };
        out.children.push((element.clone(), with_named_fields(below, child)));
    }
    out
}
