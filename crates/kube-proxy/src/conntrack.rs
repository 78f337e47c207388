//! Tracked UDP connections that lead to an endpoint which is gone, or past one that has come: removed by
//! ctnetlink (`nfnetlink_conntrack.h`), as only the kernel's table knows them.

use std::io;
use std::net::Ipv4Addr;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::plan::{Backend, Frontend};

/// Connections to forget: those to a frontend that were rewritten to `backend`, or to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    pub frontend: Frontend,
    pub backend: Option<Backend>,
}

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tuple {
    source: Option<Ipv4Addr>,
    destination: Option<Ipv4Addr>,
    protocol: u8,
    source_port: u16,
    destination_port: u16,
}

/// A connection, and its original direction as the kernel wrote it.
struct Connection<'a> {
    original: Tuple,
    reply: Tuple,
    raw: &'a [u8],
}

/// Removes the connections in this network namespace; how many there were.
pub fn forget(stale: &[Stale]) -> io::Result<usize> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&message(GET, NLM_F_REQUEST | NLM_F_DUMP, &[]), 0)?;
    let mut doomed = Vec::new();
    each_message(&mut socket, |body| {
        if let Some(connection) = connection(body)
            && stale.iter().any(|s| s.matches(&connection))
        {
            doomed.push(connection.raw.to_vec());
        }
    })?;
    for original in &doomed {
        // One that has ended meanwhile is fine: no answer is asked for.
        socket.send(&message(DELETE, NLM_F_REQUEST, original), 0)?;
    }
    Ok(doomed.len())
}

impl Stale {
    fn matches(&self, connection: &Connection<'_>) -> bool {
        let (original, reply, frontend) = (connection.original, connection.reply, self.frontend);
        let here = original.protocol == frontend.protocol
            && original.destination_port == frontend.port
            && frontend.address.is_none_or(|a| original.destination == Some(a));
        here && match self.backend {
            Some(backend) => reply.source == Some(backend.address) && reply.source_port == backend.port,
            None => reply.source == original.destination,
        }
    }
}

fn message(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let mut bytes = ((20 + attributes.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[libc::AF_INET as u8, 0, 0, 0]);
    bytes.extend_from_slice(attributes);
    bytes
}

fn each_message(socket: &mut Socket, mut work: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(64 << 10);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        let mut bytes = &buffer[..];
        while let Some(header) = bytes.first_chunk::<16>() {
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
            let Some(body) = bytes.get(16..length) else { break };
            match u16::from_ne_bytes([header[4], header[5]]) {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = body.first_chunk::<4>().map_or(0, |c| i32::from_ne_bytes(*c));
                    return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                }
                _ => work(body),
            }
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// Type (without its flags), value, and the whole of each attribute.
fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8], &[u8])> {
    let mut found = Vec::new();
    while let Some(header) = bytes.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let Some(value) = bytes.get(4..length) else { break };
        let whole = &bytes[..length.next_multiple_of(4).min(bytes.len())];
        found.push((u16::from_ne_bytes([header[2], header[3]]) & 0x3fff, value, whole));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// `body` is what follows the netlink header: nfgenmsg, then attributes.
fn connection(body: &[u8]) -> Option<Connection<'_>> {
    let all = attributes(body.get(4..)?);
    let of = |kind: u16| all.iter().find(|(k, ..)| *k == kind);
    let (_, original, raw) = of(1)?;
    let (_, reply, _) = of(2)?;
    Some(Connection { original: tuple(original), reply: tuple(reply), raw })
}

fn tuple(bytes: &[u8]) -> Tuple {
    let mut tuple = Tuple::default();
    let port = |v: &[u8]| v.first_chunk::<2>().map_or(0, |b| u16::from_be_bytes(*b));
    for (kind, value, _) in attributes(bytes) {
        for (part, value, _) in attributes(value) {
            match (kind, part) {
                (1, 1) => tuple.source = value.first_chunk::<4>().map(|b| (*b).into()),
                (1, 2) => tuple.destination = value.first_chunk::<4>().map(|b| (*b).into()),
                (2, 1) => tuple.protocol = value.first().copied().unwrap_or_default(),
                (2, 2) => tuple.source_port = port(value),
                (2, 3) => tuple.destination_port = port(value),
                _ => {}
            }
        }
    }
    tuple
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An attribute with its padding.
    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn direction(kind: u16, source: [u8; 4], destination: [u8; 4], ports: (u16, u16)) -> Vec<u8> {
        let ip = [attribute(1, &source), attribute(2, &destination)].concat();
        let proto =
            [attribute(1, &[17]), attribute(2, &ports.0.to_be_bytes()), attribute(3, &ports.1.to_be_bytes())]
                .concat();
        attribute(kind | 0x8000, &[attribute(1 | 0x8000, &ip), attribute(2 | 0x8000, &proto)].concat())
    }

    #[test]
    fn only_connections_of_the_frontend_to_the_lost_endpoint_match() {
        let body = [
            vec![2, 0, 0, 0],
            direction(1, [10, 244, 0, 9], [10, 96, 0, 10], (5000, 53)),
            direction(2, [10, 244, 0, 5], [10, 244, 0, 9], (5353, 5000)),
        ]
        .concat();
        let connection = connection(&body).unwrap();
        let frontend = Frontend { address: Some([10, 96, 0, 10].into()), protocol: 17, port: 53 };
        let at = |last: u8| Some(Backend { address: [10, 244, 0, last].into(), port: 5353 });
        assert!(Stale { frontend, backend: at(5) }.matches(&connection));
        assert!(!Stale { frontend, backend: at(6) }.matches(&connection));
        assert!(!Stale { frontend, backend: None }.matches(&connection));
        assert!(!Stale { frontend: Frontend { port: 54, ..frontend }, backend: at(5) }.matches(&connection));
        assert!(
            Stale { frontend: Frontend { address: None, ..frontend }, backend: at(5) }.matches(&connection)
        );
    }
}
