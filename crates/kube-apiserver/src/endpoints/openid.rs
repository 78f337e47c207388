//! `/.well-known/openid-configuration` and `/openid/v1/jwks`: how others verify our service account tokens.

use apimachinery::Status;
use apiserver::endpoint::{Answer, Call, Endpoint};
use apiserver::request::RequestContext;
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};

use crate::authn::service_account::discovery::Documents;

pub struct OpenId {
    pub documents: Documents,
}

#[async_trait]
impl Endpoint for OpenId {
    async fn call(&self, cx: &RequestContext, _call: Call) -> Result<Answer, Status> {
        let (text, media) = self.documents.get(&cx.info.path).ok_or_else(Status::no_route)?;
        let body = Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {}).boxed();
        let response = http::Response::builder()
            .header(http::header::CONTENT_TYPE, media)
            .header(http::header::CACHE_CONTROL, "public, max-age=3600")
            .body(body)
            .map_err(Status::internal)?;
        Ok(Answer::Raw(response))
    }
}
