//! Where everything of a cluster on this machine stands: folders, addresses, names of links and cgroups.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::Error;

/// Clusters of one machine are told apart by their name in the file system and by their index in addresses.
#[derive(Clone, Debug)]
pub struct Layout {
    pub name: String,
    /// 0 for the first cluster of the machine; the third byte of its node addresses.
    pub index: u8,
}

const STATE: &str = "/var/lib/keelson";
const RUN: &str = "/run/keelson";

/// A name that is short enough for link names and safe in paths.
pub fn check_name(name: &str) -> Result<(), Error> {
    let good = !name.is_empty()
        && name.len() <= 30
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if good {
        return Ok(());
    }
    Err(Error::Preflight(format!(
        "--name {name:?}: a cluster's name has 1 to 30 lower case letters, digits and '-', and neither begins nor ends with '-'"
    )))
}

/// The folder that holds one folder a cluster.
pub fn all_states() -> &'static Path {
    Path::new(STATE)
}

impl Layout {
    pub fn new(name: &str, index: u8) -> Self {
        Self { name: name.into(), index }
    }

    /// What must outlive a restart: record, keys, the store, the nodes' containers and volumes.
    pub fn state(&self) -> PathBuf {
        Path::new(STATE).join(&self.name)
    }

    /// Sockets and what else is gone after a reboot.
    pub fn run(&self) -> PathBuf {
        Path::new(RUN).join(&self.name)
    }

    /// What links and addresses are to be found by when the record is lost.
    pub fn index_copy(&self) -> PathBuf {
        self.run().join("index")
    }

    pub fn record(&self) -> PathBuf {
        self.state().join("cluster.json")
    }

    pub fn pki(&self) -> PathBuf {
        self.state().join("pki")
    }

    pub fn logs(&self) -> PathBuf {
        self.state().join("log")
    }

    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.state().join("admin.conf")
    }

    pub fn store(&self) -> PathBuf {
        self.state().join("store")
    }

    pub fn node(&self, node: &str) -> PathBuf {
        self.state().join("nodes").join(node)
    }

    pub fn node_run(&self, node: &str) -> PathBuf {
        self.run().join(node)
    }

    pub fn containerd_socket(&self, node: &str) -> PathBuf {
        self.node_run(node).join("containerd.sock")
    }

    /// The bridge that joins the nodes and the host; at most 15 bytes, as links are named.
    pub fn bridge(&self) -> String {
        format!("keelson{}", self.index)
    }

    pub fn host_link(&self, node: u8) -> String {
        format!("kl{}-{node}", self.index)
    }

    /// The host's address on the bridge, where the API server listens.
    pub fn host_ip(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 90, self.index, 1)
    }

    /// Of node 1, 2, ...
    pub fn node_ip(&self, node: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 90, self.index, 10 + node)
    }

    pub fn node_prefix(&self) -> u8 {
        24
    }

    /// Each cluster has its own, as the host has routes to them; none is the 10.244.0.0/16 that others choose by default.
    pub fn pod_cidr(&self) -> String {
        format!("10.{}.0.0/16", 240 - self.index)
    }

    pub fn service_cidr(&self) -> String {
        "10.96.0.0/12".into()
    }

    pub fn service_ip(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 96, 0, 1)
    }

    pub fn dns_ip(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 96, 0, 10)
    }

    pub fn server(&self) -> String {
        format!("https://{}:6443", self.host_ip())
    }

    /// The context, cluster and user in kubeconfigs.
    pub fn context(&self) -> String {
        if self.name == "keelson" { self.name.clone() } else { format!("keelson-{}", self.name) }
    }

    /// Below the root of each cgroup hierarchy.
    pub fn cgroup(&self) -> String {
        format!("/keelson-{}", self.name)
    }

    pub fn node_cgroup(&self, node: &str) -> String {
        format!("{}/{node}", self.cgroup())
    }
}

pub fn node_name(number: u8) -> String {
    format!("node{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        for bad in ["", "..", "a/b", "-a", "a-", "A", &"x".repeat(31)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        for good in ["keelson", "a", "ci-42"] {
            check_name(good).unwrap();
        }
    }

    #[test]
    fn clusters_share_no_address() {
        let (a, b) = (Layout::new("a", 0), Layout::new("b", 1));
        assert_ne!(a.host_ip(), b.host_ip());
        assert_ne!(a.pod_cidr(), b.pod_cidr());
        assert_ne!(a.bridge(), b.bridge());
        assert!(b.host_link(200).len() <= 15);
    }
}
