//! kube-apiserver
pub mod authn;
pub mod authz;
pub mod webhook;
#[cfg(test)]
pub(crate) mod testing;
