//! The server as a tower service in the same process: the transport of this process's own components. Bodies are
//! handed over as they are; the chain is the same as for the wire.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

use super::Chain;
use crate::auth::Peer;
use crate::endpoint::Body;
use crate::request::UserInfo;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct InMemory {
    chain: Arc<Chain>,
    identity: Option<Arc<UserInfo>>,
}

impl InMemory {
    pub(crate) fn new(chain: Arc<Chain>, identity: Option<Arc<UserInfo>>) -> Self {
        Self { chain, identity }
    }
}

/// Makes a body shareable between threads, as the server's bodies are: only one of them ever polls it.
pub struct Shared<B>(Mutex<Pin<Box<B>>>);

impl<B> Shared<B> {
    pub fn new(body: B) -> Self {
        Self(Mutex::new(Box::pin(body)))
    }

    fn inner(&mut self) -> Pin<&mut B> {
        self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).as_mut()
    }
}

impl<B: http_body::Body> http_body::Body for Shared<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.inner().poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).size_hint()
    }
}

impl<B> tower::Service<Request<B>> for InMemory
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let peer = Peer { in_process: self.identity.clone(), ..Peer::default() };
        let request = request.map(|body| Shared::new(body).map_err(Into::into).boxed());
        let chain = self.chain.clone();
        Box::pin(async move { Ok(chain.handle(request, peer).await) })
    }
}
