//! Tables of rules and decisions, and the index under change.

use std::sync::Arc;

use apiserver::admission::{self, Operation, Plugin as _};
use apiserver::auth::{Attributes, Decision};
use apiserver::request::UserInfo;
use apiserver::resource::Objects;
use serde_json::json;

use super::escalation::EscalationCheck;
use super::*;
use crate::authz::{Authorization, Mode};
use crate::testing::{Fake, context, value};

fn attributes<'a>(
    user: &'a UserInfo,
    verb: &'a str,
    what: &'a str,
    namespace: &'a str,
    name: &'a str,
) -> Attributes<'a> {
    let (group, resource) = what.split_once(':').unwrap_or(("", what));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Attributes {
        user,
        verb,
        is_resource: true,
        path: "",
        group,
        version: "v1",
        resource,
        subresource,
        namespace,
        name,
        label_selector: "",
        field_selector: "",
    }
}

fn url<'a>(user: &'a UserInfo, verb: &'a str, path: &'a str) -> Attributes<'a> {
    Attributes { is_resource: false, path, ..attributes(user, verb, "", "", "") }
}

fn user(name: &str, groups: &[&str]) -> UserInfo {
    UserInfo {
        name: name.into(),
        groups: groups.iter().map(|g| (*g).to_owned()).collect(),
        ..UserInfo::default()
    }
}

#[test]
fn rules_match_as_upstream() {
    let u = user("u", &[]);
    let rule = |json| Rule::of(&value(json));
    let pods = rule(json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "*/scale"]}));
    let named =
        rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["secrets"], "resourceNames": ["a"]}));
    let urls = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/api/*"]}));
    for (rule, attributes, expected) in [
        (&pods, attributes(&u, "get", "pods", "n", "x"), true),
        (&pods, attributes(&u, "delete", "pods", "n", "x"), false),
        (&pods, attributes(&u, "get", "pods/log", "n", "x"), false),
        (&pods, attributes(&u, "get", "deployments/scale", "n", "x"), true),
        (&pods, attributes(&u, "get", "apps:deployments/scale", "n", "x"), false),
        (&named, attributes(&u, "get", "secrets", "n", "a"), true),
        (&named, attributes(&u, "get", "secrets", "n", "b"), false),
        (&named, attributes(&u, "list", "secrets", "n", ""), false),
        (&urls, url(&u, "get", "/healthz"), true),
        (&urls, url(&u, "get", "/healthz/ping"), false),
        (&urls, url(&u, "get", "/api/v1"), true),
        (&urls, url(&u, "post", "/api/v1"), false),
        (&urls, attributes(&u, "get", "pods", "", ""), false),
    ] {
        assert_eq!(rule.allows(&attributes), expected, "{} {attributes:?}", rule.describe());
    }
}

fn role(kind: &str, namespace: &str, name: &str, verbs: &[&str]) -> serde_json::Value {
    json!({"kind": kind, "metadata": {"namespace": namespace, "name": name},
        "rules": [{"verbs": verbs, "apiGroups": [""], "resources": ["pods"]}]})
}

fn binding(
    namespace: &str,
    name: &str,
    role: (&str, &str),
    subjects: serde_json::Value,
) -> serde_json::Value {
    json!({"metadata": {"namespace": namespace, "name": name}, "subjects": subjects,
        "roleRef": {"kind": role.0, "name": role.1}})
}

#[test]
fn the_index_follows_changes() {
    let mut index = Index::default();
    index.set_role(&value(role("ClusterRole", "", "reader", &["get"])));
    index.set_role(&value(role("Role", "ns", "writer", &["update"])));
    let all = json!([{"kind": "Group", "name": "team"}]);
    let sa = json!([{"kind": "ServiceAccount", "name": "robot"}]);
    index.set_binding(&value(binding("", "readers", ("ClusterRole", "reader"), all)));
    index.set_binding(&value(binding("ns", "robots", ("Role", "writer"), sa)));
    let member = user("m", &["team"]);
    let robot = user("system:serviceaccount:ns:robot", &[]);
    let allowed = |index: &Index, a: &Attributes<'_>| matches!(decide(index, a), Decision::Allow(_));

    assert!(allowed(&index, &attributes(&member, "get", "pods", "any", "x")));
    assert!(!allowed(&index, &attributes(&member, "update", "pods", "ns", "x")));
    assert!(allowed(&index, &attributes(&robot, "update", "pods", "ns", "x")));
    assert!(!allowed(&index, &attributes(&robot, "update", "pods", "other", "x")));
    assert_eq!(
        decide(&index, &attributes(&robot, "update", "pods", "ns", "x")),
        Decision::Allow(
            r#"RBAC: allowed by RoleBinding "robots/ns" of Role "writer" to ServiceAccount "robot/ns""#
                .into()
        )
    );

    // The same binding with another subject: the old one is out.
    index.set_binding(&value(binding(
        "",
        "readers",
        ("ClusterRole", "reader"),
        json!([{"kind": "User", "name": "x"}]),
    )));
    assert!(!allowed(&index, &attributes(&member, "get", "pods", "any", "x")));
    index.set_role(&value(role("Role", "ns", "writer", &["patch"])));
    assert!(!allowed(&index, &attributes(&robot, "update", "pods", "ns", "x")));
    assert!(allowed(&index, &attributes(&robot, "patch", "pods", "ns", "x")));
    index.remove_role(&value(role("Role", "ns", "writer", &[])));
    assert_eq!(
        decide(&index, &attributes(&robot, "patch", "pods", "ns", "x")),
        Decision::NoOpinion(r#"RBAC: role.rbac.authorization.k8s.io "writer" not found"#.into())
    );
    index.remove_binding(&value(binding("ns", "robots", ("Role", "writer"), json!([]))));
    assert_eq!(
        decide(&index, &attributes(&robot, "patch", "pods", "ns", "x")),
        Decision::NoOpinion(String::new())
    );
}

#[test]
fn cover() {
    let rule = |verbs: &[&str], resources: &[&str], names: &[&str]| {
        Rule::of(&value(
            json!({"verbs": verbs, "apiGroups": [""], "resources": resources, "resourceNames": names}),
        ))
    };
    let none = |owned: &[Rule], wanted: &[Rule]| uncovered(owned, wanted).is_empty();
    assert!(none(
        &[rule(&["get"], &["pods"], &[]), rule(&["list"], &["pods"], &[])],
        &[rule(&["get", "list"], &["pods"], &[])]
    ));
    assert!(none(&[rule(&["*"], &["*"], &[])], &[rule(&["get"], &["pods/log"], &["a"])]));
    assert!(none(&[rule(&["get"], &["*/log"], &[])], &[rule(&["get"], &["pods/log"], &[])]));
    assert!(!none(&[rule(&["get"], &["pods"], &["a"])], &[rule(&["get"], &["pods"], &[])]));
    assert!(none(&[rule(&["get"], &["pods"], &["a", "b"])], &[rule(&["get"], &["pods"], &["b"])]));
    let missing =
        uncovered(&[rule(&["get"], &["pods"], &[])], &[rule(&["get", "list", "watch"], &["pods"], &[])]);
    assert_eq!(missing[0].describe(), r#"{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}"#);
}

#[tokio::test]
async fn nobody_grants_what_he_does_not_hold() {
    let fake = Fake::with(&[
        ("clusterroles.rbac.authorization.k8s.io", role("ClusterRole", "", "reader", &["get"])),
        ("clusterroles.rbac.authorization.k8s.io", role("ClusterRole", "", "writer", &["update"])),
        (
            "clusterrolebindings.rbac.authorization.k8s.io",
            binding("", "b", ("ClusterRole", "reader"), json!([{"kind": "User", "name": "joe"}])),
        ),
    ]);
    let objects: Arc<dyn Objects> = fake;
    let authorization = Authorization::new(&[Mode::Rbac], &objects);
    authorization.synced().await;
    let check = EscalationCheck::new(authorization);
    let attempt = async |who: UserInfo, resource: &str, object: serde_json::Value| {
        let cx = context(who);
        let object = value(object);
        let attributes = admission::Attributes {
            cx: &cx,
            operation: Operation::Create,
            kind: apimachinery::GroupVersionKind::new(GROUP, "v1", "X"),
            resource: apimachinery::GroupVersionResource::new(GROUP, "v1", resource),
            subresource: "",
            namespace: "ns",
            name: "new",
            object: Some(object),
            old_object: None,
            options: api::Value::Null,
            rounds: admission::Rounds::default(),
        };
        check.validate(&attributes).await
    };
    let joe = || user("joe", &["g"]);
    assert!(attempt(joe(), "roles", role("Role", "ns", "new", &["get"])).await.is_ok());
    let refused = attempt(joe(), "roles", role("Role", "ns", "new", &["get", "delete"])).await.unwrap_err();
    assert_eq!(
        refused.message,
        "roles.rbac.authorization.k8s.io \"new\" is forbidden: user \"joe\" (groups=[\"g\"]) is attempting to grant RBAC \
         permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}"
    );
    assert!(attempt(UserInfo::loopback(), "roles", role("Role", "ns", "new", &["delete"])).await.is_ok());
    assert!(
        attempt(joe(), "rolebindings", binding("ns", "new", ("ClusterRole", "reader"), json!([])))
            .await
            .is_ok()
    );
    assert!(
        attempt(joe(), "rolebindings", binding("ns", "new", ("ClusterRole", "writer"), json!([])))
            .await
            .is_err()
    );
    let absent =
        attempt(joe(), "rolebindings", binding("ns", "new", ("ClusterRole", "absent"), json!([]))).await;
    assert_eq!(absent.unwrap_err().code, 404);
}
