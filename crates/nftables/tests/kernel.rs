//! Against the kernel, in a network namespace of the test's own: what is written is what `nft` reads.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::Ipv4Addr;
use std::process::Command;

use nftables::expr::{Base, Expr, Meta, Nat, Op, REG1, Reject, VERDICT, Verdict, word};
use nftables::set::{Data, Part};
use nftables::{Batch, Chain, Connection, Element, Family, Hook, Key, Policy, Rule, Set};

/// Runs in a namespace of its own; a thread that entered one never leaves it.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    if !nix::unistd::geteuid().is_root() || Command::new("nft").arg("--version").output().is_err() {
        eprintln!("skipped: needs root and nft to read the rules back");
        return;
    }
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn listing() -> String {
    let out = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

const KEY: &[Part] = &[Part::Ipv4Addr, Part::InetProto, Part::InetService];
const ADDRESS: &[Part] = &[Part::Ipv4Addr, Part::InetService];

fn service(last: u8, port: u16) -> Key {
    Key::new().ipv4(Ipv4Addr::new(10, 96, 0, last)).protocol(6).port(port)
}

#[test]
fn maps_lead_to_chains_and_addresses() {
    in_namespace(|| {
        let mut connection = Connection::open().unwrap();
        let mut batch = Batch::new(Family::Ip, "t");
        batch.add_table();
        batch.add_chain("svc", None);
        let base = Chain { kind: "nat", hook: Hook::Prerouting, priority: -100, policy: Policy::Accept };
        batch.add_chain("pre", Some(base));
        batch.add_set(&Set { comment: "by address", ..Set::new("services", KEY, Data::Verdict) });
        batch.add_set(&Set::new("endpoints", &[Part::Mark], Data::Parts(ADDRESS)));
        batch.add_elements("services", &[Element::verdict(service(7, 80), Verdict::Goto("svc".into()))]);
        batch.add_elements(
            "endpoints",
            &[Element::data(Key::new().number(0), Key::new().ipv4(Ipv4Addr::new(10, 244, 0, 5)).port(8080))],
        );
        batch.add_rule(
            "pre",
            &Rule::new([
                Expr::Payload { base: Base::Network, offset: 16, length: 4, to: word(0) },
                Expr::Meta { key: Meta::L4Proto, to: word(1) },
                Expr::Payload { base: Base::Transport, offset: 2, length: 2, to: word(2) },
                Expr::Map { set: "services".into(), register: REG1, to: VERDICT },
            ]),
        );
        let rewrite = Rule {
            expressions: vec![
                Expr::Meta { key: Meta::L4Proto, to: REG1 },
                Expr::Cmp { op: Op::Eq, register: REG1, value: vec![6] },
                Expr::Numgen { random: true, modulus: 1, offset: 0, to: REG1 },
                Expr::Map { set: "endpoints".into(), register: REG1, to: REG1 },
                Expr::Nat {
                    kind: Nat::Destination,
                    family: 2,
                    address: word(0),
                    port: Some(word(1)),
                    random_fully: false,
                },
            ],
            comment: "default/web".into(),
        };
        batch.add_rule("svc", &rewrite);
        connection.commit(batch).unwrap();
        let text = listing();
        assert!(text.contains("elements = { 10.96.0.7 . tcp . 80 : goto svc }"), "{text}");
        assert!(text.contains("ip daddr . meta l4proto . th dport vmap @services"), "{text}");
        assert!(text.contains("10.244.0.5 . 8080"), "{text}");
        assert!(text.contains("comment \"default/web\""), "{text}");
    });
}

#[test]
fn an_ip_table_rejects_with_icmp() {
    in_namespace(|| {
        let mut connection = Connection::open().unwrap();
        let mut batch = Batch::new(Family::Ip, "t");
        batch.add_table();
        batch.add_chain("no", None);
        batch.add_rule("no", &Rule::new([Expr::Reject(Reject::IcmpPortUnreachable)]));
        connection.commit(batch).unwrap();
        let text = listing();
        assert!(text.contains("reject\n") || text.contains("reject with icmp port-unreachable"), "{text}");
    });
}

#[test]
fn a_batch_with_one_bad_message_changes_nothing_and_names_it() {
    in_namespace(|| {
        let mut connection = Connection::open().unwrap();
        let mut batch = Batch::new(Family::Ip, "t");
        batch.add_table();
        batch.add_chain("a", None);
        batch.delete_chain("nowhere");
        let error = connection.commit(batch).unwrap_err();
        assert!(error.is_missing(), "{error}");
        assert!(error.to_string().contains("deleting chain nowhere"), "{error}");
        assert_eq!(listing(), "");
    });
}

#[test]
fn thousands_of_elements_go_in_one_batch() {
    in_namespace(|| {
        let mut connection = Connection::open().unwrap();
        let mut batch = Batch::new(Family::Ip, "t");
        batch.add_table();
        batch.add_set(&Set::new("s", KEY, Data::None));
        let elements: Vec<Element> = (0..20_000u32)
            .map(|n| Element::key(Key::new().ipv4(Ipv4Addr::from(n)).protocol(17).port(53)))
            .collect();
        batch.add_elements("s", &elements);
        connection.commit(batch).unwrap();
        assert_eq!(listing().matches("udp . 53").count(), 20_000);
        let mut batch = Batch::new(Family::Ip, "t");
        batch.delete_elements("s", &elements[..19_999]);
        connection.commit(batch).unwrap();
        assert_eq!(listing().matches("udp . 53").count(), 1);
    });
}

#[test]
fn reject_masquerade_and_ranges_are_what_nft_calls_them() {
    in_namespace(|| {
        let mut connection = Connection::open().unwrap();
        let mut batch = Batch::new(Family::Inet, "t");
        batch.add_table();
        let post = Chain { kind: "nat", hook: Hook::Postrouting, priority: 100, policy: Policy::Accept };
        batch.add_chain("post", Some(post));
        batch.add_chain("no", None);
        batch.add_set(&Set { interval: true, ..Set::new("pods", &[Part::Ipv4Addr], Data::None) });
        batch.add_elements("pods", &Element::range(Ipv4Addr::new(10, 244, 0, 0).into(), 16));
        batch.add_rule(
            "post",
            &Rule::new([
                Expr::Meta { key: Meta::NfProto, to: REG1 },
                Expr::Cmp { op: Op::Eq, register: REG1, value: vec![2] },
                Expr::Payload { base: Base::Network, offset: 16, length: 4, to: REG1 },
                Expr::Lookup { set: "pods".into(), register: REG1, inverted: true },
                Expr::Masquerade { random_fully: true },
            ]),
        );
        batch.add_rule("no", &Rule::new([Expr::Reject(Reject::PortUnreachable)]));
        connection.commit(batch).unwrap();
        let text = listing();
        assert!(text.contains("10.244.0.0/16"), "{text}");
        assert!(text.contains("ip daddr != @pods masquerade fully-random"), "{text}");
        assert!(text.contains("reject"), "{text}");
        let mut batch = Batch::new(Family::Inet, "t");
        batch.delete_table();
        connection.commit(batch).unwrap();
        assert_eq!(listing(), "");
    });
}
