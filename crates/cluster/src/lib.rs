//! What kubeadm and kind do: a cluster of several nodes on one machine. Checks the machine, makes certificates
//! and kubeconfigs, namespaces and links of the nodes, starts a containerd a node and the components' processes,
//! imports images, and takes all of it away again.
//!
//! Deliberately absent: how a component works inside. The processes are this binary with another first word
//! (see `keelson`); this crate knows their arguments only.

pub mod containerd;
pub mod down;
pub mod image;
pub mod kubeconfig;
pub mod layout;
pub mod machine;
pub mod namespaces;
pub mod network;
pub mod notify;
pub mod pause_image;
pub mod pki;
pub mod preflight;
pub mod process;
pub mod record;
pub mod status;
pub mod strays;
pub mod up;

use std::path::PathBuf;

/// Why a command on the cluster failed, in words for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Preflight(String),
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("certificates: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("network: {0}")]
    Network(#[from] flannel::Error),
    #[error("{}: {why}", path.display())]
    Record { path: PathBuf, why: String },
    #[error("{}: format {format} is newer than this program's {known}; use the keelson that wrote it", path.display())]
    Newer { path: PathBuf, format: u32, known: u32 },
    #[error("{0}")]
    Failed(String),
}

/// Names the operation in an I/O error.
pub trait During<T> {
    fn during(self, what: impl Into<String>) -> Result<T, Error>;
}

impl<T> During<T> for Result<T, std::io::Error> {
    fn during(self, what: impl Into<String>) -> Result<T, Error> {
        self.map_err(|source| Error::Io { what: what.into(), source })
    }
}

impl<T> During<T> for Result<T, nix::Error> {
    fn during(self, what: impl Into<String>) -> Result<T, Error> {
        self.map_err(|source| Error::Io { what: what.into(), source: source.into() })
    }
}
