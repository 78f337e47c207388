//! Strategic merge patch: a merge patch that knows from the table which lists are keyed and how structs are merged,
//! with directives of its own (`$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`).
//!
//! Deliberately absent: making such patches (kubectl does), merging two of them.

mod order;

use apimachinery::Status;

use self::order::{by_patch_order, index_of};
use super::json_patch::rejected;
use super::{json, place::Place};
use crate::schema::{Node, Type};
use crate::value::{Map, Value};

const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// Why a patch was refused.
#[derive(Clone, Debug, PartialEq)]
enum Refused {
    /// 400.
    Bad(&'static str),
    /// 422, in words that say nothing.
    Rejected,
    /// 500, in these words.
    Other(String),
}

type Result<T> = std::result::Result<T, Refused>;

const BAD_ORDER: Refused = Refused::Bad("invalid patch format of setElementOrder list");
const BAD_RETAIN: Refused = Refused::Bad("invalid patch format of retainKeys");
const BAD_PRIMITIVE: Refused = Refused::Bad("invalid patch format of primitive list");

/// A tree as Go's `%+v` prints it.
pub fn go_text(value: &Value) -> String {
    match value {
        Value::Map(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            let parts: Vec<String> =
                entries.into_iter().map(|(k, v)| format!("{k}:{}", go_text(v))).collect();
            format!("map[{}]", parts.join(" "))
        }
        Value::List(list) => format!("[{}]", list.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Null => "<nil>".into(),
        Value::String(s) => s.to_string(),
        other => crate::json::to_string(other),
    }
}

/// Applies a strategic merge patch to an object of the type. Errors: 400, 422 or 500 as upstream answers them.
pub fn strategic_merge_patch(of: &Type, object: &mut Value, patch: Value) -> std::result::Result<(), Status> {
    let Value::Map(patch) = patch else {
        return Err(Status::bad_request(
            "json: cannot unmarshal into Go value of type map[string]interface {}",
        ));
    };
    let original = std::mem::take(object.as_map_or_make());
    let merged = merge_map(original, patch, Place::Root(of)).map_err(|refused| match refused {
        Refused::Bad(text) => Status::bad_request(text),
        Refused::Rejected => rejected(),
        Refused::Other(text) => Status::new(500, apimachinery::Reason::Unknown, text),
    })?;
    *object = Value::Map(merged);
    Ok(())
}

fn unknown_directive(value: &Value, patch: &Map) -> Refused {
    let (mut kind, mut text) = (String::new(), String::new());
    json::write(value, &mut kind);
    json::write(&Value::Map(patch.clone()), &mut text);
    Refused::Other(format!("unknown patch type: {} in map: {text}", kind.trim_matches('"')))
}

/// The declared strategy of a field: without `retainKeys`, which only says that the directive may come.
fn strategy(node: Option<&Node>) -> &str {
    node.map_or("", Node::patch_strategy).split(',').find(|s| *s != "retainKeys").unwrap_or_default()
}

fn node_of<'a>(place: Place<'a>, key: &str) -> (Place<'a>, Option<&'a Node>) {
    match place.field(key) {
        Some((below @ Place::Node(node), _)) => (below, Some(node)),
        Some((below, _)) => (below, None),
        None => (Place::Untyped, None),
    }
}

fn merge_map(mut original: Map, mut patch: Map, place: Place<'_>) -> Result<Map> {
    if let Some(directive) = patch.remove(PATCH) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Map::new()),
            Some("merge") => Ok(patch),
            _ => Err(unknown_directive(&directive, &patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    set_orders(&mut original, &mut patch, place)?;
    for (key, value) in patch {
        merge_entry(&mut original, &key, value, place)?;
    }
    Ok(original)
}

fn merge_entry(original: &mut Map, key: &str, mut value: Value, place: Place<'_>) -> Result<()> {
    let (key, deleting) = match key.strip_prefix(DELETE) {
        Some(of) => (of, true),
        None => (key, false),
    };
    if value.is_null() {
        original.remove(key);
        return Ok(());
    }
    let (below, node) = node_of(place, key);
    let Some(old) = original.get_mut(key) else {
        // A directive on a map that is not there makes nothing.
        let directed = value.as_map().is_some_and(|m| m.contains_key(PATCH));
        if !deleting {
            original.push(key, if directed { Value::map() } else { cleaned(value) });
        }
        return Ok(());
    };
    json::open(old);
    json::open(&mut value);
    match (std::mem::take(old), value) {
        (Value::Map(was), Value::Map(patch)) => {
            *old =
                Value::Map(if strategy(node) == "replace" { patch } else { merge_map(was, patch, below)? });
        }
        (Value::List(was), Value::List(patch)) => {
            *old = Value::List(merge_list_by(was, patch, below, node, deleting)?);
        }
        (was, _) if deleting => *old = was,
        (_, value) => *old = cleaned(value),
    }
    Ok(())
}

fn merge_list_by(
    old: Vec<Value>,
    patch: Vec<Value>,
    place: Place<'_>,
    node: Option<&Node>,
    deleting: bool,
) -> Result<Vec<Value>> {
    if strategy(node) != "merge" {
        return Ok(patch);
    }
    merge_list(old, patch, place, node.and_then(Node::patch_merge_key), deleting)
}

/// What a patch adds where nothing was: without directives, nulls and what it says to delete.
fn cleaned(value: Value) -> Value {
    match value {
        Value::Map(map) => Value::Map(
            map.into_iter()
                .filter(|(key, value)| !is_directive(key) && !value.is_null() && !is_delete(value))
                .map(|(key, value)| (key, cleaned(value)))
                .collect(),
        ),
        Value::List(list) => Value::List(
            list.into_iter().filter(|v| !is_delete(v) && !is_bare_directive(v)).map(cleaned).collect(),
        ),
        other => other,
    }
}

fn is_directive(key: &str) -> bool {
    key == PATCH || key == RETAIN || key.starts_with(ORDER) || key.starts_with(DELETE)
}

fn is_delete(value: &Value) -> bool {
    value.get(PATCH).and_then(Value::as_str) == Some("delete")
}

fn is_bare_directive(value: &Value) -> bool {
    value.as_map().is_some_and(|m| m.len() == 1 && m.contains_key(PATCH))
}

fn retain_keys(original: &mut Map, patch: &mut Map) -> Result<()> {
    let Some(keys) = patch.remove(RETAIN) else { return Ok(()) };
    let Value::List(keys) = keys else { return Err(BAD_RETAIN) };
    let retained = |name: &str| keys.iter().any(|k| k.as_str() == Some(name));
    let stray =
        |(key, value): (&crate::value::Key, &Value)| !value.is_null() && !is_directive(key) && !retained(key);
    if patch.iter().any(stray) {
        return Err(BAD_RETAIN);
    }
    original.retain(|key, _| retained(key));
    Ok(())
}

/// Handles each `$setElementOrder/x` together with the list `x` of the patch.
fn set_orders(original: &mut Map, patch: &mut Map, place: Place<'_>) -> Result<()> {
    let names: Vec<_> = patch.keys().filter(|k| k.starts_with(ORDER)).cloned().collect();
    for name in names {
        let Some(Value::List(order)) = patch.remove(&name) else { return Err(Refused::Rejected) };
        let key = name.trim_start_matches(ORDER);
        let (below, node) = node_of(place, key);
        let merge_key = node.and_then(Node::patch_merge_key);
        let ours = taken_list(original.get_mut(key))?;
        let theirs = taken_list(patch.get_mut(key))?;
        patch.remove(key);
        if let Some(theirs) = &theirs {
            check_order(theirs, &order, merge_key)?;
        }
        let before = ours.clone().unwrap_or_default();
        let merged = match (ours, theirs) {
            (None, None) => continue,
            (Some(ours), None) => ours,
            (None, Some(theirs)) => match cleaned(Value::List(theirs)) {
                Value::List(list) => list,
                _ => Vec::new(),
            },
            (Some(ours), Some(theirs)) => merge_list_by(ours, theirs, below, node, false)?,
        };
        original.insert(key, by_patch_order(merged, &order, &before, merge_key));
    }
    Ok(())
}

fn taken_list(value: Option<&mut Value>) -> Result<Option<Vec<Value>>> {
    match value.map(std::mem::take) {
        None => Ok(None),
        Some(Value::List(list)) => Ok(Some(list)),
        Some(Value::Null) => Ok(Some(Vec::new())),
        Some(_) => Err(Refused::Rejected),
    }
}

/// The items of a patch must come in the order that its order list gives.
fn check_order(patch: &[Value], order: &[Value], merge_key: Option<&str>) -> Result<()> {
    let mut at = 0;
    for item in patch.iter().filter(|item| item.get(PATCH).is_none()) {
        match order[at.min(order.len())..]
            .iter()
            .position(|o| index_of(std::slice::from_ref(o), item, merge_key).is_some())
        {
            Some(found) => at += found + 1,
            None => return Err(BAD_ORDER),
        }
    }
    Ok(())
}

fn merge_list(
    old: Vec<Value>,
    patch: Vec<Value>,
    place: Place<'_>,
    merge_key: Option<&str>,
    deleting: bool,
) -> Result<Vec<Value>> {
    let Some(first) = old.first().or(patch.first()) else { return Ok(old) };
    let of_maps = matches!(first, Value::Map(_) | Value::Raw(_));
    if old.iter().chain(&patch).any(|v| matches!(v, Value::Map(_) | Value::Raw(_)) != of_maps) {
        return Err(Refused::Rejected);
    }
    if !of_maps {
        return merge_scalars(old, patch, deleting);
    }
    let Some(merge_key) = merge_key else {
        return Err(Refused::Other("cannot merge lists without merge key for type".into()));
    };
    let (old, patch) = directives(old, patch, merge_key)?;
    let before = old.clone();
    let order = patch.clone();
    let mut merged = old;
    for item in patch {
        let Value::Map(item) = item else { return Err(Refused::Rejected) };
        let Some(key) = item.get(merge_key).cloned() else { return Err(no_merge_key(&item, merge_key)) };
        let found = merged.iter().position(|v| v.get(merge_key) == Some(&key));
        match found.and_then(|at| merged.get_mut(at)) {
            Some(Value::Map(was)) => *was = merge_map(std::mem::take(was), item, place.item())?,
            _ => merged.push(Value::Map(merge_map(Map::new(), item, place.item())?)),
        }
    }
    Ok(by_patch_order(merged, &order, &before, Some(merge_key)))
}

fn no_merge_key(item: &Map, merge_key: &str) -> Refused {
    let text = go_text(&Value::Map(item.clone()));
    Refused::Other(format!("map: {text} does not contain declared merge key: {merge_key}"))
}

fn merge_scalars(old: Vec<Value>, patch: Vec<Value>, deleting: bool) -> Result<Vec<Value>> {
    if patch.iter().any(|v| matches!(v, Value::List(_))) {
        return Err(BAD_PRIMITIVE);
    }
    if deleting {
        return Ok(old.into_iter().filter(|v| !patch.contains(v)).collect());
    }
    let mut merged: Vec<Value> = Vec::with_capacity(old.len() + patch.len());
    for value in old.iter().chain(&patch) {
        if !merged.contains(value) {
            merged.push(value.clone());
        }
    }
    Ok(by_patch_order(merged, &patch, &old, None))
}

/// Carries `$patch` items of a keyed list out; what is left merges item by item.
fn directives(mut old: Vec<Value>, patch: Vec<Value>, merge_key: &str) -> Result<(Vec<Value>, Vec<Value>)> {
    let mut plain = Vec::with_capacity(patch.len());
    let mut replace = false;
    for item in patch {
        let Value::Map(map) = &item else { return Err(Refused::Rejected) };
        match map.get(PATCH) {
            None => plain.push(item),
            Some(directive) => match directive.as_str() {
                Some("replace") => replace = true,
                Some("delete") => {
                    let key = map.get(merge_key).ok_or_else(|| no_merge_key(map, merge_key))?;
                    old.retain(|v| v.get(merge_key) != Some(key));
                }
                Some("merge") => {
                    return Err(Refused::Other("merging lists cannot yet be specified in the patch".into()));
                }
                _ => return Err(unknown_directive(directive, map)),
            },
        }
    }
    Ok(if replace { (plain, Vec::new()) } else { (old, plain) })
}

#[cfg(test)]
mod tests;
