//! A SPDY/3.1 connection: many byte streams over one, each with headers, either side may open one.
//!
//! Left out: flow control, priorities and server push, which Kubernetes' SPDY does not use. A stream that nobody
//! reads holds up the others once its queue is full, as upstream's does.

pub mod frame;
mod stream;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::HeaderMap;
use parking_lot::Mutex;
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::codec::{Encoder as _, FramedRead};
use tokio_util::sync::CancellationToken;

use crate::{BoxIo, Error, Io};
use frame::{Frame, FrameDecoder, FrameEncoder, rst};
pub use stream::Stream;

/// The protocol's name in `Upgrade` headers.
pub const NAME: &str = "SPDY/3.1";

/// How long the other side may take to accept a stream.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);
/// Frames that wait for the writer.
const SEND_QUEUE: usize = 64;
/// Frames that wait for a stream's reader.
const STREAM_QUEUE: usize = 256;
/// Bytes that are gathered before they are written.
const GATHER: usize = 64 << 10;

/// What a stream's reader gets.
enum Event {
    Data(Bytes),
    End,
    Reset,
}

struct Entry {
    events: mpsc::Sender<Event>,
    /// Told once the other side has accepted a stream that we opened.
    accepted: Option<oneshot::Sender<()>>,
}

struct Shared {
    streams: Mutex<HashMap<u32, Entry>>,
    next: AtomicU32,
    data: mpsc::Sender<Frame>,
    control: mpsc::UnboundedSender<Frame>,
    closed: CancellationToken,
}

/// One end of a connection. Clones are the same end; the connection ends with [`Connection::close`], when the
/// other side ends it, or when the transport breaks.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

/// The streams that the other side opens.
pub struct Incoming(mpsc::Receiver<Stream>);

impl Incoming {
    /// None once the connection has ended.
    pub async fn next(&mut self) -> Option<Stream> {
        self.0.recv().await
    }
}

impl Connection {
    /// The side that sent the upgrade request.
    pub fn client(io: impl Io) -> (Self, Incoming) {
        Self::start(Box::new(io), 1)
    }

    /// The side that answered it.
    pub fn server(io: impl Io) -> (Self, Incoming) {
        Self::start(Box::new(io), 2)
    }

    fn start(io: BoxIo, first: u32) -> (Self, Incoming) {
        let (reader, writer) = tokio::io::split(io);
        let (data, data_queue) = mpsc::channel(SEND_QUEUE);
        let (control, control_queue) = mpsc::unbounded_channel();
        let (opened, incoming) = mpsc::channel(SEND_QUEUE);
        let shared = Arc::new(Shared {
            streams: Mutex::default(),
            next: AtomicU32::new(first),
            data,
            control,
            closed: CancellationToken::new(),
        });
        tokio::spawn(write(writer, data_queue, control_queue, shared.closed.clone()));
        tokio::spawn(read(reader, shared.clone(), opened, first));
        (Self(shared), Incoming(incoming))
    }

    /// Opens a stream and waits until the other side accepts it.
    pub async fn open(&self, headers: HeaderMap) -> Result<Stream, Error> {
        let id = self.0.next.fetch_add(2, Ordering::Relaxed);
        let (accepted, answer) = oneshot::channel();
        let stream = self.0.add(id, headers.clone(), Some(accepted));
        let frame = Frame::SynStream { id, priority: 0, fin: false, headers };
        self.0.data.send(frame).await.map_err(|_| Error::Closed)?;
        match tokio::time::timeout(REPLY_TIMEOUT, answer).await {
            Ok(Ok(())) => Ok(stream),
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => Err(Error::Timeout("the other side to accept a stream")),
        }
    }

    /// Says goodbye and ends the connection once what was sent before is written.
    pub fn close(&self) {
        let last = self.0.next.load(Ordering::Relaxed).saturating_sub(2);
        let _ = self.0.control.send(Frame::GoAway { last, status: 0 });
    }

    /// Returns when the connection has ended.
    pub async fn closed(&self) {
        self.0.closed.cancelled().await;
    }

    /// Sends a ping; its answer only shows that the other side lives.
    pub fn ping(&self) {
        let _ = self.0.control.send(Frame::Ping(self.0.next.load(Ordering::Relaxed)));
    }
}

impl Shared {
    fn add(self: &Arc<Self>, id: u32, headers: HeaderMap, accepted: Option<oneshot::Sender<()>>) -> Stream {
        let (events, queue) = mpsc::channel(STREAM_QUEUE);
        self.streams.lock().insert(id, Entry { events, accepted });
        Stream::new(id, headers, queue, self.clone())
    }

    fn sender(&self, id: u32) -> Option<mpsc::Sender<Event>> {
        self.streams.lock().get(&id).map(|e| e.events.clone())
    }

    /// The stream's reader has all there will be.
    fn forget(&self, id: u32) {
        self.streams.lock().remove(&id);
    }
}

/// Writes frames; several at once where several wait.
async fn write(
    mut io: WriteHalf<BoxIo>,
    mut data: mpsc::Receiver<Frame>,
    mut control: mpsc::UnboundedReceiver<Frame>,
    closed: CancellationToken,
) {
    let mut encoder = FrameEncoder::default();
    let mut buffer = BytesMut::with_capacity(GATHER);
    let mut goodbye = None;
    loop {
        // The reply to a stream goes before its data.
        let frame = tokio::select! {
            biased;
            frame = control.recv() => frame,
            frame = data.recv() => frame,
            () = closed.cancelled() => None,
        };
        let mut next = frame;
        if next.is_none() {
            break;
        }
        while let Some(frame) = next {
            if matches!(frame, Frame::GoAway { .. }) {
                goodbye = Some(frame);
            } else if encoder.encode(frame, &mut buffer).is_err() || buffer.len() > GATHER {
                break;
            }
            next = control.try_recv().ok().or_else(|| data.try_recv().ok());
        }
        // Nothing waits any more: what was sent before the goodbye is out.
        let last = buffer.len() <= GATHER && goodbye.is_some();
        if let Some(frame) = goodbye.take_if(|_| last) {
            let _ = encoder.encode(frame, &mut buffer);
        }
        if io.write_all(&buffer).await.is_err() || io.flush().await.is_err() {
            break;
        }
        buffer.clear();
        if last {
            break;
        }
    }
    let _ = io.shutdown().await;
    closed.cancel();
}

/// Reads frames and hands them to their streams until the connection ends.
async fn read(io: ReadHalf<BoxIo>, shared: Arc<Shared>, opened: mpsc::Sender<Stream>, first: u32) {
    let mut frames = FramedRead::with_capacity(io, FrameDecoder::default(), 32 << 10);
    loop {
        let frame = tokio::select! {
            frame = frames.next() => frame,
            () = shared.closed.cancelled() => None,
        };
        match frame {
            Some(Ok(Frame::GoAway { .. })) | None => break,
            Some(Ok(frame)) => handle(frame, &shared, &opened, first).await,
            Some(Err(error)) => {
                tracing::debug!(%error, "a SPDY connection broke");
                break;
            }
        }
    }
    shared.closed.cancel();
    let entries: Vec<Entry> = shared.streams.lock().drain().map(|(_, e)| e).collect();
    for entry in entries {
        let _ = entry.events.try_send(Event::End);
    }
}

async fn handle(frame: Frame, shared: &Arc<Shared>, opened: &mpsc::Sender<Stream>, first: u32) {
    match frame {
        Frame::SynStream { id, fin, headers, .. } => {
            if id % 2 == first % 2 || shared.sender(id).is_some() {
                let _ = shared.control.send(Frame::Rst { id, status: rst::PROTOCOL_ERROR });
                return;
            }
            let stream = shared.add(id, headers, None);
            if opened.send(stream).await.is_err() {
                let _ = shared.control.send(Frame::Rst { id, status: rst::REFUSED_STREAM });
                return;
            }
            let _ = shared.control.send(Frame::SynReply { id, fin: false, headers: HeaderMap::new() });
            if fin {
                deliver(shared, id, Event::End).await;
            }
        }
        Frame::SynReply { id, fin, .. } => {
            if let Some(accepted) = shared.streams.lock().get_mut(&id).and_then(|e| e.accepted.take()) {
                let _ = accepted.send(());
            }
            if fin {
                deliver(shared, id, Event::End).await;
            }
        }
        Frame::Data { id, fin, data } => {
            if !data.is_empty() {
                deliver(shared, id, Event::Data(data)).await;
            }
            if fin {
                deliver(shared, id, Event::End).await;
            }
        }
        Frame::Headers { id, fin: true, .. } => deliver(shared, id, Event::End).await,
        Frame::Rst { id, .. } => deliver(shared, id, Event::Reset).await,
        // Pings of the other side carry its parity and go back as they are.
        Frame::Ping(id) if id % 2 != first % 2 => drop(shared.control.send(Frame::Ping(id))),
        Frame::Ping(_) | Frame::Headers { .. } | Frame::GoAway { .. } | Frame::Other(_) => {}
    }
}

/// To the stream's reader; a reader that is gone loses it.
async fn deliver(shared: &Shared, id: u32, event: Event) {
    let last = !matches!(event, Event::Data(_));
    if let Some(events) = shared.sender(id) {
        let _ = events.send(event).await;
    }
    if last {
        shared.forget(id);
    }
}

#[cfg(test)]
mod tests;
