//! Requests to the API server, of any kind, in JSON. What is sent and what is read are the caller's types; an
//! answer that is no success is an [`Error::Api`] with the server's `Status`.

use std::sync::Arc;

use apimachinery::{Reason, Status, status::Details};
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::decode;
use crate::error::{Error, Result};
use crate::resource::Resource;

/// How the dependents of a deleted object are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// What an object must still be for a delete to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preconditions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

/// `meta.k8s.io/v1` DeleteOptions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preconditions: Option<Preconditions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation_policy: Option<Propagation>,
}

impl DeleteOptions {
    /// Only if the object still has this uid.
    pub fn uid(uid: &str) -> Self {
        let preconditions = Preconditions { uid: Some(uid.into()), resource_version: None };
        Self { preconditions: Some(preconditions), ..Self::default() }
    }
}

/// The media type of a patch; the body is given apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patch {
    Json,
    Merge,
    Strategic,
    /// Server-side apply by a field manager.
    Apply {
        manager: String,
        force: bool,
    },
}

impl Patch {
    fn media_type(&self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply { .. } => "application/apply-patch+yaml",
        }
    }
}

/// A list as the server gives it.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
pub struct List<T> {
    #[serde(default)]
    pub metadata: ListMeta,
    #[serde(default = "Vec::new")]
    pub items: Vec<T>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListMeta {
    pub resource_version: String,
    #[serde(rename = "continue")]
    pub continues: String,
    pub remaining_item_count: Option<i64>,
}

/// Sends requests; clones share the connection.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
    user_agent: Arc<str>,
    bearer: Option<Bearer>,
}

/// A token that is sent with each request; whoever keeps it fresh swaps it.
pub type Bearer = Arc<arc_swap::ArcSwapOption<http::HeaderValue>>;

impl Api {
    /// `user_agent` names the component in the server's logs, metrics and managedFields.
    pub fn new(client: kube::Client, user_agent: &str) -> Self {
        Self { client, user_agent: user_agent.into(), bearer: None }
    }

    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// The same connection under another name.
    #[must_use]
    pub fn with_user_agent(&self, user_agent: &str) -> Self {
        Self { client: self.client.clone(), user_agent: user_agent.into(), bearer: self.bearer.clone() }
    }

    /// Sends this token (an `Authorization` header's value) with each request.
    #[must_use]
    pub fn with_bearer(mut self, bearer: Bearer) -> Self {
        self.bearer = Some(bearer);
        self
    }

    /// Sends a request and gives its answer as it begins, if it is a success.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Response<Body>> {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, &*self.user_agent);
        if let Some(token) = self.bearer.as_ref().and_then(|b| b.load_full()) {
            request = request.header(header::AUTHORIZATION, (*token).clone());
        }
        let body = match body {
            Some((media_type, bytes)) => {
                request = request.header(header::CONTENT_TYPE, media_type);
                Body::from(bytes)
            }
            None => Body::empty(),
        };
        let answer = self.client.send(request.body(body)?).await.map_err(|e| transport(&method, path, e))?;
        if answer.status().is_success() { Ok(answer) } else { Err(failure(&method, path, answer).await) }
    }

    /// The whole answer's bytes.
    pub async fn bytes(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Bytes> {
        let answer = self.open(method.clone(), path, accept, body).await?;
        let collected = answer.into_body().collect().await.map_err(|e| transport(&method, path, e))?;
        Ok(collected.to_bytes())
    }

    /// Any JSON request; `body` is serialised, the answer read as `T`.
    pub async fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<T> {
        let bytes = self.bytes(method, path, "application/json", body).await?;
        decode::from_slice(&bytes)
            .map_err(|source| Error::Json { what: format!("the answer of {path}"), source })
    }

    pub async fn get<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<T> {
        self.request(Method::GET, &resource.path(namespace, name, ""), None).await
    }

    /// Metadata only, of an object of any kind.
    pub async fn get_metadata<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<T> {
        let path = resource.path(namespace, name, "");
        let bytes = self.bytes(Method::GET, &path, PARTIAL_OBJECT, None).await?;
        decode::from_slice(&bytes)
            .map_err(|source| Error::Json { what: format!("the answer of {path}"), source })
    }

    /// `query` is what follows `?`, already encoded, or empty.
    pub async fn list<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: &str,
        query: &str,
    ) -> Result<List<T>> {
        self.request(Method::GET, &with_query(resource.path(namespace, "", ""), query), None).await
    }

    pub async fn create<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: &str,
        object: &impl Serialize,
    ) -> Result<T> {
        self.request(Method::POST, &resource.path(namespace, "", ""), Some(json(object)?)).await
    }

    /// Creates through a subresource, such as `token`, `binding` or `eviction`.
    pub async fn create_subresource<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        object: &impl Serialize,
    ) -> Result<T> {
        self.request(Method::POST, &resource.path(namespace, name, subresource), Some(json(object)?)).await
    }

    /// Replaces an object, or with `subresource` that part of it.
    pub async fn update<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        object: &impl Serialize,
    ) -> Result<T> {
        self.request(Method::PUT, &resource.path(namespace, name, subresource), Some(json(object)?)).await
    }

    /// Reads an object, lets `change` edit it, and puts it (or that subresource of it) back at the resourceVersion that
    /// was read. `change` says whether anything is to be written; None where nothing was. A conflict is an error:
    /// whoever watches the object tries again.
    pub async fn modify<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        change: impl FnOnce(&mut serde_json::Value) -> bool,
    ) -> Result<Option<T>> {
        let mut object: serde_json::Value = self.get(resource, namespace, name).await?;
        if !change(&mut object) {
            return Ok(None);
        }
        self.update(resource, namespace, name, subresource, &object).await.map(Some)
    }

    pub async fn patch<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        patch: &Patch,
        body: &impl Serialize,
    ) -> Result<T> {
        let query = match patch {
            Patch::Apply { manager, force } => format!("fieldManager={}&force={force}", encode(manager)),
            _ => String::new(),
        };
        let path = with_query(resource.path(namespace, name, subresource), &query);
        self.request(Method::PATCH, &path, Some((patch.media_type(), json(body)?.1))).await
    }

    pub async fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<()> {
        let path = resource.path(namespace, name, "");
        self.request::<IgnoredAny>(Method::DELETE, &path, Some(json(options)?)).await.map(drop)
    }

    /// [`Api::delete`], with the answer: the object that is going, or a `Status`.
    pub async fn delete_answer<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<T> {
        self.request(Method::DELETE, &resource.path(namespace, name, ""), Some(json(options)?)).await
    }

    /// Deletes every object of a resource in a namespace; `query` may select.
    pub async fn delete_collection(
        &self,
        resource: &Resource,
        namespace: &str,
        query: &str,
        options: &DeleteOptions,
    ) -> Result<()> {
        let path = with_query(resource.path(namespace, "", ""), query);
        self.request::<IgnoredAny>(Method::DELETE, &path, Some(json(options)?)).await.map(drop)
    }
}

/// The Accept of one object's metadata, also in a watch.
pub const PARTIAL_OBJECT: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
/// The Accept of a list of metadata.
pub const PARTIAL_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

fn json(body: &impl Serialize) -> Result<(&'static str, Vec<u8>)> {
    let bytes = serde_json::to_vec(body)
        .map_err(|source| Error::Json { what: "the object to send".into(), source })?;
    Ok(("application/json", bytes))
}

pub(crate) fn with_query(mut path: String, query: &str) -> String {
    if !query.is_empty() {
        path.push('?');
        path.push_str(query);
    }
    path
}

/// Percent-encodes a query value.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

fn transport(method: &Method, path: &str, source: kube::Error) -> Error {
    Error::Transport { method: method.to_string(), path: path.into(), source: Box::new(source) }
}

async fn failure(method: &Method, path: &str, answer: Response<Body>) -> Error {
    let code = answer.status().as_u16();
    match answer.into_body().collect().await {
        Ok(body) => Error::Api(parse_status(code, &body.to_bytes())),
        Err(e) => transport(method, path, e),
    }
}

/// The `Status` in an answer; one made from the code where the body holds none.
pub(crate) fn parse_status(code: u16, body: &[u8]) -> Status {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Wire {
        kind: String,
        message: String,
        reason: String,
        details: Option<Details>,
        code: u16,
    }
    match decode::from_slice::<Wire>(body) {
        Ok(wire) if wire.kind == "Status" => {
            let reason = serde_json::from_value(wire.reason.into()).unwrap_or(Reason::Unknown);
            let mut status = Status::new(if wire.code == 0 { code } else { wire.code }, reason, wire.message);
            status.details = wire.details;
            status
        }
        _ => Status::new(code, reason_of(code), String::from_utf8_lossy(body).trim().to_owned()),
    }
}

fn reason_of(code: u16) -> Reason {
    match code {
        400 => Reason::BadRequest,
        401 => Reason::Unauthorized,
        403 => Reason::Forbidden,
        404 => Reason::NotFound,
        405 => Reason::MethodNotAllowed,
        406 => Reason::NotAcceptable,
        409 => Reason::Conflict,
        410 => Reason::Gone,
        415 => Reason::UnsupportedMediaType,
        422 => Reason::Invalid,
        429 => Reason::TooManyRequests,
        500 => Reason::InternalError,
        503 => Reason::ServiceUnavailable,
        504 => Reason::Timeout,
        _ => Reason::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read() {
        let body = br#"{"kind":"Status","status":"Failure","message":"m","reason":"Conflict","details":{"name":"n","kind":"pods"},"code":409}"#;
        let status = parse_status(409, body);
        assert_eq!((status.code, status.reason, &*status.message), (409, Reason::Conflict, "m"));
        assert_eq!(parse_status(503, b"down\n").reason, Reason::ServiceUnavailable);
        assert_eq!(parse_status(404, br#"{"kind":"Status","reason":"Novel"}"#).reason, Reason::Unknown);
    }

    #[test]
    fn query_values_are_encoded() {
        assert_eq!(encode("a=b,c!=d e"), "a%3Db%2Cc%21%3Dd%20e");
    }
}
