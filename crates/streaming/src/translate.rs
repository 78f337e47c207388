//! An API server's part: a client's WebSocket v5 command becomes SPDY streams to a kubelet.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::Empty;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::remote_command::{Options, Outcome, channel, outcome_message};
use crate::upgrade::{self, STREAM_PROTOCOL};
use crate::websocket::{self, CLOSE, Coding};
use crate::{BoxIo, Error, spdy};

/// The WebSocket protocol that is translated; all others a kubelet speaks itself.
pub const PROTOCOL: &str = "v5.channel.k8s.io";

const KUBELET_PROTOCOLS: [&str; 4] =
    ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];

/// How long the end of the output may take after the outcome is known.
const DRAIN: Duration = Duration::from_secs(10);

/// True for a request that must be translated.
pub fn wanted(headers: &HeaderMap) -> bool {
    upgrade::is_websocket(headers) && websocket::offered(headers).iter().any(|p| p == PROTOCOL)
}

/// The 101 answer to such a request.
pub fn accept(headers: &HeaderMap) -> Result<Response<()>, Error> {
    websocket::accept(headers, PROTOCOL)
}

/// A SPDY connection to a kubelet: upgrades `io` by a POST to `path_and_query`.
pub async fn dial(
    io: BoxIo,
    host: &str,
    path_and_query: &str,
    protocols: &[&'static str],
) -> Result<(Response<()>, BoxIo), Error> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path_and_query)
        .header(http::header::HOST, host)
        .header(http::header::CONNECTION, "Upgrade")
        .header(http::header::UPGRADE, spdy::NAME)
        .header(http::header::CONTENT_LENGTH, "0")
        .body(Empty::<Bytes>::new())
        .map_err(|e| Error::Protocol(e.to_string()))?;
    for protocol in protocols {
        request.headers_mut().append(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
    }
    upgrade::switched(io, request).await
}

/// Carries one command from `client`, a connection switched to WebSockets, to the kubelet that `io` reaches.
pub async fn remote_command(
    client: BoxIo,
    kubelet: impl Future<Output = Result<BoxIo, Error>>,
    host: &str,
    path_and_query: &str,
    options: Options,
) {
    let (sender, receiver) = websocket::channels(websocket::server(client).await, Coding::Binary, true);
    let run = async {
        let (head, io) = dial(kubelet.await?, host, path_and_query, &KUBELET_PROTOCOLS).await?;
        let (connection, _) = spdy::Connection::client(io);
        let protocol = head.headers().get(STREAM_PROTOCOL).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let result = carry(&connection, protocol, &sender, receiver, options).await;
        connection.close();
        result
    };
    let message = match run.await {
        Ok(message) => message,
        Err(error) => outcome_message(&Outcome::Failed(error.to_string()), true),
    };
    let _ = sender.send(channel::ERROR, message.as_bytes()).await;
    sender.close().await;
}

async fn open(connection: &spdy::Connection, kind: &'static str) -> Result<spdy::Stream, Error> {
    let mut headers = HeaderMap::new();
    headers.insert("streamtype", HeaderValue::from_static(kind));
    connection.open(headers).await
}

/// The outcome as the client is told it.
async fn carry(
    connection: &spdy::Connection,
    protocol: &str,
    sender: &websocket::Sender,
    receiver: websocket::Receiver,
    options: Options,
) -> Result<String, Error> {
    let mut error = open(connection, "error").await?;
    // Before the last stream is open: from then on a short command may have ended, and the connection with it.
    error.shutdown().await?;
    let stdin = if options.stdin { Some(open(connection, "stdin").await?) } else { None };
    let stdout = if options.stdout { Some(open(connection, "stdout").await?) } else { None };
    let stderr = if options.stderr { Some(open(connection, "stderr").await?) } else { None };
    let resizable = options.tty && protocol.starts_with(['v']) && protocol != "v2.channel.k8s.io";
    let resize = if resizable { Some(open(connection, "resize").await?) } else { None };

    let output = async {
        let out = copy(stdout, sender.writer(channel::STDOUT));
        let err = copy(stderr, sender.writer(channel::STDERR));
        tokio::join!(out, err);
    };
    let outcome = async {
        let mut text = String::new();
        let read = error.read_to_string(&mut text).await;
        read.map(|_| text)
    };
    tokio::pin!(output, outcome);
    let input = input(receiver, stdin, resize);
    tokio::pin!(input);
    let mut written = false;
    let text = loop {
        tokio::select! {
            () = &mut output, if !written => written = true,
            text = &mut outcome => break text?,
            () = &mut input => return Err(Error::Closed),
        }
    };
    if !written {
        let _ = tokio::time::timeout(DRAIN, output).await;
    }
    Ok(status(text, protocol))
}

/// A kubelet below v4 says nothing on success and plain text on failure; one of v4 always says something.
fn status(text: String, protocol: &str) -> String {
    match (text.is_empty(), protocol == "v4.channel.k8s.io") {
        (true, true) => outcome_message(&Outcome::Failed("the connection to the node broke".into()), true),
        (true, false) => outcome_message(&Outcome::Exited(0), true),
        (false, true) => text,
        (false, false) => outcome_message(&Outcome::Failed(text), true),
    }
}

async fn copy(from: Option<spdy::Stream>, mut to: impl AsyncWrite + Unpin) {
    let Some(mut from) = from else { return };
    let _ = tokio::io::copy(&mut from as &mut (dyn AsyncRead + Send + Unpin), &mut to).await;
}

/// Returns when the client has gone.
async fn input(mut receiver: websocket::Receiver, stdin: Option<spdy::Stream>, resize: Option<spdy::Stream>) {
    let (mut stdin, mut resize) = (stdin, resize);
    // Output of stdin's stream there is none, but it stays open until the end: dropping it would reset it.
    let mut finished = Vec::new();
    while let Some((number, data)) = receiver.next().await {
        match number {
            channel::STDIN => {
                if let Some(open) = &mut stdin
                    && open.write_all(&data).await.is_err()
                {
                    finished.extend(stdin.take());
                }
            }
            channel::RESIZE => {
                if let Some(open) = &mut resize {
                    let _ = open.write_all(&data).await;
                }
            }
            CLOSE if data.first() == Some(&channel::STDIN) => {
                if let Some(mut open) = stdin.take() {
                    let _ = open.shutdown().await;
                    finished.push(open);
                }
            }
            _ => {}
        }
    }
}
