//! Host ports of pods: two maps of the plugin's own table lead a port of the node to a pod. What a pod has is
//! remembered in a file, as the runtime does not say it again on delete.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use nftables::expr::{Base, Expr, Meta, Op, REG1, REG2, RTN_LOCAL, word};
use nftables::set::{Data, Part};
use nftables::{Batch, Chain, Connection, Element, Family, Hook, Key, Policy, Rule, Set};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::config::PortMapping;
use crate::{During, Error};

const TABLE: &str = "keelson-hostports";
/// Ports at every address of the node.
const ANY: &str = "ports";
/// Ports at one address.
const BOUND: &str = "ports-at";
/// Pods that have a port, and each beside itself, for those that reach themselves through the node.
const PODS: &str = "pods";
const HAIRPIN: &str = "hairpin";
const TARGET: &[Part] = &[Part::Ipv4Addr, Part::InetService];

#[derive(Serialize, Deserialize)]
struct Remembered {
    address: Ipv4Addr,
    mappings: Vec<PortMapping>,
}

/// One plugin at a time; the lock goes with it.
struct Ports {
    folder: PathBuf,
    _lock: Flock<File>,
}

impl Ports {
    fn open(data_dir: &Path) -> Result<Self, Error> {
        let folder = data_dir.join("ports");
        fs::create_dir_all(&folder).during(format!("making {}", folder.display()))?;
        let file = File::create(folder.join(".lock")).during("opening the lock of host ports")?;
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, e)| e)
            .during("waiting for the lock of host ports")?;
        Ok(Self { folder, _lock: lock })
    }

    fn file(&self, container: &str) -> PathBuf {
        self.folder.join(container)
    }
}

/// Leads each port of the node to the pod behind `link`.
pub fn set(
    data_dir: &Path,
    container: &str,
    link: &str,
    address: Ipv4Addr,
    mappings: &[PortMapping],
) -> Result<(), Error> {
    let ports = Ports::open(data_dir)?;
    let remembered = Remembered { address, mappings: mappings.to_vec() };
    let text = serde_json::to_string(&remembered).map_err(|e| Error::Failed(e.to_string()))?;
    fs::write(ports.file(container), text).during("noting host ports")?;
    // From 127.0.0.1 of the node too, as the port mapping plugins of others do it.
    let path = format!("/proc/sys/net/ipv4/conf/{link}/route_localnet");
    fs::write(&path, "1").during(format!("setting {path}"))?;
    let mut connection = connect()?;
    let added = connection.commit(batch(&remembered, Batch::add_elements));
    match added {
        Err(e) if e.is_missing() => {
            connection.commit(skeleton()).map_err(refused)?;
            connection.commit(batch(&remembered, Batch::add_elements)).map_err(refused)
        }
        other => other.map_err(refused),
    }
}

/// Removes a pod's rules; one that has none is fine.
pub fn clear(data_dir: &Path, container: &str) -> Result<(), Error> {
    let ports = Ports::open(data_dir)?;
    let Ok(text) = fs::read(ports.file(container)) else { return Ok(()) };
    if let Ok(remembered) = serde_json::from_slice::<Remembered>(&text) {
        match connect()?.commit(batch(&remembered, Batch::delete_elements)) {
            Err(e) if !e.is_missing() => return Err(refused(e)),
            _ => {}
        }
    }
    fs::remove_file(ports.file(container)).during("forgetting host ports")
}

fn connect() -> Result<Connection, Error> {
    Connection::open().map_err(refused)
}

fn refused(error: nftables::Error) -> Error {
    Error::Failed(error.to_string())
}

fn batch(remembered: &Remembered, change: impl Fn(&mut Batch, &str, &[Element])) -> Batch {
    let mut batch = Batch::new(Family::Ip, TABLE);
    for mapping in &remembered.mappings {
        let Some(protocol) = protocol(&mapping.protocol) else { continue };
        let target = Key::new().ipv4(remembered.address).port(mapping.container_port);
        match mapping.address() {
            None => {
                let key = Key::new().protocol(protocol).port(mapping.host_port);
                change(&mut batch, ANY, &[Element::data(key, target)]);
            }
            Some(IpAddr::V4(at)) => {
                let key = Key::new().ipv4(at).protocol(protocol).port(mapping.host_port);
                change(&mut batch, BOUND, &[Element::data(key, target)]);
            }
            // This network has no IPv6 addresses to lead to.
            Some(IpAddr::V6(_)) => {}
        }
    }
    change(&mut batch, PODS, &[Element::key(Key::new().ipv4(remembered.address))]);
    change(
        &mut batch,
        HAIRPIN,
        &[Element::key(Key::new().ipv4(remembered.address).ipv4(remembered.address))],
    );
    batch
}

fn protocol(name: &str) -> Option<u8> {
    match name.to_ascii_lowercase().as_str() {
        "tcp" => Some(6),
        "udp" => Some(17),
        "sctp" => Some(132),
        _ => None,
    }
}

/// The table without elements.
fn skeleton() -> Batch {
    let mut batch = Batch::new(Family::Ip, TABLE);
    batch.add_table();
    batch.add_set(&Set::new(ANY, &[Part::InetProto, Part::InetService], Data::Parts(TARGET)));
    batch.add_set(&Set::new(
        BOUND,
        &[Part::Ipv4Addr, Part::InetProto, Part::InetService],
        Data::Parts(TARGET),
    ));
    batch.add_set(&Set::new(PODS, &[Part::Ipv4Addr], Data::None));
    batch.add_set(&Set::new(HAIRPIN, &[Part::Ipv4Addr, Part::Ipv4Addr], Data::None));
    // Before the proxy's chains at -100, which know nothing of these ports.
    for (chain, hook) in [("prerouting", Hook::Prerouting), ("output", Hook::Output)] {
        batch.add_chain(chain, Some(Chain { kind: "nat", hook, priority: -105, policy: Policy::Accept }));
        batch.add_rule(chain, &Rule::new(lead(true)));
        batch.add_rule(chain, &Rule::new(lead(false)));
    }
    batch.add_chain(
        "postrouting",
        Some(Chain { kind: "nat", hook: Hook::Postrouting, priority: 99, policy: Policy::Accept }),
    );
    for rule in masquerade() {
        batch.add_rule("postrouting", &Rule::new(rule));
    }
    batch
}

fn lead(bound: bool) -> Vec<Expr> {
    let mut rule = vec![
        Expr::FibDaddrType { to: REG1 },
        Expr::Cmp { op: Op::Eq, register: REG1, value: RTN_LOCAL.to_ne_bytes().into() },
    ];
    let mut at = 0;
    if bound {
        rule.push(Expr::Payload { base: Base::Network, offset: 16, length: 4, to: word(0) });
        at = 1;
    }
    rule.extend([
        Expr::Meta { key: Meta::L4Proto, to: word(at) },
        Expr::Payload { base: Base::Transport, offset: 2, length: 2, to: word(at + 1) },
        Expr::Map { set: if bound { BOUND } else { ANY }.into(), register: REG1, to: REG2 },
        Expr::dnat_to_map(),
    ]);
    rule
}

/// The node's own loopback is no address that a pod could answer to; nor is a pod's own.
fn masquerade() -> [Vec<Expr>; 2] {
    let source = |to| Expr::Payload { base: Base::Network, offset: 12, length: 4, to };
    let destination = |to| Expr::Payload { base: Base::Network, offset: 16, length: 4, to };
    let lookup = |set: &str| Expr::Lookup { set: set.into(), register: REG1, inverted: false };
    let from_loopback = vec![
        destination(REG1),
        lookup(PODS),
        source(REG1),
        Expr::Bitwise { register: REG1, mask: vec![255, 0, 0, 0], xor: vec![0; 4] },
        Expr::Cmp { op: Op::Eq, register: REG1, value: vec![127, 0, 0, 0] },
        Expr::Masquerade { random_fully: true },
    ];
    let hairpin =
        vec![source(word(0)), destination(word(1)), lookup(HAIRPIN), Expr::Masquerade { random_fully: true }];
    [from_loopback, hairpin]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn listing() -> String {
        let out = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    #[test]
    fn ports_come_and_go_with_their_pod() {
        if !nix::unistd::geteuid().is_root() || Command::new("nft").arg("--version").output().is_err() {
            eprintln!("skipped: needs root and nft to read the rules back");
            return;
        }
        let thread = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let mapping = |host_ip: Option<&str>| PortMapping {
                host_port: 8080,
                container_port: 80,
                protocol: "tcp".into(),
                host_ip: host_ip.map(Into::into),
            };
            set(dir.path(), "a", "lo", [10, 244, 0, 5].into(), &[mapping(None)]).unwrap();
            set(dir.path(), "b", "lo", [10, 244, 0, 6].into(), &[mapping(Some("10.90.0.11"))]).unwrap();
            let text = listing();
            assert!(text.contains("tcp . 8080 : 10.244.0.5 . 80"), "{text}");
            assert!(text.contains("10.90.0.11 . tcp . 8080 : 10.244.0.6 . 80"), "{text}");
            clear(dir.path(), "a").unwrap();
            clear(dir.path(), "a").unwrap();
            let text = listing();
            assert!(!text.contains("10.244.0.5"), "{text}");
            assert!(text.contains("10.244.0.6 . 80"), "{text}");
        });
        thread.join().unwrap();
    }
}
