//! MutatingWebhookConfiguration and ValidatingWebhookConfiguration: what may be written. What an old object already
//! had wrong may stay wrong.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::names;

use super::expressions::match_conditions;
use super::matching::{MATCH_POLICIES, rule, selector};
use crate::strategies::fields::{Fields, of, same};
use crate::strategies::validation::{self, Json, one_of};

const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const NO_SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];
const SIDE_EFFECTS: [&str; 4] = ["None", "NoneOnDryRun", "Some", "Unknown"];

/// What is not looked at, or less strictly.
struct Leave {
    conditions: bool,
    side_effects: bool,
    review_versions: bool,
    names: bool,
    label_values: bool,
}

impl Leave {
    const NOTHING: Self = Self {
        conditions: false,
        side_effects: false,
        review_versions: false,
        names: false,
        label_values: false,
    };

    fn by(new: &Value, old: &Value) -> Self {
        let hooks = |object: &'_ Value| of(object).list("webhooks").len();
        let mut pairs = of(new).items("webhooks").zip(of(old).items("webhooks"));
        let some = |wrong: fn(&Map) -> bool| of(old).items("webhooks").any(wrong);
        let names =
            of(old).items("webhooks").map(|w| w.text("name")).collect::<std::collections::HashSet<_>>();
        Self {
            conditions: hooks(new) == hooks(old)
                && pairs.all(|(n, o)| same(n.get("matchConditions"), o.get("matchConditions"))),
            side_effects: some(|w| !NO_SIDE_EFFECTS.contains(&w.text("sideEffects"))),
            review_versions: some(|w| !w.list("admissionReviewVersions").is_empty() && !speaks(w)),
            names: names.len() != hooks(old),
            label_values: some(|w| {
                let mut errors = ErrorList::new();
                selectors(w, &Path::default(), false, &mut errors);
                !errors.is_empty()
            }),
        }
    }
}

pub(super) fn validate(object: &Value, errors: &mut ErrorList) {
    webhooks(object, &Leave::NOTHING, errors);
}

pub(super) fn validate_update(new: &Value, old: &Value, errors: &mut ErrorList) {
    webhooks(new, &Leave::by(new, old), errors);
}

fn webhooks(object: &Value, leave: &Leave, errors: &mut ErrorList) {
    for (i, w) in of(object).items("webhooks").enumerate() {
        webhook(w, leave, &Path::new("webhooks").index(i), errors);
    }
    if !leave.names {
        let all = of(object).items("webhooks").enumerate();
        let names = all.map(|(i, w)| (Path::new("webhooks").index(i).child("name"), w.text("name")));
        validation::unique(names, errors);
    }
}

fn webhook(w: &Map, leave: &Leave, path: &Path, errors: &mut ErrorList) {
    errors.extend(names::fully_qualified_name(&path.child("name"), w.text("name")));
    for (i, r) in w.items("rules").enumerate() {
        rule(r, &path.child("rules").index(i), errors);
    }
    let among = |key: &str, known: &[&str], errors: &mut ErrorList| {
        one_of(errors, w.text(key), known, &path.child(key), false);
    };
    among("failurePolicy", &["Fail", "Ignore"], errors);
    among("matchPolicy", &MATCH_POLICIES, errors);
    let known: &[&str] = if leave.side_effects { &SIDE_EFFECTS } else { &NO_SIDE_EFFECTS };
    if w.text("sideEffects").is_empty() {
        let why = format!("must specify one of {}", known.join(", "));
        errors.push(Error::required(&path.child("sideEffects"), why));
    }
    among("sideEffects", known, errors);
    let seconds = w.int("timeoutSeconds").unwrap_or(10);
    if !(1..=30).contains(&seconds) {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.push(Error::invalid(&path.child("timeoutSeconds"), &seconds, why));
    }
    selectors(w, path, leave.label_values, errors);
    among("reinvocationPolicy", &["IfNeeded", "Never"], errors);
    client(w, &path.child("clientConfig"), errors);
    if !leave.conditions {
        match_conditions(w, false, path, errors);
    }
    review_versions(w, leave, &path.child("admissionReviewVersions"), errors);
}

fn selectors(w: &Map, path: &Path, lax: bool, errors: &mut ErrorList) {
    for key in ["namespaceSelector", "objectSelector"] {
        selector(w, key, path, lax, errors);
    }
}

fn speaks(w: &Map) -> bool {
    w.list("admissionReviewVersions").iter().any(|v| v.as_str().is_some_and(|v| REVIEW_VERSIONS.contains(&v)))
}

fn review_versions(w: &Map, leave: &Leave, path: &Path, errors: &mut ErrorList) {
    let versions: Vec<&str> = w.list("admissionReviewVersions").iter().filter_map(Value::as_str).collect();
    if versions.is_empty() {
        errors.push(Error::required(path, "must specify one of v1, v1beta1"));
        return;
    }
    for (i, version) in versions.iter().copied().enumerate() {
        let at = path.index(i);
        if versions[..i].contains(&version) {
            errors.push(Error::invalid(&at, version, "duplicate version"));
            continue;
        }
        let wrong = names::dns1035_label(version);
        errors.extend(wrong.into_iter().map(|why| Error::invalid(&at, version, why)));
    }
    if !leave.review_versions && !speaks(w) {
        let shown = Value::List(w.list("admissionReviewVersions").to_vec());
        errors.push(Error::invalid(path, &Json(&shown), "must include at least one of v1, v1beta1"));
    }
}

fn client(w: &Map, path: &Path, errors: &mut ErrorList) {
    let empty = Map::new();
    let config = w.sub("clientConfig").unwrap_or(&empty);
    match (config.get("url").and_then(Value::as_str), config.sub("service")) {
        (Some(url), None) => url_errors(url, &path.child("url"), errors),
        (None, Some(service)) => service_errors(service, &path.child("service"), errors),
        _ => errors.push(Error::required(path, "exactly one of url or service is required")),
    }
}

const FORM: &str = "; desired format: https://host[/path]";

/// Scheme, user, host, query and fragment, as far as a webhook's address may have them.
fn url_errors(url: &str, path: &Path, errors: &mut ErrorList) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let mut refuse = |text: &str, why: String| errors.push(Error::invalid(path, text, why));
    if scheme != "https" {
        refuse(scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or_default() };
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
    if host.is_empty() {
        refuse("", format!("host must be specified{FORM}"));
    }
    if let Some(user) = user {
        refuse(user, "user information is not permitted in the URL".into());
    }
    if !fragment.is_empty() {
        refuse(fragment, "fragments are not permitted in the URL".into());
    }
    if !query.is_empty() {
        refuse(query, "query parameters are not permitted in the URL".into());
    }
}

fn service_errors(service: &Map, path: &Path, errors: &mut ErrorList) {
    // Upstream hands name and namespace over in the wrong order, so a message names the other one.
    for (key, said) in [("namespace", "name"), ("name", "namespace")] {
        if service.text(key).is_empty() {
            errors.push(Error::required(&path.child(said), ""));
        }
    }
    let port = service.int("port").unwrap_or(443);
    let wrong = names::port_number(port);
    if !wrong.is_empty() {
        let why = format!("port is not valid: {}", wrong.join(", "));
        errors.push(Error::invalid(&path.child("port"), &port, why));
    }
    path_errors(service.text("path"), &path.child("path"), errors);
}

fn path_errors(url_path: &str, path: &Path, errors: &mut ErrorList) {
    let mut refuse = |why: String| errors.push(Error::invalid(path, url_path, why));
    match url_path {
        "" | "/" => return,
        "//" => return refuse("segment[0] may not be empty".into()),
        _ => {}
    }
    if !url_path.starts_with('/') {
        refuse("must start with a '/'".into());
    }
    let inner: String = url_path.chars().skip(1).collect();
    let inner = inner.strip_suffix('/').unwrap_or(&inner);
    for (i, step) in inner.split('/').enumerate() {
        if step.is_empty() {
            refuse(format!("segment[{i}] may not be empty"));
            continue;
        }
        names::dns1123_subdomain(step).into_iter().for_each(|why| refuse(format!("segment[{i}]: {why}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let errors_of = |config: Value| {
            let mut errors = ErrorList::new();
            let w = api::value!({"clientConfig": (config)});
            client(w.as_map().unwrap(), &Path::new("c"), &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let service = |path: &str| api::value!({"service": {"namespace": "n", "name": "s", "path": path}});
        for (config, expected) in [
            (api::value!({"url": "https://h/p"}), &[][..]),
            (service("/a/b/"), &[]),
            (service("ab"), &["c.service.path: Invalid value: \"ab\": must start with a '/'"]),
            (service("/a//b"), &["c.service.path: Invalid value: \"/a//b\": segment[1] may not be empty"]),
            (api::value!({}), &["c: Required value: exactly one of url or service is required"]),
            (
                api::value!({"url": "https://u@h/p?q=1#f"}),
                &[
                    "c.url: Invalid value: \"u\": user information is not permitted in the URL",
                    "c.url: Invalid value: \"f\": fragments are not permitted in the URL",
                    "c.url: Invalid value: \"q=1\": query parameters are not permitted in the URL",
                ],
            ),
        ] {
            assert_eq!(errors_of(config.clone()), expected, "{config:?}");
        }
    }

    #[test]
    fn what_was_wrong_may_stay_wrong() {
        let with = |side_effects: &str, condition: &str| {
            api::value!({"webhooks": [{"name": "a.b.c", "sideEffects": side_effects,
                "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://h"},
                "matchConditions": [{"name": "x", "expression": condition}]}]})
        };
        let count = |new: &Value, old: &Value| {
            let mut errors = ErrorList::new();
            validate_update(new, old, &mut errors);
            errors.len()
        };
        assert_eq!(count(&with("None", "true"), &with("None", "true")), 0);
        assert_eq!(count(&with("Some", "true"), &with("None", "true")), 1);
        assert_eq!(count(&with("Some", "true"), &with("Some", "true")), 0);
        assert_eq!(count(&with("None", "broken"), &with("None", "true")), 1);
        assert_eq!(count(&with("None", "broken"), &with("None", "broken")), 0);
    }
}
