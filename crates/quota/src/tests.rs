//! Usages of objects, scopes, and what pods must say.

use std::collections::BTreeSet;

use apimachinery::GroupResource;
use serde_json::{Value, json};

use super::*;

const NOON: i64 = 1_767_268_800;

fn object(value: Value) -> Object {
    serde_json::from_value(value).unwrap()
}

fn used(resource: &str, value: Value) -> String {
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    show(&usage(&GroupResource::new(group, resource), &object(value), NOON))
}

fn container(name: &str, requests: Value, limits: Value) -> Value {
    json!({"name": name, "resources": {"requests": requests, "limits": limits}})
}

#[test]
fn usages() {
    let one =
        container("a", json!({"cpu": "100m", "memory": "1Gi", "example.com/gpu": "1"}), json!({"cpu": "1"}));
    let init = container("i", json!({"cpu": "2", "memory": "1Mi"}), json!(null));
    let all = "count/pods=1,cpu=2,limits.cpu=1,memory=1Gi,pods=1,requests.cpu=2,requests.example.com/gpu=1,requests.memory=1Gi";
    for (resource, value, expected) in [
        ("pods", json!({"spec": {"containers": [one], "initContainers": [init]}}), all),
        ("pods", json!({"spec": {"containers": [one]}, "status": {"phase": "Failed"}}), "count/pods=1"),
        (
            "pods",
            json!({"metadata": {"deletionTimestamp": "2026-01-01T11:59:00Z", "deletionGracePeriodSeconds": 30}}),
            "count/pods=1",
        ),
        (
            "pods",
            json!({"metadata": {"deletionTimestamp": "2026-01-01T12:00:00Z", "deletionGracePeriodSeconds": 30}}),
            "count/pods=1,pods=1",
        ),
        ("secrets", json!({}), "count/secrets=1,secrets=1"),
        ("deployments.apps", json!({}), "count/deployments.apps=1"),
        (
            "services",
            json!({"spec": {"type": "NodePort", "ports": [{}, {}]}}),
            "count/services=1,services=1,services.loadbalancers=0,services.nodeports=2",
        ),
        (
            "services",
            json!({"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{}]}}),
            "count/services=1,services=1,services.loadbalancers=1,services.nodeports=0",
        ),
        (
            "persistentvolumeclaims",
            json!({"spec": {"storageClassName": "g", "resources": {"requests": {"storage": "1Gi"}}}}),
            "count/persistentvolumeclaims=1,g.storageclass.storage.k8s.io/persistentvolumeclaims=1,g.storageclass.storage.k8s.io/requests.storage=1Gi,persistentvolumeclaims=1,requests.storage=1Gi",
        ),
    ] {
        assert_eq!(used(resource, value.clone()), expected, "{value}");
    }
}

#[test]
fn sidecars_run_on() {
    let sidecar = json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}});
    let init = container("i", json!({"cpu": "3"}), json!({}));
    let main = container("m", json!({"cpu": "1"}), json!({}));
    let pod = json!({"spec": {"initContainers": [sidecar, init], "containers": [main], "overhead": {"cpu": "500m"}}});
    assert!(used("pods", pod).contains("requests.cpu=4500m"));
}

#[test]
fn names_and_their_resources() {
    for (name, expected) in [
        ("pods", Some("pods")),
        ("limits.memory", Some("pods")),
        ("requests.example.com/gpu", Some("pods")),
        ("hugepages-2Mi", Some("pods")),
        ("services.nodeports", Some("services")),
        ("requests.storage", Some("persistentvolumeclaims")),
        ("gold.storageclass.storage.k8s.io/requests.storage", Some("persistentvolumeclaims")),
        ("count/deployments.apps", Some("deployments.apps")),
        ("resourcequotas", Some("resourcequotas")),
        ("nonsense", None),
    ] {
        let found = resource_of(name).map(|r| r.to_string());
        assert_eq!(found.as_deref(), expected, "{name}");
    }
}

#[test]
fn scopes() {
    let pods = GroupResource::new("", "pods");
    let plain = json!({"spec": {"containers": [{"name": "c"}]}});
    let full = json!({"spec": {"containers": [container("c", json!({"cpu": "1"}), json!({}))], "activeDeadlineSeconds": 5,
        "priorityClassName": "high"}});
    let named = |operator: &str| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": ["high"]}]}});
    for (quota, in_plain, in_full) in [
        (json!({}), true, true),
        (json!({"scopes": ["BestEffort"]}), true, false),
        (json!({"scopes": ["NotBestEffort"]}), false, true),
        (json!({"scopes": ["Terminating"]}), false, true),
        (json!({"scopes": ["NotTerminating", "BestEffort"]}), true, false),
        (json!({"scopes": ["CrossNamespacePodAffinity"]}), false, false),
        (named("In"), false, true),
        (named("NotIn"), true, false),
    ] {
        let spec: Spec = serde_json::from_value(quota.clone()).unwrap();
        let found = [&plain, &full].map(|pod| matches(&spec, &pods, &object(pod.clone())));
        assert_eq!(found, [in_plain, in_full], "{quota}");
    }
    let scoped: Spec = serde_json::from_value(json!({"scopes": ["BestEffort"]})).unwrap();
    assert!(!matches(&scoped, &GroupResource::new("", "secrets"), &Object::default()));
}

#[test]
fn what_a_pod_must_say() {
    let names: BTreeSet<String> = ["requests.cpu", "limits.memory", "pods"].map(str::to_owned).into();
    let pod = object(
        json!({"spec": {"containers": [container("b", json!({"cpu": "1"}), json!({})), {"name": "a"}]}}),
    );
    assert_eq!(missing(&pod, &names).as_deref(), Some("limits.memory for: a,b; requests.cpu for: a"));
    let pod = object(
        json!({"spec": {"containers": [container("b", json!({"cpu": "1"}), json!({"memory": "1"}))]}}),
    );
    assert_eq!(missing(&pod, &names), None);
}

#[test]
fn sums() {
    let parse = |pairs: &[(&str, &str)]| -> Amounts {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), v.parse().unwrap())).collect()
    };
    let (old, new) =
        (parse(&[("cpu", "1"), ("pods", "2")]), parse(&[("cpu", "1500m"), ("pods", "1"), ("x", "1")]));
    assert_eq!(show(&growth(&new, &old)), "cpu=500m,x=1");
    let mut sum = old.clone();
    add(&mut sum, &new);
    assert_eq!(show(&sum), "cpu=2500m,pods=3,x=1");
    assert_eq!(
        exceeded(&sum, &parse(&[("cpu", "2"), ("pods", "3")])).into_iter().collect::<Vec<_>>(),
        ["cpu"]
    );
}
