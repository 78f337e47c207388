//! The node as the API server sees it: registration, status and lease.

pub mod describe;
pub mod lease;
pub mod machine;
mod reporter;

use client::Resource;

pub use reporter::Reporter;

/// The resource of nodes.
pub const NODES: Resource = Resource::of("", "v1", "nodes", "Node", false);
