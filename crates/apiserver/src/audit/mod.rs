//! Audit (audit.k8s.io/v1): who asked for what, when, with which outcome, as the policy's first fitting rule says.
//!
//! [`policy`] decides, [`event`] is what is written, [`record`] follows one request through the chain. Without a policy
//! the chain has no [`Auditor`], and no request pays for any of it.
//!
//! Deliberately absent: where events go (a [`Sink`] of the server's), annotations of admission, constraints of
//! impersonation.

pub mod event;
pub mod policy;
pub mod record;

use std::sync::Arc;

use api::Value;

pub use policy::{Policy, PolicyError};
pub(crate) use record::{Incoming, Record};

/// Takes events, each a JSON object without a line break.
pub trait Sink: Send + Sync {
    fn write(&self, event: &[u8]);
}

/// How much of a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    None,
    Metadata,
    Request,
    RequestResponse,
}

impl Level {
    fn named(name: &str) -> Option<Self> {
        [Self::None, Self::Metadata, Self::Request, Self::RequestResponse]
            .into_iter()
            .find(|l| l.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// When in a request's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    RequestReceived,
    /// Of long-running requests, and of those whose credentials were refused.
    ResponseStarted,
    ResponseComplete,
    Panic,
}

impl Stage {
    fn named(name: &str) -> Option<Self> {
        let all = [Self::RequestReceived, Self::ResponseStarted, Self::ResponseComplete, Self::Panic];
        all.into_iter().find(|s| s.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// A policy and where its events go.
pub struct Auditor {
    policy: Policy,
    sink: Arc<dyn Sink>,
}

impl Auditor {
    pub fn new(policy: Policy, sink: Arc<dyn Sink>) -> Self {
        Self { policy, sink }
    }
}

/// Objects and items of lists without `metadata.managedFields`.
fn without_managed(value: &mut Value) {
    value.remove_at(&["metadata", "managedFields"]);
    if let Some(items) = value.get_mut("items").and_then(Value::as_list_mut) {
        items.iter_mut().for_each(|item| drop(item.remove_at(&["metadata", "managedFields"])));
    }
}
