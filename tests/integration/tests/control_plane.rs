//! API server, controllers and scheduler in one process, meeting only at the API: a Deployment becomes pods that are
//! bound to a node, and deleting it takes them away.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use apiserver::request::UserInfo;
use client::{Api, DeleteOptions, Informer, InformerOptions, ObjectMeta, Resource, view};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_becomes_bound_pods_and_goes_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let stop = CancellationToken::new();
    let api = Api::new(server.client(user("admin", "system:masters")), "test");
    while api.bytes(http_get(), "/readyz", "*/*", None).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    run_controllers(&server, &stop);
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
