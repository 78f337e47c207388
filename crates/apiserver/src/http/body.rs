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
