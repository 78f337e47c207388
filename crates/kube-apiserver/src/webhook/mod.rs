//! Calls out of the API server: admission and conversion webhooks.

pub mod admission;
pub mod json;
pub mod outgoing;

/// The configured webhooks.
pub struct Webhooks;
