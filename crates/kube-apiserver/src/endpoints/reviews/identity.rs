//! TokenReview and SelfSubjectReview.

use std::sync::Arc;

use api::{Map, Value};
use apimachinery::Status;
use apiserver::endpoint::{Answer, Call, Endpoint};
use apiserver::request::RequestContext;
use async_trait::async_trait;

use super::{created, user_value};
use crate::authn::Authentication;

pub struct TokenReview {
    pub authentication: Arc<Authentication>,
}

#[async_trait]
impl Endpoint for TokenReview {
    async fn call(&self, _: &RequestContext, call: Call) -> Result<Answer, Status> {
        let mut review = created(call)?;
        let token = review.str_at(&["spec", "token"]);
        if token.is_empty() {
            return Err(Status::bad_request("token is required for TokenReview in authentication"));
        }
        let asked =
            review.list_at(&["spec", "audiences"]).iter().filter_map(Value::as_str).map(str::to_owned);
        let asked: Vec<String> = asked.collect();
        let mut status = Map::new();
        match self.authentication.authenticate_token(token, &asked) {
            Ok(Some(found)) => {
                status.push("authenticated", true);
                status.push("user", user_value(&found.user));
                if !found.audiences.is_empty() {
                    status.push("audiences", found.audiences);
                }
            }
            Ok(None) => {
                status.push("user", Value::map());
                status.push("error", "invalid bearer token");
            }
            Err(error) => {
                status.push("user", Value::map());
                status.push("error", error.to_string());
            }
        }
        review.set_at(&["status"], status);
        Ok(Answer::Object(201, review))
    }
}

pub struct SelfReview;

#[async_trait]
impl Endpoint for SelfReview {
    async fn call(&self, cx: &RequestContext, call: Call) -> Result<Answer, Status> {
        let mut review = created(call)?;
        review.set_at(&["metadata", "creationTimestamp"], apimachinery::time::format(cx.now));
        review.set_at(&["status", "userInfo"], user_value(&cx.user));
        Ok(Answer::Object(201, review))
    }
}
