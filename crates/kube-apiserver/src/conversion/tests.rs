//! Objects in one version and in another, and the creates that the reference server stored in other words.

use api::value;

use super::*;

fn gv(text: &str) -> GroupVersion {
    text.parse().unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str::<serde_json::Value>(text).unwrap().into()
}

fn convert(resource: (&str, &str), object: &Value, to: &str) -> Value {
    let from = gv(object.str_at(&["apiVersion"]));
    super::convert(resource.0, resource.1, object, &from, &gv(to)).unwrap()
}

const HPA: (&str, &str) = ("autoscaling", "horizontalpodautoscalers");

#[test]
fn autoscaler_keeps_what_v1_has_no_field_for() {
    let v2 = value!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "D", "name": "d"}, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
            {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
            {"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "5"}}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}},
        "status": {"currentMetrics": null, "desiredReplicas": 0}});
    let v1 = convert(HPA, &v2, "autoscaling/v1");
    assert_eq!(v1.int_at(&["spec", "targetCPUUtilizationPercentage"]), Some(50));
    assert!(v1.at(&["spec", "metrics"]).is_none());
    let kept = v1.str_at(&["metadata", "annotations", "autoscaling.alpha.kubernetes.io/metrics"]);
    assert!(
        kept.contains(r#"{"type":"Resource","resource":{"name":"memory","targetAverageValue":"1Gi"}}"#),
        "{kept}"
    );
    let behavior = v1.str_at(&["metadata", "annotations", "autoscaling.alpha.kubernetes.io/behavior"]);
    assert_eq!(behavior, r#"{"ScaleDown":{"StabilizationWindowSeconds":60}}"#);
    let back = convert(HPA, &v1, "autoscaling/v2");
    assert_eq!(back.at(&["spec"]), v2.at(&["spec"]));
    assert!(back.at(&["metadata", "annotations"]).is_none());
}

#[test]
fn autoscaler_without_metrics_aims_at_80() {
    let v1 = value!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "spec": {"maxReplicas": 3}});
    let v2 = convert(HPA, &v1, "autoscaling/v2");
    assert_eq!(
        v2.list_at(&["spec", "metrics"])[0].int_at(&["resource", "target", "averageUtilization"]),
        Some(80)
    );
}

#[test]
fn event_of_both_groups() {
    let core = value!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "n"},
        "involvedObject": {"kind": "Pod", "name": "p"}, "message": "m", "reason": "r", "count": 2,
        "source": {"component": "c"}, "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": null,
        "eventTime": null, "reportingComponent": "", "reportingInstance": ""});
    let new = convert(("events.k8s.io", "events"), &core, "events.k8s.io/v1");
    assert_eq!(new.str_at(&["note"]), "m");
    assert_eq!(new.str_at(&["regarding", "name"]), "p");
    assert_eq!(new.int_at(&["deprecatedCount"]), Some(2));
    let back = convert(("", "events"), &new, "v1");
    assert_eq!(back, core);
}

/// Each recorded create that the reference server stored in other words converts to what it stored, and back.
#[test]
fn recorded_creates_are_stored_as_upstream_does() {
    let rows = include_str!("../../tests/data/minimal.jsonl");
    let mut seen = 0;
    for row in rows.lines().map(json).filter(|r| r.get("stored").is_some()) {
        let (answered, stored) = (row.get("answered").unwrap(), row.get("stored").unwrap());
        let (from, to) = (answered.str_at(&["apiVersion"]), stored.str_at(&["apiVersion"]));
        // Placeholders such as `<csr-der>` are no values of their fields.
        if from == to || serde_json::Value::from(answered).to_string().contains("-der>") {
            continue;
        }
        let resource = row.str_at(&["path"]).rsplit('/').next().unwrap().to_owned();
        let group = gv(from).group.to_string();
        let got = convert((&group, &resource), answered, to);
        assert_eq!(got.get("spec"), stored.get("spec"), "{}", row.str_at(&["path"]));
        assert_eq!(convert((&group, &resource), stored, from).get("spec"), answered.get("spec"));
        seen += 1;
    }
    assert!(seen >= 7, "{seen}");
}

#[test]
fn versions_of_a_definition_keep_their_own_schemas() {
    let v1 = value!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "a.b"},
        "spec": {"group": "b", "scope": "Cluster", "names": {"plural": "a", "kind": "A"}, "conversion": {"strategy": "None"},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}},
                 "additionalPrinterColumns": [{"name": "X", "type": "string", "jsonPath": ".x"}]},
                {"name": "v2", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "object", "title": "t"}},
                 "additionalPrinterColumns": [{"name": "X", "type": "string", "jsonPath": ".x"}]}]},
        "status": {"acceptedNames": {"plural": "", "kind": ""}, "conditions": null, "storedVersions": ["v1"]}});
    let stored =
        convert(("apiextensions.k8s.io", "customresourcedefinitions"), &v1, "apiextensions.k8s.io/v1beta1");
    assert!(stored.at(&["spec", "validation"]).is_none());
    assert_eq!(stored.list_at(&["spec", "additionalPrinterColumns"])[0].str_at(&["JSONPath"]), ".x");
    assert!(stored.list_at(&["spec", "versions"])[1].get("schema").is_some());
    let back =
        convert(("apiextensions.k8s.io", "customresourcedefinitions"), &stored, "apiextensions.k8s.io/v1");
    assert_eq!(back, v1);
}
