//! The node as the API server sees it: registration, status and lease.

use client::Resource;

/// The resource of nodes.
pub const NODES: Resource = Resource::of("", "v1", "nodes", "Node", false);
