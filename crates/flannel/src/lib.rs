//! The pod network: Flannel's host-gw backend and the CNI plugin that gives a pod its link and address.
//!
//! [`backend`] keeps a route to every other node's pod range through that node's own address, as nodes come and go,
//! and writes the CNI configuration once this node has a range. [`cni`] is the plugin that the runtime calls: it
//! joins a pod to its node by a point-to-point link, with addresses from the node's range. [`masquerade`] lets pods
//! reach what is outside of the pod network.
//!
//! Deliberately absent: VXLAN and other backends (a later issue), network policy, IPv6 ranges.

pub mod backend;
pub mod cni;
pub mod links;
pub mod masquerade;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("netlink: {what}: {source}")]
    Netlink { what: String, source: rtnetlink::Error },
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("{0}")]
    Failed(String),
}

/// Names the operation in an error.
pub(crate) trait During<T> {
    fn during(self, what: impl Into<String>) -> Result<T, Error>;
}

impl<T> During<T> for Result<T, rtnetlink::Error> {
    fn during(self, what: impl Into<String>) -> Result<T, Error> {
        self.map_err(|source| Error::Netlink { what: what.into(), source })
    }
}

impl<T> During<T> for Result<T, std::io::Error> {
    fn during(self, what: impl Into<String>) -> Result<T, Error> {
        self.map_err(|source| Error::Io { what: what.into(), source })
    }
}

impl<T> During<T> for Result<T, nix::Error> {
    fn during(self, what: impl Into<String>) -> Result<T, Error> {
        self.map_err(|e| Error::Io { what: what.into(), source: e.into() })
    }
}
