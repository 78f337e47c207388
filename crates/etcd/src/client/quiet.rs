//! A connection that answers pings of its peer late: etcd's server measures its bandwidth with a ping for each request
//! it reads, unless one is still unanswered. Each answer is a system call for 17 bytes here, each ping a wake-up, about
//! a quarter of what a small read costs. So an answer is kept back for up to [`LATE`], well within the time that
//! keepalive allows (20 s), and the next request meets a server that waits for one already.
//!
//! It only knows where frames of HTTP/2 begin (RFC 9113, section 4.1), and touches nothing but answers to pings that
//! are written by themselves.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long an answer is kept back.
const LATE: Duration = Duration::from_secs(1);
/// What a client sends before its first frame.
const PREFACE: usize = 24;
const HEADER: usize = 9;
/// The header of an answer to a ping, and the length of the whole.
const ANSWER: [u8; HEADER] = [0, 0, 8, 6, 1, 0, 0, 0, 0];
const ANSWER_LEN: usize = HEADER + 8;

/// Follows written bytes to know where a frame begins.
#[derive(Debug)]
struct Frames {
    /// Bytes that are left of the present frame's payload, or of the preface.
    left: usize,
    header: [u8; HEADER],
    /// How much of the next header was seen.
    seen: usize,
}

impl Frames {
    fn is_between(&self) -> bool {
        self.left == 0 && self.seen == 0
    }

    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEADER - self.seen).min(bytes.len());
            if self.left > 0 || taken == 0 {
                continue;
            }
            self.header[self.seen..self.seen + taken].copy_from_slice(&bytes[..taken]);
            self.seen += taken;
            bytes = &bytes[taken..];
            if self.seen == HEADER {
                let [a, b, c, ..] = self.header;
                (self.left, self.seen) = (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c), 0);
            }
        }
    }
}

/// See the module.
pub struct Quiet<S> {
    inner: S,
    frames: Frames,
    /// The answer that is kept back, and how much of it is written.
    kept: Option<([u8; ANSWER_LEN], usize)>,
    timer: Pin<Box<Sleep>>,
}

impl<S: AsyncWrite + Unpin> Quiet<S> {
    pub fn new(inner: S) -> Self {
        let frames = Frames { left: PREFACE, header: [0; HEADER], seen: 0 };
        Self { inner, frames, kept: None, timer: Box::pin(tokio::time::sleep(LATE)) }
    }

    /// Keeps an answer back if that is all there is; false: it is to be written as it is.
    fn keep(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> bool {
        let Ok(answer) = <[u8; ANSWER_LEN]>::try_from(bytes) else { return false };
        if !answer.starts_with(&ANSWER) || !self.frames.is_between() || self.kept.is_some() {
            return false;
        }
        self.kept = Some((answer, 0));
        self.timer.as_mut().reset(Instant::now() + LATE);
        // Registers the task; that it is not over yet is known.
        let _ = self.timer.as_mut().poll(cx);
        true
    }

    /// Writes what is kept back and due, or was begun.
    fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some((answer, written)) = &mut self.kept else { return Poll::Ready(Ok(())) };
        let is_due = *written > 0 || self.frames.is_between() && self.timer.as_mut().poll(cx).is_ready();
        while is_due && *written < ANSWER_LEN {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &answer[*written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => *written += n,
            }
        }
        if is_due {
            self.kept = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Quiet<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Quiet<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_kept(cx))?;
        if self.keep(cx, buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.frames.pass(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_kept(cx))?;
        if let [one] = bufs
            && self.keep(cx, one)
        {
            return Poll::Ready(Ok(one.len()));
        }
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        let mut left = written;
        for buf in bufs {
            let of_it = left.min(buf.len());
            self.frames.pass(&buf[..of_it]);
            left -= of_it;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_kept(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let size = (payload.len() as u32).to_be_bytes();
        [&size[1..], &[kind, flags, 0, 0, 0, 0], payload].concat()
    }

    async fn read(from: &mut tokio::io::DuplexStream, size: usize) -> Vec<u8> {
        let mut out = vec![0; size];
        from.read_exact(&mut out).await.unwrap();
        out
    }

    #[tokio::test(start_paused = true)]
    async fn answers_come_late_and_all_else_at_once() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let mut quiet = Quiet::new(near);
        let answer = frame(6, 1, b"12345678");
        assert_eq!(answer.len(), ANSWER_LEN);
        quiet.write_all(&[b'P'; PREFACE]).await.unwrap();
        let settings = frame(4, 0, b"");
        quiet.write_all(&settings).await.unwrap();
        quiet.write_all(&answer).await.unwrap();
        let data = frame(0, 0, b"some data");
        quiet.write_all(&data).await.unwrap();
        quiet.flush().await.unwrap();
        let before = read(&mut far, PREFACE + settings.len() + data.len()).await;
        assert!(before.ends_with(&data), "the answer is kept back");
        tokio::time::advance(LATE).await;
        quiet.flush().await.unwrap();
        assert_eq!(read(&mut far, ANSWER_LEN).await, answer);
        // A second one while the first is kept is written as it is, so that neither is lost.
        for _ in 0..2 {
            quiet.write_all(&answer).await.unwrap();
        }
        assert_eq!(read(&mut far, ANSWER_LEN).await, answer);
    }

    #[tokio::test(start_paused = true)]
    async fn data_that_looks_like_an_answer_is_data() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let mut quiet = Quiet::new(near);
        quiet.write_all(&[b'P'; PREFACE]).await.unwrap();
        let answer = frame(6, 1, b"12345678");
        let whole = frame(0, 0, &answer);
        // In pieces: the header by bytes, then the payload by itself.
        for byte in &whole[..HEADER] {
            quiet.write_all(&[*byte]).await.unwrap();
        }
        quiet.write_all(&answer).await.unwrap();
        assert!(read(&mut far, PREFACE + whole.len()).await.ends_with(&whole));
        assert!(quiet.kept.is_none());
        // Cut within a header, a payload and at a border.
        let mut frames = Frames { left: PREFACE, header: [0; HEADER], seen: 0 };
        let stream =
            [vec![b'P'; PREFACE], frame(0, 0, &[7; 300]), frame(4, 1, b""), frame(1, 4, b"x")].concat();
        let borders = [PREFACE, PREFACE + 309, PREFACE + 318, PREFACE + 328];
        for (at, byte) in stream.iter().enumerate() {
            assert_eq!(frames.is_between(), borders.contains(&at), "{at}");
            frames.pass(&[*byte]);
        }
        assert!(frames.is_between());
    }
}
