//! kube-apiserver: what the generic server does not know. A strategy a kind, allocators, bootstrap objects,
//! authenticators, authorizers, admission, endpoints, custom resources; and putting it all together.

pub mod admission;
pub mod aggregator;
pub mod allocators;
mod audit;
pub mod authn;
pub mod authz;
pub mod bootstrap;
pub mod conversion;
pub mod crd;
pub mod endpoints;
pub mod options;
pub mod server;
pub mod strategies;
pub mod webhook;

pub use server::{Error, InProcess, run};

#[cfg(test)]
pub(crate) mod testing;
