//! The frames of a JSON watch: a line each. Decodes straight into the view; the usual layout, type first, is
//! recognised without a look at the whole line.

use std::collections::HashMap;

use apimachinery::Status;
use bytes::BytesMut;
use futures::StreamExt;
use http::Response;
use http_body_util::BodyExt;
use kube::client::Body;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::api::parse_status;
use crate::decode;

/// One frame.
pub(crate) enum Frame<V> {
    Added(V),
    Modified(V),
    Deleted(V),
    Bookmark { resource_version: String, initial_events_end: bool },
    Error(Status),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    #[error("reading the watch: {0}")]
    Read(String),
    #[error("a watch event: {0}")]
    Decode(#[from] serde_json::Error),
    #[error("a watch event of the unknown type {0:?}")]
    Type(String),
}

/// Reads frames from a watch's answer.
pub(crate) struct Frames {
    body: http_body_util::BodyDataStream<Body>,
    buffer: BytesMut,
    scanned: usize,
}

impl Frames {
    pub(crate) fn new(answer: Response<Body>) -> Self {
        Self { body: answer.into_body().into_data_stream(), buffer: BytesMut::new(), scanned: 0 }
    }

    /// The next frame; None at the end of the watch.
    pub(crate) async fn next<V: DeserializeOwned>(&mut self) -> Result<Option<Frame<V>>, WatchError> {
        loop {
            if let Some(at) = self.buffer[self.scanned..].iter().position(|b| *b == b'\n') {
                let line = self.buffer.split_to(self.scanned + at + 1);
                self.scanned = 0;
                if line.len() > 1 {
                    return decode(&line).map(Some);
                }
                continue;
            }
            self.scanned = self.buffer.len();
            match self.body.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(e)) => return Err(WatchError::Read(e.to_string())),
                None => return Ok(None),
            }
        }
    }
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

fn decode<V: DeserializeOwned>(line: &[u8]) -> Result<Frame<V>, WatchError> {
    let line = line.trim_ascii();
    match split(line) {
        Some((kind, object)) => decode_object(kind, object),
        None => {
            let outer: Outer = serde_json::from_slice(line)?;
            decode_object(outer.kind, outer.object.get().as_bytes())
        }
    }
}

/// Type and object of `{"type":"...","object":...}`.
fn split(line: &[u8]) -> Option<(&str, &[u8])> {
    let rest = line.strip_prefix(b"{\"type\":\"")?;
    let end = rest.iter().position(|b| *b == b'"')?;
    let object = rest[end..].strip_prefix(b"\",\"object\":")?.strip_suffix(b"}")?;
    Some((std::str::from_utf8(&rest[..end]).ok()?, object))
}

fn decode_object<V: DeserializeOwned>(kind: &str, object: &[u8]) -> Result<Frame<V>, WatchError> {
    Ok(match kind {
        "ADDED" => Frame::Added(decode::from_slice(object)?),
        "MODIFIED" => Frame::Modified(decode::from_slice(object)?),
        "DELETED" => Frame::Deleted(decode::from_slice(object)?),
        "BOOKMARK" => bookmark(decode::from_slice(object)?),
        "ERROR" => Frame::Error(parse_status(500, object)),
        other => return Err(WatchError::Type(other.into())),
    })
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMeta {
    resource_version: String,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

fn bookmark<V>(bookmark: Bookmark) -> Frame<V> {
    let end = bookmark.metadata.annotations.get("k8s.io/initial-events-end").is_some_and(|v| v == "true");
    Frame::Bookmark { resource_version: bookmark.metadata.resource_version, initial_events_end: end }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::Partial;

    #[test]
    fn frames_of_both_layouts() {
        for line in [
            r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#,
            r#"{"object":{"metadata":{"name":"a"}}, "type":"ADDED"}"#,
        ] {
            let Frame::Added(v) = decode::<Partial>(line.as_bytes()).unwrap() else { panic!("not added") };
            assert_eq!(v.metadata.name, "a");
        }
    }

    #[test]
    fn bookmarks_and_errors() {
        let line = br#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
        let Frame::Bookmark { resource_version, initial_events_end } = decode::<Partial>(line).unwrap()
        else {
            panic!()
        };
        assert_eq!((&*resource_version, initial_events_end), ("7", true));
        let line = br#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}"#;
        let Frame::Error(status) = decode::<Partial>(line).unwrap() else { panic!() };
        assert_eq!(status.code, 410);
    }
}
