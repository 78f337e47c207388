//! What must hold when processes are killed: `kill-loop` ends a server with SIGKILL at random moments under load
//! and checks that nothing acknowledged is lost and nothing unwritten appears.
//!
//! - [`ledger`]: what is known of every object, and what contradicts it. Pure.
//! - [`http`]: requests to a server that may be gone.
//! - [`servers`]: the processes under test.
//! - [`load`]: concurrent creates, applies and deletes.
//! - [`watcher`]: watches that go on over restarts.
//! - [`rounds`]: load, kill, restart, check.
//! - [`cluster`]: the same for the control plane of a running `keelson up` cluster, whose pods must not notice.
//!
//! Deliberately absent: partitions and faults of disks.

pub mod cluster;
pub mod http;
pub mod ledger;
pub mod load;
pub mod rounds;
pub mod servers;
pub mod watcher;

/// Why the loop itself could not go on; what it found wrong with a server is no error but a finding.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("starting {0}: {1}")]
    Start(String, std::io::Error),
    #[error("{0} is not ready after {1} s; its log ends with:\n{2}")]
    NotReady(String, u64, String),
    #[error("{0} ended by itself ({1}); its log ends with:\n{2}")]
    Ended(String, std::process::ExitStatus, String),
    #[error("keys: {0}")]
    Keys(#[from] rcgen::Error),
    #[error("{0}")]
    Client(#[from] component_base::kubeconfig::ClientError),
    #[error("{what}: {answer}")]
    Request { what: String, answer: String },
    #[error("{0}")]
    Setup(String),
}

pub type Result<T> = std::result::Result<T, Error>;
