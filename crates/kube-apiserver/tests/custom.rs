//! Custom resources, versions and server-side apply on a whole server, where such designs break.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use serde_json::{Value, json};
use support::Bed;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn version(name: &str, storage: bool, spec: &Value) -> Value {
    json!({"name": name, "served": true, "storage": storage,
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}},
        "additionalPrinterColumns": [{"name": "N", "type": "integer", "jsonPath": ".spec.n"}],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": spec},
            "status": {"type": "object", "properties": {"n": {"type": "integer"}}}}}}})
}

fn definition(group: &str, spec: &Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [version("v1", true, spec), version("v1beta1", false, spec)]}})
}

fn widget(group: &str, version: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": format!("{group}/{version}"), "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

/// Asks until the answer fits: serving follows a definition by a watch.
async fn until(bed: &Bed, path: &str, fits: impl Fn(u16, &Value) -> bool) -> Value {
    let mut last = (0, Value::Null);
    for _ in 0..200 {
        last = bed.call("GET", path, None).await;
        if fits(last.0, &last.1) {
            return last.1;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{path}: {} {}", last.0, last.1);
}

async fn defined(bed: &Bed, definition: &Value) -> String {
    let (code, answer) = bed.call("POST", CRDS, Some(definition)).await;
    assert_eq!(code, 201, "{answer}");
    assert_eq!(answer["status"]["storedVersions"], json!(["v1"]));
    let group = definition["spec"]["group"].as_str().unwrap();
    let path = format!("/apis/{group}/v1/namespaces/default/widgets");
    until(bed, &path, |code, _| code == 200).await;
    path
}

#[tokio::test]
async fn a_definition_is_named_served_changed_and_removed() {
    let bed = Bed::start(&[]).await;
    let group = "one.example.com";
    let spec = json!({"n": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}});
    let path = defined(&bed, &definition(group, &spec)).await;
    let crd = format!("{CRDS}/widgets.{group}");
    let seen =
        until(&bed, &crd, |_, c| c["status"]["conditions"].as_array().is_some_and(|l| l.len() == 2)).await;
    let said: Vec<_> = seen["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["type"].as_str().unwrap(), c["status"].as_str().unwrap()))
        .collect();
    assert_eq!(said, [("NamesAccepted", "True"), ("Established", "True")]);
    assert_eq!(seen["status"]["acceptedNames"]["listKind"], "WidgetList");
    // Discovery.
    let (_, resources) = bed.call("GET", &format!("/apis/{group}/v1"), None).await;
    let names: Vec<_> = resources["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["widgets", "widgets/scale", "widgets/status"]);
    // Pruned, validated, both versions.
    let (code, made) =
        bed.call("POST", &path, Some(&widget(group, "v1", "a", &json!({"n": 1, "x": 2})))).await;
    assert_eq!((code, &made["spec"]), (201, &json!({"n": 1})), "{made}");
    assert_eq!(made["metadata"]["generation"], 1);
    let (code, bad) = bed.call("POST", &path, Some(&widget(group, "v1", "b", &json!({"n": "x"})))).await;
    assert_eq!(code, 422);
    assert_eq!(
        bad["message"],
        "Widget.one.example.com \"b\" is invalid: spec.n: Invalid value: \"string\": spec.n in body must be of type integer: \"string\""
    );
    let beta = format!("/apis/{group}/v1beta1/namespaces/default/widgets");
    let (_, list) = bed.call("GET", &beta, None).await;
    assert_eq!(list["items"][0]["apiVersion"], "one.example.com/v1beta1", "{list}");
    assert_eq!(list["kind"], "WidgetList");
    // A default that comes later is seen on what was stored before.
    let (_, mut present) = bed.call("GET", &crd, None).await;
    for version in present["spec"]["versions"].as_array_mut().unwrap() {
        let spec = &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        spec["properties"]["color"] = json!({"type": "string", "default": "red"});
    }
    let (code, changed) = bed.call("PUT", &crd, Some(&present)).await;
    assert_eq!((code, &changed["metadata"]["generation"]), (200, &json!(2)), "{changed}");
    for path in [&path, &beta] {
        until(&bed, &format!("{path}/a"), |_, o| o["spec"]["color"] == "red").await;
        until(&bed, path, |_, l| l["items"][0]["spec"]["color"] == "red").await;
    }
    // Status and scale are their own.
    let (_, mut object) = bed.call("GET", &format!("{path}/a"), None).await;
    object["status"] = json!({"n": 4});
    object["spec"]["n"] = json!(9);
    let (code, after) = bed.call("PUT", &format!("{path}/a/status"), Some(&object)).await;
    assert_eq!((code, &after["spec"]["n"], &after["status"]["n"]), (200, &json!(1), &json!(4)), "{after}");
    assert_eq!(after["metadata"]["generation"], 1);
    let (code, scale) = bed.call("GET", &format!("{path}/a/scale"), None).await;
    assert_eq!(
        (code, &scale["spec"]["replicas"], &scale["status"]["replicas"]),
        (200, &json!(1), &json!(4)),
        "{scale}"
    );
    assert!(scale["status"].get("selector").is_none(), "{scale}");
    // OpenAPI.
    let (code, document) = bed.call("GET", &format!("/openapi/v3/apis/{group}/v1"), None).await;
    assert_eq!(code, 200);
    let of = &document["components"]["schemas"]["com.example.one.v1.Widget"];
    assert_eq!(of["properties"]["spec"]["properties"]["color"]["default"], "red", "{of}");
    let (code, document) = bed.call("GET", "/openapi/v2", None).await;
    assert_eq!(code, 200);
    let of = &document["definitions"]["com.example.one.v1.Widget"];
    assert_eq!(of["properties"]["spec"]["properties"]["color"], json!({"type": "string"}), "{of}");
    let published = &document["paths"][format!("/apis/{group}/v1beta1/namespaces/{{namespace}}/widgets")];
    assert_eq!(published["get"]["operationId"], "listOneExampleComV1beta1NamespacedWidget");
    assert!(document["definitions"]["io.k8s.api.core.v1.Pod"].is_object());
    // Gone, with its objects.
    let (code, answer) = bed.call("DELETE", &crd, None).await;
    assert!(code == 200 || code == 202, "{code} {answer}");
    until(&bed, &crd, |code, _| code == 404).await;
    until(&bed, &path, |code, _| code == 404).await;
    let (_, document) = bed.call("GET", "/openapi/v2", None).await;
    assert!(document["definitions"].get("com.example.one.v1.Widget").is_none());
    let again = defined(&bed, &definition(group, &spec)).await;
    let (_, list) = bed.call("GET", &again, None).await;
    assert_eq!(list["items"], json!([]));
    bed.server.shutdown().await;
}

#[tokio::test]
async fn names_that_are_taken_are_not_granted() {
    let bed = Bed::start(&[]).await;
    defined(&bed, &definition("two.example.com", &json!({}))).await;
    let mut second = definition("two.example.com", &json!({}));
    second["metadata"]["name"] = json!("gadgets.two.example.com");
    second["spec"]["names"] = json!({"plural": "gadgets", "kind": "Widget"});
    assert_eq!(bed.call("POST", CRDS, Some(&second)).await.0, 201);
    let path = format!("{CRDS}/gadgets.two.example.com");
    let seen = until(&bed, &path, |_, c| c["status"]["conditions"].is_array()).await;
    assert_eq!(seen["status"]["conditions"][0]["reason"], "ListKindConflict", "{seen}");
    assert_eq!(bed.call("GET", "/apis/two.example.com/v1/namespaces/default/gadgets", None).await.0, 404);
    assert!(
        [200, 202].contains(&bed.call("DELETE", &format!("{CRDS}/widgets.two.example.com"), None).await.0)
    );
    until(&bed, "/apis/two.example.com/v1/namespaces/default/gadgets", |code, _| code == 200).await;
    bed.server.shutdown().await;
}

const AUTOSCALING: [&str; 2] = [
    "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
    "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
];

#[tokio::test]
async fn an_autoscaler_in_both_versions() {
    let bed = Bed::start(&[]).await;
    let target = json!({"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"});
    let v1 = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "one"},
        "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50, "scaleTargetRef": target}});
    assert_eq!(bed.call("POST", AUTOSCALING[0], Some(&v1)).await.0, 201);
    let (_, as_v2) = bed.call("GET", &format!("{}/one", AUTOSCALING[1]), None).await;
    assert_eq!(as_v2["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50, "{as_v2}");
    let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
    let v2 = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "two"},
        "spec": {"maxReplicas": 3, "metrics": [memory], "scaleTargetRef": target}});
    assert_eq!(bed.call("POST", AUTOSCALING[1], Some(&v2)).await.0, 201);
    let (_, mut as_v1) = bed.call("GET", &format!("{}/two", AUTOSCALING[0]), None).await;
    assert!(
        as_v1["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"]
            .as_str()
            .unwrap()
            .contains("memory")
    );
    as_v1["spec"]["maxReplicas"] = json!(7);
    assert_eq!(bed.call("PUT", &format!("{}/two", AUTOSCALING[0]), Some(&as_v1)).await.0, 200);
    let (_, back) = bed.call("GET", &format!("{}/two", AUTOSCALING[1]), None).await;
    assert_eq!((&back["spec"]["metrics"][0], &back["spec"]["maxReplicas"]), (&memory, &json!(7)), "{back}");
    bed.server.shutdown().await;
}

#[tokio::test]
async fn an_event_in_both_groups() {
    let bed = Bed::start(&[]).await;
    let core = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "r", "message": "m", "type": "Normal", "count": 2});
    assert_eq!(bed.call("POST", "/api/v1/namespaces/default/events", Some(&core)).await.0, 201);
    let (code, new) = bed.call("GET", "/apis/events.k8s.io/v1/namespaces/default/events/e", None).await;
    assert_eq!((code, &new["note"], &new["regarding"]["name"]), (200, &json!("m"), &json!("p")), "{new}");
    let new = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "f", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000001Z", "reportingController": "c.io/x", "reportingInstance": "i", "action": "a",
        "reason": "r", "type": "Normal", "note": "hello", "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}});
    let (code, made) = bed.call("POST", "/apis/events.k8s.io/v1/namespaces/default/events", Some(&new)).await;
    assert_eq!(code, 201, "{made}");
    let (_, core) = bed.call("GET", "/api/v1/namespaces/default/events/f", None).await;
    assert_eq!(
        (&core["message"], &core["reportingComponent"]),
        (&json!("hello"), &json!("c.io/x")),
        "{core}"
    );
    bed.server.shutdown().await;
}

/// The storage version changes while objects are read and written: each answer is in the version asked for.
#[tokio::test]
async fn another_storage_version_mixes_no_answers() {
    let bed = Bed::start(&[]).await;
    let group = "flip.example.com";
    let spec = json!({"n": {"type": "integer"}});
    let v1 = defined(&bed, &definition(group, &spec)).await;
    let paths = [("v1", v1.clone()), ("v1beta1", v1.replace("/v1/", "/v1beta1/"))];
    let crd = format!("{CRDS}/widgets.{group}");
    for round in 0..10 {
        let storage = round % 2 == 0;
        let versions = json!([version("v1", !storage, &spec), version("v1beta1", storage, &spec)]);
        let merge = |path: String, patch: Value| {
            let bed = &bed;
            async move { bed.send("PATCH", &path, "application/merge-patch+json", Some(patch.to_string())).await }
        };
        let (code, answer) = merge(crd.clone(), json!({"spec": {"versions": versions}})).await;
        assert_eq!(code, 200, "{answer}");
        for (name, path) in &paths {
            let asked = format!("{group}/{name}");
            let object = widget(group, name, &format!("{name}-{round}"), &json!({"n": round}));
            let (code, made) = bed.call("POST", path, Some(&object)).await;
            assert_eq!((code, made["apiVersion"].as_str()), (201, Some(&*asked)), "{made}");
            let first = format!("{path}/v1-0");
            let (code, changed) = merge(first, json!({"spec": {"n": round}})).await;
            assert_eq!((code, changed["apiVersion"].as_str()), (200, Some(&*asked)), "{changed}");
            for path in [path.clone(), format!("{path}?resourceVersion=0")] {
                let (_, list) = bed.call("GET", &path, None).await;
                for item in list["items"].as_array().unwrap() {
                    assert_eq!(item["apiVersion"], *asked, "{path}, round {round}: {item}");
                    assert!(item["spec"]["n"].is_i64(), "{item}");
                }
            }
        }
    }
}
