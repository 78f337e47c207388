//! The netlink socket: one batch out, the kernel's answer in.

use std::io;
use std::os::fd::AsRawFd;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::read::{self, FoundChain, FoundElement, FoundRule};
use crate::{Batch, Error, Family};

/// Room for the largest batch that we send and for the answers to it, in bytes.
const BUFFER: i32 = 64 << 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// A connection to nf_tables of the network namespace in which it was opened.
pub struct Connection {
    socket: Socket,
}

impl Connection {
    pub fn open() -> Result<Self, Error> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_non_blocking(true)?;
            for option in [libc::SO_SNDBUFFORCE, libc::SO_RCVBUFFORCE] {
                set_buffer(&socket, option)?;
            }
            Ok(socket)
        };
        open()
            .map(|socket| Self { socket })
            .map_err(|source| Error::Socket { what: "opening the socket", source })
    }

    /// Sends a batch. The kernel works it off before the call returns: all of it, or nothing and an error. Blocks for
    /// as long as that takes, seconds with many thousands of elements.
    pub fn commit(&mut self, batch: Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let (bytes, operations) = batch.finish();
        loop {
            match self.socket.send(&bytes, 0) {
                Ok(_) => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Socket { what: "sending a batch", source }),
            }
        }
        let Some((sequence, errno)) = self.first_error()? else { return Ok(()) };
        let source = io::Error::from_raw_os_error(errno);
        let operation = (sequence as usize).checked_sub(1).and_then(|at| operations.into_iter().nth(at));
        Err(match operation {
            Some(o) => Error::Refused { operation: o.what, name: o.name, source },
            None => Error::Refused { operation: "committing", name: String::new(), source },
        })
    }

    /// The chains of all tables of a family.
    pub fn chains(&mut self, family: Family) -> Result<Vec<FoundChain>, Error> {
        self.dump("listing chains", &read::ask_chains(family), read::chain)
    }

    /// The rules of a chain, in their order; none where the chain is not there.
    pub fn rules(&mut self, family: Family, table: &str, chain: &str) -> Result<Vec<FoundRule>, Error> {
        self.dump("listing rules", &read::ask_rules(family, table, chain), read::rule)
    }

    /// The elements of a set or map whose key is a concatenation.
    pub fn elements(&mut self, family: Family, table: &str, set: &str) -> Result<Vec<FoundElement>, Error> {
        self.dump("listing elements", &read::ask_elements(family, table, set), read::elements)
    }

    fn dump<T, I: IntoIterator<Item = T>>(
        &mut self,
        what: &'static str,
        question: &[u8],
        read: impl Fn(&[u8]) -> I,
    ) -> Result<Vec<T>, Error> {
        let failed = |source| Error::Socket { what, source };
        self.socket.send(question, 0).map_err(failed)?;
        let (mut found, mut buffer) = (Vec::new(), Vec::with_capacity(64 << 10));
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, 0) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(failed(e)),
            }
            for (kind, _, body) in messages(&buffer) {
                match (kind, refusal(kind, body)) {
                    (_, Some(libc::ENOENT)) | (NLMSG_DONE, _) => return Ok(found),
                    (_, Some(errno)) => return Err(failed(io::Error::from_raw_os_error(errno))),
                    _ => found.extend(read(body)),
                }
            }
        }
    }

    /// The first refusal among the answers, of which all are read.
    fn first_error(&mut self) -> Result<Option<(u32, i32)>, Error> {
        let (mut first, mut buffer) = (None, Vec::with_capacity(64 << 10));
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, 0) {
                Ok(_) => first = first.or_else(|| errors(&buffer).next()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(first),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // More refusals than there was room for.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    first = first.or(Some((0, libc::ENOBUFS)))
                }
                Err(source) => return Err(Error::Socket { what: "reading the answer", source }),
            }
        }
    }
}

fn set_buffer(socket: &Socket, option: i32) -> io::Result<()> {
    let size = BUFFER;
    // SAFETY: the option takes an int, which lives through the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const size).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sequence number and error number of each refusal in a datagram of messages.
fn errors(bytes: &[u8]) -> impl Iterator<Item = (u32, i32)> {
    messages(bytes).filter_map(|(kind, sequence, body)| Some((sequence, refusal(kind, body)?)))
}

/// The error number of a message that is a refusal.
fn refusal(kind: u16, body: &[u8]) -> Option<i32> {
    let code = body.first_chunk::<4>().map(|b| i32::from_ne_bytes(*b))?;
    (kind == NLMSG_ERROR && code != 0).then_some(-code)
}

/// Type, sequence number and body of each message of a datagram.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    std::iter::from_fn(move || {
        let header = bytes.first_chunk::<16>()?;
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let body = bytes.get(16..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        Some((kind, u32::from_ne_bytes([header[8], header[9], header[10], header[11]]), body))
    })
}
