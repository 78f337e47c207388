//! Requests against a server in memory: reading, writing, deleting, patching, and what goes wrong.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use serde_json::json;
use support::{Bench, config_map, pod};

const MAPS: &str = "/api/v1/namespaces/a/configmaps";

#[tokio::test]
async fn create_read_update_delete() {
    let bench = Bench::start().await;
    let (code, made) = bench.post(MAPS, config_map("x", json!({"app": "web"}))).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["metadata"]["namespace"], "a");
    assert!(made["metadata"]["uid"].is_string() && made["metadata"]["creationTimestamp"].is_string());
    assert_eq!(bench.get(&format!("{MAPS}/x")).await, (200, made.clone()));
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    assert_eq!(bench.get(&format!("{MAPS}/x?resourceVersion={version}")).await, (200, made.clone()));
    assert_eq!(bench.get(&format!("{MAPS}/x?resourceVersion=0")).await, (200, made.clone()));

    let (code, again) = bench.post(MAPS, config_map("x", json!({}))).await;
    assert_eq!((code, again["reason"].as_str()), (409, Some("AlreadyExists")));
    assert_eq!(again["message"], "configmaps \"x\" already exists");

    let mut changed = made.clone();
    changed["data"]["k"] = json!("w");
    let (code, updated) = bench.put(&format!("{MAPS}/x"), &changed).await;
    assert_eq!(code, 200, "{updated}");
    assert_ne!(updated["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let (code, conflict) = bench.put(&format!("{MAPS}/x"), &changed).await;
    assert_eq!((code, conflict["reason"].as_str()), (409, Some("Conflict")));
    assert!(
        conflict["message"]
            .as_str()
            .unwrap()
            .contains("the object has been modified; please apply your changes")
    );

    let (code, gone) = bench.delete(&format!("{MAPS}/x"), "").await;
    assert_eq!((code, gone["status"].as_str()), (200, Some("Success")));
    assert_eq!(gone["details"]["uid"], made["metadata"]["uid"]);
    let (code, missing) = bench.get(&format!("{MAPS}/x")).await;
    assert_eq!((code, missing["message"].as_str()), (404, Some("configmaps \"x\" not found")));
}

#[tokio::test]
async fn a_write_without_change_is_no_write() {
    let bench = Bench::start().await;
    let (_, made) = bench.post(MAPS, config_map("x", json!({}))).await;
    let before = bench.revision().await;
    let (code, same) = bench.put(&format!("{MAPS}/x"), &made).await;
    assert_eq!((code, same), (200, made));
    let (code, _) =
        bench.patch(&format!("{MAPS}/x"), "application/merge-patch+json", r#"{"data":{"k":"v"}}"#).await;
    assert_eq!(code, 200);
    assert_eq!(bench.revision().await, before);
}

#[tokio::test]
async fn dry_run_writes_nothing() {
    let bench = Bench::start().await;
    let before = bench.revision().await;
    let (code, made) = bench.post(&format!("{MAPS}?dryRun=All"), config_map("x", json!({}))).await;
    assert_eq!(code, 201, "{made}");
    assert!(made["metadata"].get("resourceVersion").is_none());
    assert_eq!(bench.revision().await, before);
    bench.post(MAPS, config_map("x", json!({}))).await;
    let before = bench.revision().await;
    assert_eq!(bench.post(&format!("{MAPS}?dryRun=All"), config_map("x", json!({}))).await.0, 409);
    let patch = r#"{"data":{"k":"other"}}"#;
    let (code, patched) =
        bench.patch(&format!("{MAPS}/x?dryRun=All"), "application/merge-patch+json", patch).await;
    assert_eq!((code, patched["data"]["k"].as_str()), (200, Some("other")));
    assert_eq!(bench.delete(&format!("{MAPS}/x?dryRun=All"), "").await.0, 200);
    assert_eq!(bench.revision().await, before);
    assert_eq!(bench.post(&format!("{MAPS}?dryRun=some"), config_map("y", json!({}))).await.0, 422);
}

#[tokio::test]
async fn names_and_namespaces_are_checked() {
    let bench = Bench::start().await;
    let (code, bad) = bench.post(MAPS, config_map("No", json!({}))).await;
    assert_eq!(code, 422);
    assert!(bad["message"].as_str().unwrap().starts_with(
        "ConfigMap \"No\" is invalid: metadata.name: Invalid value: \"No\": a lowercase RFC 1123 subdomain"
    ));
    let mut elsewhere = config_map("x", json!({}));
    elsewhere["metadata"]["namespace"] = json!("b");
    let (code, refused) = bench.post(MAPS, elsewhere).await;
    assert_eq!(code, 400);
    assert_eq!(
        refused["message"],
        "the namespace of the provided object does not match the namespace sent on the request"
    );
    let (code, unnamed) = bench.post(MAPS, json!({"metadata": {}})).await;
    assert_eq!((code, unnamed["details"]["causes"][0]["field"].as_str()), (422, Some("metadata.name")));
    let (code, made) = bench.post(MAPS, json!({"metadata": {"generateName": "x-"}})).await;
    assert_eq!(code, 201, "{made}");
    assert!(made["metadata"]["name"].as_str().unwrap().starts_with("x-"));
    let (code, _) = bench.post("/api/v1/configmaps", config_map("x", json!({}))).await;
    assert_eq!(code, 405);
    assert_eq!(bench.get("/api/v1/nothing").await.0, 404);
}

#[tokio::test]
async fn field_validation() {
    let bench = Bench::start().await;
    let body = r#"{"metadata":{"name":"x"},"nothing":1,"data":{"a":"1","a":"2"}}"#;
    let post = |how: &'static str| {
        let path = format!("{MAPS}?fieldValidation={how}&dryRun=All");
        let bench = &bench;
        async move { bench.send(http::Method::POST, &path, &[], body).await }
    };
    let strict = post("Strict").await;
    assert_eq!(strict.status().as_u16(), 400);
    let warn = post("Warn").await;
    let mut warnings: Vec<_> =
        warn.headers().get_all("warning").iter().map(|w| w.to_str().unwrap().to_owned()).collect();
    warnings.sort();
    assert_eq!(warnings, [r#"299 - "duplicate field \"data.a\"""#, r#"299 - "unknown field \"nothing\"""#]);
    assert!(post("Ignore").await.headers().get("warning").is_none());
}

#[tokio::test]
async fn graceful_deletion_and_its_shortening() {
    let bench = Bench::start().await;
    let pods = "/api/v1/namespaces/a/pods";
    bench.post(pods, pod("free", "")).await;
    let (code, _) = bench.delete(&format!("{pods}/free"), "").await;
    assert_eq!((code, bench.get(&format!("{pods}/free")).await.0), (200, 404));

    let (_, made) = bench.post(pods, pod("bound", "n1")).await;
    let (code, marked) = bench.delete(&format!("{pods}/bound"), "").await;
    assert_eq!(code, 200);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    let (_, longer) = bench.delete(&format!("{pods}/bound?gracePeriodSeconds=60"), "").await;
    assert_eq!(longer["metadata"]["deletionTimestamp"], marked["metadata"]["deletionTimestamp"]);
    let (_, shorter) = bench.delete(&format!("{pods}/bound?gracePeriodSeconds=5"), "").await;
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    assert_ne!(shorter["metadata"]["deletionTimestamp"], marked["metadata"]["deletionTimestamp"]);
    let wrong = json!({"preconditions": {"uid": "other"}, "gracePeriodSeconds": 0}).to_string();
    assert_eq!(bench.delete(&format!("{pods}/bound"), &wrong).await.0, 409);
    let right =
        json!({"preconditions": {"uid": made["metadata"]["uid"]}, "gracePeriodSeconds": 0}).to_string();
    assert_eq!(bench.delete(&format!("{pods}/bound"), &right).await.0, 200);
    assert_eq!(bench.get(&format!("{pods}/bound")).await.0, 404);
}

#[tokio::test]
async fn finalizers_and_propagation() {
    let bench = Bench::start().await;
    let mut held = config_map("x", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    bench.post(MAPS, held).await;
    let (code, marked) = bench.delete(&format!("{MAPS}/x?propagationPolicy=Foreground"), "").await;
    assert_eq!(code, 200);
    assert_eq!(marked["metadata"]["finalizers"], json!(["example.com/hold", "foregroundDeletion"]));
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    let more = r#"{"metadata":{"finalizers":["example.com/hold","foregroundDeletion","example.com/more"]}}"#;
    let (code, refused) = bench.patch(&format!("{MAPS}/x"), "application/merge-patch+json", more).await;
    assert_eq!(code, 422, "{refused}");
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("no new finalizers can be added if the object is being deleted")
    );
    let none = r#"[{"op":"remove","path":"/metadata/finalizers"}]"#;
    assert_eq!(bench.patch(&format!("{MAPS}/x"), "application/json-patch+json", none).await.0, 200);
    assert_eq!(bench.get(&format!("{MAPS}/x")).await.0, 404);

    bench.post(MAPS, config_map("y", json!({}))).await;
    let (_, orphaning) = bench.delete(&format!("{MAPS}/y"), r#"{"propagationPolicy":"Orphan"}"#).await;
    assert_eq!(orphaning["metadata"]["finalizers"], json!(["orphan"]));
}

#[tokio::test]
async fn patches_and_apply() {
    let bench = Bench::start().await;
    let deployments = "/apis/apps/v1/namespaces/a/deployments";
    let apply = |manager: &str, force: bool, image: &str| {
        let path = format!("{deployments}/d?fieldManager={manager}&force={force}");
        let body = format!(
            r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"d"}},"spec":{{"selector":{{"matchLabels":{{"a":"b"}}}},
            "template":{{"metadata":{{"labels":{{"a":"b"}}}},"spec":{{"containers":[{{"name":"c","image":"{image}"}}]}}}}}}}}"#
        );
        let bench = &bench;
        async move { bench.patch(&path, "application/apply-patch+yaml", &body).await }
    };
    let (code, made) = apply("one", false, "x:1").await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "one");
    let (code, conflict) = apply("two", false, "x:2").await;
    assert_eq!((code, conflict["reason"].as_str()), (409, Some("Conflict")), "{conflict}");
    let (code, forced) = apply("two", true, "x:2").await;
    assert_eq!(
        (code, forced["spec"]["template"]["spec"]["containers"][0]["image"].as_str()),
        (200, Some("x:2"))
    );
    let before = bench.revision().await;
    assert_eq!(apply("two", true, "x:2").await.0, 200);
    assert_eq!(bench.revision().await, before);
    let more = r#"{"spec":{"template":{"spec":{"containers":[{"name":"d","image":"y"}]}}}}"#;
    let (code, both) =
        bench.patch(&format!("{deployments}/d"), "application/strategic-merge-patch+json", more).await;
    assert_eq!(code, 200, "{both}");
    assert_eq!(both["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 2);
    assert_eq!(bench.patch(&format!("{deployments}/d"), "text/plain", more).await.0, 415);
    assert_eq!(bench.patch(&format!("{deployments}/e"), "application/merge-patch+json", more).await.0, 404);
}

#[tokio::test]
async fn status_is_its_own() {
    let bench = Bench::start().await;
    let pods = "/api/v1/namespaces/a/pods";
    bench.post(pods, pod("p", "n1")).await;
    let patch =
        r#"{"metadata":{"labels":{"x":"y"}},"spec":{"nodeName":"other"},"status":{"phase":"Running"}}"#;
    let (code, patched) =
        bench.patch(&format!("{pods}/p/status"), "application/merge-patch+json", patch).await;
    assert_eq!(code, 200, "{patched}");
    assert_eq!(patched["spec"]["nodeName"], "n1");
    assert_eq!(patched["status"]["phase"], "Running");
    let (_, main) = bench
        .patch(&format!("{pods}/p"), "application/merge-patch+json", r#"{"status":{"phase":"Failed"}}"#)
        .await;
    assert_eq!(main["status"]["phase"], "Running");
}

#[tokio::test]
async fn forms_of_an_answer() {
    let bench = Bench::start().await;
    bench.post(MAPS, config_map("x", json!({}))).await;
    let get = |accept: &'static str, path: &'static str| {
        let bench = &bench;
        async move { bench.call(http::Method::GET, path, &[("accept", accept)], "").await }
    };
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let (code, found) = get(table, "/api/v1/namespaces/a/configmaps").await;
    assert_eq!((code, found["kind"].as_str()), (200, Some("Table")));
    assert_eq!(found["rows"][0]["cells"][0], "x");
    assert_eq!(found["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let (_, found) = get(partial, "/api/v1/configmaps").await;
    assert_eq!(
        (found["kind"].as_str(), found["items"][0]["kind"].as_str()),
        (Some("PartialObjectMetadataList"), Some("PartialObjectMetadata"))
    );
    assert!(found["items"][0].get("data").is_none());
    let answer = bench
        .send(
            http::Method::GET,
            "/api/v1/configmaps",
            &[("accept", "application/vnd.kubernetes.protobuf")],
            "",
        )
        .await;
    assert_eq!(answer.headers()["content-type"], "application/vnd.kubernetes.protobuf");
    assert_eq!(get("text/html", "/api/v1/configmaps").await.0, 406);
    assert_eq!(get("*/*", "/apis").await.1["kind"], "APIGroupList");
    assert_eq!(get("*/*", "/api/v1").await.1["kind"], "APIResourceList");
    assert_eq!(get("*/*", "/version").await.1["minor"], "37");
    assert_eq!(bench.send(http::Method::GET, "/readyz", &[], "").await.status().as_u16(), 200);
}

#[tokio::test]
async fn big_lists_are_compressed_as_one_stream() {
    use http_body_util::BodyExt;
    use std::io::Read;
    let bench = Bench::start().await;
    for at in 0..20 {
        let mut map = config_map(&format!("m{at}"), json!({}));
        map["data"]["k"] = json!("v".repeat(10_000));
        bench.post(MAPS, map).await;
    }
    for _ in 0..2 {
        let answer = bench.send(http::Method::GET, MAPS, &[("accept-encoding", "gzip")], "").await;
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        let list: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(list["items"].as_array().unwrap().len(), 20);
        // Another resource's change moves the list's revision, not its items.
        bench.post("/api/v1/namespaces", json!({"metadata": {"generateName": "n-"}})).await;
    }
}
