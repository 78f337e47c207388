//! One stream of a connection, as bytes to read and to write.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use super::frame::{Frame, rst};
use super::{Event, Shared};

/// The most that one DATA frame carries.
const MAX_DATA: usize = 32 << 10;

/// Reads end when the other side has closed its half or reset the stream; shutting down closes ours. Dropped with its own half open,
/// the stream is reset.
pub struct Stream {
    id: u32,
    headers: HeaderMap,
    events: mpsc::Receiver<Event>,
    pending: Bytes,
    ended: bool,
    sender: PollSender<Frame>,
    finished: bool,
    shared: Arc<Shared>,
}

impl Stream {
    pub(super) fn new(
        id: u32,
        headers: HeaderMap,
        events: mpsc::Receiver<Event>,
        shared: Arc<Shared>,
    ) -> Self {
        let sender = PollSender::new(shared.data.clone());
        Self { id, headers, events, pending: Bytes::new(), ended: false, sender, finished: false, shared }
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    /// The headers it was opened with; names are lower-case.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// One header as text; "" where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// Ends both halves at once.
    pub fn reset(&mut self) {
        self.finished = true;
        self.shared.forget(self.id);
        let _ = self.shared.control.send(Frame::Rst { id: self.id, status: rst::CANCEL });
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.finished && !self.shared.closed.is_cancelled() {
            let _ = self.shared.control.send(Frame::Rst { id: self.id, status: rst::CANCEL });
        }
        self.shared.forget(self.id);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.pending.is_empty() && !self.ended {
            match ready!(self.events.poll_recv(cx)) {
                Some(Event::Data(data)) => self.pending = data,
                Some(Event::End) | None => self.ended = true,
                // Go's servers reset every stream of a connection that they close in good order, so that a reset
                // says no more than an end; whoever needs to know reads the outcome on the error stream.
                Some(Event::Reset) => {
                    self.ended = true;
                    self.finished = true;
                }
            }
        }
        let n = self.pending.len().min(buf.remaining());
        buf.put_slice(&self.pending[..n]);
        self.pending.advance(n);
        Poll::Ready(Ok(()))
    }
}

fn broken() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.finished {
            return Poll::Ready(Err(broken()));
        }
        ready!(self.sender.poll_reserve(cx)).map_err(|_| broken())?;
        let n = data.len().min(MAX_DATA);
        let frame = Frame::Data { id: self.id, fin: false, data: Bytes::copy_from_slice(&data[..n]) };
        self.sender.send_item(frame).map_err(|_| broken())?;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.finished {
            return Poll::Ready(Ok(()));
        }
        ready!(self.sender.poll_reserve(cx)).map_err(|_| broken())?;
        let frame = Frame::Data { id: self.id, fin: true, data: Bytes::new() };
        self.sender.send_item(frame).map_err(|_| broken())?;
        self.finished = true;
        Poll::Ready(Ok(()))
    }
}
