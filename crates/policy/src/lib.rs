//! Admission by expressions: what policies, bindings and match conditions of admissionregistration.k8s.io mean.
//! Compiled once, evaluated as pure functions of what a request brings; for the API server, which admits by them, and
//! for the controller that checks their types.
//!
//! Deliberately absent: requests, watches, which policy is about which request (see `kube-apiserver`), and the language
//! itself (see `cel`).

mod compiler;
mod conditions;
mod environment;
mod mutating;
mod scope;
#[cfg(test)]
mod tests;
pub mod typecheck;
mod validating;

pub use compiler::{Compiler, Expression, Refused, Returns, Spent};
pub use conditions::{Conditions, Match};
pub use environment::Declared;
pub use mutating::{Mutating, Patch};
pub use scope::{Input, Scope, Variable};
pub use validating::{Annotation, Outcome, Validating, Verdict};
