//! What is served without being a stored object: reviews, bindings, token requests, evictions, scale, logs, exec,
//! proxies. An endpoint stands at a resource or at a subresource of one.

use api::Value;
use apimachinery::Status;
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;

use crate::auth::Peer;
use crate::request::RequestContext;

/// Bodies of answers, whatever they come from.
pub type Body = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// What an endpoint gets, after authentication and authorization.
pub enum Call {
    /// A decoded, canonical object of the endpoint's kind (POST, PUT; PATCH is resolved by the registry first
    /// through [`Endpoint::current`]).
    Object { verb: Verb, object: Value, query: Query },
    /// GET or DELETE.
    Plain { verb: Verb, query: Query },
    /// Connect: the request as it came, for proxies and upgrades. Only for endpoints that say so by
    /// [`Endpoint::is_connect`].
    Connect(Box<http::Request<hyper_body::Incoming>>, Peer),
}

/// The request body of a connect call, from the wire or from memory.
pub mod hyper_body {
    /// See [`super::Body`].
    pub type Incoming = super::Body;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Create,
    Update,
    Delete,
}

/// The query's pairs, decoded, in their order.
#[derive(Clone, Debug, Default)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    pub fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|text| text != "0" && !text.eq_ignore_ascii_case("false"))
    }
}

/// What an endpoint answers.
pub enum Answer {
    /// Encoded by content negotiation like any object, with this HTTP code.
    Object(u16, Value),
    /// Sent as it is (logs, upgrades, proxied answers).
    Raw(http::Response<Body>),
}

#[async_trait]
pub trait Endpoint: Send + Sync {
    async fn call(&self, cx: &RequestContext, call: Call) -> Result<Answer, Status>;

    /// The present object of an endpoint that can be patched (scale): what PATCH applies to before it calls
    /// [`Endpoint::call`] with an update.
    async fn current(&self, cx: &RequestContext) -> Result<Value, Status> {
        let _ = cx;
        Err(Status::new(405, apimachinery::Reason::MethodNotAllowed, "this resource cannot be patched"))
    }

    /// True: the endpoint takes the request as it is, every method, and the path below it.
    fn is_connect(&self) -> bool {
        false
    }
}
