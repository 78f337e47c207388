//! Lists in pieces and watches: where they start, what they see, how they end.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use etcd::Store;
use http::Method;
use serde_json::{Value as Json, json};
use support::{Bench, config_map, pod};

const MAPS: &str = "/api/v1/namespaces/a/configmaps";

fn names(list: &Json) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|i| i["metadata"]["name"].as_str().unwrap()).collect()
}

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.into(), name.into())
}

async fn filled(count: usize) -> Bench {
    let bench = Bench::start().await;
    for at in 0..count {
        let (code, _) =
            bench.post(MAPS, config_map(&format!("m{at}"), json!({"parity": (at % 2).to_string()}))).await;
        assert_eq!(code, 201);
    }
    bench
}

#[tokio::test]
async fn pages_are_of_one_revision() {
    let bench = filled(5).await;
    let (_, first) = bench.get(&format!("{MAPS}?limit=2")).await;
    assert_eq!(names(&first), ["m0", "m1"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    bench.delete(&format!("{MAPS}/m2"), "").await;
    bench.post(MAPS, config_map("m3x", json!({}))).await;
    let (_, second) = bench.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!(names(&second), ["m2", "m3"], "as it was when the list began");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap().to_owned();
    let (_, last) = bench.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!(names(&last), ["m4"]);
    assert!(last["metadata"].get("continue").is_none());

    let revision = bench.revision().await;
    bench.store.compact(revision).await.unwrap();
    let token = second["metadata"]["continue"].as_str().unwrap();
    let (code, expired) = bench.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!((code, expired["reason"].as_str()), (410, Some("Expired")));
    let rest = expired["metadata"]["continue"].as_str().unwrap();
    let (code, rest) = bench.get(&format!("{MAPS}?continue={rest}")).await;
    assert_eq!((code, names(&rest)), (200, vec!["m3x", "m4"]));
}

#[tokio::test]
async fn pages_of_all_namespaces_and_of_selections() {
    let bench = filled(4).await;
    bench.post("/api/v1/namespaces/b/configmaps", config_map("z", json!({"parity": "0"}))).await;
    let (mut token, mut seen) = (String::new(), Vec::new());
    loop {
        let (code, page) =
            bench.get(&format!("/api/v1/configmaps?limit=1&labelSelector=parity%3D0&continue={token}")).await;
        assert_eq!(code, 200, "{page}");
        assert!(page["metadata"].get("remainingItemCount").is_none());
        seen.extend(names(&page).into_iter().map(str::to_owned));
        match page["metadata"]["continue"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, ["m0", "m2", "z"]);
}

#[tokio::test]
async fn what_resource_version_means_to_a_list() {
    let bench = filled(2).await;
    let (_, list) = bench.get(MAPS).await;
    let at = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    bench.post(MAPS, config_map("later", json!({}))).await;
    let (_, exact) = bench.get(&format!("{MAPS}?resourceVersion={at}&resourceVersionMatch=Exact")).await;
    assert_eq!(
        (names(&exact), exact["metadata"]["resourceVersion"].as_str()),
        (vec!["m0", "m1"], Some(at.as_str()))
    );
    let (_, newer) =
        bench.get(&format!("{MAPS}?resourceVersion={at}&resourceVersionMatch=NotOlderThan")).await;
    assert!(
        newer["metadata"]["resourceVersion"].as_str().unwrap().parse::<i64>().unwrap()
            >= at.parse::<i64>().unwrap()
    );
    for (query, code) in [
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422),
        ("resourceVersion=1&resourceVersionMatch=Sometimes", 422),
        ("sendInitialEvents=true", 422),
        ("continue=nonsense", 400),
        ("labelSelector=a%3Db%3Dc", 400),
        ("fieldSelector=spec.nothing%3Da", 400),
    ] {
        assert_eq!(bench.get(&format!("{MAPS}?{query}")).await.0, code, "{query}");
    }
}

#[tokio::test]
async fn a_watch_from_a_list_sees_each_change_once() {
    let bench = filled(1).await;
    let (_, list) = bench.get(MAPS).await;
    let at = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = bench.watch(&format!("{MAPS}?watch=1&resourceVersion={at}")).await;
    bench.post(MAPS, config_map("n", json!({}))).await;
    bench.patch(&format!("{MAPS}/n"), "application/merge-patch+json", r#"{"data":{"k":"2"}}"#).await;
    bench.post("/api/v1/namespaces/b/configmaps", config_map("other", json!({}))).await;
    bench.delete(&format!("{MAPS}/n"), "").await;
    assert_eq!(watch.named().await, pair("ADDED", "n"));
    assert_eq!(watch.named().await, pair("MODIFIED", "n"));
    let deleted = watch.next().await.unwrap();
    assert_eq!(deleted["type"], "DELETED");
    let revision = bench.revision().await;
    assert_eq!(deleted["object"]["metadata"]["resourceVersion"], revision.to_string());
    assert_eq!(deleted["object"]["data"]["k"], "2");
}

#[tokio::test]
async fn a_selector_that_an_object_leaves() {
    let bench = filled(1).await;
    let mut watch = bench.watch(&format!("{MAPS}?watch=1&labelSelector=parity%3D0")).await;
    assert_eq!(watch.named().await, pair("ADDED", "m0"));
    let (_, left) = bench
        .patch(
            &format!("{MAPS}/m0"),
            "application/merge-patch+json",
            r#"{"metadata":{"labels":{"parity":"1"}}}"#,
        )
        .await;
    let event = watch.next().await.unwrap();
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["metadata"]["labels"]["parity"], "0", "as it was");
    assert_eq!(
        event["object"]["metadata"]["resourceVersion"], left["metadata"]["resourceVersion"],
        "when it left"
    );
}

#[tokio::test]
async fn pods_of_a_node() {
    let bench = Bench::start().await;
    let pods = "/api/v1/namespaces/a/pods";
    let mut watch =
        bench.watch("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn1&resourceVersion=0").await;
    bench.post(pods, pod("p", "n1")).await;
    bench.post(pods, pod("q", "n2")).await;
    bench.post(pods, pod("r", "n1")).await;
    assert_eq!(watch.named().await, pair("ADDED", "p"));
    assert_eq!(watch.named().await, pair("ADDED", "r"));
    let (_, list) = bench.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn2").await;
    assert_eq!(names(&list), ["q"]);
    let (_, list) = bench.get("/api/v1/pods?fieldSelector=spec.nodeName!%3Dn2,metadata.namespace%3Da").await;
    assert_eq!(names(&list), ["p", "r"]);
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let bench = filled(2).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = bench.watch(&format!("{MAPS}?{query}")).await;
    assert_eq!(watch.named().await, pair("ADDED", "m0"));
    assert_eq!(watch.named().await, pair("ADDED", "m1"));
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], bench.revision().await.to_string());
    let (code, refused) = bench.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await;
    assert_eq!((code, refused["reason"].as_str()), (422, Some("Invalid")));
}

#[tokio::test]
async fn a_watch_from_what_is_gone_is_told_so() {
    let bench = filled(3).await;
    let mut watch = bench.watch(&format!("{MAPS}?watch=1&resourceVersion=1")).await;
    let event = watch.next().await.unwrap();
    // The cache has been there from the start, so only what lies before it is too old.
    assert!(event["type"] == "ADDED" || event["object"]["code"] == 410, "{event}");
    let mut future =
        bench.watch(&format!("{MAPS}?watch=1&resourceVersion={}", bench.revision().await + 1)).await;
    bench.post(MAPS, config_map("skipped", json!({}))).await;
    bench.post(MAPS, config_map("seen", json!({}))).await;
    assert_eq!(future.named().await, pair("ADDED", "seen"));
}

#[tokio::test]
async fn watches_end_in_time_and_with_the_server() {
    let bench = filled(1).await;
    let mut short = bench.watch(&format!("{MAPS}?watch=1&timeoutSeconds=1")).await;
    assert_eq!(short.named().await, pair("ADDED", "m0"));
    assert!(short.next().await.is_none());
    let mut long = bench.watch(&format!("{MAPS}?watch=1")).await;
    assert_eq!(long.named().await, pair("ADDED", "m0"));
    let (ended, ()) = tokio::join!(long.next(), bench.server.shutdown());
    assert!(ended.is_none());
    assert_eq!(bench.send(Method::GET, "/readyz", &[], "").await.status().as_u16(), 500);
}

#[tokio::test]
async fn old_watch_paths_and_single_objects() {
    let bench = filled(2).await;
    let mut watch = bench.watch("/api/v1/watch/namespaces/a/configmaps/m1").await;
    assert_eq!(watch.named().await, pair("ADDED", "m1"));
    bench.delete(&format!("{MAPS}/m0"), "").await;
    bench.delete(&format!("{MAPS}/m1"), "").await;
    assert_eq!(watch.named().await, pair("DELETED", "m1"));
}

#[tokio::test]
async fn deletecollection_by_selector() {
    let bench = filled(4).await;
    let (code, list) = bench.delete(&format!("{MAPS}?labelSelector=parity%3D0"), "").await;
    assert_eq!((code, names(&list)), (200, vec!["m0", "m2"]));
    assert_eq!(names(&bench.get(MAPS).await.1), ["m1", "m3"]);
}

#[tokio::test]
async fn writers_at_once_lose_nothing() {
    let bench = filled(1).await;
    let patches = (0..20).map(|at| {
        let body = format!(r#"{{"data":{{"k{at}":"v"}}}}"#);
        let bench = &bench;
        async move { bench.patch(&format!("{MAPS}/m0"), "application/merge-patch+json", &body).await.0 }
    });
    let codes = futures::future::join_all(patches).await;
    assert!(codes.iter().all(|c| *c == 200), "{codes:?}");
    let (_, map) = bench.get(&format!("{MAPS}/m0")).await;
    assert_eq!(map["data"].as_object().unwrap().len(), 21);
}
