//! What is served without being an object of its own: actions on pods, tokens, approvals, component statuses.

pub mod binding;
pub mod component_status;
pub mod connect;
pub mod eviction;
pub mod kinds;
pub mod openid;
pub mod parts;
pub mod reviews;
pub mod token;
