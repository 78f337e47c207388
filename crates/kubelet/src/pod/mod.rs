//! One pod on the node: what it asks for ([`view`]), what to do next ([`plan`]), who does it ([`worker`]).

mod busy;
pub mod kill;
pub mod plan;
#[cfg(test)]
pub(crate) mod plan_tests;
pub mod resize;
pub mod start;
mod sync;
pub mod view;
pub mod worker;

pub use view::{PodExt, Role, is_sidecar};
