//! Bodies: made of shared bytes, read up to a limit.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use apimachinery::Status;
use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;

use crate::endpoint::Body;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Several pieces sent one after the other, without copying them together.
pub struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl Pieces {
    pub fn new(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let pieces: VecDeque<Bytes> = pieces.into_iter().filter(|p| !p.is_empty()).collect();
        let left = pieces.iter().map(|p| p.len() as u64).sum();
        Self { pieces, left }
    }

    pub fn len(&self) -> u64 {
        self.left
    }

    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// All of them in one.
    pub fn concat(mut self) -> Bytes {
        if self.pieces.len() == 1 {
            return self.pieces.pop_front().unwrap_or_default();
        }
        let mut out = Vec::with_capacity(self.left as usize);
        self.pieces.iter().for_each(|p| out.extend_from_slice(p));
        out.into()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter()
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(piece) = self.pieces.pop_front() else { return Poll::Ready(None) };
        self.left -= piece.remaining() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Bytes of a frame of a body that is written while it is sent.
const CHUNK: usize = 64 << 10;

/// A body that is written while it is sent, so that it never lies in memory as a whole. `next` appends some more and
/// says whether there may be more after it. What fits into one frame is sent with its length.
pub fn written<N>(mut next: N) -> Body
where
    N: FnMut(&mut Vec<u8>) -> bool + Send + Sync + Unpin + 'static,
{
    let (first, more) = chunk(&mut next);
    if more { Written { first: Some(first), next: Some(next) }.boxed() } else { full(first) }
}

/// All that `next` would send, in one.
pub fn collect(mut next: impl FnMut(&mut Vec<u8>) -> bool) -> Vec<u8> {
    let mut out = Vec::new();
    while next(&mut out) {}
    out
}

fn chunk(next: &mut impl FnMut(&mut Vec<u8>) -> bool) -> (Bytes, bool) {
    let mut out = Vec::with_capacity(CHUNK + CHUNK / 8);
    let mut more = true;
    while more && out.len() < CHUNK {
        more = next(&mut out);
    }
    (out.into(), more)
}

struct Written<N> {
    first: Option<Bytes>,
    /// None at the end.
    next: Option<N>,
}

impl<N: FnMut(&mut Vec<u8>) -> bool + Unpin> http_body::Body for Written<N> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let (bytes, more) = chunk(next);
        if !more {
            self.next = None;
        }
        Poll::Ready((!bytes.is_empty()).then_some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.next.is_none()
    }
}

/// A document of a head, items with commas between them, and a tail, for [`written`].
pub fn items(
    head: Vec<u8>,
    count: usize,
    tail: &'static [u8],
    mut item: impl FnMut(usize, &mut Vec<u8>),
) -> impl FnMut(&mut Vec<u8>) -> bool {
    let (mut head, mut at) = (head, 0);
    move |out| {
        out.append(&mut head);
        if at == count {
            out.extend_from_slice(tail);
            return false;
        }
        if at > 0 {
            out.push(b',');
        }
        item(at, out);
        at += 1;
        true
    }
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

pub fn empty() -> Body {
    full(Bytes::new())
}

pub fn boxed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed()
}

/// A request's body that can be taken back when nobody reads it: an error is often clear before the body is read, and
/// a connection that is to be used again must not have a rest of it.
pub struct Lent(Arc<Mutex<Option<Body>>>);

/// The other end of [`Lent`].
pub struct Lender(Arc<Mutex<Option<Body>>>);

/// Bytes of an unread body that are read away to keep its connection.
const DRAINED: usize = 256 << 10;
const DRAINED_WITHIN: Duration = Duration::from_secs(1);

pub fn lend(body: Body) -> (Body, Lender) {
    let slot = Arc::new(Mutex::new(Some(body)));
    (Lent(slot.clone()).boxed(), Lender(slot))
}

impl Lender {
    /// Reads what is left, if it is little.
    pub async fn drain(self) {
        let Some(mut body) = self.0.lock().take().filter(|b| !http_body::Body::is_end_stream(b)) else {
            return;
        };
        let read = async {
            let mut left = DRAINED;
            while let Some(Ok(frame)) = body.frame().await {
                let size = frame.data_ref().map_or(0, Bytes::len);
                if size > left {
                    return;
                }
                left -= size;
            }
        };
        // Then the connection is closed, which is what happens without this.
        let _ = tokio::time::timeout(DRAINED_WITHIN, read).await;
    }
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.0.lock().as_mut() {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().as_ref().map(http_body::Body::size_hint).unwrap_or_default()
    }
}

/// Reads the whole body; 413 beyond `limit` bytes. One piece is taken as it is.
pub async fn read(mut body: Body, limit: usize) -> Result<Bytes, Status> {
    let mut first = Bytes::new();
    let mut rest: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) =
            frame.map_err(|e| Status::bad_request(format!("unable to read request body: {e}")))?.into_data()
        else {
            continue;
        };
        if first.len() + rest.len() + data.len() > limit {
            return Err(Status::too_large(format!("Request entity too large: limit is {limit}")));
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { [&first[..], &rest].concat().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_while_it_is_sent_is_the_whole() {
        for (count, size) in [(0, 1), (1, 1), (3, 100), (2, CHUNK), (1000, 700)] {
            let make = || {
                items(b"[".to_vec(), count, b"]", move |at, out: &mut Vec<u8>| {
                    out.extend(std::iter::repeat_n(b'0' + (at % 10) as u8, size));
                })
            };
            let whole = collect(make());
            let body = written(make());
            assert_eq!(
                http_body::Body::size_hint(&body).exact().is_some(),
                whole.len() < CHUNK,
                "{count} {size}"
            );
            assert!(body.collect().await.unwrap().to_bytes() == whole, "{count} {size}");
        }
    }
}
