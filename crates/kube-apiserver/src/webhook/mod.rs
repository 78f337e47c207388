//! Calls out of the API server: admission and conversion webhooks.

pub mod json;
