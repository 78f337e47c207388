//! Kubernetes' streaming protocols: SPDY/3.1 and the WebSocket subprotocols of exec, attach and port-forward,
//! both sides, and the translation between them.
//!
//! - [`upgrade`]: HTTP upgrades, from both ends, and the plain proxy that passes bytes both ways.
//! - [`spdy`]: connections of many streams.
//! - [`websocket`]: messages with a channel byte.
//! - [`remote_command`]: the streams of one command, however the client speaks (a kubelet's side).
//! - [`port_forward`]: pairs of streams, one a connection (a kubelet's side), and the tunnel.
//! - [`translate`]: a WebSocket client's command for a kubelet that speaks SPDY (an API server's side).
//!
//! Knows no kind and makes no authorization decision.

pub mod port_forward;
pub mod remote_command;
pub mod spdy;
pub mod translate;
pub mod upgrade;
pub mod websocket;

/// What can go wrong between two ends of a stream.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The other side broke the protocol.
    #[error("{0}")]
    Protocol(String),
    /// The request is no upgrade, or asks for what is not spoken here. For a 400 answer.
    #[error("{0}")]
    BadUpgrade(String),
    /// The other side refused the upgrade; its answer's code and text.
    #[error("unable to upgrade connection: {1}")]
    Refused(u16, String),
    #[error("the connection was closed")]
    Closed,
    #[error("timed out waiting for {0}")]
    Timeout(&'static str),
    #[error(transparent)]
    Hyper(#[from] hyper::Error),
    #[error(transparent)]
    WebSocket(Box<tokio_tungstenite::tungstenite::Error>),
}

impl From<tokio_tungstenite::tungstenite::Error> for Error {
    fn from(error: tokio_tungstenite::tungstenite::Error) -> Self {
        Self::WebSocket(Box::new(error))
    }
}

/// A byte stream that can be boxed.
pub trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static> Io for T {}

pub type BoxIo = Box<dyn Io>;
