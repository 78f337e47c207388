//! The same requests to upstream's kube-apiserver and to ours: code, headers that matter and body must be the same.
//!
//! - [`cases`]: the requests, which are data (`requests/*.jsonl`), and the known differences (`known.txt`).
//! - [`servers`]: the two servers, fresh for each run.
//! - [`exchange`]: one request to one of them.
//! - [`normal`]: what of an answer may differ from run to run is taken out.
//! - [`documents`]: what both publish about themselves (OpenAPI, discovery), whole, and `known-documents.txt`.
//! - [`audit`]: what both wrote into their audit logs of one story, and `known-audit.txt`.
//! - [`compare`]: all requests in their order, and what is different. A difference that is not known fails, and so
//!   does a known one that is gone.
//!
//! Deliberately absent: load, time, and what takes a kubelet to answer.

pub mod audit;
pub mod cases;
pub mod compare;
pub mod documents;
pub mod exchange;
pub mod normal;
pub mod servers;

/// Why the comparison could not be made; a difference is no error but a finding.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    #[error("{file}:{line}: {why}")]
    Case { file: String, line: usize, why: String },
    #[error("starting {0}: {1}")]
    Start(String, std::io::Error),
    #[error("{0} is not ready; its log ends with:\n{1}")]
    NotReady(String, String),
    #[error("keys: {0}")]
    Keys(#[from] rcgen::Error),
    #[error("{0}")]
    Client(#[from] component_base::kubeconfig::ClientError),
    #[error("{what}: {why}")]
    Request { what: String, why: String },
    #[error("{0}")]
    Setup(String),
}

pub type Result<T> = std::result::Result<T, Error>;
