//! What a node may and may not, as a table.

use std::sync::Arc;

use apiserver::auth::{Attributes, Decision};
use apiserver::request::UserInfo;
use apiserver::resource::Objects;
use serde_json::json;

use super::*;
use crate::testing::{Fake, value};

fn pod(name: &str, node: &str, annotations: serde_json::Value) -> serde_json::Value {
    json!({"metadata": {"namespace": "ns", "name": name, "annotations": annotations}, "spec": {
        "nodeName": node, "serviceAccountName": format!("sa-{name}"),
        "imagePullSecrets": [{"name": format!("pull-{name}")}],
        "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": format!("env-{name}")}}}],
            "envFrom": [{"configMapRef": {"name": format!("from-{name}")}}]}],
        "volumes": [
            {"name": "v", "persistentVolumeClaim": {"claimName": format!("claim-{name}")}},
            {"name": "e", "ephemeral": {}},
            {"name": "p", "projected": {"sources": [{"secret": {"name": format!("proj-{name}")}}]}}]}})
}

async fn authorizer() -> Arc<NodeAuthorizer> {
    let fake = Fake::with(&[
        ("pods", pod("a", "n1", json!({}))),
        ("pods", pod("b", "n2", json!({}))),
        ("pods", pod("m", "n1", json!({"kubernetes.io/config.mirror": "x"}))),
        (
            "persistentvolumes",
            json!({"metadata": {"name": "pv-a"}, "spec": {
            "claimRef": {"namespace": "ns", "name": "claim-a"},
            "csi": {"nodePublishSecretRef": {"namespace": "other", "name": "csi-secret"}}}}),
        ),
        ("volumeattachments.storage.k8s.io", json!({"metadata": {"name": "va"}, "spec": {"nodeName": "n1"}})),
    ]);
    let objects: Arc<dyn Objects> = fake;
    let authorizer = NodeAuthorizer::start(&objects);
    authorizer.synced().await;
    authorizer
}

/// `verb group/resource/subresource namespace name field-selector`, dashes for what is empty.
fn allowed(authorizer: &NodeAuthorizer, text: &str) -> bool {
    let user = UserInfo {
        name: "system:node:n1".into(),
        groups: vec!["system:nodes".into()],
        ..UserInfo::default()
    };
    let words: Vec<&str> = text.split_whitespace().map(|w| if w == "-" { "" } else { w }).collect();
    let mut what = words[1].split('/');
    let attributes = Attributes {
        user: &user,
        verb: words[0],
        is_resource: true,
        path: "",
        group: what.next().unwrap(),
        version: "v1",
        resource: what.next().unwrap(),
        subresource: what.next().unwrap_or(""),
        namespace: words.get(2).unwrap_or(&""),
        name: words.get(3).unwrap_or(&""),
        label_selector: "",
        field_selector: words.get(4).unwrap_or(&""),
    };
    matches!(authorizer.decide(&attributes), Decision::Allow(_))
}

#[tokio::test]
async fn table() {
    let authorizer = authorizer().await;
    for text in [
        "get /secrets ns env-a",
        "watch /secrets ns pull-a",
        "get /secrets ns proj-a",
        "get /secrets other csi-secret",
        "get /configmaps ns from-a",
        "get /persistentvolumeclaims ns claim-a",
        "get /persistentvolumeclaims ns a-e",
        "update /persistentvolumeclaims/status ns claim-a",
        "get /persistentvolumes - pv-a",
        "create /serviceaccounts/token ns sa-a",
        "get /nodes - n1",
        "list /nodes - - metadata.name=n1",
        "create /nodes - n1",
        "patch /nodes/status - n1",
        "get /pods ns a",
        "get /pods ns m",
        "list /pods - - spec.nodeName=n1",
        "patch /pods/status ns a",
        "delete /pods ns a",
        "create coordination.k8s.io/leases kube-node-lease",
        "update coordination.k8s.io/leases kube-node-lease n1",
        "get storage.k8s.io/csinodes - n1",
        "get storage.k8s.io/volumeattachments - va",
        "list /services",
        "create /events ns",
        "create authentication.k8s.io/tokenreviews",
    ] {
        assert!(allowed(&authorizer, text), "should be allowed: {text}");
    }
    for text in [
        "get /secrets ns env-b",
        "list /secrets ns",
        "update /secrets ns env-a",
        "get /secrets other env-a",
        "get /configmaps ns from-b",
        "get /persistentvolumeclaims ns claim-b",
        "get /persistentvolumes - pv-b",
        "create /serviceaccounts/token ns sa-b",
        "create /serviceaccounts/token ns sa-m",
        "get /nodes - n2",
        "list /nodes",
        "delete /nodes - n1",
        "get /pods ns b",
        "list /pods",
        "list /pods - - spec.nodeName=n2",
        "update /pods ns a",
        "update coordination.k8s.io/leases kube-node-lease n2",
        "update coordination.k8s.io/leases default n1",
        "get storage.k8s.io/csinodes - n2",
        "list apps/deployments",
    ] {
        assert!(!allowed(&authorizer, text), "should not be allowed: {text}");
    }
}

#[test]
fn a_pod_that_goes_takes_its_references_along() {
    let mut graph = Graph::default();
    graph.set_pod(&value(pod("a", "n1", json!({}))));
    assert!(graph.reaches("n1", Kind::Secret, "ns", "env-a"));
    graph.remove_pod(&value(pod("a", "n1", json!({}))));
    assert!(!graph.reaches("n1", Kind::Secret, "ns", "env-a"));
}

#[test]
fn identity_needs_name_and_group() {
    let user = |name: &str, groups: &[&str]| UserInfo {
        name: name.into(),
        groups: groups.iter().map(|g| (*g).to_owned()).collect(),
        ..UserInfo::default()
    };
    assert_eq!(node_identity(&user("system:node:a", &["system:nodes"])), Some("a"));
    assert_eq!(node_identity(&user("system:node:a", &[])), None);
    assert_eq!(node_identity(&user("a", &["system:nodes"])), None);
}
