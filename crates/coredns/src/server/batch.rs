//! recvmmsg and sendmmsg over fixed buffers: what makes a question cost a fraction of a system call.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use socket2::SockAddr;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::wire::Question;
use crate::zone::Meaning;

const SIZE: usize = 32;
/// A question larger than this is cut and then malformed; real ones are below 300 bytes.
const QUESTION: usize = 1232;

/// What becomes of one question of a batch.
pub enum Reply {
    /// The answer is in the buffer.
    Now,
    Later(Box<Question>, Meaning),
    Never,
}

/// A question that a task answers: its bytes, who asked, and what it means.
pub type Deferred = (Vec<u8>, SocketAddr, Box<Question>, Meaning);

struct Slot {
    question: Vec<u8>,
    length: usize,
    from: libc::sockaddr_storage,
    from_length: libc::socklen_t,
    answer: Vec<u8>,
}

/// Up to 32 questions and their answers.
pub struct Batch {
    slots: Vec<Slot>,
    received: usize,
    /// Slots with an answer to send.
    ready: Vec<usize>,
    later: Vec<Deferred>,
}

impl Batch {
    pub fn new() -> Self {
        let slot = || Slot {
            question: vec![0; QUESTION],
            length: 0,
            // SAFETY: all zeros is a valid sockaddr_storage (family AF_UNSPEC).
            from: unsafe { zeroed() },
            from_length: 0,
            answer: Vec::with_capacity(QUESTION),
        };
        Self { slots: (0..SIZE).map(|_| slot()).collect(), received: 0, ready: Vec::new(), later: Vec::new() }
    }

    /// Waits for at least one question and takes all there are, up to 32.
    pub async fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.received = loop {
            socket.readable().await?;
            match socket.try_io(Interest::READABLE, || self.receive_now(socket.as_raw_fd())) {
                Ok(count) => break count,
                // An ICMP error of an earlier answer is not this socket's end.
                Err(e)
                    if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused) => {}
                Err(e) => return Err(e),
            }
        };
        Ok(())
    }

    fn receive_now(&mut self, fd: i32) -> io::Result<usize> {
        // SAFETY: zeroed C structs of integers and pointers are valid; each pointer that is set points into a slot,
        // which outlives the call and is not moved by it.
        unsafe {
            let mut vectors: [libc::iovec; SIZE] = zeroed();
            let mut headers: [libc::mmsghdr; SIZE] = zeroed();
            for ((slot, vector), header) in self.slots.iter_mut().zip(&mut vectors).zip(&mut headers) {
                *vector = libc::iovec { iov_base: slot.question.as_mut_ptr().cast(), iov_len: QUESTION };
                header.msg_hdr.msg_name = (&raw mut slot.from).cast();
                header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
            }
            let flags = libc::MSG_DONTWAIT;
            let count =
                libc::recvmmsg(fd, headers.as_mut_ptr(), SIZE as u32, flags as _, std::ptr::null_mut());
            if count < 0 {
                return Err(io::Error::last_os_error());
            }
            let count = count as usize;
            for (slot, header) in self.slots.iter_mut().zip(&headers).take(count) {
                slot.length = header.msg_len as usize;
                slot.from_length = header.msg_hdr.msg_namelen;
            }
            Ok(count)
        }
    }

    /// Hands each question and its answer's buffer to `resolve`.
    pub fn answer(&mut self, mut resolve: impl FnMut(&[u8], &mut Vec<u8>) -> Reply) {
        self.ready.clear();
        for (at, slot) in self.slots.iter_mut().enumerate().take(self.received) {
            let question = &slot.question[..slot.length.min(QUESTION)];
            match resolve(question, &mut slot.answer) {
                Reply::Now => self.ready.push(at),
                Reply::Later(parsed, meaning) => {
                    if let Some(from) = address(&slot.from, slot.from_length) {
                        self.later.push((question.to_vec(), from, parsed, meaning));
                    }
                }
                Reply::Never => {}
            }
        }
    }

    /// The questions that tasks answer; empties the list.
    pub fn later(&mut self) -> Vec<Deferred> {
        std::mem::take(&mut self.later)
    }

    /// Sends all answers. One that cannot be sent is dropped, as the network might have done.
    pub async fn send(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.ready.len() {
            socket.writable().await?;
            match socket.try_io(Interest::WRITABLE, || self.send_now(socket.as_raw_fd(), sent)) {
                Ok(count) => sent += count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => sent += 1,
            }
        }
        Ok(())
    }

    fn send_now(&mut self, fd: i32, skip: usize) -> io::Result<usize> {
        let due = &self.ready[skip..];
        // SAFETY: as in `receive_now`; the kernel only reads.
        unsafe {
            let mut vectors: [libc::iovec; SIZE] = zeroed();
            let mut headers: [libc::mmsghdr; SIZE] = zeroed();
            for ((at, vector), header) in due.iter().zip(&mut vectors).zip(&mut headers) {
                let slot = &mut self.slots[*at];
                *vector =
                    libc::iovec { iov_base: slot.answer.as_mut_ptr().cast(), iov_len: slot.answer.len() };
                header.msg_hdr.msg_name = (&raw mut slot.from).cast();
                header.msg_hdr.msg_namelen = slot.from_length;
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
            }
            let count = libc::sendmmsg(fd, headers.as_mut_ptr(), due.len() as u32, libc::MSG_DONTWAIT as _);
            if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
        }
    }
}

// SAFETY: no pointer is kept between two calls; the buffers are the batch's own.
unsafe impl Send for Batch {}

fn address(storage: &libc::sockaddr_storage, length: libc::socklen_t) -> Option<SocketAddr> {
    // SAFETY: the kernel wrote `length` bytes of a valid address of the socket's family.
    let address = unsafe {
        let mut copy: socket2::SockAddrStorage = zeroed();
        std::ptr::copy_nonoverlapping(
            std::ptr::from_ref(storage).cast::<u8>(),
            (&raw mut copy).cast::<u8>(),
            length as usize,
        );
        SockAddr::new(copy, length)
    };
    address.as_socket()
}
