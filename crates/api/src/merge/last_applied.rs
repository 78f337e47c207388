//! `kubectl apply` without and with `--server-side` on one object: the annotation of the former gives the latter the
//! right to what it has written, and is kept up to date by it.

use super::compare::{compare, field_set};
use super::json;
use super::place::Place;
use super::updater::Conflicts;
use crate::value::Value;

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
const PATH: [&str; 3] = ["metadata", "annotations", ANNOTATION];
/// Of all annotations of an object together, in bytes.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// The conflicts that client-side apply does not excuse; None where it excuses all.
pub(super) fn remaining_conflicts(place: Place<'_>, live: &Value, conflicts: Conflicts) -> Option<Conflicts> {
    let Some(last) = live.at(&PATH).and_then(Value::as_str).and_then(json::parse) else {
        return Some(conflicts);
    };
    let change = compare(place, live, &last);
    let allowed = field_set(place, &last);
    let allowed = allowed.difference(&change.modified).difference(&change.added).difference(&change.removed);
    let left: Vec<_> = conflicts
        .0
        .into_iter()
        .map(|(manager, set)| (manager, set.difference(&allowed)))
        .filter(|(_, set)| !set.is_empty())
        .collect();
    (!left.is_empty()).then_some(Conflicts(left))
}

/// Writes what was applied into the annotation, where there is one.
pub(super) fn sync(object: &mut Value, config: &Value) {
    if object.at(&PATH).is_none() {
        return;
    }
    let mut config = config.clone();
    config.remove_at(&["metadata", "managedFields"]);
    config.remove_at(&PATH);
    let mut text = String::new();
    json::write(&config, &mut text);
    text.push('\n');
    let others = object.at(&PATH[..2]).and_then(Value::as_map).map_or(0, |annotations| {
        let size = |(k, v): (&crate::value::Key, &Value)| k.len() + v.as_str().map_or(0, str::len);
        annotations.iter().filter(|(k, _)| k.as_str() != ANNOTATION).map(size).sum::<usize>()
    });
    if others + ANNOTATION.len() + text.len() > MAX_ANNOTATIONS {
        object.remove_at(&PATH);
    } else {
        object.set_at(&PATH, text);
    }
}
