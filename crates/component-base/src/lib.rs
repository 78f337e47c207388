//! What every component has beside its work: flags in upstream's style, configuration files, feature gates,
//! logs, metrics, health checks, a server with TLS and delegated authentication, a client from a kubeconfig, and keys
//! with what they sign.
//!
//! Deliberately absent: anything that knows which component it serves.

pub mod config;
pub mod flags;
pub mod gates;
mod gates_table;
pub mod health;
pub mod jws;
pub mod kubeconfig;
pub mod logs;
pub mod metrics;
pub mod pki;
pub mod serving;

pub use flags::GoDuration;
pub use gates::FeatureGates;
pub use logs::init_logging;

/// The machine's host name, in lower case; "localhost" where the kernel tells none.
pub fn hostname() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|n| n.into_string().ok()).unwrap_or_default();
    let name = name.trim().to_lowercase();
    if name.is_empty() { "localhost".into() } else { name }
}

/// The version of Kubernetes that the components report.
pub const KUBERNETES_VERSION: &str = "v1.37.0";
