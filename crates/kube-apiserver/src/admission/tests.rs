//! Tables of what plugins change and refuse.

use std::sync::Arc;

use api::Value;
use apimachinery::{GroupVersionKind, GroupVersionResource, Status};
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::request::UserInfo;
use apiserver::resource::Objects;
use serde_json::json;

use super::*;
use crate::authz::Mode;
use crate::testing::{Fake, context, value};
use crate::webhook::json::to_json;

/// One request: `pods`, `pods/status`, `storage.k8s.io:csinodes`.
struct Request {
    what: &'static str,
    operation: Operation,
    name: &'static str,
    object: Option<Value>,
    old: Option<Value>,
    user: UserInfo,
}

impl Request {
    fn create(what: &'static str, object: serde_json::Value) -> Self {
        Self {
            what,
            operation: Operation::Create,
            name: "x",
            object: Some(value(object)),
            old: None,
            user: UserInfo::default(),
        }
    }

    fn update(what: &'static str, object: serde_json::Value, old: serde_json::Value) -> Self {
        Self { operation: Operation::Update, old: Some(value(old)), ..Self::create(what, object) }
    }

    fn node(mut self, node: &str) -> Self {
        self.user = UserInfo {
            name: format!("system:node:{node}"),
            groups: vec!["system:nodes".into()],
            ..UserInfo::default()
        };
        self
    }

    /// Both phases of one plugin; the object as it is then.
    async fn run(self, plugin: &dyn Plugin) -> Result<Value, Status> {
        let cx = context(self.user);
        let (group, resource) = self.what.split_once(':').unwrap_or(("", self.what));
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let mut a = Attributes {
            cx: &cx,
            operation: self.operation,
            kind: GroupVersionKind::new(
                group,
                "v1",
                if resource == "namespaces" { "Namespace" } else { "Kind" },
            ),
            resource: GroupVersionResource::new(group, "v1", resource),
            subresource,
            namespace: "ns",
            name: self.name,
            object: self.object,
            old_object: self.old.map(Arc::new),
            options: Value::Null,
            rounds: apiserver::admission::Rounds::default(),
        };
        if plugin.handles(a.operation) {
            plugin.mutate(&mut a).await?;
            plugin.validate(&a).await?;
        }
        Ok(a.object.unwrap_or_default())
    }
}

fn objects(list: &[(&str, serde_json::Value)]) -> Arc<dyn Objects> {
    Fake::with(list)
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

#[test]
fn names_of_plugins() {
    let chosen = choose(&words(&["NodeRestriction"]), &words(&["Priority"])).unwrap();
    let position = |name| chosen.iter().position(|n| *n == name);
    assert!(position("ServiceAccount") < position("NodeRestriction"), "upstream's order");
    assert!(position("NodeRestriction").is_some() && position("Priority").is_none());
    assert_eq!(choose(&words(&["Nonsense"]), &[]), Err(Error::Unknown("enable", "Nonsense".into())));
    assert_eq!(choose(&words(&["Priority"]), &words(&["Priority"])), Err(Error::Both("Priority".into())));
    assert!(matches!(choose(&words(&["EventRateLimit"]), &[]), Err(Error::Unsupported(_))));
    assert!(choose(&words(&["ResourceQuota"]), &[]).unwrap().contains(&"ResourceQuota"));
}

#[tokio::test]
async fn namespaces() {
    let plugin = namespace::Lifecycle::new(objects(&[("namespaces", json!({"metadata": {"name": "ns"}}))]));
    assert!(Request::create("pods", json!({})).run(&plugin).await.is_ok());
    let absent = namespace::Lifecycle::new(objects(&[]));
    let error = Request::create("pods", json!({})).run(&absent).await.unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (404, r#"namespaces "ns" not found"#));
    let going = namespace::Lifecycle::new(objects(&[(
        "namespaces",
        json!({"metadata": {"name": "ns"}, "status": {"phase": "Terminating"}}),
    )]));
    let error = Request::create("pods", json!({})).run(&going).await.unwrap_err();
    assert_eq!(
        error.message,
        r#"pods "x" is forbidden: unable to create new content in namespace ns because it is being terminated"#
    );
    assert_eq!(error.details.as_ref().unwrap().causes[0].reason, "NamespaceTerminating");
    assert!(Request::update("pods", json!({}), json!({})).run(&going).await.is_ok());
    let kept = Request {
        operation: Operation::Delete,
        name: "kube-system",
        ..Request::create("namespaces", json!({}))
    };
    let error = kept.run(&plugin).await.unwrap_err();
    assert_eq!(error.message, r#"namespaces "kube-system" is forbidden: this namespace may not be deleted"#);
}

#[tokio::test]
async fn service_account_volume() {
    let account =
        json!({"metadata": {"namespace": "ns", "name": "default"}, "imagePullSecrets": [{"name": "pull"}]});
    let plugin = service_account::ServiceAccount::new(objects(&[("serviceaccounts", account)]));
    let other = json!({"name": "b", "volumeMounts": [
        {"name": "own", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]});
    let pod = json!({"spec": {"containers": [{"name": "a"}, other], "initContainers": [{"name": "i"}]}});
    let pod = to_json(&Request::create("pods", pod).run(&plugin).await.unwrap());
    let spec = &pod["spec"];
    assert_eq!(
        (&spec["serviceAccountName"], &spec["serviceAccount"]),
        (&json!("default"), &json!("default"))
    );
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "pull"}]));
    let name = spec["volumes"][0]["name"].as_str().unwrap();
    assert!(name.starts_with("kube-api-access-") && name.len() == "kube-api-access-".len() + 5);
    let mount = json!([{"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "name": name, "readOnly": true}]);
    assert_eq!(spec["containers"][0]["volumeMounts"], mount);
    assert_eq!(spec["initContainers"][0]["volumeMounts"], mount);
    assert_eq!(spec["containers"][1]["volumeMounts"][0]["name"], "own");
    assert_eq!(
        spec["volumes"][0]["projected"],
        json!({"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
            {"downwardAPI": {"items": [{"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}]}}]})
    );
    let without = json!({"spec": {"automountServiceAccountToken": false, "containers": [{"name": "a"}]}});
    let pod = Request::create("pods", without).run(&plugin).await.unwrap();
    assert!(pod.at(&["spec", "volumes"]).is_none());
    let error = Request::create("pods", json!({"spec": {"serviceAccountName": "nope"}}))
        .run(&plugin)
        .await
        .unwrap_err();
    assert_eq!(
        error.message,
        r#"pods "x" is forbidden: error looking up service account ns/nope: serviceaccount "nope" not found"#
    );
}

#[tokio::test]
async fn priorities() {
    let class = |name: &str, value: i64, default: bool| {
        (
            "priorityclasses.scheduling.k8s.io",
            json!({"metadata": {"name": name}, "value": value, "globalDefault": default}),
        )
    };
    let none = priority::Priority::new(objects(&[class("high", 1000, false)]));
    let spec = |pod: Value| to_json(pod.get("spec").unwrap());
    let pod = Request::create("pods", json!({"spec": {}})).run(&none).await.unwrap();
    assert_eq!(spec(pod), json!({"priority": 0, "preemptionPolicy": "PreemptLowerPriority"}));
    let named = json!({"spec": {"priorityClassName": "high"}});
    assert_eq!(spec(Request::create("pods", named).run(&none).await.unwrap())["priority"], 1000);
    let absent = json!({"spec": {"priorityClassName": "no"}});
    let error = Request::create("pods", absent).run(&none).await.unwrap_err();
    assert_eq!(error.message, r#"pods "x" is forbidden: no PriorityClass with name no was found"#);
    let wrong = json!({"spec": {"priorityClassName": "high", "priority": 5}});
    assert!(Request::create("pods", wrong).run(&none).await.is_err());
    let default = priority::Priority::new(objects(&[class("usual", 7, true)]));
    let pod = spec(Request::create("pods", json!({"spec": {}})).run(&default).await.unwrap());
    assert_eq!((&pod["priorityClassName"], &pod["priority"]), (&json!("usual"), &json!(7)));
    let second = json!({"metadata": {"name": "y"}, "globalDefault": true});
    assert!(Request::create("scheduling.k8s.io:priorityclasses", second).run(&default).await.is_err());
}

#[tokio::test]
async fn tolerations_and_taints() {
    let own = json!({"spec": {"tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}]}});
    let pod = Request::create("pods", own).run(&tolerations::DefaultTolerationSeconds).await.unwrap();
    let list = to_json(pod.at(&["spec", "tolerations"]).unwrap());
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(
        list[1],
        json!({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    );
    let all = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
    let pod = Request::create("pods", all).run(&tolerations::DefaultTolerationSeconds).await.unwrap();
    assert_eq!(pod.list_at(&["spec", "tolerations"]).len(), 1);
    let node = Request::create("nodes", json!({})).run(&taints::TaintNodesByCondition).await.unwrap();
    assert_eq!(
        to_json(&node)["spec"]["taints"],
        json!([{"effect": "NoSchedule", "key": "node.kubernetes.io/not-ready"}])
    );
}

#[tokio::test]
async fn limits() {
    let range = json!({"metadata": {"namespace": "ns", "name": "l"}, "spec": {"limits": [{"type": "Container",
        "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m", "memory": "64Mi"},
        "min": {"cpu": "50m"}, "max": {"cpu": "1"}}]}});
    let plugin = limit_ranger::LimitRanger::new(objects(&[("limitranges", range)]));
    let pod = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"memory": "1Gi"}}}]}});
    let pod = to_json(&Request::create("pods", pod).run(&plugin).await.unwrap());
    assert_eq!(
        pod["spec"]["containers"][0]["resources"],
        json!({"requests": {"memory": "1Gi", "cpu": "100m"}, "limits": {"cpu": "500m"}})
    );
    assert_eq!(
        pod["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    let greedy = json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "10m"}}}]}});
    let error = Request::create("pods", greedy).run(&plugin).await.unwrap_err();
    assert_eq!(
        error.message,
        "pods \"x\" is forbidden: [minimum cpu usage per Container is 50m, but request is 10m, maximum cpu usage per \
         Container is 1, but limit is 2]"
    );
    let sized = |limit: &str| json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": limit}}}]}});
    let resize = |limit: &str| Request::update("pods/resize", sized(limit), sized("1"));
    assert!(resize("1").run(&plugin).await.is_ok());
    assert!(
        resize("2").run(&plugin).await.unwrap_err().message.contains("maximum cpu usage per Container is 1")
    );
    assert!(Request::update("pods", sized("2"), sized("1")).run(&plugin).await.is_ok());
}

#[tokio::test]
async fn node_restriction_table() {
    let stored = objects(&[
        ("nodes", json!({"metadata": {"name": "n1", "uid": "u1"}})),
        (
            "pods",
            json!({"metadata": {"namespace": "ns", "name": "p", "uid": "pu"}, "spec": {"nodeName": "n1"}}),
        ),
    ]);
    let authorization = Authorization::new(&[Mode::Rbac], &stored);
    let plugin = node_restriction::NodeRestriction::new(stored, authorization);
    let mirror = |node: &str, uid: &str| {
        json!({"metadata": {"name": "m", "annotations": {"kubernetes.io/config.mirror": "h"}, "ownerReferences":
            [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid, "controller": true}]},
            "spec": {"nodeName": node}})
    };
    let labelled = |key: &str| json!({"metadata": {"name": "n1", "labels": {key: "v"}}});
    let token = |uid: &str| json!({"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid}}});
    let on = |node: &str| json!({"spec": {"nodeName": node}});
    let lease = |name: &str| json!({"metadata": {"name": name}});
    let node = |name: &'static str, request: Request| Request { name, ..request };
    for (expected, request) in [
        ("", Request::create("pods", mirror("n1", "u1"))),
        ("spec.nodeName set to itself", Request::create("pods", mirror("n2", "u1"))),
        ("UID mismatch", Request::create("pods", mirror("n1", "u2"))),
        ("can only create mirror pods", Request::create("pods", on("n1"))),
        ("can only create and delete mirror pods", Request::update("pods", on("n1"), on("n1"))),
        ("", Request::update("pods/status", on("n1"), on("n1"))),
        ("can only update pod status", Request::update("pods/status", on("n2"), on("n2"))),
        ("", node("", Request::create("nodes", labelled("kubernetes.io/hostname")))),
        ("", node("", Request::create("nodes", labelled("example.com/role")))),
        (
            "not allowed to set the following labels: node-role.kubernetes.io/control-plane",
            node("", Request::create("nodes", labelled("node-role.kubernetes.io/control-plane"))),
        ),
        (
            "not allowed to set the following labels",
            node("", Request::create("nodes", labelled("a.node-restriction.kubernetes.io/b"))),
        ),
        (
            "not allowed to modify node \"n2\"",
            node("n2", Request::update("nodes/status", json!({}), json!({}))),
        ),
        (
            "modify taints",
            node("n1", Request::update("nodes", json!({"spec": {"taints": [{"key": "a"}]}}), json!({}))),
        ),
        (
            "",
            node(
                "n1",
                Request::update(
                    "nodes",
                    json!({"metadata": {"labels": {"kubernetes.io/os": "x"}}}),
                    json!({}),
                ),
            ),
        ),
        (
            "modify labels: x.k8s.io/y",
            node("n1", Request::update("nodes", json!({}), labelled("x.k8s.io/y"))),
        ),
        ("can only access leases in the", Request::create("coordination.k8s.io:leases", lease("n1"))),
        ("", Request::create("storage.k8s.io:csinodes", lease("n1"))),
        ("same name as the requesting node", Request::create("storage.k8s.io:csinodes", lease("n2"))),
        ("without a uid", Request::create("serviceaccounts/token", token(""))),
        ("does not match the UID in record", Request::create("serviceaccounts/token", token("other"))),
        ("audience \"\" not found in pod spec", Request::create("serviceaccounts/token", token("pu"))),
        ("not bound to a pod", Request::create("serviceaccounts/token", json!({}))),
    ] {
        let what = format!("{} {:?}", request.what, request.object);
        let result = request.node("n1").run(&plugin).await;
        let message = result.err().map(|e| e.message.clone()).unwrap_or_default();
        assert_eq!(message.is_empty(), expected.is_empty(), "{what}: {message}");
        assert!(message.contains(expected), "{what}: {message}");
    }
    assert!(
        Request::create("pods", on("n1")).run(&plugin).await.is_ok(),
        "users that are no node are not restricted"
    );
}

#[tokio::test]
async fn runtime_classes() {
    let class = json!({"metadata": {"name": "vm"}, "overhead": {"podFixed": {"cpu": "1"}},
        "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]}});
    let plugin = runtime_class::RuntimeClass::new(objects(&[("runtimeclasses.node.k8s.io", class)]));
    let pod = json!({"spec": {"runtimeClassName": "vm"}});
    let pod = to_json(&Request::create("pods", pod).run(&plugin).await.unwrap());
    assert_eq!(
        pod["spec"],
        json!({"runtimeClassName": "vm", "overhead": {"cpu": "1"}, "nodeSelector": {"vm": "yes"},
        "tolerations": [{"key": "vm", "operator": "Exists"}]})
    );
    for (spec, why) in [
        (json!({"runtimeClassName": "no"}), "RuntimeClass \"no\" not found"),
        (json!({"overhead": {"cpu": "1"}}), "without corresponding RuntimeClass"),
        (json!({"runtimeClassName": "vm", "overhead": {"cpu": "2"}}), "doesn't match"),
        (
            json!({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}}),
            "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes",
        ),
    ] {
        let error = Request::create("pods", json!({"spec": spec})).run(&plugin).await.unwrap_err();
        assert!(error.message.contains(why), "{}", error.message);
    }
}

#[tokio::test]
async fn classes_and_finalizers() {
    let class = |name: &str, time: &str| {
        (
            "storageclasses.storage.k8s.io",
            json!({"metadata": {"name": name, "creationTimestamp": time,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "allowVolumeExpansion": true}),
        )
    };
    let stored = objects(&[class("old", "2026-01-01T00:00:00Z"), class("new", "2026-01-02T00:00:00Z")]);
    let plugin = default_class::DefaultStorageClass::new(stored.clone());
    let claim = Request::create("persistentvolumeclaims", json!({"spec": {}})).run(&plugin).await.unwrap();
    assert_eq!(claim.str_at(&["spec", "storageClassName"]), "new");
    let none = json!({"spec": {"storageClassName": ""}});
    let claim = Request::create("persistentvolumeclaims", none).run(&plugin).await.unwrap();
    assert_eq!(claim.str_at(&["spec", "storageClassName"]), "");
    let claim =
        Request::create("persistentvolumeclaims", json!({})).run(&storage::InUseProtection).await.unwrap();
    assert!(claim.meta().has_finalizer("kubernetes.io/pvc-protection"));

    let resize = storage::ClaimResize::new(stored);
    let sized = |size: &str, phase: &str| json!({"spec": {"storageClassName": "new", "resources": {"requests": {"storage": size}}}, "status": {"phase": phase}});
    let grow = |phase| Request::update("persistentvolumeclaims", sized("2Gi", phase), sized("1Gi", phase));
    assert!(grow("Bound").run(&resize).await.is_ok());
    assert!(grow("Pending").run(&resize).await.unwrap_err().message.contains("Only bound"));
}

fn a_quota(hard: serde_json::Value, status: serde_json::Value) -> Arc<Fake> {
    let quota =
        json!({"metadata": {"name": "q", "namespace": "ns"}, "spec": {"hard": hard}, "status": status});
    Fake::with(&[("resourcequotas", quota)])
}

#[tokio::test]
async fn quotas_count_what_comes() {
    let hard = json!({"pods": "2", "requests.cpu": "1", "services.nodeports": "1"});
    let status =
        json!({"hard": hard, "used": {"pods": "1", "requests.cpu": "500m", "services.nodeports": "0"}});
    let pod =
        |cpu: &str| json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}});
    let service = |kind: &str| json!({"spec": {"type": kind, "ports": [{"port": 1}, {"port": 2}]}});
    let (old, bare) = (service("ClusterIP"), json!({"spec": {"containers": [{"name": "c"}]}}));
    for (request, expected) in [
        (Request::create("pods", pod("400m")), Ok("2 900m 0")),
        (
            Request::create("pods", pod("600m")),
            Err(
                "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=500m, limited: requests.cpu=1",
            ),
        ),
        (Request::create("pods", bare), Err("failed quota: q: must specify requests.cpu for: c")),
        (Request::create("pods/status", pod("9")), Ok("1 500m 0")),
        (Request::create("secrets", json!({})), Ok("1 500m 0")),
        (Request::update("services", service("ClusterIP"), service("NodePort")), Ok("1 500m 0")),
        (
            Request::update("services", service("NodePort"), old),
            Err(
                "exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1",
            ),
        ),
    ] {
        let objects = a_quota(hard.clone(), status.clone());
        let shown = format!("{} {:?}", request.what, request.object);
        let answer = request.run(&quota::ResourceQuota::new(objects.clone())).await;
        match (answer, expected) {
            (Ok(_), Ok(used)) => {
                let quota = objects.get(&context::RESOURCE_QUOTAS, "ns", "q").unwrap().value;
                let found = ["pods", "requests.cpu", "services.nodeports"]
                    .map(|name| quota.str_at(&["status", "used", name]).to_owned());
                assert_eq!(found.join(" "), used, "{shown}");
            }
            (Err(e), Err(why)) => assert!(e.message.ends_with(why), "{shown}: {}", e.message),
            (found, _) => panic!("{shown}: {found:?}"),
        }
    }
    let fresh = a_quota(json!({"pods": "2"}), json!({}));
    let refused = Request::create("pods", pod("1")).run(&quota::ResourceQuota::new(fresh)).await.unwrap_err();
    assert!(refused.message.ends_with("status unknown for quota: q, resources: pods"), "{}", refused.message);
}
