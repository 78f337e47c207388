//! The way from the nodes to the world: what they send out of their bridge leaves with the host's address, by a table
//! of the cluster's own; and where a firewall of the host drops what it forwards (Docker's and ufw's does), two rules
//! at its head let this bridge through. All of it goes with [`close`]. Addresses of pods never get here: flannel has
//! replaced them by the node's.

use std::fs;
use std::process::Command;

use nftables::expr::{Expr, Verdict};
use nftables::read::FoundChain;
use nftables::{Batch, Chain, Connection, Family, Hook, Policy, Rule, matches};

use crate::Error;
use crate::layout::Layout;

const FAMILIES: [Family; 2] = [Family::Ip, Family::Inet];

fn refused(error: nftables::Error) -> Error {
    Error::Failed(format!("letting the nodes out: {error}"))
}

/// Opens the way, once or again; what still stands in it and how to move that, in words for the person at the
/// terminal.
pub fn open(layout: &Layout) -> Result<Vec<String>, Error> {
    let bridge = layout.bridge();
    let mut connection = Connection::open().map_err(refused)?;
    connection.commit(translation(layout, &bridge)).map_err(refused)?;
    let mut obstacles = Vec::new();
    for family in FAMILIES {
        let chains = connection.chains(family).map_err(refused)?;
        for chain in chains.iter().filter(|c| c.base.as_ref().is_some_and(|b| b.drops_at(Hook::Forward))) {
            let rules = connection.rules(family, &chain.table, &chain.name).map_err(refused)?;
            if !rules.iter().any(|r| r.comment == comment(&bridge)) {
                connection.commit(passage(family, chain, &bridge)).map_err(refused)?;
            }
        }
        obstacles.extend(firewalld(&chains, &bridge));
    }
    obstacles.extend(legacy(&bridge));
    if fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|v| v.trim() == "0") {
        obstacles.push("this machine forwards nothing; `sysctl net.ipv4.ip_forward=1`".into());
    }
    Ok(obstacles)
}

/// Takes back what [`open`] did; fine where it did nothing.
pub fn close(layout: &Layout) -> Result<(), Error> {
    let bridge = layout.bridge();
    let mut connection = Connection::open().map_err(refused)?;
    let mut batch = Batch::new(Family::Ip, &bridge);
    batch.add_table();
    batch.delete_table();
    connection.commit(batch).map_err(refused)?;
    for family in FAMILIES {
        let chains = connection.chains(family).map_err(refused)?;
        let forward = |c: &&FoundChain| c.base.as_ref().is_some_and(|b| b.hook == Hook::Forward as u32);
        for chain in chains.iter().filter(forward) {
            let mut batch = Batch::new(family, &chain.table);
            let rules = connection.rules(family, &chain.table, &chain.name).map_err(refused)?;
            for rule in rules.iter().filter(|r| r.comment == comment(&bridge)) {
                batch.delete_rule(&chain.name, rule.handle);
            }
            connection.commit(batch).map_err(refused)?;
        }
    }
    Ok(())
}

/// By which our rules among others' are known.
fn comment(bridge: &str) -> String {
    format!("{bridge}: nodes of a local cluster")
}

/// The cluster's own table, in place of one that is there.
fn translation(layout: &Layout, bridge: &str) -> Batch {
    let mut batch = Batch::new(Family::Ip, bridge);
    batch.add_table();
    batch.delete_table();
    batch.add_table();
    let nat = Chain { kind: "nat", hook: Hook::Postrouting, priority: 100, policy: Policy::Accept };
    batch.add_chain("postrouting", Some(nat));
    let nodes = matches::source(layout.host_ip(), layout.node_prefix(), true);
    let leaving = matches::leaves_by(bridge, false);
    let rule = [nodes, leaving, vec![Expr::Masquerade { random_fully: false }]].concat();
    batch.add_rule("postrouting", &Rule::new(rule));
    batch
}

/// Both directions of the bridge at the head of a chain that drops.
fn passage(family: Family, chain: &FoundChain, bridge: &str) -> Batch {
    let mut batch = Batch::new(family, &chain.table);
    for link in [matches::enters_by(bridge), matches::leaves_by(bridge, true)] {
        let expressions = [link, vec![Expr::Counter, Expr::Verdict(Verdict::Accept)]].concat();
        batch.insert_rule(&chain.name, &Rule { expressions, comment: comment(bridge) });
    }
    batch
}

/// firewalld refuses by rules, not by a policy, and takes changes through its own program only.
fn firewalld(chains: &[FoundChain], bridge: &str) -> Option<String> {
    chains.iter().any(|c| c.table == "firewalld").then(|| {
        format!(
            "firewalld keeps pods from the outside; `firewall-cmd --zone=trusted --add-interface={bridge}` lets them out"
        )
    })
}

/// The older iptables has tables of its own, which nftables does not see.
fn legacy(bridge: &str) -> Option<String> {
    let tables = fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
    if !tables.lines().any(|t| t == "filter") {
        return None;
    }
    let out = Command::new("iptables-legacy").args(["-S", "FORWARD"]).output().ok()?;
    String::from_utf8_lossy(&out.stdout).contains("-P FORWARD DROP").then(|| {
        format!(
            "iptables-legacy drops what is forwarded; `iptables-legacy -I FORWARD -i {bridge} -j ACCEPT` and \
             `iptables-legacy -I FORWARD -o {bridge} -j ACCEPT` let pods out"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nft(arguments: &str) -> String {
        let out = Command::new("nft").args(arguments.split(' ')).output().unwrap();
        assert!(out.status.success(), "nft {arguments}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    #[test]
    fn what_open_adds_close_takes_back() {
        if !nix::unistd::geteuid().is_root() || Command::new("nft").arg("--version").output().is_err() {
            eprintln!("skipped: needs root and nft to read the rules back");
            return;
        }
        let test = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            // As Docker leaves it.
            nft("add table ip filter");
            nft("add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }");
            nft("add rule ip filter FORWARD oifname docker0 counter accept");
            nft("add table inet own");
            nft("add chain inet own forward { type filter hook forward priority 0; policy accept; }");
            let (a, b) = (Layout::new("a", 0), Layout::new("b", 1));
            let before = nft("list ruleset");
            open(&a).unwrap();
            open(&b).unwrap();
            let both = nft("list ruleset");
            open(&a).unwrap();
            assert_eq!(sorted(&nft("list ruleset")), sorted(&both), "a second time changes nothing");
            let rules = nft("list chain ip filter FORWARD");
            let line = |l: &str| l.trim().split_once(" counter").map(|(head, _)| head.to_owned());
            assert_eq!(
                rules.lines().filter_map(line).collect::<Vec<_>>(),
                [
                    "oifname \"keelson1\"",
                    "iifname \"keelson1\"",
                    "oifname \"keelson0\"",
                    "iifname \"keelson0\"",
                    "oifname \"docker0\""
                ]
            );
            assert!(both.contains("ip saddr 10.90.1.0/24 oifname != \"keelson1\" masquerade"), "{both}");
            close(&a).unwrap();
            close(&a).unwrap();
            assert!(!nft("list ruleset").contains("keelson0"));
            assert!(nft("list ruleset").contains("keelson1"));
            close(&b).unwrap();
            assert_eq!(nft("list ruleset"), before);
        });
        if let Err(panic) = test.join() {
            std::panic::resume_unwind(panic);
        }
    }

    fn sorted(text: &str) -> Vec<&str> {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines
    }
}
