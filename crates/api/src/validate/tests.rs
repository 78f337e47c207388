//! Declarative rules on small objects.

use super::*;
use crate::schema::by_gvk;
use crate::value;

fn errors(group: &str, version: &str, kind: &str, value: Value, old: Option<Value>) -> Vec<String> {
    let of = by_gvk(group, version, kind).unwrap();
    let list = validate(&value, old.as_ref(), &of, Options::defaults());
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn values_are_checked_where_the_table_says_so() {
    let hpa = |min: i64, max: i64| value!({"spec": {"minReplicas": min, "maxReplicas": max}});
    assert!(errors("autoscaling", "v2", "HorizontalPodAutoscaler", hpa(1, 2), None).is_empty());
    assert_eq!(
        errors("autoscaling", "v2", "HorizontalPodAutoscaler", hpa(-1, 0), None),
        [
            "spec.minReplicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.maxReplicas: Required value"
        ]
    );
    let attachment = value!({"spec": {"attacher": "-"}});
    let found = errors("storage.k8s.io", "v1", "VolumeAttachment", attachment, None);
    assert!(
        found[0].starts_with("spec.attacher: Invalid value: \"-\": an RFC 1123 subdomain must consist"),
        "{found:?}"
    );
}

#[test]
fn unchanged_data_is_not_looked_at_again_and_immutable_fields_stay() {
    let class = |p: &str| value!({"provisioner": p, "parameters": {"a": "b"}});
    let kind = ("storage.k8s.io", "v1", "StorageClass");
    assert!(errors(kind.0, kind.1, kind.2, class("p"), Some(class("p"))).is_empty());
    assert_eq!(
        errors(kind.0, kind.1, kind.2, class("q"), Some(class("p"))),
        ["provisioner: Invalid value: null: field is immutable"]
    );
    let bad = value!({"spec": {"maxReplicas": 0, "minReplicas": 3}});
    let changed = value!({"spec": {"maxReplicas": 0, "minReplicas": 4}});
    assert!(errors("autoscaling", "v2", "HorizontalPodAutoscaler", changed, Some(bad)).is_empty());
}

#[test]
fn modes_unions_and_duplicates() {
    let level =
        |v: Value| errors("flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration", v, None);
    assert_eq!(
        level(value!({"spec": {"type": "Limited", "exempt": {}}})),
        ["spec.exempt: Forbidden", "spec.limited: Required value"]
    );
    let csr = value!({"status": {"conditions": [
        {"type": "Approved", "status": "True"}, {"type": "Denied", "status": "True"}]}});
    let found = errors("certificates.k8s.io", "v1", "CertificateSigningRequest", csr, None);
    let both = r#"conditions[{"type": "Approved"}]"#;
    assert!(
        found.iter().any(|e| e.starts_with("status.conditions: Invalid value: ") && e.contains(both)),
        "{found:?}"
    );
    let slice = value!({"addressType": "IPv4", "endpoints": [], "ports": []});
    assert!(errors("discovery.k8s.io", "v1", "EndpointSlice", slice, None).is_empty());
    let slice = value!({"addressType": "X"});
    assert_eq!(
        errors("discovery.k8s.io", "v1", "EndpointSlice", slice, None)[0],
        "addressType: Unsupported value: \"X\": supported values: \"FQDN\", \"IPv4\", \"IPv6\""
    );
    let claim = value!({"spec": {"devices": {"requests": [
        {"name": "a", "exactly": {"deviceClassName": "c", "allocationMode": "All"}},
        {"name": "a", "exactly": {"deviceClassName": "c", "allocationMode": "All"}}]}}});
    let found = errors("resource.k8s.io", "v1", "ResourceClaim", claim, None);
    assert!(found.iter().any(|e| e.starts_with("spec.devices.requests[1]: Duplicate value: {")), "{found:?}");
}
