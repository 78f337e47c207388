//! Custom resources: CustomResourceDefinitions (their strategy, validation, names, finalizer) and what they become:
//! rows of the table, served by the same registry as built-in kinds.
//!
//! Deliberately absent: a second server.

mod check;
mod controller;
mod correlate;
mod custom;
pub mod definition;
mod expressions;
mod format;
pub mod naming;
mod rules;
mod schema_rules;
mod serve;
mod strategy;
mod structural;
#[cfg(test)]
mod tests;

pub use check::{check, check_lists, check_update};
pub use controller::Controller;
pub use custom::Custom;
pub use definition::Definition;
pub use expressions::Rules;
pub use serve::serve;
pub use strategy::CustomResourceDefinition;
pub use structural::type_of;

/// On a definition that is being deleted: its objects are still there.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
