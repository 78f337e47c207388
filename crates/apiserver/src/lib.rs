//! The generic API server: everything about serving an API of kinds that is the same for every kind.
//!
//! The way of a request: [`http`] front (TLS, HTTP/1 and 2, or an in-memory call) -> request info ->
//! authentication -> authorization -> handlers -> admission -> registry -> store; answers come from the watch
//! cache. What a kind adds to the table of `api` is a [`strategy::Strategy`]; what is served without being
//! stored is an [`endpoint::Endpoint`]. [`server::ServerBuilder`] puts it together.
//!
//! Deliberately absent: any single kind (see `kube-apiserver`).

pub mod admission;
pub mod audit;
pub mod auth;
pub mod cache;
pub mod catalog;
pub mod codec;
pub mod endpoint;
pub mod form;
mod handlers;
pub mod http;
pub mod registry;
pub mod request;
pub mod resource;
pub mod server;
pub mod strategy;
