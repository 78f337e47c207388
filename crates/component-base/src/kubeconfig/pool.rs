//! HTTP/2 connections, as many as the open requests need: a server allows a hundred streams or so on one, and a
//! component with a watch a kind may have more. A request goes to the first connection with room.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::Body;
use parking_lot::Mutex;

/// Requests at a time on a connection; servers allow 100 or more.
const STREAMS: usize = 90;

type Connector = HttpsConnector<HttpConnector>;

struct Member {
    client: Client<Connector, Body>,
    open: Arc<AtomicUsize>,
}

/// The connections of one client.
#[derive(Clone)]
pub(super) struct Pool {
    connector: Connector,
    members: Arc<Mutex<Vec<Member>>>,
}

impl Pool {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, members: Arc::default() }
    }

    fn pick(&self) -> (Client<Connector, Body>, Open) {
        let mut members = self.members.lock();
        let at = members.iter().position(|m| m.open.load(Relaxed) < STREAMS).unwrap_or_else(|| {
            members.push(Member { client: self.client(), open: Arc::default() });
            members.len() - 1
        });
        (members[at].client.clone(), Open::new(&members[at].open))
    }

    fn client(&self) -> Client<Connector, Body> {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        builder.pool_timer(TokioTimer::new());
        builder.http2_keep_alive_interval(std::time::Duration::from_secs(30));
        builder.http2_keep_alive_timeout(std::time::Duration::from_secs(15));
        builder.http2_initial_stream_window_size(1 << 20);
        builder.http2_initial_connection_window_size(8 << 20);
        builder.build(self.connector.clone())
    }
}

/// Counts a request as open until it is dropped.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl tower::Service<Request<Body>> for Pool {
    type Response = Response<Counted>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (client, open) = self.pick();
        Box::pin(async move {
            let answer = client.request(request).await?;
            Ok(answer.map(|inner| Counted { inner, _open: open }))
        })
    }
}

/// A body whose request is open as long as it is read.
pub(super) struct Counted {
    inner: Incoming,
    _open: Open,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
