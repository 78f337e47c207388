//! Reviews over a small set of roles.

use std::sync::Arc;

use apiserver::endpoint::{Answer, Query};
use apiserver::resource::Objects;
use serde_json::json;

use super::*;
use crate::authn::{self, token_file::TokenFile};
use crate::authz::Mode;
use crate::testing::{Fake, context, value};
use crate::webhook::json::to_json;

async fn post(
    endpoint: &dyn Endpoint,
    user: UserInfo,
    object: serde_json::Value,
) -> Result<serde_json::Value, Status> {
    let mut cx = context(user);
    cx.info.namespace = "ns".into();
    let call = Call::Object { verb: Verb::Create, object: value(object), query: Query::default() };
    match endpoint.call(&cx, call).await? {
        Answer::Object(201, object) => Ok(to_json(&object)["status"].clone()),
        _ => panic!("a review answers 201 with itself"),
    }
}

fn joe() -> UserInfo {
    UserInfo { name: "joe".into(), groups: vec!["dev".into()], ..UserInfo::default() }
}

async fn authorization() -> Arc<Authorization> {
    let objects: Arc<dyn Objects> = Fake::with(&[
        (
            "clusterroles.rbac.authorization.k8s.io",
            json!({"metadata": {"name": "r"}, "rules": [
            {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, {"verbs": ["get"], "nonResourceURLs": ["/version"]}]}),
        ),
        (
            "clusterrolebindings.rbac.authorization.k8s.io",
            json!({"metadata": {"name": "b"},
            "subjects": [{"kind": "Group", "name": "dev"}], "roleRef": {"kind": "ClusterRole", "name": "r"}}),
        ),
    ]);
    let authorization = Authorization::new(&[Mode::Node, Mode::Rbac], &objects);
    authorization.synced().await;
    authorization
}

#[tokio::test]
async fn access() {
    let authorization = authorization().await;
    let review = |subject| AccessReview { subject, authorization: authorization.clone() };
    let get = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "ns"}}});
    assert_eq!(
        post(&review(Subject::Caller), joe(), get.clone()).await.unwrap(),
        json!({"allowed": true, "reason": "RBAC: allowed by ClusterRoleBinding \"b\" of ClusterRole \"r\" to Group \"dev\""})
    );
    let list = json!({"spec": {"resourceAttributes": {"verb": "list", "resource": "pods"}}});
    assert_eq!(post(&review(Subject::Caller), joe(), list).await.unwrap(), json!({"allowed": false}));
    let path = json!({"spec": {"nonResourceAttributes": {"verb": "get", "path": "/version"}}});
    assert_eq!(post(&review(Subject::Caller), joe(), path).await.unwrap()["allowed"], true);
    let named =
        json!({"spec": {"groups": ["dev"], "resourceAttributes": {"verb": "get", "resource": "pods"}}});
    assert_eq!(post(&review(Subject::Named), UserInfo::default(), named).await.unwrap()["allowed"], true);
    assert_eq!(post(&review(Subject::Named), joe(), get).await.unwrap_err().code, 422);
    let elsewhere = json!({"spec": {"user": "x", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "other"}}});
    assert_eq!(post(&review(Subject::Local), joe(), elsewhere).await.unwrap_err().code, 422);
    assert_eq!(post(&review(Subject::Caller), joe(), json!({"spec": {}})).await.unwrap_err().code, 422);
}

#[tokio::test]
async fn rules() {
    let review = RulesReview { authorization: authorization().await };
    let status = post(&review, joe(), json!({"spec": {"namespace": "ns"}})).await.unwrap();
    assert_eq!(
        status,
        json!({"resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}],
            "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/version"]}], "incomplete": false})
    );
    assert_eq!(post(&review, joe(), json!({"spec": {}})).await.unwrap_err().code, 400);
}

#[tokio::test]
async fn identities() {
    let config = authn::Config {
        tokens: Some(TokenFile::parse("t,amy,7,\"a,b\"").unwrap()),
        api_audiences: vec!["api".into()],
        ..authn::Config::default()
    };
    let review =
        TokenReview { authentication: Arc::new(Authentication::new(config, Arc::new(Fake::default()))) };
    let status = post(&review, joe(), json!({"spec": {"token": "t"}})).await.unwrap();
    assert_eq!(
        status,
        json!({"authenticated": true, "audiences": ["api"],
            "user": {"username": "amy", "uid": "7", "groups": ["a", "b", "system:authenticated"]}})
    );
    let unknown = json!({"user": {}, "error": "invalid bearer token"});
    assert_eq!(post(&review, joe(), json!({"spec": {"token": "x"}})).await.unwrap(), unknown);
    let other = json!({"spec": {"token": "t", "audiences": ["other"]}});
    assert_eq!(post(&review, joe(), other).await.unwrap(), unknown);
    assert_eq!(post(&review, joe(), json!({})).await.unwrap_err().code, 400);
    let own = post(&SelfReview, joe(), json!({})).await.unwrap();
    assert_eq!(own, json!({"userInfo": {"username": "joe", "groups": ["dev"]}}));
}
