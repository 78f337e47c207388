//! Unions: exactly one, or at most one, of several fields.

use apimachinery::field::{Error, Path};

use super::{Place, Walk, get, is_unset};
use crate::schema::{Level, Rule, Type};
use crate::value::{Map, Value};

/// `at_least_one` tells a union from a zero-or-one-of.
struct Members<'a> {
    names: Vec<String>,
    set: Vec<bool>,
    was_set: Option<Vec<bool>>,
    at_least_one: bool,
    path: &'a Path,
}

fn report(walk: &mut Walk<'_>, members: &Members<'_>) {
    if walk.update && members.was_set.as_ref().is_some_and(|was| *was == members.set) {
        return;
    }
    let all: Vec<String> = members.names.iter().map(|n| format!("`{n}`")).collect();
    let all = all.join(", ");
    let given: Vec<&str> =
        members.names.iter().zip(&members.set).filter(|(_, set)| **set).map(|(n, _)| n.as_str()).collect();
    let shown = format!("{{{}}}", given.join(", "));
    match (given.len(), members.at_least_one) {
        (0, true) => {
            walk.errors.push(Error::invalid(members.path, "", format!("must specify one of: {all}")));
        }
        (2.., true) => {
            let text = format!("must specify exactly one of: {all}");
            walk.errors.push(Error::invalid(members.path, &shown, text));
        }
        (2.., false) => {
            let text = format!("must specify at most one of: {all}");
            walk.errors.push(Error::invalid(members.path, &shown, text));
        }
        _ => {}
    }
}

/// The union of a struct's members.
pub(super) fn check(walk: &mut Walk<'_>, path: &Path, of: &Type, value: Option<&Map>, old: Option<&Value>) {
    for (rule, at_least_one) in [(Rule::UnionMember, true), (Rule::ZeroOrOneOfMember, false)] {
        let in_force = |level: Level| level == Level::Always || level == Level::Beta && walk.options.beta;
        let fields = of.rules().fields.iter();
        let fields = fields.filter(|(_, set)| set.rules.iter().any(|s| s.rule == rule && in_force(s.level)));
        let fields: Vec<_> = fields.map(|(at, _)| &of.fields[*at]).collect();
        if fields.is_empty() {
            continue;
        }
        let state = |map: Option<&Map>| -> Vec<bool> {
            fields.iter().map(|f| !is_unset(&f.node, get(map, &f.name))).collect()
        };
        let members = Members {
            names: fields.iter().map(|f| f.name.to_string()).collect(),
            set: state(value),
            was_set: old.map(|o| state(o.as_map())),
            at_least_one,
            path,
        };
        report(walk, &members);
    }
}

/// The union of items of a list, told apart by their fields.
pub(super) fn items(walk: &mut Walk<'_>, place: &Place<'_>, items: &[&[(&str, &str)]]) {
    let has = |list: &Value, wanted: &[(&str, &str)]| {
        let list = list.as_list().unwrap_or_default();
        list.iter().any(|item| wanted.iter().all(|(k, v)| item.get(k).and_then(Value::as_str) == Some(*v)))
    };
    let field = place.path.as_str().rsplit('.').next().unwrap_or_default();
    let name = |wanted: &[(&str, &str)]| {
        let pairs: Vec<String> = wanted.iter().map(|(k, v)| format!("{k:?}: {v:?}")).collect();
        format!("{field}[{{{}}}]", pairs.join(", "))
    };
    let members = Members {
        names: items.iter().map(|w| name(w)).collect(),
        set: items.iter().map(|w| has(place.value, w)).collect(),
        was_set: place.old.map(|old| items.iter().map(|w| has(old, w)).collect()),
        at_least_one: false,
        path: place.path,
    };
    report(walk, &members);
}
