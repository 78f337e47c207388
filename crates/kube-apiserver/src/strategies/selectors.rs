//! LabelSelectors inside objects: syntax, and whether one matches labels.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};

use super::fields::Fields;
use super::{names, validation};

pub fn validate(selector: &Map, path: &Path, errors: &mut ErrorList) {
    if let Some(labels) = selector.sub("matchLabels") {
        validation::labels(labels, &path.child("matchLabels"), errors);
    }
    for (i, requirement) in selector.items("matchExpressions").enumerate() {
        validate_requirement(requirement, &path.child("matchExpressions").index(i), errors);
    }
}

fn validate_requirement(requirement: &Map, path: &Path, errors: &mut ErrorList) {
    let values = requirement.list("values");
    match requirement.text("operator") {
        "In" | "NotIn" if values.is_empty() => {
            errors.push(Error::required(
                &path.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            ));
        }
        "In" | "NotIn" => {}
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors.push(Error::forbidden(
                &path.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ));
        }
        "Exists" | "DoesNotExist" => {}
        other => errors.push(Error::invalid(&path.child("operator"), other, "not a valid selector operator")),
    }
    for why in names::qualified_name(requirement.text("key")) {
        errors.push(Error::invalid(&path.child("key"), requirement.text("key"), why));
    }
    for (i, value) in values.iter().filter_map(Value::as_str).enumerate() {
        for why in names::label_value(value) {
            errors.push(Error::invalid(&path.child("values").index(i), value, why));
        }
    }
}

/// An empty selector matches everything.
pub fn matches(selector: &Map, labels: &Map) -> bool {
    let plain = selector.sub("matchLabels").is_none_or(|m| m.iter().all(|(k, v)| labels.get(k) == Some(v)));
    plain && selector.items("matchExpressions").all(|r| requirement_matches(r, labels))
}

fn requirement_matches(requirement: &Map, labels: &Map) -> bool {
    let value = labels.get(requirement.text("key"));
    let listed = || value.is_some_and(|v| requirement.list("values").contains(v));
    match requirement.text("operator") {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategies::fields::{map, one};

    #[test]
    fn selector_matches() {
        let labels = map([("a", "b".into()), ("c", "d".into())]);
        let with = |operator: &str, values: &[&str]| {
            let values: Vec<Value> = values.iter().map(|v| Value::from(*v)).collect();
            let r = map([("key", "a".into()), ("operator", operator.into()), ("values", values.into())]);
            one("matchExpressions", vec![Value::Map(r)])
        };
        assert!(matches(&Map::new(), &labels));
        assert!(matches(&one("matchLabels", one("a", "b")), &labels));
        assert!(!matches(&one("matchLabels", one("a", "x")), &labels));
        assert!(matches(&with("In", &["b"]), &labels) && !matches(&with("NotIn", &["b"]), &labels));
        assert!(matches(&with("Exists", &[]), &labels) && !matches(&with("DoesNotExist", &[]), &labels));
    }
}
