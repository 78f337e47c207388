//! `dns-load ADDRESS:PORT SECONDS SERVICES`: asks a DNS server as fast as it answers, and prints how many answers came and
//! how many of them were wrong. Half of the questions are for addresses of Services `s0`, `s1`, ... in `default`, a
//! quarter for IPv6 addresses, which they do not have, and a quarter for names that a resolver tries by its search
//! list in vain. Sixteen sockets with 32 open questions each, two threads; a question that is lost is asked again.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const OPEN: usize = 32;
const SOCKETS: usize = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, server, seconds, services] = arguments.as_slice() else {
        return Err("dns-load ADDRESS:PORT SECONDS SERVICES".into());
    };
    let (seconds, services): (u64, u32) = (seconds.parse()?, services.parse()?);
    let end = Instant::now() + Duration::from_secs(seconds);
    let threads: Vec<_> = (0..2u32)
        .map(|n| {
            let server = server.clone();
            std::thread::spawn(move || ask_until(&server, end, services, n))
        })
        .collect();
    let (mut answers, mut wrong) = (0, 0);
    for thread in threads {
        let (a, w) = thread.join().map_err(|_| "a thread panicked")??;
        answers += a;
        wrong += w;
    }
    println!("{answers} {wrong}");
    Ok(())
}

fn ask_until(server: &str, end: Instant, services: u32, first: u32) -> std::io::Result<(u64, u64)> {
    let sockets: Vec<UdpSocket> = (0..SOCKETS)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(server)?;
            socket.set_read_timeout(Some(Duration::from_millis(200)))?;
            Ok(socket)
        })
        .collect::<std::io::Result<_>>()?;
    let (mut answers, mut wrong, mut turn) = (0, 0, first);
    while Instant::now() < end {
        for socket in &sockets {
            let questions: Vec<Vec<u8>> = (0..OPEN)
                .map(|_| {
                    turn = turn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    question(turn, services)
                })
                .collect();
            send_all(socket, &questions)?;
        }
        for socket in &sockets {
            let mut buffer = [0u8; 1500];
            for _ in 0..OPEN {
                let Ok(length) = socket.recv(&mut buffer) else { break };
                answers += 1;
                wrong += u64::from(!is_right(&buffer[..length]));
            }
        }
    }
    Ok((answers, wrong))
}

/// The low two bits of the id say what is asked.
fn question(turn: u32, services: u32) -> Vec<u8> {
    let (what, service) = ((turn >> 16) as u16, (turn >> 8) % services);
    let name = match what & 3 {
        3 => format!("s{service}.default.svc.cluster.local.svc.cluster.local"),
        _ => format!("s{service}.default.svc.cluster.local"),
    };
    let mut bytes = what.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, if what & 3 == 2 { 28 } else { 1 }, 0, 1]);
    bytes
}

/// One address; no error and no record; no such name.
fn is_right(answer: &[u8]) -> bool {
    let [_, id, _, flags, _, _, _, count, ..] = answer else { return false };
    let expected = match id & 3 {
        3 => (3, 0),
        2 => (0, 0),
        _ => (0, 1),
    };
    (flags & 15, *count) == expected
}

fn send_all(socket: &UdpSocket, questions: &[Vec<u8>]) -> std::io::Result<()> {
    let mut sent = 0;
    while sent < questions.len() {
        let mut vectors: Vec<libc::iovec> = questions[sent..]
            .iter()
            .map(|q| libc::iovec { iov_base: q.as_ptr().cast_mut().cast(), iov_len: q.len() })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = vectors
            .iter_mut()
            .map(|vector| {
                // SAFETY: all zeros is a valid header without an address, options or data.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        // SAFETY: the headers point to vectors and these to questions, all of which outlive the call; the kernel
        // only reads what they point to.
        let count =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), headers.len() as u32, 0) };
        if count < 0 {
            return Err(std::io::Error::last_os_error());
        }
        sent += count as usize;
    }
    Ok(())
}
