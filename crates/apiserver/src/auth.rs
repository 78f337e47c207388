//! The contracts of authentication and authorization. Implementations are `kube-apiserver`'s.

use std::sync::Arc;

use apimachinery::Status;
use async_trait::async_trait;

use crate::request::UserInfo;

/// What the connection itself proves, beside the request's headers.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// DER of the client's certificate chain, leaf first; empty without one.
    pub certificates: Vec<Vec<u8>>,
    pub address: Option<std::net::SocketAddr>,
    /// Set on in-memory calls of components in this process: who the component is by construction of its
    /// transport. Only the process itself can set it.
    pub in_process: Option<Arc<UserInfo>>,
}

/// An accepted identity.
#[derive(Clone, Debug)]
pub struct Authenticated {
    pub user: Arc<UserInfo>,
    /// Empty unless the authenticator checked audiences.
    pub audiences: Vec<String>,
}

#[async_trait]
pub trait Authenticator: Send + Sync {
    /// None: this authenticator has no opinion. Err: credentials were there and are bad; a union goes on with the
    /// next and answers 401 when none accepts.
    async fn authenticate(
        &self,
        request: &http::request::Parts,
        peer: &Peer,
    ) -> Result<Option<Authenticated>, Status>;
}

/// What is asked of an authorizer, in the terms of a SubjectAccessReview.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    pub user: &'a UserInfo,
    pub verb: &'a str,
    /// False: `path` counts; true: the fields below it.
    pub is_resource: bool,
    pub path: &'a str,
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub label_selector: &'a str,
    pub field_selector: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow(String),
    Deny(String),
    NoOpinion(String),
}

#[async_trait]
pub trait Authorizer: Send + Sync {
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision;
}
