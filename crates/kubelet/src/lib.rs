//! The kubelet: runs the pods of one node on a container runtime and tells the API server how they are.
//!
//! No state is global and no path is fixed: several kubelets may run in one process. Deliberately absent for
//! now: device, CPU and memory managers, volume plugins of storage systems.

pub mod admission;
mod certificates;
pub mod cgroups;
pub mod config;
pub mod containers_gc;
pub mod context;
pub mod env_files;
pub mod environment;
pub mod events;
pub mod eviction;
pub mod images_gc;
mod kubelet;
mod log_rotation;
mod metrics;
pub mod network;
pub mod node;
pub mod objects;
pub mod options;
mod orphans;
pub mod paths;
mod pem;
pub mod pod;
pub mod pod_certificates;
pub mod pods;
pub mod probes;
pub mod quantity;
pub mod runtime;
mod server;
pub mod sources;
pub mod status;
pub mod trust_bundles;
pub mod user_namespaces;
pub mod volumes;
mod watch_file;

pub use kubelet::{Error, run};
pub use options::Options;
