//! `authorizer`: questions to the cluster's authorizers out of an expression (`kubernetes.authz`).

use std::sync::Arc;

use apimachinery::fields::Selector as FieldSelector;
use apimachinery::labels::Selector;

/// A question: may who is asked for do this? Who that is, the [`Authorizer`] knows, unless a service account is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRequest {
    /// (namespace, name) where the expression asks for a service account rather than for the requester.
    pub service_account: Option<(Arc<str>, Arc<str>)>,
    pub verb: String,
    pub target: Target,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Path(String),
    Resource(ResourceTarget),
}

/// A resource; "" where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceTarget {
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// As written, with what it parses to (an error's text where it does not).
    pub field_selector: Option<(String, Result<FieldSelector, String>)>,
    pub label_selector: Option<(String, Result<Selector, String>)>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
    /// The text of the authorizer's error.
    pub error: Option<String>,
}

/// Who answers, for one requester. `None` ends the evaluation with
/// [`EvalError::Undecided`](crate::EvalError::Undecided), so that a caller whose authorizer is asynchronous can ask
/// it and evaluate again with the answer at hand.
pub trait Authorizer: Send + Sync {
    fn decide(&self, request: &AccessRequest) -> Option<Decision>;
}
