//! `Status`: the one error that the API answers with. Every other error type becomes one in one place.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::field;
use crate::gvk::{GroupKind, GroupResource};

/// `Status.reason`, with the HTTP code that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    #[serde(rename = "")]
    Unknown,
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Invalid,
    ServerTimeout,
    StoreReadError,
    Timeout,
    TooManyRequests,
    BadRequest,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    InternalError,
    Expired,
    ServiceUnavailable,
}

/// One cause in `details.causes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: i32,
}

fn is_zero(n: &i32) -> bool {
    *n == 0
}

/// A failed request, in the fields of `meta.k8s.io` Status. Boxed inside, so that a `Result` stays small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inner {
    pub code: u16,
    pub reason: Reason,
    pub message: String,
    pub details: Option<Details>,
    /// `metadata.continue` of the answer to a list whose token has expired; else "".
    pub continue_token: String,
}

impl std::ops::Deref for Status {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl std::ops::DerefMut for Status {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.0
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

fn of_resource(resource: &GroupResource, name: &str) -> Details {
    Details {
        name: name.into(),
        group: resource.group.to_string(),
        kind: resource.resource.to_string(),
        ..Details::default()
    }
}

impl Status {
    pub fn new(code: u16, reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            reason,
            message: message.into(),
            details: None,
            continue_token: String::new(),
        }))
    }

    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = Some(details);
        self
    }

    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::new(404, Reason::NotFound, format!("{resource} {name:?} not found"))
            .with_details(of_resource(resource, name))
    }

    /// The 404 of a path that no resource serves.
    pub fn no_route() -> Self {
        Self::new(404, Reason::NotFound, "the server could not find the requested resource")
            .with_details(Details::default())
    }

    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::new(409, Reason::AlreadyExists, format!("{resource} {name:?} already exists"))
            .with_details(of_resource(resource, name))
    }

    pub fn conflict(resource: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        Self::new(
            409,
            Reason::Conflict,
            format!("Operation cannot be fulfilled on {resource} {name:?}: {why}"),
        )
        .with_details(of_resource(resource, name))
    }

    /// The conflict of an update whose resourceVersion is not the present one.
    pub fn modified(resource: &GroupResource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub fn forbidden(resource: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        let message = match (resource.resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{resource} is forbidden: {why}"),
            (false, false) => format!("{resource} {name:?} is forbidden: {why}"),
        };
        Self::new(403, Reason::Forbidden, message).with_details(of_resource(resource, name))
    }

    pub fn unauthorized() -> Self {
        Self::new(401, Reason::Unauthorized, "Unauthorized")
    }

    pub fn bad_request(why: impl Into<String>) -> Self {
        Self::new(400, Reason::BadRequest, why)
    }

    /// 422 with a cause an error, in upstream's words: one error stands alone, several in brackets.
    pub fn invalid(kind: &GroupKind, name: &str, errors: &[field::Error]) -> Self {
        let mut seen: Vec<String> = Vec::new();
        for text in errors.iter().map(ToString::to_string) {
            if !seen.contains(&text) {
                seen.push(text);
            }
        }
        let list = if seen.len() == 1 { seen.remove(0) } else { format!("[{}]", seen.join(", ")) };
        let causes = errors
            .iter()
            .map(|e| Cause { reason: e.kind.reason().into(), message: e.body(), field: e.field.to_string() })
            .collect();
        let message = if errors.is_empty() {
            format!("{kind} {name:?} is invalid")
        } else {
            format!("{kind} {name:?} is invalid: {list}")
        };
        Self::new(422, Reason::Invalid, message).with_details(Details {
            name: name.into(),
            group: kind.group.to_string(),
            kind: kind.kind.to_string(),
            causes,
            ..Details::default()
        })
    }

    /// 410 for a resourceVersion or continue token that compaction has passed.
    pub fn expired(why: impl Into<String>) -> Self {
        Self::new(410, Reason::Expired, why)
    }

    pub fn gone(why: impl Into<String>) -> Self {
        Self::new(410, Reason::Gone, why)
    }

    pub fn method_not_allowed(resource: &GroupResource, action: &str) -> Self {
        Self::new(
            405,
            Reason::MethodNotAllowed,
            format!("{action} is not supported on resources of kind {:?}", resource.to_string()),
        )
        .with_details(of_resource(resource, ""))
    }

    pub fn not_acceptable(why: impl Into<String>) -> Self {
        Self::new(406, Reason::NotAcceptable, why)
    }

    pub fn unsupported_media_type(why: impl Into<String>) -> Self {
        Self::new(415, Reason::UnsupportedMediaType, why)
    }

    pub fn too_large(why: impl Into<String>) -> Self {
        Self::new(413, Reason::RequestEntityTooLarge, why)
    }

    pub fn internal(why: impl fmt::Display) -> Self {
        Self::new(500, Reason::InternalError, format!("Internal error occurred: {why}")).with_details(
            Details {
                causes: vec![Cause { message: why.to_string(), ..Cause::default() }],
                ..Details::default()
            },
        )
    }

    pub fn timeout(why: impl Into<String>, retry_after_seconds: i32) -> Self {
        Self::new(504, Reason::Timeout, why)
            .with_details(Details { retry_after_seconds, ..Details::default() })
    }

    pub fn too_many_requests(why: impl Into<String>, retry_after_seconds: i32) -> Self {
        Self::new(429, Reason::TooManyRequests, why)
            .with_details(Details { retry_after_seconds, ..Details::default() })
    }

    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::new(503, Reason::ServiceUnavailable, why)
    }

    pub fn is(&self, reason: Reason) -> bool {
        self.reason == reason
    }

    /// The JSON of the whole `Status` object, fields in Go's order.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            kind: &'static str,
            api_version: &'static str,
            metadata: serde_json::Map<String, serde_json::Value>,
            status: &'static str,
            #[serde(skip_serializing_if = "str::is_empty")]
            message: &'a str,
            #[serde(skip_serializing_if = "is_unknown")]
            reason: Reason,
            #[serde(skip_serializing_if = "Option::is_none")]
            details: &'a Option<Details>,
            code: u16,
        }
        fn is_unknown(reason: &Reason) -> bool {
            *reason == Reason::Unknown
        }
        let wire = Wire {
            kind: "Status",
            api_version: "v1",
            metadata: (!self.continue_token.is_empty())
                .then(|| ("continue".to_owned(), serde_json::Value::from(self.continue_token.as_str())))
                .into_iter()
                .collect(),
            status: "Failure",
            message: &self.message,
            reason: self.reason,
            details: &self.details,
            code: self.code,
        };
        serde_json::to_string(&wire).unwrap_or_default()
    }
}
