//! Batches against the kernel, in a network namespace of the test's own.

use std::process::Command;

use nftables::Connection;

use super::*;
use crate::plan::Masquerade;

pub(super) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let missing = |program: &str| Command::new(program).arg("-V").output().is_err();
    if !nix::unistd::geteuid().is_root() || missing("nft") || missing("ip") {
        eprintln!("skipped: needs root, nft to read the rules back and ip to make addresses");
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

/// The whole table, without what differs from run to run; elements in one order.
fn listing() -> String {
    let out = Command::new("nft").args(["-j", "list", "ruleset"]).output().unwrap();
    assert!(out.status.success(), "nft: {} {}", out.status, String::from_utf8_lossy(&out.stderr));
    let value: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let mut lines = Vec::new();
    for item in value["nftables"].as_array().unwrap() {
        let mut item = item.clone();
        for (_, inner) in item.as_object_mut().unwrap() {
            inner.as_object_mut().unwrap().remove("handle");
            if let Some(elements) = inner.get_mut("elem").and_then(|e| e.as_array_mut()) {
                elements.sort_by_key(ToString::to_string);
            }
        }
        lines.push(item.to_string());
    }
    lines.sort();
    lines.join("\n")
}

pub(super) fn fixed() -> Fixed {
    Fixed {
        node_addresses: vec![[10, 90, 0, 11].into()],
        pods: Some("10.244.0.0/16".parse().unwrap()),
        masquerade_all: false,
    }
}

fn backends(lasts: &[u8]) -> Vec<Backend> {
    lasts.iter().map(|l| Backend { address: [10, 244, 0, *l].into(), port: 8080 }).collect()
}

pub(super) fn service(last: u8, lasts: &[u8], node_port: u16) -> Plan {
    let frontend = |address, port| Frontend { address, protocol: 6, port };
    let mut balances = vec![Balance {
        frontend: frontend(Some([10, 96, 0, last].into()), 80),
        scope: Scope::All,
        masquerade: Masquerade::NotPods,
        affinity: None,
        backends: backends(lasts),
    }];
    if node_port != 0 {
        for (scope, masquerade, some) in
            [(Scope::All, Masquerade::Always, lasts), (Scope::Outside, Masquerade::Never, &lasts[..0])]
        {
            balances.push(Balance {
                frontend: frontend(None, node_port),
                scope,
                masquerade,
                affinity: None,
                backends: backends(some),
            });
        }
    }
    Plan { balances, cluster_ips: vec![[10, 96, 0, last].into()], ..Plan::default() }
}

fn sticky(mut plan: Plan) -> Plan {
    for balance in &mut plan.balances {
        balance.affinity = Some(60);
    }
    plan
}

fn guarded(mut plan: Plan, range: &str) -> Plan {
    let sources = vec![range.parse().unwrap(), "192.0.2.7/32".parse().unwrap()];
    plan.allowed = vec![Allowed { frontend: plan.balances[0].frontend, sources }];
    plan
}

pub(super) fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

/// Goes through `steps`, each by its difference, and compares each state with one built from nothing.
#[test]
fn differences_lead_where_a_rebuild_leads() {
    in_namespace(|| {
        let steps: Vec<Vec<(&str, Plan)>> = vec![
            vec![("a", service(1, &[5], 0)), ("b", service(2, &[5, 6], 30080))],
            vec![("a", service(1, &[5, 7], 0))],
            vec![("b", service(2, &[], 30080))],
            vec![("a", Plan::default()), ("c", service(3, &[1, 2, 3], 0))],
            vec![("b", service(2, &[9], 30081)), ("c", service(3, &[1, 2], 0))],
            vec![("a", sticky(service(1, &[5, 6], 30082))), ("b", sticky(service(2, &[9], 30081)))],
            vec![
                ("a", sticky(service(1, &[6, 7, 8], 30082))),
                ("b", guarded(service(2, &[9], 30081), "10.0.0.0/8")),
            ],
            vec![("a", service(1, &[6], 30082)), ("b", guarded(service(2, &[9], 30081), "10.0.0.0/9"))],
            vec![("a", Plan::default()), ("b", Plan::default()), ("c", Plan::default())],
        ];
        let mut connection = Connection::open().unwrap();
        let mut state = State::new(fixed());
        for batch in state.rebuild(Vec::new(), &[]) {
            connection.commit(batch).unwrap();
        }
        let mut now: HashMap<&str, Plan> = HashMap::new();
        for step in steps {
            for (name, plan) in &step {
                now.insert(name, plan.clone());
            }
            let batch = state.change(step.into_iter().map(|(n, p)| (key(n), p)).collect()).batch;
            connection.commit(batch).unwrap();
            let by_difference = listing();
            let all = now.iter().map(|(n, p)| (key(n), p.clone())).collect();
            for batch in State::new(fixed()).rebuild(all, &[]) {
                connection.commit(batch).unwrap();
            }
            assert_eq!(by_difference, listing());
        }
    });
}

#[test]
fn what_did_not_change_is_not_written() {
    let mut state = State::new(fixed());
    state.rebuild(vec![(key("a"), service(1, &[5, 6], 0))], &[]);
    let Changed { batch, stale, .. } = state.change(vec![(key("a"), service(1, &[5, 6], 0))]);
    assert!(batch.is_empty());
    assert!(stale.is_empty());
}

#[test]
fn udp_clients_of_a_lost_endpoint_are_forgotten() {
    let mut state = State::new(fixed());
    let udp = |lasts: &[u8]| {
        let mut plan = service(1, lasts, 0);
        plan.balances[0].frontend.protocol = 17;
        plan
    };
    state.rebuild(vec![(key("a"), udp(&[5, 6]))], &[]);
    let Changed { stale, .. } = state.change(vec![(key("a"), udp(&[6, 7]))]);
    assert_eq!(stale.len(), 1);
    assert_eq!(stale[0].backend.unwrap().address.to_string(), "10.244.0.5");
    let Changed { stale, .. } = state.change(vec![(key("a"), udp(&[]))]);
    assert_eq!(stale.len(), 2);
    let Changed { stale, .. } = state.change(vec![(key("a"), udp(&[8]))]);
    assert_eq!(stale[0].backend, None, "clients that found nobody try again");
}

#[test]
fn the_first_to_claim_a_frontend_keeps_it() {
    let mut state = State::new(fixed());
    state.rebuild(vec![(key("a"), service(1, &[5], 0))], &[]);
    let Changed { batch, .. } = state.change(vec![(key("b"), service(1, &[6], 0))]);
    assert!(batch.is_empty());
}
