//! The reviews: who a token is (TokenReview, SelfSubjectReview), and what somebody may do (SubjectAccessReview and
//! its kin). None is stored.

mod access;
mod identity;

use std::sync::Arc;

use api::{Map, Value};
use apimachinery::{GroupResource, Status};
use apiserver::endpoint::{Call, Endpoint, Verb};
use apiserver::request::UserInfo;

pub use access::{AccessReview, RulesReview, Subject};
pub use identity::{SelfReview, TokenReview};

use crate::authn::Authentication;
use crate::authz::Authorization;

/// All of them, by group and resource.
pub fn endpoints(
    authentication: &Arc<Authentication>,
    authorization: &Arc<Authorization>,
) -> Vec<(&'static str, &'static str, Arc<dyn Endpoint>)> {
    let access = |subject| Arc::new(AccessReview { subject, authorization: authorization.clone() });
    const AUTHN: &str = "authentication.k8s.io";
    const AUTHZ: &str = "authorization.k8s.io";
    vec![
        (AUTHN, "tokenreviews", Arc::new(TokenReview { authentication: authentication.clone() })),
        (AUTHN, "selfsubjectreviews", Arc::new(SelfReview)),
        (AUTHZ, "subjectaccessreviews", access(Subject::Named)),
        (AUTHZ, "localsubjectaccessreviews", access(Subject::Local)),
        (AUTHZ, "selfsubjectaccessreviews", access(Subject::Caller)),
        (AUTHZ, "selfsubjectrulesreviews", Arc::new(RulesReview { authorization: authorization.clone() })),
    ]
}

fn created(call: Call) -> Result<Value, Status> {
    match call {
        Call::Object { verb: Verb::Create, object, .. } => Ok(object),
        _ => Err(Status::method_not_allowed(&GroupResource::new("", "reviews"), "this verb")),
    }
}

/// `UserInfo` of authentication.k8s.io; what is empty is left out.
fn user_value(user: &UserInfo) -> Value {
    let mut map = Map::new();
    for (key, text) in [("username", &user.name), ("uid", &user.uid)] {
        if !text.is_empty() {
            map.push(key, text.as_str());
        }
    }
    if !user.groups.is_empty() {
        map.push("groups", user.groups.clone());
    }
    if !user.extra.is_empty() {
        let extra: Map = user.extra.iter().map(|(k, v)| (k.as_str().into(), v.clone().into())).collect();
        map.push("extra", extra);
    }
    Value::Map(map)
}

#[cfg(test)]
mod tests;
