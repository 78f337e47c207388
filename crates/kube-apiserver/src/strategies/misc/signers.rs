//! What requests and bundles of certificates share: names of signers, annotations for them, and the conditions of a
//! status.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::names;

use super::super::fields::{Fields, of};

/// Longest domain, in bytes.
const DOMAIN: usize = 253;
/// Longest name: domain, slash, a label, a dot and a domain.
const NAME: usize = DOMAIN + 1 + 253 + 63 + 1;
/// Bytes of all annotations.
const ANNOTATIONS: usize = 256 * 1024;
/// Bytes of a condition's message and reason.
const MESSAGE: usize = 32 * 1024;
const REASON: usize = 1024;

/// `example.com/name`.
pub fn signer_name(name: &str, path: &Path, errors: &mut ErrorList) {
    if name.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    let Some((domain, rest)) = name.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(Error::invalid(path, name, why));
        return;
    };
    if domain.len() > DOMAIN {
        errors.push(Error::too_long(path, DOMAIN));
    }
    labels(domain, names::dns1123_label, path, errors);
    if !domain.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        errors.push(Error::invalid(path, domain, why));
    }
    labels(rest, names::dns1123_subdomain, path, errors);
    if name.len() > NAME {
        errors.push(Error::too_long(path, NAME));
    }
}

/// The first wrong part of a dotted name.
fn labels(name: &str, check: fn(&str) -> Vec<String>, path: &Path, errors: &mut ErrorList) {
    let wrong = name.split('.').map(|label| (label, check(label))).find(|(_, wrong)| !wrong.is_empty());
    let (label, wrong) = wrong.unwrap_or_default();
    errors.extend(
        wrong.into_iter().map(|why| Error::invalid(path, name, format!("validating label {label:?}: {why}"))),
    );
}

/// Annotations that a signer reads: each key has a domain.
pub fn user_annotations(annotations: &Map, path: &Path, errors: &mut ErrorList) {
    for key in annotations.keys() {
        domain_prefixed(&key.to_lowercase(), path, errors);
    }
    let size: usize =
        annotations.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > ANNOTATIONS {
        errors.push(Error::too_long(path, ANNOTATIONS));
    }
}

fn domain_prefixed(key: &str, path: &Path, errors: &mut ErrorList) {
    let Some((domain, rest)) = key.split_once('/').filter(|(domain, _)| !domain.is_empty()) else {
        errors.push(Error::invalid(path, key, "must be a domain-prefixed key (such as \"acme.io/foo\")"));
        return;
    };
    for why in names::dns1123_subdomain(domain) {
        errors.push(Error::invalid(path, domain, why));
    }
    if rest.is_empty() {
        errors.push(Error::invalid(path, key, "must be a domain-prefixed key (such as \"acme.io/foo\")"));
    } else {
        errors.extend(names::qualified_name(key).into_iter().map(|why| Error::invalid(path, key, why)));
    }
}

/// The rules of `metav1.Condition`.
pub fn conditions(list: &[Value], path: &Path, errors: &mut ErrorList) {
    let mut seen = Vec::new();
    for (index, condition) in list.iter().map(of).enumerate() {
        let at = path.index(index);
        let kind = condition.text("type");
        if seen.contains(&kind) {
            errors.push(Error::duplicate(&at.child("type"), kind));
        }
        seen.push(kind);
        one_condition(condition, &at, errors);
    }
}

fn one_condition(condition: &Map, at: &Path, errors: &mut ErrorList) {
    let kind = condition.text("type");
    let wrong = names::qualified_name(kind);
    errors.extend(wrong.into_iter().map(|why| Error::invalid(&at.child("type"), kind, why)));
    let status = condition.text("status");
    if !["False", "True", "Unknown"].contains(&status) {
        errors.push(Error::not_supported(&at.child("status"), status, &["False", "True", "Unknown"]));
    }
    if let Some(generation) = condition.int("observedGeneration").filter(|generation| *generation < 0) {
        let why = "must be greater than or equal to zero";
        errors.push(Error::invalid(&at.child("observedGeneration"), &generation, why));
    }
    if condition.text("lastTransitionTime").is_empty() {
        errors.push(Error::required(&at.child("lastTransitionTime"), "must be set"));
    }
    reason(condition.text("reason"), &at.child("reason"), errors);
    if condition.text("message").len() > MESSAGE {
        errors.push(Error::too_long(&at.child("message"), MESSAGE));
    }
}

fn reason(reason: &str, at: &Path, errors: &mut ErrorList) {
    let bytes = reason.as_bytes();
    let letter = bytes.first().is_some_and(u8::is_ascii_alphabetic);
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let inner = bytes.iter().all(|byte| word(byte) || matches!(byte, b',' | b':'));
    if reason.is_empty() {
        errors.push(Error::required(at, "must be set"));
    } else if !(letter && inner && bytes.last().is_some_and(word)) {
        let why = "a condition reason must start with alphabetic character, optionally followed by a string of \
                   alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. \
                   'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used \
                   for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";
        errors.push(Error::invalid(at, reason, why));
    }
    if reason.len() > REASON {
        errors.push(Error::too_long(at, REASON));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::value;
    use serde_json::json;

    fn said(check: impl FnOnce(&Path, &mut ErrorList)) -> Vec<String> {
        let mut errors = ErrorList::new();
        check(&Path::new("x"), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_of_signers() {
        let of = |name: &str| said(|path, errors| signer_name(name, path, errors));
        assert_eq!(of("example.com/a.b"), [""; 0]);
        assert_eq!(of(""), ["x: Required value"]);
        assert!(of("a.b/c/d")[0].contains("of the form 'example.com/signer-name'"));
        assert!(
            of("Ab.c/d")[0].starts_with("x: Invalid value: \"Ab.c\": validating label \"Ab\": a lowercase")
        );
        assert_eq!(
            of("host/d"),
            ["x: Invalid value: \"host\": should be a domain with at least two segments separated by dots"]
        );
    }

    #[test]
    fn annotations_have_domains() {
        let of = |object: serde_json::Value| {
            said(|path, errors| user_annotations(value(object).as_map().unwrap(), path, errors))
        };
        assert_eq!(of(json!({"e.com/A": "1"})), [""; 0]);
        assert_eq!(of(json!({"plain": "1"})).len(), 1);
        assert_eq!(
            of(json!({"e.com/a": "x".repeat(300_000)})),
            ["x: Too long: may not be more than 262144 bytes"]
        );
    }

    #[test]
    fn conditions_are_whole() {
        let of = |list: serde_json::Value| {
            let list: Vec<Value> = list.as_array().unwrap().iter().cloned().map(value).collect();
            said(|path, errors| conditions(&list, path, errors))
        };
        let good = json!({"type": "Issued", "status": "True", "reason": "A,b", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        assert_eq!(of(json!([good])), [""; 0]);
        assert_eq!(of(json!([good, good])), ["x[1].type: Duplicate value: \"Issued\""]);
        let bare = of(json!([{"type": "Issued", "status": "Yes", "reason": "1"}]));
        assert!(bare[0].starts_with("x[0].status: Unsupported value: \"Yes\""));
        assert_eq!(bare[1], "x[0].lastTransitionTime: Required value: must be set");
        assert!(bare[2].starts_with("x[0].reason: Invalid value: \"1\": a condition reason must start"));
    }
}
