//! The store of the cluster: one trait, [`Store`], in etcd v3's words, and what stands behind it.
//!
//! Keys and values are bytes. Nothing here knows a Kubernetes kind, a prefix or an encoding; nothing
//! here retries a write on behalf of its caller. `DESIGN.md` describes the embedded engine.
//! Deliberately absent of etcd's surface: nested transactions, sort orders other than ascending by
//! key, authentication, clustering, leases attached to more than keys.

pub mod client;
pub mod embedded;
mod error;
mod proto;
mod store;
mod watch;

pub use client::{Client, ClientConfig};
pub use embedded::Embedded;
pub use error::{Error, Result};
pub use store::*;
pub use watch::{Event, EventFilter, EventType, ProgressHandle, Watch, WatchRequest, WatchResponse};
