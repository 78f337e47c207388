//! Frames round trip, and two ends of a connection over a pipe.

use tokio::io::AsyncReadExt as _;
use tokio_util::codec::Decoder as _;

use super::*;

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, value.parse().unwrap());
    }
    map
}

#[test]
fn frames_round_trip() {
    let long: &'static str = "x".repeat(5000).leak();
    let frames = [
        Frame::SynStream {
            id: 1,
            priority: 3,
            fin: false,
            headers: headers(&[("streamtype", "stdin"), ("port", "80")]),
        },
        Frame::SynStream {
            id: 3,
            priority: 0,
            fin: true,
            headers: headers(&[("a", "1"), ("a", "2"), ("long", long)]),
        },
        Frame::SynReply { id: 1, fin: false, headers: HeaderMap::new() },
        Frame::Data { id: 1, fin: false, data: Bytes::from_static(b"hello") },
        Frame::Data { id: 1, fin: true, data: Bytes::new() },
        Frame::Ping(7),
        Frame::Rst { id: 3, status: rst::CANCEL },
        Frame::Headers { id: 1, fin: false, headers: headers(&[("b", "")]) },
        Frame::GoAway { last: 3, status: 0 },
    ];
    let mut encoder = FrameEncoder::default();
    let mut bytes = BytesMut::new();
    for frame in &frames {
        encoder.encode(frame.clone(), &mut bytes).unwrap();
    }
    // Byte by byte, as a slow transport gives them.
    let mut decoder = FrameDecoder::default();
    let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
    for byte in bytes {
        buffer.extend_from_slice(&[byte]);
        while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
            read.push(frame);
        }
    }
    assert_eq!(read, frames);
}

#[test]
fn a_frame_as_go_writes_it() {
    // moby/spdystream: SYN_STREAM of stream 1 with the header streamtype: error.
    let frame = include_bytes!("testdata/syn_stream.bin");
    let mut buffer = BytesMut::from(&frame[..]);
    let read = FrameDecoder::default().decode(&mut buffer).unwrap().unwrap();
    assert_eq!(
        read,
        Frame::SynStream { id: 1, priority: 0, fin: false, headers: headers(&[("streamtype", "error")]) }
    );
}

#[tokio::test]
async fn streams_both_ways() {
    let (a, b) = tokio::io::duplex(1024);
    let (client, _) = Connection::client(a);
    let (server, mut incoming) = Connection::server(b);
    let echo = tokio::spawn(async move {
        let mut stream = incoming.next().await.unwrap();
        assert_eq!(stream.header("streamtype"), "data");
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.unwrap();
        stream.write_all(&text).await.unwrap();
        stream.shutdown().await.unwrap();
        let second = incoming.next().await.unwrap();
        drop(second);
        incoming.next().await.is_none()
    });
    let mut stream = client.open(headers(&[("streamtype", "data")])).await.unwrap();
    let text: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
    stream.write_all(&text).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, text);

    let mut second = client.open(headers(&[("streamtype", "error")])).await.unwrap();
    assert_eq!(second.read_to_end(&mut Vec::new()).await.unwrap(), 0, "a reset is an end");
    assert!(second.write_all(b"x").await.is_err());
    client.close();
    server.closed().await;
    assert!(echo.await.unwrap(), "no more streams after the connection has ended");
}

#[tokio::test]
async fn a_broken_transport_ends_everything() {
    let (a, b) = tokio::io::duplex(1024);
    let (client, _) = Connection::client(a);
    drop(b);
    assert!(client.open(HeaderMap::new()).await.is_err());
    client.closed().await;
}
