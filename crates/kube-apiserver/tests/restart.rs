//! What a server that has just started says of resources which it learns of from the store.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use serde_json::json;
use support::Bed;

#[tokio::test(flavor = "multi_thread")]
async fn aggregated_groups_are_never_unknown_after_a_restart() {
    let bed = Bed::start(&[]).await;
    let service = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1.far.example.com"},
        "spec": {"group": "far.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
            "insecureSkipTLSVerify": true, "service": {"namespace": "default", "name": "nobody"}}});
    let (code, answer) =
        bed.call("POST", "/apis/apiregistration.k8s.io/v1/apiservices", Some(&service)).await;
    assert_eq!(code, 201, "{answer}");
    let bed = bed.restart().await;
    let (code, answer) = bed.call("GET", "/apis/far.example.com/v1/things", None).await;
    assert_eq!(code, 503, "{answer}");
    let (code, groups) = bed.call("GET", "/apis", None).await;
    assert_eq!(code, 200);
    let names: Vec<_> =
        groups["groups"].as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"far.example.com"), "{names:?}");
    let (code, _) = bed.call("GET", "/apis/near.example.com/v1/things", None).await;
    assert_eq!(code, 404, "what no definition names is unknown once all are read");
}
