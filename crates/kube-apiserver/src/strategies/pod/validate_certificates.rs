//! Validation of a projected volume's sources that hold certificates: trust bundles (KEP-3257) and pod certificates
//! (KEP-4317).

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::names;

use super::super::fields::Fields;
use super::super::misc::signers;
use super::super::selectors;
use super::validate_container;

const KEY_TYPES: [&str; 6] = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
/// The files that a pod certificate may be written to.
pub const FILES: [&str; 3] = ["credentialBundlePath", "keyPath", "certificateChainPath"];

/// Seconds: at least an hour, at most 91 days, and a day from the cluster's own signers.
const SHORTEST: i64 = 3600;
const LONGEST: i64 = 91 * 86_400;
const LONGEST_OWN: i64 = 86_400;

/// `podCertificate`.
pub fn pod_certificate(source: &Map, path: &Path, errors: &mut ErrorList) {
    signers::signer_name(source.text("signerName"), &path.child("signerName"), errors);
    let key = source.text("keyType");
    if !KEY_TYPES.contains(&key) {
        errors.push(Error::not_supported(&path.child("keyType"), key, &KEY_TYPES));
    }
    if let Some(seconds) = source.int("maxExpirationSeconds") {
        lifetime(seconds, source.text("signerName"), &path.child("maxExpirationSeconds"), errors);
    }
    if FILES.iter().all(|name| source.text(name).is_empty()) {
        let why = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        errors.push(Error::required(path, why));
    }
    for name in FILES {
        validate_container::local_path(source.text(name), &path.child(name), errors);
    }
    if let Some(annotations) = source.sub("userAnnotations") {
        signers::user_annotations(annotations, &path.child("userAnnotations"), errors);
    }
}

fn lifetime(seconds: i64, signer: &str, path: &Path, errors: &mut ErrorList) {
    let longest = if signer.starts_with("kubernetes.io/") { LONGEST_OWN } else { LONGEST };
    let bound = match seconds {
        ..SHORTEST => format!(">= {SHORTEST}"),
        _ if seconds > longest => format!("<= {longest}"),
        _ => return,
    };
    errors.push(Error::invalid(path, &seconds, format!("if provided, maxExpirationSeconds must be {bound}")));
}

/// `clusterTrustBundle`: one by its name, or all of a signer that match.
pub fn trust_bundle(source: &Map, path: &Path, errors: &mut ErrorList) {
    let (name, from) = (source.text("name"), source.text("signerName"));
    match (name.is_empty(), from.is_empty()) {
        (true, true) => errors.push(Error::required(path, "either name or signerName must be specified")),
        (false, false) => {
            errors.push(Error::invalid(
                path,
                &Value::Map(source.clone()),
                "only one of name and signerName may be used",
            ));
        }
        (false, true) => by_name(source, name, path, errors),
        (true, false) => {
            signers::signer_name(from, &path.child("signerName"), errors);
            if let Some(selector) = source.sub("labelSelector") {
                selectors::validate(selector, &path.child("labelSelector"), errors);
            }
        }
    }
    if source.text("path").is_empty() {
        errors.push(Error::required(&path.child("path"), ""));
    }
    validate_container::local_path(source.text("path"), &path.child("path"), errors);
}

fn by_name(source: &Map, name: &str, path: &Path, errors: &mut ErrorList) {
    if let Some(selector) = source.sub("labelSelector") {
        let why = "labelSelector must be unset if name is specified";
        errors.push(Error::invalid(&path.child("labelSelector"), &Value::Map(selector.clone()), why));
    }
    // `example.com:signer:bundle` belongs to a signer.
    let last = name.rsplit(':').next().unwrap_or(name);
    for why in names::dns1123_subdomain(last) {
        let why = format!("not a valid clustertrustbundlename: {why}");
        errors.push(Error::invalid(&path.child("name"), name, why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::value;
    use serde_json::json;

    fn said(check: fn(&Map, &Path, &mut ErrorList), source: serde_json::Value) -> Vec<String> {
        let mut errors = ErrorList::new();
        check(value(source).as_map().unwrap(), &Path::new("s"), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn pod_certificates() {
        let with = |name: &str, is: serde_json::Value| {
            let mut source =
                json!({"signerName": "example.com/s", "keyType": "ED25519", "credentialBundlePath": "b.pem"});
            source[name] = is;
            said(pod_certificate, source)
        };
        assert_eq!(with("maxExpirationSeconds", json!(3600)), [""; 0]);
        let of = "s.maxExpirationSeconds: Invalid value:";
        let must = "if provided, maxExpirationSeconds must be";
        assert_eq!(with("maxExpirationSeconds", json!(60)), [format!("{of} 60: {must} >= 3600")]);
        assert_eq!(
            with("maxExpirationSeconds", json!(7_862_401)),
            [format!("{of} 7862401: {must} <= 7862400")]
        );
        assert_eq!(
            with("credentialBundlePath", json!("/x")),
            ["s.credentialBundlePath: Invalid value: \"/x\": must be a relative path"]
        );
        assert_eq!(
            with("signerName", json!("example.com")),
            [
                "s.signerName: Invalid value: \"example.com\": must be a fully qualified domain and path of the form 'example.com/signer-name'"
            ]
        );
        assert_eq!(said(pod_certificate, json!({})).len(), 3);
    }

    #[test]
    fn trust_bundles() {
        assert_eq!(said(trust_bundle, json!({"signerName": "e.com/a", "path": "p"})), [""; 0]);
        assert_eq!(said(trust_bundle, json!({"name": "e.com:a:b", "path": "p"})), [""; 0]);
        assert_eq!(
            said(trust_bundle, json!({"path": "p"})),
            ["s: Required value: either name or signerName must be specified"]
        );
        assert_eq!(said(trust_bundle, json!({"name": "a"})), ["s.path: Required value"]);
        assert_eq!(
            said(trust_bundle, json!({"name": "a", "path": "x", "labelSelector": {}})),
            ["s.labelSelector: Invalid value: {}: labelSelector must be unset if name is specified"]
        );
    }
}
