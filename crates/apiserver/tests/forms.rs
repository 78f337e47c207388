//! What is kept with an object says what one made anew says: lists and watches in every form, made and kept, small
//! and longer than a frame, beside each object asked for alone.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use api::schema::by_gvk;
use api::{Value, proto};
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value as Json, json};
use support::{Bench, config_map, pod};

const PODS: &str = "/api/v1/namespaces/a/pods";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const METADATA: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

async fn bytes(bench: &Bench, path: &str, accept: &str) -> Vec<u8> {
    let answer = bench.send(Method::GET, path, &[("accept", accept)], "").await;
    assert_eq!(answer.status().as_u16(), 200, "{path} {accept}");
    answer.into_body().collect().await.unwrap().to_bytes().to_vec()
}

async fn json_of(bench: &Bench, path: &str, accept: &str) -> Json {
    serde_json::from_slice(&bytes(bench, path, accept).await).unwrap()
}

/// The tree of an envelope.
fn unpacked(envelope: &[u8]) -> (Value, String) {
    let parts = proto::decode_envelope(envelope).unwrap();
    let group = parts.api_version.rsplit_once('/').map_or("", |(g, _)| g);
    let version = parts.api_version.rsplit('/').next().unwrap();
    let of = by_gvk(group, version, parts.kind).unwrap();
    (proto::decode(parts.raw, &of, parts.api_version, parts.kind).unwrap(), parts.kind.to_owned())
}

/// Pods with what has marks in a Table and what has none, and texts that look like structure.
async fn filled(count: usize) -> Bench {
    let bench = Bench::start().await;
    for at in 0..count {
        let mut one = pod(&format!("p{at:04}"), &format!("n{}", at % 3));
        one["metadata"]["annotations"] =
            json!({"text": "{\"metadata\":[\\\"}", "long": "x".repeat(at * 7 % 400)});
        assert_eq!(bench.post(PODS, one).await.0, 201);
    }
    let phase = json!({"status": {"phase": "Succeeded"}}).to_string();
    let patched = bench.patch(&format!("{PODS}/p0000/status"), "application/merge-patch+json", &phase).await;
    assert_eq!(patched.0, 200, "{}", patched.1);
    bench
}

#[tokio::test]
async fn lists_are_made_of_what_single_objects_are() {
    for count in [1, 3, 400] {
        let bench = filled(count).await;
        let named = |at: usize| format!("{PODS}/p{at:04}");
        // Twice: made, then kept.
        for _ in 0..2 {
            let metadata = json_of(&bench, PODS, METADATA_LIST).await;
            let table = json_of(&bench, PODS, TABLE).await;
            let (list, kind) = unpacked(&bytes(&bench, PODS, PROTOBUF).await);
            assert_eq!((kind.as_str(), list.list_at(&["items"]).len()), ("PodList", count));
            assert_eq!(metadata["items"].as_array().unwrap().len(), count);
            for at in (0..count).step_by(37) {
                assert_eq!(metadata["items"][at], json_of(&bench, &named(at), METADATA).await);
                let (one, _) = unpacked(&bytes(&bench, &named(at), PROTOBUF).await);
                let item = &list.list_at(&["items"])[at];
                assert_eq!((item.get("spec"), item.get("metadata")), (one.get("spec"), one.get("metadata")));
                let alone = json_of(&bench, &named(at), TABLE).await;
                let row = &table["rows"][at];
                assert_eq!(row["object"], alone["rows"][0]["object"]);
                assert_eq!(
                    row["cells"].as_array().unwrap().len(),
                    alone["columnDefinitions"].as_array().unwrap().len()
                );
                assert_eq!(row["cells"][0], json!(format!("p{at:04}")));
            }
            let (of_metadata, kind) =
                unpacked(&bytes(&bench, PODS, &METADATA_LIST.replace("application/json", PROTOBUF)).await);
            assert_eq!(kind, "PartialObjectMetadataList");
            for (item, expected) in
                of_metadata.list_at(&["items"]).iter().zip(metadata["items"].as_array().unwrap())
            {
                let item = Json::from(item.get("metadata").unwrap());
                assert_eq!(item, expected["metadata"]);
            }
        }
    }
}

#[tokio::test]
async fn a_changed_object_has_none_of_its_old_forms() {
    let bench = filled(2).await;
    for (at, accept) in [PROTOBUF, TABLE, METADATA_LIST].into_iter().enumerate() {
        assert_eq!(bytes(&bench, PODS, accept).await, bytes(&bench, PODS, accept).await);
        let patch = json!({"metadata": {"labels": {"form": format!("number-{at}")}}}).to_string();
        let (code, _) = bench.patch(&format!("{PODS}/p0001"), "application/merge-patch+json", &patch).await;
        assert_eq!(code, 200);
        let after = bytes(&bench, PODS, accept).await;
        assert!(String::from_utf8_lossy(&after).contains(&format!("number-{at}")), "{accept}");
    }
}

#[tokio::test]
async fn an_apply_that_says_it_again_is_known_and_one_that_does_not_is_done() {
    let bench = Bench::start().await;
    let target = "/api/v1/namespaces/a/configmaps/x?fieldManager=me";
    let body =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "1"}});
    let text = body.to_string();
    let send = |text: String, target: &'static str| {
        let bench = &bench;
        async move { bench.patch(target, "application/apply-patch+yaml", &text).await }
    };
    let (code, made) = send(text.clone(), target).await;
    assert_eq!(code, 201, "{made}");
    let before = bench.revision().await;
    for _ in 0..4 {
        assert_eq!(send(text.clone(), target).await, (200, made.clone()));
    }
    assert_eq!(bench.revision().await, before);
    // Somebody else changes it: the same request has something to do again.
    let map = "/api/v1/namespaces/a/configmaps/x";
    bench.patch(map, "application/merge-patch+json", r#"{"data":{"b":"2"}}"#).await;
    let (code, again) = send(text.clone(), target).await;
    assert_eq!((code, &again["data"]), (200, &json!({"a": "1", "b": "2"})));
    bench.patch(map, "application/merge-patch+json", r#"{"data":{"a":"9"}}"#).await;
    let (code, conflict) = send(text.clone(), target).await;
    assert_eq!((code, conflict["reason"].as_str()), (409, Some("Conflict")));
    let (code, forced) = send(text, "/api/v1/namespaces/a/configmaps/x?fieldManager=me&force=true").await;
    assert_eq!((code, &forced["data"]["a"]), (200, &json!("1")));
    bench.delete(map, "").await;
    assert_eq!(bench.post("/api/v1/namespaces/a/configmaps", config_map("x", json!({}))).await.0, 201);
}
