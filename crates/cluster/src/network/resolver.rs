//! Which resolver the nodes ask for names of the world. A node has the host's files but not its loopback link, so a
//! resolver at 127.0.0.53 (systemd-resolved), 127.0.0.11 (Docker's) or 127.0.0.1 is out of its reach. Where
//! systemd-resolved says whom it asks itself, nodes ask these; elsewhere the control plane, which runs on the host,
//! passes questions on, at the host's address on the bridge.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::layout::Layout;
use crate::{Error, record};

const HOSTS: &str = "/etc/resolv.conf";
/// The servers that systemd-resolved asks, without itself.
const SYSTEMDS: &str = "/run/systemd/resolve/resolv.conf";

/// Where a node's names come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// A file of the host that says it.
    File(PathBuf),
    /// These servers, which only the host reaches; see [`relay`].
    ThroughHost(Vec<SocketAddr>),
}

/// Of this machine, as it is now.
pub fn find() -> Resolver {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    choose(&read(HOSTS), &read(SYSTEMDS))
}

fn choose(hosts: &str, systemds: &str) -> Resolver {
    let reached = |text: &str| nameservers(text).any(|a| !a.is_loopback());
    if reached(hosts) || nameservers(hosts).next().is_none() {
        Resolver::File(HOSTS.into())
    } else if reached(systemds) {
        Resolver::File(SYSTEMDS.into())
    } else {
        Resolver::ThroughHost(nameservers(hosts).map(|a| SocketAddr::new(a, 53)).collect())
    }
}

fn nameservers(text: &str) -> impl Iterator<Item = IpAddr> + '_ {
    text.lines().filter_map(|l| l.trim().strip_prefix("nameserver")?.trim().parse().ok())
}

/// The resolv.conf for a node's kubelet and DNS; written into the node's folder where no file of the host will do.
pub fn file(layout: &Layout, node: &str) -> Result<PathBuf, Error> {
    match find() {
        Resolver::File(path) => Ok(path),
        Resolver::ThroughHost(_) => {
            let path = layout.node(node).join("resolv.conf");
            let hosts = fs::read_to_string(HOSTS).unwrap_or_default();
            record::write_whole(&path, rewritten(&hosts, layout.host_ip()).as_bytes(), 0o644)?;
            Ok(path)
        }
    }
}

/// The host's lines with one server in place of its own.
fn rewritten(hosts: &str, server: Ipv4Addr) -> String {
    let kept = hosts.lines().filter(|l| !l.trim_start().starts_with("nameserver"));
    kept.map(str::to_owned).chain([format!("nameserver {server}")]).map(|l| l + "\n").collect()
}

/// Where the host passes questions on, and to whom; None where nodes ask others, or where the host's own resolver
/// listens at every address, so that it answers at this one too.
pub fn relay(layout: &Layout) -> Option<(SocketAddr, Vec<SocketAddr>)> {
    let Resolver::ThroughHost(servers) = find() else { return None };
    let at = SocketAddr::from((layout.host_ip(), 53));
    match std::net::UdpSocket::bind(at) {
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => None,
        _ => Some((at, servers)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_ask_whom_they_reach() {
        let systemds = "nameserver 192.0.2.53\n";
        let file = |path: &str| Resolver::File(path.into());
        assert_eq!(choose("nameserver 192.0.2.1\n", systemds), file(HOSTS));
        assert_eq!(choose("nameserver 127.0.0.1\nnameserver 192.0.2.1\n", systemds), file(HOSTS));
        assert_eq!(choose("search example.org\n", systemds), file(HOSTS));
        assert_eq!(choose("nameserver 127.0.0.53\noptions edns0\n", systemds), file(SYSTEMDS));
        let through = Resolver::ThroughHost(vec![SocketAddr::from(([127, 0, 0, 11], 53))]);
        assert_eq!(choose("nameserver 127.0.0.11\noptions ndots:0\n", ""), through);
        assert_eq!(choose("nameserver 127.0.0.11\n", "nameserver 127.0.0.1\n"), through);
    }

    #[test]
    fn the_nodes_file_keeps_all_but_the_servers() {
        let hosts = "# ours\nsearch example.org\nnameserver 127.0.0.11\noptions ndots:0\n";
        let expected = "# ours\nsearch example.org\noptions ndots:0\nnameserver 10.90.0.1\n";
        assert_eq!(rewritten(hosts, [10, 90, 0, 1].into()), expected);
    }
}
