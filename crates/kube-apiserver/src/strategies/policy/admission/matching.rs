//! Which requests a webhook or a policy is about: rules, selectors and the parameters of a binding, in the words of
//! upstream's validation.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::labels::LabelSelector;

use crate::strategies::fields::Fields;
use crate::strategies::names;
use crate::strategies::validation::{Json, one_of};

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const MUTATING_OPERATIONS: [&str; 4] = ["*", "CONNECT", "CREATE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];
pub(super) const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];

fn texts<'a>(of: &'a Map, key: &str) -> Vec<&'a str> {
    of.list(key).iter().filter_map(Value::as_str).collect()
}

fn refuse_list(of: &Map, key: &str, path: &Path, why: &str, errors: &mut ErrorList) {
    let list = Value::List(of.list(key).to_vec());
    errors.push(Error::invalid(&path.child(key), &Json(&list), why));
}

/// A selector where one must be, with its syntax.
pub(super) fn selector(of: &Map, key: &str, path: &Path, lax: bool, errors: &mut ErrorList) {
    let Some(value) = of.get(key).filter(|v| !v.is_null()) else { return };
    if let Ok(selector) = value.view::<LabelSelector>() {
        errors.extend(selector.validate(&path.child(key), lax));
    }
}

/// `operations`, `apiGroups`, `apiVersions`, `resources` and `scope` of one rule.
pub(super) fn rule(rule: &Map, path: &Path, errors: &mut ErrorList) {
    let operations = texts(rule, "operations");
    let at = path.child("operations");
    if operations.is_empty() {
        errors.push(Error::required(&at, ""));
    }
    if operations.len() > 1 && operations.contains(&"*") {
        let why = "if '*' is present, must not specify other operations";
        refuse_list(rule, "operations", path, why, errors);
    }
    for (i, operation) in operations.iter().enumerate().filter(|(_, o)| !OPERATIONS.contains(o)) {
        errors.push(Error::not_supported(&at.index(i), *operation, &OPERATIONS));
    }
    for (key, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let list = texts(rule, key);
        if list.is_empty() {
            errors.push(Error::required(&path.child(key), ""));
        }
        if list.len() > 1 && list.contains(&"*") {
            refuse_list(
                rule,
                key,
                path,
                &format!("if '*' is present, must not specify other {what}"),
                errors,
            );
        }
    }
    for (i, _) in texts(rule, "apiVersions").iter().enumerate().filter(|(_, v)| v.is_empty()) {
        errors.push(Error::required(&path.child("apiVersions").index(i), ""));
    }
    resources(rule, path, errors);
    one_of(errors, rule.text("scope"), &SCOPES, &path.child("scope"), false);
}

/// `x`, `x/y`, `x/*`, `*/y`, `*`, `*/*`: what one pattern says already, another may not say again.
fn resources(rule: &Map, path: &Path, errors: &mut ErrorList) {
    let list = texts(rule, "resources");
    let at = path.child("resources");
    if list.is_empty() {
        errors.push(Error::required(&at, ""));
    }
    let (mut all_parts_of, mut part_of_all): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut last_without_part_is_named = false;
    for (i, pattern) in list.iter().copied().enumerate() {
        if pattern.is_empty() {
            errors.push(Error::required(&at.index(i), ""));
            continue;
        }
        let Some((resource, part)) = pattern.split_once('/') else {
            last_without_part_is_named = pattern != "*";
            continue;
        };
        let mut refuse = |present: String| {
            let why = format!("if '{present}' is present, must not specify {pattern}");
            errors.push(Error::invalid(&at.index(i), pattern, why));
        };
        if all_parts_of.contains(&resource) {
            refuse(format!("{resource}/*"));
        }
        if part_of_all.contains(&part) {
            refuse(format!("*/{part}"));
        }
        if part == "*" {
            all_parts_of.push(resource);
        }
        if resource == "*" {
            part_of_all.push(part);
        }
    }
    if list.len() > 1 && list.contains(&"*/*") {
        let why = "if '*/*' is present, must not specify other resources";
        refuse_list(rule, "resources", path, why, errors);
    }
    if list.contains(&"*") && last_without_part_is_named {
        let why = "if '*' is present, must not specify other resources without subresources";
        refuse_list(rule, "resources", path, why, errors);
    }
}

fn named_rule(of: &Map, path: &Path, errors: &mut ErrorList) {
    let resource_names = texts(of, "resourceNames");
    for (i, name) in resource_names.iter().copied().enumerate() {
        let at = path.child("resourceNames").index(i);
        errors.extend(names::path_segment(name).into_iter().map(|why| Error::invalid(&at, name, why)));
        if resource_names[..i].contains(&name) {
            errors.push(Error::duplicate(&at, name));
        }
    }
    rule(of, path, errors);
}

/// `matchConstraints` of a policy, `matchResources` of a binding.
pub(super) fn match_resources(of: &Map, path: &Path, errors: &mut ErrorList) {
    one_of(errors, of.text("matchPolicy"), &MATCH_POLICIES, &path.child("matchPolicy"), true);
    for key in ["namespaceSelector", "objectSelector"] {
        if !of.has(key) {
            errors.push(Error::required(&path.child(key), ""));
        }
        selector(of, key, path, false, errors);
    }
    for key in ["resourceRules", "excludeResourceRules"] {
        for (i, rule) in of.items(key).enumerate() {
            named_rule(rule, &path.child(key).index(i), errors);
        }
    }
}

/// Deletes have no object that could be changed.
pub(super) fn mutating_operations(of: &Map, path: &Path, errors: &mut ErrorList) {
    let at = path.child("resourceRules").child("operations");
    for rule in of.items("resourceRules") {
        for operation in texts(rule, "operations").iter().filter(|o| !MUTATING_OPERATIONS.contains(o)) {
            errors.push(Error::not_supported(&at, *operation, &MUTATING_OPERATIONS));
        }
    }
}

/// `paramRef` of a binding.
pub(super) fn param_ref(spec: &Map, path: &Path, errors: &mut ErrorList) {
    let Some(of) = spec.sub("paramRef") else { return };
    let path = path.child("paramRef");
    let (name, selects) = (of.text("name"), of.has("selector"));
    let both = "name and selector are mutually exclusive";
    if !name.is_empty() {
        let at = path.child("name");
        errors.extend(names::path_segment(name).into_iter().map(|why| Error::invalid(&at, name, why)));
        if selects {
            errors.push(Error::forbidden(&at, both));
        }
    }
    selector(of, "selector", &path, false, errors);
    match (name.is_empty(), selects) {
        (false, true) => errors.push(Error::forbidden(&path.child("selector"), both)),
        (true, false) => errors.push(Error::required(&path, "one of name or selector must be specified")),
        _ => {}
    }
    let (at, action) = (path.child("parameterNotFoundAction"), of.text("parameterNotFoundAction"));
    one_of(errors, action, &["Deny", "Allow"], &at, true);
}

/// `paramKind` of a policy.
pub(super) fn param_kind(of: &Map, path: &Path, errors: &mut ErrorList) {
    let (api_version, kind) = (of.text("apiVersion"), of.text("kind"));
    let at = path.child("apiVersion");
    let mut refuse = |at: &Path, text: &str, why: String| errors.push(Error::invalid(at, text, why));
    match api_version.split('/').collect::<Vec<_>>()[..] {
        [""] => errors.push(Error::required(&at, "")),
        [version] => group_version("", version, api_version, &at, &mut refuse),
        [group, version] => group_version(group, version, api_version, &at, &mut refuse),
        _ => refuse(&at, api_version, format!("unexpected GroupVersion string: {api_version}")),
    }
    let wrong = names::dns1035_label(&kind.to_lowercase());
    if kind.is_empty() {
        errors.push(Error::required(&path.child("kind"), ""));
    } else if !wrong.is_empty() {
        let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
        errors.push(Error::invalid(&path.child("kind"), kind, why));
    }
}

fn group_version(
    group: &str,
    version: &str,
    whole: &str,
    at: &Path,
    refuse: &mut impl FnMut(&Path, &str, String),
) {
    let wrong = names::dns1123_subdomain(group);
    if !group.is_empty() && !wrong.is_empty() {
        refuse(at, group, wrong.join(","));
    }
    let wrong = names::dns1035_label(version);
    if version.is_empty() {
        refuse(at, whole, "version must be specified".into());
    } else if !wrong.is_empty() {
        refuse(at, version, wrong.join(","));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(check: fn(&Map, &Path, &mut ErrorList), of: Value) -> Vec<String> {
        let mut errors = ErrorList::new();
        check(of.as_map().unwrap(), &Path::new("r"), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    fn of_rule(resources: &[&str]) -> Value {
        let resources: Vec<Value> = resources.iter().map(|r| Value::from(*r)).collect();
        api::value!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": (resources), "scope": "*"})
    }

    #[test]
    fn resources_that_say_a_thing_twice() {
        for (resources, expected) in [
            (&["pods", "pods/status"][..], &[][..]),
            (&["*", "pods/status"], &[]),
            (
                &["pods/*", "pods/status"],
                &[
                    "r.resources[1]: Invalid value: \"pods/status\": if 'pods/*' is present, must not specify pods/status",
                ],
            ),
            (
                &["*/status", "pods/status"],
                &[
                    "r.resources[1]: Invalid value: \"pods/status\": if '*/status' is present, must not specify pods/status",
                ],
            ),
            (
                &["*", "pods"],
                &[
                    "r.resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources",
                ],
            ),
            (
                &["pods", "*/*"],
                &[
                    "r.resources: Invalid value: [\"pods\",\"*/*\"]: if '*/*' is present, must not specify other resources",
                ],
            ),
            (&[], &["r.resources: Required value"]),
        ] {
            assert_eq!(found(rule, of_rule(resources)), expected, "{resources:?}");
        }
    }

    #[test]
    fn kinds_of_parameters() {
        for (api_version, kind, expected) in [
            ("v1", "ConfigMap", &[][..]),
            ("rules.example.com/v1", "ReplicaLimit", &[]),
            (
                "a/b/c",
                "K",
                &["r.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c"],
            ),
            ("a/", "K", &["r.apiVersion: Invalid value: \"a/\": version must be specified"]),
            ("", "", &["r.apiVersion: Required value", "r.kind: Required value"]),
        ] {
            let of = api::value!({"apiVersion": api_version, "kind": kind});
            assert_eq!(found(param_kind, of), expected, "{api_version} {kind}");
        }
    }
}
