//! WebSockets (RFC 6455) with Kubernetes' subprotocols: each message begins with the number of its channel, as a
//! byte, or as a digit before base64.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{SinkExt as _, Stream, StreamExt as _};
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION};
use http::{HeaderMap, HeaderValue, Response};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};
use tokio_util::sync::PollSender;

use crate::{BoxIo, Error, upgrade};

/// The end of a connection on which all went well. Without this code Go's clients take it for a broken one.
pub(crate) fn normal_close() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// How channels are written in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Binary,
    Base64,
}

/// Marks a message of v5 that closes the channel named in its second byte.
pub const CLOSE: u8 = 255;

/// A subprotocol of a bearer token; it is no protocol to agree on.
const TOKEN_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// The subprotocols that a client offers.
pub fn offered(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    let names = values.flat_map(|v| v.split(',')).map(str::trim);
    names.filter(|v| !v.is_empty() && !v.starts_with(TOKEN_PREFIX)).map(str::to_owned).collect()
}

/// The 101 answer to a client's handshake, for a subprotocol ("": none).
pub fn accept(headers: &HeaderMap, protocol: &str) -> Result<Response<()>, Error> {
    let version = headers.get(SEC_WEBSOCKET_VERSION).and_then(|v| v.to_str().ok());
    if version != Some("13") {
        return Err(Error::BadUpgrade(
            "websocket: unsupported version: 13 not found in 'Sec-Websocket-Version' header".into(),
        ));
    }
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY) else {
        return Err(Error::BadUpgrade(
            "websocket: not a websocket handshake: 'Sec-WebSocket-Key' header is missing".into(),
        ));
    };
    let mut response = upgrade::switching("websocket");
    if let Ok(value) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, value);
    }
    if !protocol.is_empty()
        && let Ok(value) = HeaderValue::from_str(protocol)
    {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    Ok(response)
}

/// A connection after the handshake.
pub async fn server(io: BoxIo) -> WebSocketStream<BoxIo> {
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config())).await
}

/// The client's end of one.
pub async fn client(io: BoxIo) -> WebSocketStream<BoxIo> {
    WebSocketStream::from_raw_socket(io, Role::Client, Some(config())).await
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(32 << 20)).max_frame_size(Some(32 << 20))
}

/// One message, taken apart.
pub fn decode(message: Message, coding: Coding) -> Option<(u8, Bytes)> {
    let data: Bytes = match message {
        Message::Binary(data) => data,
        Message::Text(text) => text.into(),
        _ => return None,
    };
    let (&first, rest) = data.split_first()?;
    match coding {
        Coding::Binary => Some((first, data.slice(1..))),
        Coding::Base64 => Some((first.checked_sub(b'0')?, STANDARD.decode(rest).ok()?.into())),
    }
}

/// One message, put together.
pub fn encode(channel: u8, data: &[u8], coding: Coding) -> Message {
    match coding {
        Coding::Binary => {
            let mut message = Vec::with_capacity(data.len() + 1);
            message.push(channel);
            message.extend_from_slice(data);
            Message::Binary(message.into())
        }
        Coding::Base64 => {
            let mut message = String::from(char::from(b'0' + channel));
            STANDARD.encode_string(data, &mut message);
            Message::Text(message.into())
        }
    }
}

/// The sending half, shared by the writers of all channels.
#[derive(Clone)]
pub struct Sender {
    queue: mpsc::Sender<Message>,
    coding: Coding,
}

impl Sender {
    /// Errs once the connection has ended.
    pub async fn send(&self, channel: u8, data: &[u8]) -> Result<(), Error> {
        self.queue.send(encode(channel, data, self.coding)).await.map_err(|_| Error::Closed)
    }

    /// Writes become messages of one channel.
    pub fn writer(&self, channel: u8) -> ChannelWriter {
        ChannelWriter { queue: PollSender::new(self.queue.clone()), channel, coding: self.coding }
    }

    /// Ends the connection properly after what was sent before.
    pub async fn close(&self) {
        let _ = self.queue.send(normal_close()).await;
    }
}

/// See [`Sender::writer`]. Messages of all channels leave in the order in which they were written.
pub struct ChannelWriter {
    queue: PollSender<Message>,
    channel: u8,
    coding: Coding,
}

/// The most that one message carries.
const MAX_MESSAGE: usize = 32 << 10;

impl AsyncWrite for ChannelWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let broken = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.queue.poll_reserve(cx)).map_err(broken)?;
        let n = data.len().min(MAX_MESSAGE);
        let message = encode(self.channel, &data[..n], self.coding);
        self.queue.send_item(message).map_err(broken)?;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The receiving half: channel and data of each message, until the other side closes.
pub type Receiver = Pin<Box<dyn Stream<Item = (u8, Bytes)> + Send>>;

/// Splits a connection. Pings are answered; `keep_alive` sends own ones, so that idle proxies do not end it.
pub fn channels(socket: WebSocketStream<BoxIo>, coding: Coding, keep_alive: bool) -> (Sender, Receiver) {
    let (mut sink, source) = socket.split();
    let (queue, mut messages) = mpsc::channel::<Message>(32);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(PING_PERIOD);
        ticks.reset();
        loop {
            let message = tokio::select! {
                message = messages.recv() => message,
                _ = ticks.tick(), if keep_alive => Some(Message::Ping(Bytes::new())),
            };
            let Some(message) = message else { break };
            let last = matches!(message, Message::Close(_));
            if sink.send(message).await.is_err() || last {
                break;
            }
        }
        let _ = sink.close().await;
    });
    let received = source
        .take_while(|m| futures::future::ready(matches!(m, Ok(m) if !m.is_close())))
        .filter_map(move |m| futures::future::ready(m.ok().and_then(|m| decode(m, coding))));
    (Sender { queue, coding }, Box::pin(received))
}

/// Sends a body as messages without channels (`binary.k8s.io`, `base64.binary.k8s.io`), first an empty one, and
/// closes; ends early when the client does.
pub async fn send_body<B>(io: BoxIo, mut body: B, coding: Coding)
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
{
    use http_body_util::BodyExt as _;
    let (mut sink, mut source) = server(io).await.split();
    let message = |data: Bytes| match coding {
        Coding::Binary => Message::Binary(data),
        Coding::Base64 => Message::Text(STANDARD.encode(data).into()),
    };
    let send = async {
        let mut next = Some(Bytes::new());
        while let Some(data) = next {
            if sink.send(message(data)).await.is_err() {
                return;
            }
            next = loop {
                match body.frame().await {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => break Some(data),
                        Err(_) => continue,
                    },
                    _ => break None,
                }
            };
        }
        let _ = sink.send(normal_close()).await;
    };
    let gone = async {
        while let Some(Ok(message)) = source.next().await
            && !message.is_close()
        {}
    };
    tokio::select! {
        () = send => {}
        () = gone => {}
    }
}

const PING_PERIOD: std::time::Duration = std::time::Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip() {
        for coding in [Coding::Binary, Coding::Base64] {
            let message = encode(2, b"\x00\xffdata", coding);
            assert_eq!(decode(message, coding), Some((2, Bytes::from_static(b"\x00\xffdata"))));
        }
        assert_eq!(encode(1, b"a", Coding::Base64), Message::Text("1YQ==".into()));
        assert_eq!(decode(Message::Binary(Bytes::new()), Coding::Binary), None);
    }

    #[test]
    fn a_bearer_token_is_no_protocol() {
        let mut headers = HeaderMap::new();
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static("base64url.bearer.authorization.k8s.io.dG9r, v5.channel.k8s.io"),
        );
        assert_eq!(offered(&headers), ["v5.channel.k8s.io"]);
    }
}
