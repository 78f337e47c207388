//! ResourceQuotas and LimitRanges.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};

use crate::strategies::fields::{Fields, map_at};
use crate::strategies::kind::{Kind, PLAIN, StatusField};
use crate::strategies::{cells, quantities, validation};

pub const RESOURCE_QUOTA: Kind = Kind {
    status: StatusField::Own,
    validate: |object, errors| hard(object, errors),
    validate_update: |object, old, errors| {
        let scopes = ["spec", "scopes"];
        if map_at(object, &["spec"]).list("scopes") != map_at(old, &["spec"]).list("scopes") {
            errors.extend(validation::immutable(object, old, &scopes));
        }
    },
    cells: Some(|o, now| {
        let (requests, limits) = usage(o);
        vec![cells::name(o), requests.into(), limits.into(), cells::age(o, now)]
    }),
    returns_deleted: true,
    ..PLAIN
};

fn hard(object: &Value, errors: &mut ErrorList) {
    let at = Path::new("spec").child("hard");
    for (name, value) in map_at(object, &["spec", "hard"]).iter() {
        if quantities::is_negative(value) {
            errors.push(Error::invalid(
                &at.key(name),
                value.as_str().unwrap_or_default(),
                validation::NON_NEGATIVE,
            ));
        }
    }
}

/// `name: used/hard` of what is requested and of what is limited.
fn usage(object: &Value) -> (String, String) {
    let (hard, used) = (map_at(object, &["status", "hard"]), map_at(object, &["status", "used"]));
    let mut names: Vec<&str> = hard.keys().map(|k| k.as_str()).collect();
    names.sort_unstable();
    let text = |name: &str| {
        let used = used.text(name);
        format!("{name}: {}/{}", if used.is_empty() { "0" } else { used }, hard.text(name))
    };
    let pick = |limits: bool| {
        names
            .iter()
            .filter(|n| n.starts_with("limits") == limits)
            .map(|n| text(n))
            .collect::<Vec<_>>()
            .join(", ")
    };
    (pick(false), pick(true))
}

pub const LIMIT_RANGE: Kind = Kind {
    defaults: limits,
    create_on_update: true,
    validate: |object, errors| {
        for (i, item) in map_at(object, &["spec"]).items("limits").enumerate() {
            validate_item(item, &Path::new("spec").child("limits").index(i), errors);
        }
    },
    cells: Some(|o, _| vec![cells::name(o), cells::created(o)]),
    ..PLAIN
};

/// Of a container's limits: `default` is `max`; `defaultRequest` is `default`, or `min`.
fn limits(object: &mut Map) {
    let Some(spec) = object.sub_mut("spec") else { return };
    for item in spec.items_mut("limits").filter(|i| i.text("type") == "Container") {
        let part = |item: &Map, name: &str| item.sub(name).cloned().unwrap_or_default();
        fill(item, "default", &part(item, "max"));
        fill(item, "defaultRequest", &part(item, "default"));
        fill(item, "defaultRequest", &part(item, "min"));
    }
}

fn fill(item: &mut Map, key: &str, from: &Map) {
    if from.is_empty() {
        return;
    }
    let to = item.map_mut(key);
    for (name, value) in from.iter() {
        if !to.contains_key(name) {
            to.push(name.clone(), value.clone());
        }
    }
}

/// The pairs that must not be the wrong way round, the field at which upstream complains, the words for both, and
/// whose value it shows.
const ORDERED: [(&str, &str, &str, &str, &str, bool); 6] = [
    ("min", "max", "min", "min value", "max value", true),
    ("min", "defaultRequest", "defaultRequest", "min value", "default request value", false),
    ("defaultRequest", "max", "defaultRequest", "default request value", "max value", true),
    ("defaultRequest", "default", "defaultRequest", "default request value", "default limit value", true),
    ("min", "default", "default", "min value", "default value", true),
    ("default", "max", "default", "default value", "max value", false),
];

fn validate_item(item: &Map, path: &Path, errors: &mut ErrorList) {
    use std::cmp::Ordering::Greater;
    for (low, high, at, low_words, high_words, shows_low) in ORDERED {
        let Some(upper) = item.sub(high) else { continue };
        for (name, value) in item.sub(low).into_iter().flat_map(|m| m.iter()) {
            if let Some(limit) = upper.get(name)
                && quantities::compare(value, limit) == Greater
            {
                let (a, b) = (value.as_str().unwrap_or_default(), limit.as_str().unwrap_or_default());
                let why = format!("{low_words} {a} is greater than {high_words} {b}");
                errors.push(Error::invalid(&path.child(at).key(name), if shows_low { a } else { b }, why));
            }
        }
    }
}
