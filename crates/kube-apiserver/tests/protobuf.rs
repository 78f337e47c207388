//! A client that speaks protobuf as Go's do: every field that is no pointer is sent, zero or not.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use serde_json::{Value, json};
use support::Bed;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 0, "paused": false, "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}})
}

/// As a Go client encodes it: `restartPolicy: ""`, `minReadySeconds: 0` and the like are on the wire.
fn encoded(object: &Value) -> Vec<u8> {
    let of = api::schema::by_gvk("apps", "v1", "Deployment").unwrap();
    let tree = api::json::parse(object.to_string().as_bytes()).unwrap();
    api::proto::encode_envelope(&tree, &of).unwrap()
}

fn without_identity(mut object: Value) -> Value {
    let meta = object["metadata"].as_object_mut().unwrap();
    for name in ["name", "uid", "resourceVersion", "creationTimestamp"] {
        meta.remove(name);
    }
    let entry = meta["managedFields"][0].as_object_mut().unwrap();
    entry.remove("time");
    object
}

#[tokio::test]
async fn zeros_are_unset_where_go_says_so_and_kept_behind_pointers() {
    let bed = Bed::start(&[]).await;
    let by_proto = encoded(&deployment("by-protobuf"));
    // The empty restart policy is there: field 3 of the pod's spec, with no bytes.
    assert!(by_proto.windows(2).any(|pair| pair == [0x1a, 0x00]));
    let (code, first) = bed.send_bytes("POST", DEPLOYMENTS, PROTOBUF, by_proto).await;
    assert_eq!(code, 201, "{first}");
    assert_eq!(first["spec"]["replicas"], 0, "{first}");
    assert_eq!(first["spec"]["template"]["spec"]["restartPolicy"], "Always");
    assert_eq!(first["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
    let (code, second) = bed.call("POST", DEPLOYMENTS, Some(&deployment("by-json"))).await;
    assert_eq!(code, 201, "{second}");
    assert_eq!(without_identity(first), without_identity(second));
    bed.server.shutdown().await;
}
