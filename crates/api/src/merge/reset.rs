//! The fields that an endpoint takes from the stored object whatever a request says, so that nobody owns them by
//! writing there: `status` at an object itself, everything else at its status.

use super::set::Set;

/// Of a kind's endpoint; `subresource` is "" for the object itself. `has_status`: the kind has a status subresource.
pub fn reset_fields(group: &str, kind: &str, subresource: &str, has_status: bool) -> Set {
    match subresource {
        "" if group.is_empty() && kind == "Namespace" => Set::of_fields(&[&["status"]]),
        "" if has_status => Set::of_fields(&[&["status"]]),
        "status" => Set::of_fields(at_status(group, kind)),
        "approval" => Set::of_fields(&[&["spec"], &["status", "certificate"]]),
        "finalize" => Set::of_fields(&[&["status"]]),
        "ephemeralcontainers" | "resize" if kind == "Pod" => Set::new(),
        _ => Set::new(),
    }
}

fn at_status(group: &str, kind: &str) -> &'static [&'static [&'static str]] {
    match (group, kind) {
        ("", "Pod") => &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]],
        ("apps", "Deployment") => &[&["spec"], &["metadata", "labels"]],
        ("certificates.k8s.io", "CertificateSigningRequest") => &[&["spec"], &["metadata"]],
        ("networking.k8s.io", "IngressClass" | "NetworkPolicy") => &[],
        ("apiextensions.k8s.io", "CustomResourceDefinition") | ("apiregistration.k8s.io", "APIService") => {
            &[&["spec"], &["metadata"]]
        }
        _ => &[&["spec"]],
    }
}
