//! A client whose credentials may be replaced while it is used: new requests go over new connections, those that are
//! under way end on the old ones.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use kube::client::Body;
use parking_lot::RwLock;

/// Hands each request to the client of now. Clones share it.
#[derive(Clone)]
pub(super) struct Rotating {
    current: Arc<RwLock<kube::Client>>,
}

impl Rotating {
    pub(super) fn new(client: kube::Client) -> Self {
        Self { current: Arc::new(RwLock::new(client)) }
    }

    pub(super) fn replace(&self, client: kube::Client) {
        *self.current.write() = client;
    }

    /// The client for everybody.
    pub(super) fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }
}

impl tower::Service<Request<Body>> for Rotating {
    type Response = Response<Body>;
    type Error = tower::BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let client = self.current.read().clone();
        Box::pin(async move { client.send(request).await.map_err(Into::into) })
    }
}
