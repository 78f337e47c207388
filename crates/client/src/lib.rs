//! How a component talks to the API server: requests, informers over views, work queues, leader election,
//! events, expectations. Built on `kube::Client`, whose transport is HTTPS or, in one process, memory.
//!
//! Deliberately absent: any component's own logic, any typed kind beyond the small views that these tools need.

pub mod api;
pub mod decode;
pub mod discovery;
pub mod error;
pub mod events;
pub mod expectations;
pub mod informer;
pub mod leader;
pub mod meta;
pub mod resource;
pub mod selector;
pub mod store;
mod watch;
pub mod workqueue;
pub mod writes;

pub use api::{Api, DeleteOptions, Patch, Preconditions, Propagation};
pub use error::{Error, Result};
pub use informer::{Event, Informer, InformerOptions};
pub use meta::{ObjectMeta, OwnerReference, StringMap, Time, View};
pub use resource::{ObjectKey, Resource};
pub use selector::LabelSelector;
pub use store::Store;
pub use workqueue::WorkQueue;
pub use writes::Writes;
