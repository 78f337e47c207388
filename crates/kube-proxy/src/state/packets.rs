//! Connections through the rules, in a network namespace of the test's own: clients, endpoints and Services are
//! addresses of its loopback link.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use nftables::Connection;
use socket2::{Domain, Socket, Type};

use super::tests::{fixed, in_namespace, key, service};
use super::*;
use crate::plan::Allowed;

/// Loopback with these endpoints, each of which says the last byte of its address to who connects.
fn set_up(endpoints: &[u8]) {
    let ip = |arguments: &str| {
        let done = std::process::Command::new("ip").args(arguments.split(' ')).status().unwrap();
        assert!(done.success(), "ip {arguments}");
    };
    ip("link set lo up");
    ip("route add default dev lo");
    for address in ["10.1.0.1", "10.1.0.2", "172.16.0.1"] {
        ip(&format!("address add {address}/32 dev lo"));
    }
    for last in endpoints {
        ip(&format!("address add 10.244.0.{last}/32 dev lo"));
        let listener = TcpListener::bind((Ipv4Addr::new(10, 244, 0, *last), 8080)).unwrap();
        let last = *last;
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = std::io::Write::write_all(&mut stream.unwrap(), &[last]);
            }
        });
    }
}

/// The endpoint that a client reaches at 10.96.0.LAST:80; None: nobody answers.
fn reach(client: [u8; 4], last: u8) -> Option<u8> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(IpAddr::from(client), 0).into()).unwrap();
    let to = SocketAddr::from(([10, 96, 0, last], 80));
    socket.connect_timeout(&to.into(), Duration::from_millis(300)).ok()?;
    let mut said = [0];
    std::net::TcpStream::from(socket).read_exact(&mut said).ok()?;
    Some(said[0])
}

fn sticky(lasts: &[u8], seconds: u32) -> Plan {
    let mut plan = service(1, lasts, 0);
    plan.balances[0].affinity = Some(seconds);
    plan
}

fn change(state: &mut State, connection: &mut Connection, plan: Plan) {
    let changed = state.change(vec![(key("a"), plan)]);
    connection.commit(changed.batch).unwrap();
    if changed.sweep {
        crate::sweep::sweep(connection, |f, b| state.is_noted(f, b)).unwrap();
    }
}

const CLIENT: [u8; 4] = [10, 1, 0, 1];

#[test]
fn a_client_keeps_its_endpoint_until_that_is_gone() {
    in_namespace(|| {
        set_up(&[5, 6, 7, 8]);
        let (mut state, mut connection) = (State::new(fixed()), Connection::open().unwrap());
        for batch in state.rebuild(vec![(key("a"), sticky(&[5, 6, 7, 8], 60))], &[]) {
            connection.commit(batch).unwrap();
        }
        let first = reach(CLIENT, 1).unwrap();
        for _ in 0..20 {
            assert_eq!(reach(CLIENT, 1), Some(first));
        }
        let rest: Vec<u8> = [5, 6, 7, 8].into_iter().filter(|l| *l != first).collect();
        change(&mut state, &mut connection, sticky(&rest, 60));
        let second = reach(CLIENT, 1).unwrap();
        assert_ne!(second, first);
        change(&mut state, &mut connection, sticky(&[5, 6, 7, 8], 60));
        for _ in 0..20 {
            assert_eq!(reach(CLIENT, 1), Some(second), "it is remembered at its new endpoint");
        }
        change(&mut state, &mut connection, service(1, &[5, 6, 7, 8], 0));
        let reached: std::collections::HashSet<_> = (0..100).map(|_| reach(CLIENT, 1)).collect();
        assert!(reached.len() > 1, "without affinity it is spread: {reached:?}");
    });
}

#[test]
fn a_proxy_that_starts_anew_keeps_its_clients() {
    in_namespace(|| {
        let all = [5, 6, 7, 8, 9, 10, 11, 12];
        set_up(&all);
        let mut connection = Connection::open().unwrap();
        assert!(crate::sweep::notes(&mut connection).is_empty(), "there is no table yet");
        let start = |connection: &mut Connection, lasts: &[u8]| {
            let notes = crate::sweep::notes(connection);
            for batch in State::new(fixed()).rebuild(vec![(key("a"), sticky(lasts, 60))], &notes) {
                connection.commit(batch).unwrap();
            }
            notes.len()
        };
        assert_eq!(start(&mut connection, &all), 0);
        let first = reach(CLIENT, 1).unwrap();
        for _ in 0..10 {
            assert_eq!(start(&mut connection, &all), 1);
            assert_eq!(reach(CLIENT, 1), Some(first));
        }
        let rest: Vec<u8> = all.into_iter().filter(|last| *last != first).collect();
        assert_eq!(start(&mut connection, &rest), 1);
        assert!(crate::sweep::notes(&mut connection).is_empty(), "its endpoint was gone");
        assert_ne!(reach(CLIENT, 1), Some(first));
    });
}

#[test]
fn a_client_is_forgotten_after_its_time() {
    in_namespace(|| {
        set_up(&[5, 6]);
        let (mut state, mut connection) = (State::new(fixed()), Connection::open().unwrap());
        for batch in state.rebuild(vec![(key("a"), sticky(&[5], 1))], &[]) {
            connection.commit(batch).unwrap();
        }
        assert_eq!(reach(CLIENT, 1), Some(5));
        change(&mut state, &mut connection, sticky(&[5, 6], 1));
        let mut moved = false;
        for _ in 0..20 {
            #[allow(
                clippy::disallowed_methods,
                reason = "the kernel tells nobody that an element's time is over"
            )]
            std::thread::sleep(Duration::from_millis(1300));
            moved = reach(CLIENT, 1) == Some(6);
            if moved {
                break;
            }
        }
        assert!(moved, "each time it is free to go elsewhere");
    });
}

#[test]
fn a_balancer_lets_in_whom_its_source_ranges_name() {
    in_namespace(|| {
        set_up(&[5]);
        let (mut state, mut connection) = (State::new(fixed()), Connection::open().unwrap());
        let mut plan = service(1, &[5], 0);
        let sources = vec!["10.1.0.0/31".parse().unwrap(), "10.9.0.0/16".parse().unwrap()];
        plan.allowed = vec![Allowed { frontend: plan.balances[0].frontend, sources }];
        for batch in state.rebuild(vec![(key("a"), plan.clone())], &[]) {
            connection.commit(batch).unwrap();
        }
        assert_eq!(reach([10, 1, 0, 1], 1), Some(5));
        assert_eq!(reach([10, 1, 0, 2], 1), None);
        assert_eq!(reach([172, 16, 0, 1], 1), None);
        plan.allowed[0].sources = vec!["172.16.0.0/12".parse().unwrap()];
        change(&mut state, &mut connection, plan.clone());
        assert_eq!(reach([10, 1, 0, 1], 1), None);
        assert_eq!(reach([172, 16, 0, 1], 1), Some(5));
        plan.allowed.clear();
        change(&mut state, &mut connection, plan);
        assert_eq!(reach([10, 1, 0, 2], 1), Some(5));
    });
}
