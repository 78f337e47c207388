//! Port forwarding: on the side that has the ports, pairs of SPDY streams, a data and an error stream for each
//! connection; on the way, the tunnel that carries SPDY inside WebSocket messages.
//!
//! Left out: the older WebSocket protocol with fixed ports in the query (`v4.channel.k8s.io` of port-forward).

use std::collections::HashMap;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use crate::upgrade::{self, STREAM_PROTOCOL};
use crate::{BoxIo, Error, spdy, websocket};

/// The protocol above SPDY.
pub const PROTOCOL: &str = "portforward.k8s.io";
/// The WebSocket protocol of the tunnel (KEP-4006).
pub const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// One forwarded connection. What goes wrong is written as text to `error`, which ends it for the client.
pub struct Pair {
    pub port: u16,
    pub data: spdy::Stream,
    pub error: spdy::Stream,
}

/// True for a request for the tunnel.
pub fn wants_tunnel(headers: &HeaderMap) -> bool {
    upgrade::is_websocket(headers) && websocket::offered(headers).iter().any(|p| p == TUNNEL)
}

/// The 101 answer to one.
pub fn accept_tunnel(headers: &HeaderMap) -> Result<Response<()>, Error> {
    websocket::accept(headers, TUNNEL)
}

/// Carries bytes between a switched WebSocket connection and a SPDY transport until either ends.
pub async fn tunnel(client: BoxIo, transport: BoxIo) {
    let (mut sink, mut source) = websocket::server(client).await.split();
    let (mut reader, mut writer) = tokio::io::split(transport);
    let up = async {
        while let Some(Ok(message)) = source.next().await {
            let data: Bytes = match message {
                Message::Binary(data) => data,
                Message::Text(text) => text.into(),
                Message::Close(_) => break,
                _ => continue,
            };
            if writer.write_all(&data).await.is_err() || writer.flush().await.is_err() {
                break;
            }
        }
        let _ = writer.shutdown().await;
    };
    let down = async {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(n @ 1..) = reader.read(&mut buffer).await {
            if sink.send(Message::Binary(Bytes::copy_from_slice(&buffer[..n]))).await.is_err() {
                break;
            }
        }
        let _ = sink.send(crate::websocket::normal_close()).await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// Answers an upgrade request on the side that has the ports.
pub fn accept<B>(request: &mut Request<B>) -> Result<(Response<()>, Pending), Error> {
    if wants_tunnel(request.headers()) {
        let response = accept_tunnel(request.headers())?;
        return Ok((response, Pending { upgrade: upgrade::on_upgrade(request), tunnelled: true }));
    }
    if !upgrade::is_spdy(request.headers()) {
        return Err(Error::BadUpgrade(
            "port forwarding needs SPDY/3.1, or WebSockets with its tunnel protocol".into(),
        ));
    }
    let offered = upgrade::offered(request.headers());
    if upgrade::negotiate(&offered, &[PROTOCOL]).is_none() {
        return Err(Error::BadUpgrade(format!(
            "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts [{PROTOCOL:?}]"
        )));
    }
    let mut response = upgrade::switching(spdy::NAME);
    response.headers_mut().insert(STREAM_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    Ok((response, Pending { upgrade: upgrade::on_upgrade(request), tunnelled: false }))
}

/// An accepted request whose answer is not sent yet.
pub struct Pending {
    upgrade: OnUpgrade,
    tunnelled: bool,
}

impl Pending {
    pub async fn pairs(self) -> Result<Pairs, Error> {
        let mut io = upgrade::io(self.upgrade).await?;
        if self.tunnelled {
            let (near, far) = tokio::io::duplex(64 << 10);
            tokio::spawn(tunnel(io, Box::new(far)));
            io = Box::new(near);
        }
        let (connection, incoming) = spdy::Connection::server(io);
        Ok(Pairs { connection, incoming, waiting: HashMap::new() })
    }
}

/// The connections that a client opens, as they come.
pub struct Pairs {
    connection: spdy::Connection,
    incoming: spdy::Incoming,
    waiting: HashMap<String, spdy::Stream>,
}

impl Pairs {
    /// None when the client has gone. Streams that are no half of a pair are reset.
    pub async fn next(&mut self) -> Option<Pair> {
        loop {
            let stream = self.incoming.next().await?;
            let (request, port) =
                (stream.header("requestid").to_owned(), stream.header("port").parse::<u16>());
            let error = match stream.header("streamtype") {
                "error" => true,
                "data" => false,
                _ => continue,
            };
            let Some(port) = port.ok().filter(|p| *p > 0) else { continue };
            let Some(other) = self.waiting.remove(&request) else {
                self.waiting.insert(request, stream);
                continue;
            };
            let (data, error) = if error { (other, stream) } else { (stream, other) };
            return Some(Pair { port, data, error });
        }
    }

    pub fn close(&self) {
        self.connection.close();
    }
}
