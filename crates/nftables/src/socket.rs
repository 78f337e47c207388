//! The netlink socket: one batch out, the kernel's answer in.

use std::io;
use std::os::fd::AsRawFd;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::{Batch, Error};

/// Room for the largest batch that we send and for the answers to it, in bytes.
const BUFFER: i32 = 64 << 20;
const NLMSG_ERROR: u16 = 2;

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
fn errors(mut bytes: &[u8]) -> impl Iterator<Item = (u32, i32)> {
    let mut found = Vec::new();
    while let Some(header) = bytes.first_chunk::<16>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let sequence = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
        if length < 16 || length > bytes.len() {
            break;
        }
        if kind == NLMSG_ERROR
            && let Some(code) = bytes.get(16..20).and_then(|b| b.first_chunk::<4>())
        {
            let code = i32::from_ne_bytes(*code);
            if code != 0 {
                found.push((sequence, -code));
            }
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found.into_iter()
}
