//! A command served over real HTTP upgrades: by SPDY, by WebSockets, and by WebSockets translated to SPDY.

use std::convert::Infallible;

use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;

use super::*;
use crate::translate;

/// Echoes stdin to stdout and stderr, then exits with 3.
async fn run(streams: Streams) {
    let Streams { stdin, mut stdout, mut stderr, result, .. } = streams;
    let mut text = Vec::new();
    if let Some(mut stdin) = stdin {
        stdin.read_to_end(&mut text).await.unwrap();
    }
    if let Some(out) = &mut stdout {
        out.write_all(&text).await.unwrap();
        out.shutdown().await.unwrap();
    }
    if let Some(err) = &mut stderr {
        err.write_all(b"warned").await.unwrap();
        err.shutdown().await.unwrap();
    }
    result.finish(&Outcome::Exited(3)).await;
}

fn kubelet(io: DuplexStream) {
    let service = service_fn(|mut request: Request<Incoming>| async move {
        let options = Options::from_query(request.uri().query().unwrap()).unwrap();
        let (response, pending) = accept(&mut request, options).unwrap();
        tokio::spawn(async move { run(pending.streams().await.unwrap()).await });
        Ok::<_, Infallible>(response.map(|()| Empty::<Bytes>::new()))
    });
    serve(io, service);
}

fn serve<S, F>(io: DuplexStream, service: S)
where
    S: hyper::service::Service<
            Request<Incoming>,
            Response = Response<Empty<Bytes>>,
            Error = Infallible,
            Future = F,
        > + Send
        + 'static,
    F: Future<Output = Result<Response<Empty<Bytes>>, Infallible>> + Send,
{
    tokio::spawn(async move {
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), service);
        let _ = connection.with_upgrades().await;
    });
}

/// An API server that translates.
fn translator(io: DuplexStream) {
    let service = service_fn(|mut request: Request<Incoming>| async move {
        assert!(translate::wanted(request.headers()));
        let response = translate::accept(request.headers()).unwrap();
        let upgrade = upgrade::on_upgrade(&mut request);
        let path = request.uri().path_and_query().unwrap().to_string();
        tokio::spawn(async move {
            let client = upgrade::io(upgrade).await.unwrap();
            let (near, far) = tokio::io::duplex(4096);
            kubelet(far);
            let io = async { Ok(Box::new(near) as BoxIo) };
            let options = Options::from_query(path.split_once('?').unwrap().1).unwrap();
            translate::remote_command(client, io, "node", &path, options).await;
        });
        Ok::<_, Infallible>(response.map(|()| Empty::<Bytes>::new()))
    });
    serve(io, service);
}

const QUERY: &str = "/exec?stdin=true&stdout=true&stderr=true&command=x";

async fn spdy_stream(connection: &spdy::Connection, kind: &'static str) -> spdy::Stream {
    let mut headers = http::HeaderMap::new();
    headers.insert("streamtype", http::HeaderValue::from_static(kind));
    connection.open(headers).await.unwrap()
}

#[tokio::test]
async fn by_spdy() {
    let (near, far) = tokio::io::duplex(4096);
    kubelet(far);
    let (head, io) = translate::dial(Box::new(near), "node", QUERY, &["v4.channel.k8s.io"]).await.unwrap();
    assert_eq!(head.headers()[STREAM_PROTOCOL], "v4.channel.k8s.io");
    let (connection, _) = spdy::Connection::client(io);
    let mut error = spdy_stream(&connection, "error").await;
    let mut stdin = spdy_stream(&connection, "stdin").await;
    let mut stdout = spdy_stream(&connection, "stdout").await;
    let mut stderr = spdy_stream(&connection, "stderr").await;
    stdin.write_all(b"hello").await.unwrap();
    stdin.shutdown().await.unwrap();
    let mut texts = [String::new(), String::new(), String::new()];
    stdout.read_to_string(&mut texts[0]).await.unwrap();
    stderr.read_to_string(&mut texts[1]).await.unwrap();
    error.read_to_string(&mut texts[2]).await.unwrap();
    assert_eq!((texts[0].as_str(), texts[1].as_str()), ("hello", "warned"));
    assert!(
        texts[2].contains(r#""causes":[{"message":"3","reason":"ExitCode"}]"#)
            || texts[2].contains(r#""reason":"ExitCode","message":"3""#)
    );
}

async fn websocket(
    io: DuplexStream,
    query: &str,
    protocol: &str,
) -> (websocket::Sender, websocket::Receiver) {
    let request = Request::builder()
        .uri(query)
        .header("host", "x")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", protocol)
        .body(Empty::<Bytes>::new())
        .unwrap();
    let (head, io) = upgrade::switched(Box::new(io), request).await.unwrap();
    assert_eq!(head.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(head.headers()["sec-websocket-protocol"], protocol);
    websocket::channels(websocket::client(io).await, Coding::Binary, false)
}

async fn talk(io: DuplexStream) -> [String; 4] {
    let (sender, mut receiver) = websocket(io, QUERY, "v5.channel.k8s.io").await;
    sender.send(channel::STDIN, b"hel").await.unwrap();
    sender.send(channel::STDIN, b"lo").await.unwrap();
    sender.send(CLOSE, &[channel::STDIN]).await.unwrap();
    let mut texts: [String; 4] = Default::default();
    while let Some((number, data)) = receiver.next().await {
        texts[usize::from(number)].push_str(std::str::from_utf8(&data).unwrap());
    }
    texts
}

#[tokio::test]
async fn by_websocket_and_translated() {
    for server in [kubelet, translator] {
        let (near, far) = tokio::io::duplex(4096);
        server(far);
        let texts = talk(near).await;
        assert_eq!((texts[1].as_str(), texts[2].as_str()), ("hello", "warned"));
        assert!(texts[3].contains("NonZeroExitCode"), "{}", texts[3]);
    }
}

/// The connection to the kubelet may be over as soon as its last stream is open; what was said on it counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_ends_at_once() {
    for _ in 0..300 {
        let (near, far) = tokio::io::duplex(4096);
        translator(far);
        let (_sender, mut receiver) = websocket(near, "/exec?stderr=1&command=x", "v5.channel.k8s.io").await;
        let mut texts = [const { String::new() }; 4];
        while let Some((number, data)) = receiver.next().await {
            texts[usize::from(number)].push_str(std::str::from_utf8(&data).unwrap());
        }
        assert_eq!(texts[2], "warned");
        assert!(texts[3].contains("NonZeroExitCode"), "{}", texts[3]);
    }
}

#[test]
fn options() {
    assert_eq!(
        Options::from_query("stdin=1&stdout=true&stderr=true&tty=1").unwrap(),
        Options { stdin: true, stdout: true, stderr: false, tty: true }
    );
    assert_eq!(Options::from_query("input=1").unwrap(), Options { stdin: true, ..Options::default() });
    assert!(Options::from_query("tty=1").is_err());
    assert_eq!(
        TerminalSize::parse(br#"{"Width":80,"Height":24}"#),
        Some(TerminalSize { width: 80, height: 24 })
    );
}

#[test]
fn outcomes() {
    assert_eq!(outcome_message(&Outcome::Exited(0), true), r#"{"metadata":{},"status":"Success"}"#);
    assert_eq!(outcome_message(&Outcome::Exited(0), false), "");
}
