//! `--ip-masq`: what pods send out of the pod network leaves with the node's address, as nobody outside has a route to
//! a pod's. One table of its own, written whole.

use ipnet::Ipv4Net;
use nftables::expr::{Expr, Verdict};
use nftables::{Batch, Chain, Connection, Family, Hook, Policy, Rule, matches};

use crate::Error;

/// Upstream's name.
const TABLE: &str = "flannel-ipv4";
const CHAIN: &str = "postrtg";

/// Writes the rules of the node with the range `own` in the network of all `pods`, in place of older ones. In the
/// network namespace of the calling thread.
pub fn set(own: Ipv4Net, pods: Ipv4Net) -> Result<(), Error> {
    let mut batch = Batch::new(Family::Ip, TABLE);
    batch.add_table();
    batch.delete_table();
    batch.add_table();
    let nat = Chain { kind: "nat", hook: Hook::Postrouting, priority: 100, policy: Policy::Accept };
    batch.add_chain(CHAIN, Some(nat));
    for (expressions, comment) in rules(own, pods) {
        batch.add_rule(CHAIN, &Rule { expressions, comment: comment.into() });
    }
    let commit = |mut connection: Connection| connection.commit(batch);
    Connection::open().and_then(commit).map_err(|e| Error::Failed(e.to_string()))
}

fn rules(own: Ipv4Net, pods: Ipv4Net) -> Vec<(Vec<Expr>, &'static str)> {
    let from = |net: Ipv4Net, within| matches::source(net.network(), net.prefix_len(), within);
    let to = |net: Ipv4Net, within| matches::destination(net.network(), net.prefix_len(), within);
    let leave = || vec![Expr::Verdict(Verdict::Return)];
    let masquerade = || vec![Expr::Masquerade { random_fully: true }];
    let multicast = || matches::destination([224, 0, 0, 0].into(), 4, false);
    vec![
        ([from(pods, true), to(pods, true), leave()].concat(), "pods see each other's addresses"),
        ([from(own, true), multicast(), masquerade()].concat(), "pods to outside"),
        ([from(pods, false), to(own, true), leave()].concat(), "outside to this node's pods"),
        (
            [from(pods, false), to(pods, true), masquerade()].concat(),
            "outside by this node to another's pods",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel has, in `nft`'s words.
    #[test]
    fn written_twice_there_is_one_set_of_rules() {
        if !nix::unistd::geteuid().is_root()
            || std::process::Command::new("nft").arg("--version").output().is_err()
        {
            eprintln!("skipped: needs root and nft to read the rules back");
            return;
        }
        let test = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            for _ in 0..2 {
                set("10.240.1.0/24".parse().unwrap(), "10.240.0.0/16".parse().unwrap()).unwrap();
            }
            let out = std::process::Command::new("nft").args(["list", "ruleset"]).output().unwrap();
            String::from_utf8(out.stdout).unwrap()
        });
        let listing = test.join().unwrap();
        let rules: Vec<&str> =
            listing.lines().filter_map(|l| Some(l.trim().split_once(" comment")?.0)).collect();
        assert_eq!(
            rules,
            [
                "ip saddr 10.240.0.0/16 ip daddr 10.240.0.0/16 return",
                "ip saddr 10.240.1.0/24 ip daddr != 224.0.0.0/4 masquerade fully-random",
                "ip saddr != 10.240.0.0/16 ip daddr 10.240.1.0/24 return",
                "ip saddr != 10.240.0.0/16 ip daddr 10.240.0.0/16 masquerade fully-random",
            ]
        );
    }
}
