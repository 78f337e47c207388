//! What can go wrong in a request.

use apimachinery::{Reason, Status};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with a `Status`.
    #[error("{0}")]
    Api(Status),
    /// The server was not reached, or the connection broke.
    #[error("{method} {path}: {source}")]
    Transport { method: String, path: String, source: Box<kube::Error> },
    /// The answer, or the object to send, does not have the expected shape.
    #[error("{what}: {source}")]
    Json { what: String, source: serde_json::Error },
    /// The request could not be built, such as from a name that no path can hold.
    #[error("building the request: {0}")]
    Request(#[from] http::Error),
}

impl Error {
    /// The server's `Status`, if it answered.
    pub fn status(&self) -> Option<&Status> {
        if let Self::Api(status) = self { Some(status) } else { None }
    }

    pub fn is(&self, reason: Reason) -> bool {
        self.status().is_some_and(|s| s.reason == reason)
    }

    pub fn is_not_found(&self) -> bool {
        self.is(Reason::NotFound)
    }

    pub fn is_conflict(&self) -> bool {
        self.is(Reason::Conflict)
    }

    pub fn is_already_exists(&self) -> bool {
        self.is(Reason::AlreadyExists)
    }

    pub fn is_forbidden(&self) -> bool {
        self.is(Reason::Forbidden)
    }

    pub fn is_invalid(&self) -> bool {
        self.is(Reason::Invalid)
    }

    /// 410: the resourceVersion or continue token is too old.
    pub fn is_expired(&self) -> bool {
        self.is(Reason::Expired) || self.is(Reason::Gone)
    }

    pub fn is_too_many_requests(&self) -> bool {
        self.is(Reason::TooManyRequests)
    }

    /// A 403 because the namespace is being deleted (`details.causes[].reason` NamespaceTerminating).
    pub fn is_namespace_terminating(&self) -> bool {
        self.status()
            .and_then(|s| s.details.as_ref())
            .is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"))
    }

    /// A timeout after which the server may still have done what it was asked for.
    pub fn is_timeout(&self) -> bool {
        self.is(Reason::Timeout) || self.is(Reason::ServerTimeout)
    }

    /// Seconds after which the server wants to be asked again.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        let details = self.status()?.details.as_ref()?;
        u32::try_from(details.retry_after_seconds).ok().filter(|n| *n > 0)
    }
}
