//! What Services take and give back, what is done to pods and namespaces beside writing them: through the whole
//! server.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use serde_json::{Value, json};
use support::Bed;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn bed() -> Bed {
    let bed = Bed::start(&[]).await;
    let account = json!({"metadata": {"name": "default"}, "automountServiceAccountToken": false});
    bed.call("POST", "/api/v1/namespaces/default/serviceaccounts", Some(&account)).await;
    bed
}

fn service(name: &str, spec: Value) -> Value {
    let mut whole = json!({"ports": [{"port": 80}], "selector": {"a": "b"}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"metadata": {"name": name}, "spec": whole})
}

async fn ok(bed: &Bed, method: &str, path: &str, body: Value) -> Value {
    let (code, answer) = bed.call(method, path, Some(&body)).await;
    assert!(code < 300, "{method} {path}: {code} {answer}");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_hold_addresses_and_ports_while_they_need_them() {
    let bed = bed().await;
    let made = ok(&bed, "POST", SERVICES, service("a", json!({"type": "NodePort"}))).await;
    let (ip, port) = (
        made["spec"]["clusterIP"].as_str().unwrap().to_owned(),
        made["spec"]["ports"][0]["nodePort"].as_i64().unwrap(),
    );
    let held = bed.call("GET", &format!("/apis/networking.k8s.io/v1/ipaddresses/{ip}"), None).await;
    assert_eq!(held.1["spec"]["parentRef"]["name"], "a", "{}", held.1);

    let same_port = service("b", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}));
    let (code, answer) = bed.call("POST", SERVICES, Some(&same_port)).await;
    assert_eq!(
        (code, answer["details"]["causes"][0]["message"].as_str().unwrap()),
        (422, format!("Invalid value: {port}: provided port is already allocated").as_str())
    );
    let same_ip = service("b", json!({"clusterIP": ip}));
    let (code, answer) = bed.call("POST", SERVICES, Some(&same_ip)).await;
    assert!(
        code == 422 && answer["message"].as_str().unwrap().contains("provided IP is already allocated"),
        "{answer}"
    );

    // A type without node ports gives them back; an update that leaves addresses out keeps them.
    let mut changed = made.clone();
    changed["spec"] = json!({"type": "ClusterIP", "ports": [{"port": 80}], "selector": {"a": "b"}});
    let changed = ok(&bed, "PUT", &format!("{SERVICES}/a"), changed).await;
    assert_eq!(changed["spec"]["clusterIP"], ip);
    assert!(
        changed["spec"]["ports"][0].get("nodePort").is_none()
            && changed["spec"].get("externalTrafficPolicy").is_none()
    );
    ok(&bed, "POST", SERVICES, same_port).await;

    // A type without an address gives that back too.
    let external = json!({"spec": {"type": "ExternalName", "externalName": "example.com", "clusterIP": null, "clusterIPs": null}});
    let (code, answer) = bed
        .send("PATCH", &format!("{SERVICES}/a"), "application/merge-patch+json", Some(external.to_string()))
        .await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(bed.call("GET", &format!("/apis/networking.k8s.io/v1/ipaddresses/{ip}"), None).await.0, 404);
    ok(&bed, "POST", SERVICES, service("c", json!({"clusterIP": ip}))).await;

    // Nothing is taken on dry run or by a create that fails.
    ok(&bed, "POST", &format!("{SERVICES}?dryRun=All"), service("d", json!({"clusterIP": "10.96.9.9"})))
        .await;
    let (code, _) = bed.call("POST", SERVICES, Some(&service("c", json!({"clusterIP": "10.96.9.9"})))).await;
    assert_eq!(code, 409);
    ok(&bed, "POST", SERVICES, service("d", json!({"clusterIP": "10.96.9.9"}))).await;
    ok(&bed, "DELETE", &format!("{SERVICES}/d"), json!({})).await;
    ok(&bed, "POST", SERVICES, service("e", json!({"clusterIP": "10.96.9.9"}))).await;
    bed.server.shutdown().await;
}

/// HEAD is for what a proxy reaches; objects refuse it.
#[tokio::test]
async fn head_goes_through_proxies_only() {
    let bed = bed().await;
    let services = "/api/v1/namespaces/default/services/none";
    assert_eq!(bed.call("HEAD", services, None).await.0, 405);
    assert_eq!(bed.call("HEAD", &format!("{services}/status"), None).await.0, 405);
    // The proxy has looked for endpoints.
    assert_eq!(bed.call("HEAD", &format!("{services}/proxy/path"), None).await.0, 503);
    bed.server.shutdown().await;
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_bound_evicted_and_deleted_with_grace() {
    let bed = bed().await;
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}});
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    ok(&bed, "POST", budgets, budget).await;
    ok(&bed, "POST", PODS, pod("p")).await;
    let bind = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    ok(&bed, "POST", &format!("{PODS}/p/binding"), bind.clone()).await;
    let (code, answer) = bed.call("POST", &format!("{PODS}/p/binding"), Some(&bind)).await;
    assert_eq!(
        (code, answer["message"].as_str().unwrap()),
        (409, "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n\"")
    );

    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let patch = async |path: String, body: Value| {
        bed.send("PATCH", &path, "application/merge-patch+json", Some(body.to_string())).await
    };
    assert_eq!(patch(format!("{PODS}/p/status"), status).await.0, 200);
    let counts = |allowed: i64| json!({"status": {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1, "observedGeneration": 1}});
    assert_eq!(patch(format!("{budgets}/b/status"), counts(0)).await.0, 200);
    wait_for(&bed, &format!("{budgets}/b"), |b| b["status"]["currentHealthy"] == 1).await;
    let evict = json!({"metadata": {"name": "p"}});
    let (code, answer) = bed.call("POST", &format!("{PODS}/p/eviction"), Some(&evict)).await;
    assert_eq!((code, answer["reason"].as_str().unwrap()), (429, "TooManyRequests"), "{answer}");
    assert_eq!(patch(format!("{budgets}/b/status"), counts(1)).await.0, 200);
    ok(&bed, "POST", &format!("{PODS}/p/eviction"), evict).await;
    let gone = bed.call("GET", &format!("{PODS}/p"), None).await.1;
    assert_eq!(gone["metadata"]["deletionGracePeriodSeconds"], 30, "{gone}");
    assert!(gone["status"]["conditions"].as_array().unwrap().iter().any(|c| c["type"] == "DisruptionTarget"));
    assert_eq!(bed.call("GET", &format!("{budgets}/b"), None).await.1["status"]["disruptionsAllowed"], 0);
    ok(&bed, "DELETE", &format!("{PODS}/p"), json!({"gracePeriodSeconds": 0})).await;
    assert_eq!(bed.call("GET", &format!("{PODS}/p"), None).await.0, 404);

    // Nobody runs an unscheduled pod, so nobody is waited for.
    ok(&bed, "POST", PODS, pod("q")).await;
    ok(&bed, "DELETE", &format!("{PODS}/q"), json!({})).await;
    assert_eq!(bed.call("GET", &format!("{PODS}/q"), None).await.0, 404);
    bed.server.shutdown().await;
}

/// The watch cache follows a write within a moment.
async fn wait_for(bed: &Bed, path: &str, done: impl Fn(&Value) -> bool) {
    for _ in 0..100 {
        if done(&bed.call("GET", path, None).await.1) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{path} does not come to what is expected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_go_when_they_are_finalized() {
    let bed = bed().await;
    ok(&bed, "POST", "/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await;
    let deleted = ok(&bed, "DELETE", "/api/v1/namespaces/n", json!({})).await;
    assert_eq!(deleted["status"]["phase"], "Terminating", "{deleted}");
    let there = bed.call("GET", "/api/v1/namespaces/n", None).await.1;
    assert_eq!(there["spec"]["finalizers"], json!(["kubernetes"]));
    let (code, answer) =
        bed.call("POST", "/api/v1/namespaces/n/configmaps", Some(&json!({"metadata": {"name": "c"}}))).await;
    assert_eq!((code, answer["reason"].as_str().unwrap()), (403, "Forbidden"));
    let mut empty = there.clone();
    empty["spec"]["finalizers"] = json!([]);
    ok(&bed, "PUT", "/api/v1/namespaces/n/finalize", empty).await;
    // The last finalizer was all that held it.
    assert_eq!(bed.call("GET", "/api/v1/namespaces/n", None).await.0, 404);
    bed.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_this_process_is_who_it_is_made_as() {
    let bed = bed().await;
    let user = apiserver::request::UserInfo { name: "joe".into(), ..Default::default() };
    let client = bed.server.client(user);
    let review = http::Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header("content-type", "application/json")
        .body(b"{}".to_vec())
        .unwrap();
    let answer: Value = client.request(review).await.unwrap();
    assert_eq!(answer["status"]["userInfo"]["username"], "joe");
    let pods = http::Request::get(PODS).body(Vec::new()).unwrap();
    let refused = client.request::<Value>(pods).await.unwrap_err();
    assert!(
        refused.to_string().contains("pods is forbidden: User \"joe\" cannot list resource \"pods\""),
        "{refused}"
    );
    bed.server.shutdown().await;
}
