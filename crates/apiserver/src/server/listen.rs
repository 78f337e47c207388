//! Listening: TLS with optional client certificates, HTTP/1.1 and HTTP/2 on one port, upgrades, and an orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Error, Listening, Tls};
use crate::auth::Peer;
use crate::http::{Chain, body};

const HANDSHAKE: Duration = Duration::from_secs(10);

/// The tasks of open connections.
#[derive(Clone, Default)]
pub(super) struct Connections(TaskTracker);

impl Connections {
    /// Waits until all connections are closed, at most that long.
    pub async fn drained(&self, limit: Duration) {
        self.0.close();
        if tokio::time::timeout(limit, self.0.wait()).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
    }
}

pub(super) async fn start(
    at: Listening,
    tls: Option<Tls>,
    chain: Arc<Chain>,
    stop: CancellationToken,
    connections: Connections,
) -> Result<SocketAddr, Error> {
    let wanted = match &at {
        Listening::At(address) => *address,
        Listening::On(listener) => {
            listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
        }
    };
    let failed = |source| Error::Listen { address: wanted, source };
    let listener = match at {
        Listening::At(address) => TcpListener::bind(address).await.map_err(failed)?,
        Listening::On(listener) => {
            listener.set_nonblocking(true).map_err(failed)?;
            TcpListener::from_std(listener).map_err(failed)?
        }
    };
    let local = listener.local_addr().map_err(failed)?;
    tokio::spawn(accept(listener, tls, chain, stop, connections));
    Ok(local)
}

async fn accept(
    listener: TcpListener,
    tls: Option<Tls>,
    chain: Arc<Chain>,
    stop: CancellationToken,
    connections: Connections,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: others must close first.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        connections.0.spawn(connection(stream, address, tls.clone(), chain.clone(), stop.clone()));
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<Tls>,
    chain: Arc<Chain>,
    stop: CancellationToken,
) {
    let mut peer = Peer { address: Some(address), ..Peer::default() };
    let Some(tls) = tls else { return serve(stream, peer, chain, stop).await };
    let acceptor = tokio_rustls::TlsAcceptor::from(tls.0.load_full());
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
            peer.certificates = certificates.iter().map(|c| c.to_vec()).collect();
            serve(stream, peer, chain, stop).await;
        }
        Ok(Err(error)) => tracing::debug!(%address, %error, "TLS handshake error"),
        Err(_) => tracing::debug!(%address, "TLS handshake timed out"),
    }
}

async fn serve<S>(stream: S, peer: Peer, chain: Arc<Chain>, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (chain, peer) = (chain.clone(), peer.clone());
        async move { Ok::<_, std::convert::Infallible>(chain.handle(request.map(body::boxed), peer).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .max_concurrent_streams(Some(250))
        .max_frame_size(Some(64 << 10))
        .initial_stream_window_size(Some(256 << 10));
    let graceful = GracefulShutdown::new();
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let connection = graceful.watch(connection.into_owned());
    tokio::pin!(connection);
    tokio::select! {
        _ = &mut connection => return,
        () = stop.cancelled() => {}
    }
    tokio::join!(graceful.shutdown(), async {
        let _ = connection.await;
    });
}
