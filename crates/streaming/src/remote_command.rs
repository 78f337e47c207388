//! exec and attach, on the side that has the process: whatever the client speaks (SPDY, or WebSockets of any
//! version), the caller gets the same streams.

use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::StreamExt as _;
use http::{Request, Response};
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::upgrade::{self, STREAM_PROTOCOL};
use crate::websocket::{self, CLOSE, Coding};
use crate::{BoxIo, Error, spdy};

/// The channels of a remote command in WebSocket messages.
pub mod channel {
    pub const STDIN: u8 = 0;
    pub const STDOUT: u8 = 1;
    pub const STDERR: u8 = 2;
    pub const ERROR: u8 = 3;
    pub const RESIZE: u8 = 4;
}

const SPDY_PROTOCOLS: [&str; 5] =
    ["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
const WEBSOCKET_PROTOCOLS: [&str; 7] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
];

/// How long a SPDY client may take to open its streams.
const STREAMS_TIMEOUT: Duration = Duration::from_secs(30);

/// Which streams the request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

impl Options {
    /// From a request's query (`stdin` or `input`, `stdout` or `output`, `stderr` or `error`, `tty`). A terminal
    /// has no stderr of its own.
    pub fn from_query(query: &str) -> Result<Self, Error> {
        let on = |names: [&str; 2]| {
            query
                .split('&')
                .filter_map(|p| p.split_once('='))
                .any(|(k, v)| names.contains(&k) && matches!(v, "1" | "true"))
        };
        let tty = on(["tty", "tty"]);
        let options = Self {
            stdin: on(["stdin", "input"]),
            stdout: on(["stdout", "output"]),
            stderr: on(["stderr", "error"]) && !tty,
            tty,
        };
        if options.stdin || options.stdout || options.stderr {
            return Ok(options);
        }
        Err(Error::BadUpgrade("you must specify at least 1 of stdin, stdout, stderr".into()))
    }

    fn count(self) -> usize {
        usize::from(self.stdin) + usize::from(self.stdout) + usize::from(self.stderr)
    }
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    pub width: u16,
    pub height: u16,
}

impl TerminalSize {
    /// `{"Width":80,"Height":24}`.
    pub fn parse(json: &[u8]) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(json).ok()?;
        let field = |name: &str| u16::try_from(value.get(name)?.as_u64()?).ok();
        Some(Self { width: field("Width")?, height: field("Height")? })
    }
}

/// How the command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With this exit code.
    Exited(i32),
    /// It could not be run or followed; why.
    Failed(String),
}

/// The streams of one command. Absent ones were not asked for.
pub struct Streams {
    pub stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    pub stdout: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    pub stderr: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    pub resize: mpsc::Receiver<TerminalSize>,
    pub result: ResultStream,
}

/// Where the outcome goes. To be called last: it ends the connection.
pub struct ResultStream {
    end: End,
    /// v4 and later: a Status object; before it text, and nothing on success.
    structured: bool,
}

enum End {
    Spdy(Box<spdy::Stream>, spdy::Connection),
    WebSocket(websocket::Sender),
}

impl ResultStream {
    pub async fn finish(mut self, outcome: &Outcome) {
        let text = outcome_message(outcome, self.structured);
        match &mut self.end {
            End::Spdy(stream, connection) => {
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.shutdown().await;
                connection.close();
                connection.closed().await;
            }
            End::WebSocket(sender) => {
                if !text.is_empty() {
                    let _ = sender.send(channel::ERROR, text.as_bytes()).await;
                }
                sender.close().await;
            }
        }
    }
}

/// What the error stream says of an outcome: a Status object, or before v4 text and nothing on success.
pub fn outcome_message(outcome: &Outcome, structured: bool) -> String {
    match (outcome, structured) {
        (Outcome::Exited(0), false) => String::new(),
        (Outcome::Exited(0), true) => r#"{"metadata":{},"status":"Success"}"#.into(),
        (Outcome::Exited(code), false) => {
            format!("error executing command in container: command terminated with exit code {code}")
        }
        (Outcome::Exited(code), true) => serde_json::json!({"metadata": {}, "status": "Failure",
            "message": format!("command terminated with non-zero exit code: command terminated with exit code {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}})
        .to_string(),
        (Outcome::Failed(why), false) => why.clone(),
        (Outcome::Failed(why), true) => serde_json::json!({"metadata": {}, "status": "Failure",
            "message": format!("Internal error occurred: {why}"), "reason": "InternalError",
            "details": {"causes": [{"message": why}]}, "code": 500})
        .to_string(),
    }
}

/// Answers an upgrade request: the 101 to send, and what gives the streams once it is sent.
pub fn accept<B>(request: &mut Request<B>, options: Options) -> Result<(Response<()>, Pending), Error> {
    if upgrade::is_websocket(request.headers()) {
        let offered = websocket::offered(request.headers());
        let Some(protocol) = upgrade::negotiate(&offered, &WEBSOCKET_PROTOCOLS) else {
            return Err(Error::BadUpgrade(format!(
                "unable to negotiate protocol: client supports {offered:?}"
            )));
        };
        let response = websocket::accept(request.headers(), protocol)?;
        return Ok((
            response,
            Pending { upgrade: upgrade::on_upgrade(request), protocol, websocket: true, options },
        ));
    }
    if !upgrade::is_spdy(request.headers()) {
        return Err(Error::BadUpgrade("unable to upgrade: missing upgrade headers in request".into()));
    }
    let offered = upgrade::offered(request.headers());
    let Some(protocol) = upgrade::negotiate(&offered, &SPDY_PROTOCOLS) else {
        return Err(Error::BadUpgrade(format!(
            "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {SPDY_PROTOCOLS:?}"
        )));
    };
    let mut response = upgrade::switching(spdy::NAME);
    response.headers_mut().insert(STREAM_PROTOCOL, http::HeaderValue::from_static(protocol));
    Ok((response, Pending { upgrade: upgrade::on_upgrade(request), protocol, websocket: false, options }))
}

/// An accepted request whose answer is not sent yet.
pub struct Pending {
    upgrade: OnUpgrade,
    protocol: &'static str,
    websocket: bool,
    options: Options,
}

impl Pending {
    /// Waits until the connection is switched and the client has opened its streams.
    pub async fn streams(self) -> Result<Streams, Error> {
        let structured = self.protocol.starts_with("v4") || self.protocol.starts_with("v5");
        let io = upgrade::io(self.upgrade).await?;
        if self.websocket {
            return Ok(over_websocket(io, self.protocol, structured, self.options).await);
        }
        let resizable = !matches!(self.protocol, "v2.channel.k8s.io" | "channel.k8s.io");
        let streams = over_spdy(io, resizable, structured, self.options);
        tokio::time::timeout(STREAMS_TIMEOUT, streams)
            .await
            .map_err(|_| Error::Timeout("client to create streams"))?
    }
}

async fn over_spdy(io: BoxIo, resizable: bool, structured: bool, options: Options) -> Result<Streams, Error> {
    let (connection, mut incoming) = spdy::Connection::server(io);
    let expected = options.count() + 1 + usize::from(options.tty && resizable);
    let (sizes, resize) = mpsc::channel(4);
    let (mut stdin, mut stdout, mut stderr, mut error) = (None, None, None, None);
    for _ in 0..expected {
        let stream = incoming.next().await.ok_or(Error::Closed)?;
        match stream.header("streamtype").to_owned().as_str() {
            "stdin" => stdin = Some(stream),
            "stdout" => stdout = Some(stream),
            "stderr" => stderr = Some(stream),
            "error" => error = Some(stream),
            "resize" => drop(tokio::spawn(read_sizes(stream, sizes.clone()))),
            other => return Err(Error::Protocol(format!("unexpected stream type: {other:?}"))),
        }
    }
    let error = error.ok_or_else(|| Error::Protocol("the client opened no error stream".into()))?;
    let write = |stream: spdy::Stream| Box::new(stream) as Box<dyn AsyncWrite + Send + Unpin>;
    Ok(Streams {
        stdin: stdin.map(|s| Box::new(s) as Box<dyn AsyncRead + Send + Unpin>),
        stdout: stdout.map(write),
        stderr: stderr.map(write),
        resize,
        result: ResultStream { end: End::Spdy(Box::new(error), connection), structured },
    })
}

/// JSON objects one after the other; what is no size is left out.
async fn read_sizes(mut stream: spdy::Stream, sizes: mpsc::Sender<TerminalSize>) {
    let mut buffer = Vec::new();
    let mut chunk = [0; 256];
    while let Ok(n @ 1..) = stream.read(&mut chunk).await {
        buffer.extend_from_slice(&chunk[..n]);
        while let Some(end) = buffer.iter().position(|b| *b == b'}') {
            let object: Vec<u8> = buffer.drain(..=end).collect();
            if let Some(size) = TerminalSize::parse(&object)
                && sizes.send(size).await.is_err()
            {
                return;
            }
        }
    }
}

async fn over_websocket(io: BoxIo, protocol: &str, structured: bool, options: Options) -> Streams {
    let coding = if protocol.contains("base64") { Coding::Base64 } else { Coding::Binary };
    let (sender, mut messages) = websocket::channels(websocket::server(io).await, coding, true);
    let (sizes, resize) = mpsc::channel(4);
    let (input, stdin) = mpsc::channel::<Bytes>(32);
    tokio::spawn(async move {
        let mut input = options.stdin.then_some(input);
        while let Some((number, data)) = messages.next().await {
            match number {
                channel::STDIN => {
                    if let Some(open) = &input
                        && open.send(data).await.is_err()
                    {
                        input = None;
                    }
                }
                channel::RESIZE => {
                    if let Some(size) = TerminalSize::parse(&data) {
                        let _ = sizes.try_send(size);
                    }
                }
                CLOSE if data.first() == Some(&channel::STDIN) => input = None,
                _ => {}
            }
        }
    });
    let output = |number: u8, wanted: bool| {
        wanted.then(|| Box::new(sender.writer(number)) as Box<dyn AsyncWrite + Send + Unpin>)
    };
    Streams {
        stdin: options.stdin.then(|| Box::new(QueueReader::new(stdin)) as Box<dyn AsyncRead + Send + Unpin>),
        stdout: output(channel::STDOUT, options.stdout),
        stderr: output(channel::STDERR, options.stderr),
        resize,
        result: ResultStream { end: End::WebSocket(sender), structured },
    }
}

/// Bytes out of a queue.
pub struct QueueReader {
    queue: mpsc::Receiver<Bytes>,
    pending: Bytes,
}

impl QueueReader {
    pub fn new(queue: mpsc::Receiver<Bytes>) -> Self {
        Self { queue, pending: Bytes::new() }
    }
}

impl AsyncRead for QueueReader {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        while self.pending.is_empty() {
            match std::task::ready!(self.queue.poll_recv(cx)) {
                Some(data) => self.pending = data,
                None => return std::task::Poll::Ready(Ok(())),
            }
        }
        let n = self.pending.len().min(buf.remaining());
        buf.put_slice(&self.pending[..n]);
        self.pending.advance(n);
        std::task::Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
