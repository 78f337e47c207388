//! API server, controllers and scheduler in one process, meeting only at the API: a Deployment becomes pods that are
//! bound to a node, and deleting it takes them away; a Job counts its pods and ends; a claim gets its volume, and a
//! quota refuses what is too much.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use apiserver::request::UserInfo;
use client::{Api, DeleteOptions, Informer, InformerOptions, ObjectMeta, Resource, resource, view};
use kube_apiserver::InProcess;
use kube_apiserver::options::Options;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const PODS: Resource = Resource::of("", "v1", "pods", "Pod", true);
const NODES: Resource = Resource::of("", "v1", "nodes", "Node", false);
const DEPLOYMENTS: Resource = Resource::of("apps", "v1", "deployments", "Deployment", true);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pod {
    metadata: ObjectMeta,
    spec: PodSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    node_name: String,
}

view!(Pod);

/// An object of any kind, of which a test looks at the status.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Any {
    metadata: ObjectMeta,
    status: Value,
}

view!(Any);

/// Waits until an object of the resource is as `wanted` says.
async fn seen(api: &Api, resource: Resource, what: &str, wanted: impl Fn(&Any) -> bool) {
    let stop = CancellationToken::new();
    let informer: Informer<Any> = Informer::new(api.clone(), resource, InformerOptions::default());
    let mut events = informer.subscribe();
    informer.start(stop.clone());
    let wait = async {
        while informer.store().select(&wanted).is_empty() {
            events.recv().await.unwrap();
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(),
        "not seen in a minute: {what}"
    );
    stop.cancel();
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn start(folder: &std::path::Path) -> InProcess {
    let flags = [
        "kube-apiserver".to_owned(),
        format!("--data-dir={}", folder.join("store").display()),
        format!("--cert-dir={}", folder.join("certs").display()),
        "--secure-port=0".into(),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        "--authorization-mode=Node,RBAC".into(),
    ];
    InProcess::start(Options::parse_from_args(flags.map(Into::into)).unwrap().options).await.unwrap()
}

fn user(name: &str, group: &str) -> UserInfo {
    UserInfo {
        name: name.into(),
        groups: vec![group.into(), "system:authenticated".into()],
        ..UserInfo::default()
    }
}

fn run_controllers(server: &InProcess, stop: &CancellationToken) {
    // Without keys for tokens of their own the controllers share one identity, which must be able to do all.
    let client = server.client(user("system:kube-controller-manager", "system:masters"));
    let flags = [
        "kube-controller-manager".to_owned(),
        "--leader-elect=false".into(),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={}", free_port()),
        "--controllers=*,-node-lifecycle-controller,-taint-eviction-controller".into(),
    ];
    let unbuilt = kube_controller_manager::UNBUILT;
    let options = component_base::flags::parse(flags.map(Into::into), unbuilt).unwrap().options;
    tokio::spawn(kube_controller_manager::run(options, client, stop.clone()));
}

fn run_scheduler(server: &InProcess, stop: &CancellationToken) {
    let client = server.client(user("system:kube-scheduler", "system:authenticated"));
    let port = format!("--secure-port={}", free_port());
    let flags = ["kube-scheduler", "--leader-elect=false", "--bind-address=127.0.0.1", &port];
    let options = kube_scheduler::Options::parse(flags.map(Into::into)).unwrap().options;
    tokio::spawn(kube_scheduler::run(options, client, stop.clone()));
}

async fn make_node(api: &Api) {
    let room = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {},
        "status": {"capacity": room, "allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]}});
    api.create::<Value>(&NODES, "", &node).await.unwrap();
    // Admission taints a new node until somebody has seen it Ready, which here nobody does.
    let untaint = json!({"spec": {"taints": null}});
    api.patch::<Value>(&NODES, "", "n1", "", &client::Patch::Merge, &untaint).await.unwrap();
}

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
            "automountServiceAccountToken": false, "containers": [{"name": "c", "image": "i"}]}}}})
}

async fn start_all(folder: &std::path::Path, stop: &CancellationToken) -> (InProcess, Api) {
    let server = start(folder).await;
    let api = Api::new(server.client(user("admin", "system:masters")), "test");
    while api.bytes(http_get(), "/readyz", "*/*", None).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    run_controllers(&server, stop);
    (server, api)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_counts_its_pods_and_ends() {
    let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let (server, api) = start_all(folder.path(), &stop).await;
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {
        "completions": 2, "parallelism": 2, "completionMode": "Indexed",
        "template": {"spec": {"restartPolicy": "Never", "automountServiceAccountToken": false,
            "containers": [{"name": "c", "image": "i"}]}}}});
    api.create::<Value>(&resource::JOBS, "default", &job).await.unwrap();
    seen(&api, resource::JOBS, "two active pods", |j| j.status["active"] == 2).await;
    for pod in api.list::<Any>(&PODS, "default", "").await.unwrap().items {
        let done = json!({"status": {"phase": "Succeeded"}});
        let (name, patch) = (&pod.metadata.name, client::Patch::Merge);
        api.patch::<Value>(&PODS, "default", name, "status", &patch, &done).await.unwrap();
    }
    let complete = |j: &Any| {
        let conditions = j.status["conditions"].as_array();
        conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Complete" && c["status"] == "True"))
    };
    seen(&api, resource::JOBS, "a complete job", complete).await;
    let ended: Any = api.get(&resource::JOBS, "default", "j").await.unwrap();
    assert_eq!((&ended.status["succeeded"], &ended.status["completedIndexes"]), (&json!(2), &json!("0,1")));
    let pods = api.list::<Any>(&PODS, "default", "").await.unwrap().items;
    assert_eq!(pods.len(), 2, "no pod too many");
    assert!(pods.iter().all(|p| p.metadata.finalizers.is_empty()), "they are counted, and free");
    stop.cancel();
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_gets_its_volume_and_a_quota_refuses_the_second() {
    let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let (server, api) = start_all(folder.path(), &stop).await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
        "spec": {"hard": {"persistentvolumeclaims": "1"}}});
    api.create::<Value>(&resource::RESOURCE_QUOTAS, "default", &quota).await.unwrap();
    seen(&api, resource::RESOURCE_QUOTAS, "a counted quota", |q| q.status["used"].is_object()).await;
    let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/tmp/v"},
        "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "s"}});
    api.create::<Value>(&resource::PERSISTENT_VOLUMES, "", &volume).await.unwrap();
    let claim = |name: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "s", "resources": {"requests": {"storage": "1Gi"}}}})
    };
    let claims = resource::PERSISTENT_VOLUME_CLAIMS;
    api.create::<Value>(&claims, "default", &claim("c")).await.unwrap();
    seen(&api, claims.clone(), "a bound claim", |c| c.status["phase"] == "Bound").await;
    let refused = api.create::<Value>(&claims, "default", &claim("d")).await.unwrap_err();
    assert!(refused.is_forbidden() && refused.to_string().contains("exceeded quota: q"), "{refused}");
    // The finalizers keep both until their controllers let them go.
    api.delete(&claims, "default", "c", &DeleteOptions::default()).await.unwrap();
    let released = |v: &Any| v.status["phase"] == "Released";
    seen(&api, resource::PERSISTENT_VOLUMES, "a released volume", released).await;
    seen(&api, resource::RESOURCE_QUOTAS, "a quota with room", |q| {
        q.status["used"]["persistentvolumeclaims"] == "0"
    })
    .await;
    assert!(api.get::<Any>(&claims, "default", "c").await.unwrap_err().is_not_found());
    stop.cancel();
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_becomes_bound_pods_and_goes_with_them() {
    let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let (server, api) = start_all(folder.path(), &stop).await;
    run_scheduler(&server, &stop);
    make_node(&api).await;
    let pods: Informer<Pod> = Informer::new(api.clone(), PODS, InformerOptions::default());
    let mut events = pods.subscribe();
    pods.start(stop.clone());
    // The service account `default` comes from a controller; until then admission refuses pods, and it tries again.
    api.create::<Value>(&DEPLOYMENTS, "default", &deployment()).await.unwrap();
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, async {
        while pods.store().select(|p| p.spec.node_name == "n1").len() < 3 {
            events.recv().await.unwrap();
        }
    })
    .await
    .expect("three bound pods");
    api.delete(&DEPLOYMENTS, "default", "web", &DeleteOptions::default()).await.unwrap();
    // No kubelet ends them: the collector's delete shows as a deletionTimestamp.
    tokio::time::timeout(limit, async {
        while !pods.store().list().iter().all(|p| p.metadata.deletion_timestamp.is_some()) {
            events.recv().await.unwrap();
        }
    })
    .await
    .expect("pods that are being deleted");
    stop.cancel();
    server.shutdown().await;
}

fn http_get() -> http::Method {
    http::Method::GET
}
