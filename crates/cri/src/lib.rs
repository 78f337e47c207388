//! Client of the Container Runtime Interface, version 1, over gRPC on a unix socket.
//!
//! [`Runtime`] wraps both services (runtime and images) with a time limit a call. It holds no state besides
//! the connection, decides nothing, and deliberately knows no pod: what to ask for is the kubelet's business.
//! The streaming server (exec, attach, port-forward) is only asked for its address here.

mod client;
mod error;

/// Messages of the CRI, version 1, as generated from `proto/cri.proto`.
#[allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("runtime.v1");
}

pub use client::{Events, ImageFilter, Observer, Runtime};
pub use error::Error;
