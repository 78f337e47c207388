//! One pod on the node: what it asks for ([`view`]), what to do next ([`plan`]), who does it (the worker).

pub mod plan;
pub mod view;

pub use view::{PodExt, Role, is_sidecar};
