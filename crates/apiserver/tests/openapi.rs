//! OpenAPI over requests: encodings, what the caller has already, the index and its hashes, another server's part.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use apimachinery::GroupVersion;
use apiserver::auth::Peer;
use apiserver::catalog::{Delegate, Priority};
use apiserver::endpoint::Body;
use apiserver::request::RequestContext;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value as Json, json};
use support::Bench;

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

async fn answer(bench: &Bench, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, Vec<u8>) {
    let answer = bench.send(Method::GET, path, headers, "").await;
    let (head, body) = answer.into_parts();
    (head.status.as_u16(), head.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn v2_in_the_encoding_that_is_asked_for() {
    let bench = Bench::start().await;
    let (code, head, plain) = answer(&bench, "/openapi/v2", &[]).await;
    assert_eq!((code, head["content-type"].to_str().unwrap()), (200, "application/json"));
    let document: Json = serde_json::from_slice(&plain).unwrap();
    assert_eq!(document["swagger"], "2.0");
    assert!(document["paths"]["/apis/apps/v1/deployments"]["get"].is_object());
    let etag = head["etag"].to_str().unwrap().to_owned();

    let (_, head, zipped) = answer(&bench, "/openapi/v2", &[("accept-encoding", "gzip")]).await;
    assert_eq!(head["content-encoding"], "gzip");
    let mut same = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&zipped[..]), &mut same).unwrap();
    assert!(same == plain);

    let (code, head, bytes) = answer(&bench, "/openapi/v2", &[("accept", PROTOBUF)]).await;
    assert_eq!(code, 200);
    assert_eq!(head["content-type"], PROTOBUF.replace('@', "."));
    assert_eq!(head["etag"].to_str().unwrap(), etag);
    // Field 1, of three bytes: the version.
    assert_eq!(&bytes[..5], b"\x0a\x032.0");

    assert_eq!(answer(&bench, "/openapi/v2", &[("if-none-match", &etag)]).await.0, 304);
    assert_eq!(answer(&bench, "/openapi/v2", &[("accept", "text/html")]).await.0, 406);
    assert_eq!(answer(&bench, "/openapi/v2/", &[]).await.0, 404);
}

#[tokio::test]
async fn v3_under_its_hash() {
    let bench = Bench::start().await;
    let (_, index) = bench.get("/openapi/v3").await;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let (code, head, _) = answer(&bench, url, &[]).await;
    assert_eq!((code, head["cache-control"].to_str().unwrap()), (200, "public, immutable"));
    assert!(url.contains(head["etag"].to_str().unwrap().trim_matches('"')) && head.contains_key("expires"));
    let (code, head, _) = answer(&bench, "/openapi/v3/apis/apps/v1?hash=OLD", &[]).await;
    assert_eq!((code, head["location"].to_str().unwrap()), (301, url));
    assert_eq!(answer(&bench, "/openapi/v3/apis/none/v1", &[]).await.0, 404);
    assert!(bench.get("/openapi/v3/version").await.1["paths"]["/version/"].is_object());
}

/// Another server: one path of its own, one that belongs to somebody else.
#[derive(Default)]
struct Other(AtomicUsize);

fn respond(json: &Json) -> Response<Body> {
    Response::new(Full::new(Bytes::from(json.to_string())).map_err(|never| match never {}).boxed())
}

#[async_trait]
impl Delegate for Other {
    async fn forward(&self, _: &RequestContext, _: Request<Body>, _: Peer) -> Response<Body> {
        respond(&json!({}))
    }

    fn resources(&self) -> Option<Bytes> {
        None
    }

    async fn openapi(&self, path: &str, _: &HeaderMap) -> Response<Body> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let schema = json!({"$ref": "#/definitions/e.Flunder"});
        let own = json!({"get": {"responses": {"200": {"description": "OK", "schema": schema}}}});
        let url = "/openapi/v3/apis/wardle.e.com/v1?hash=H";
        respond(&match path {
            "/openapi/v2" => json!({
                "paths": {"/apis/wardle.e.com/v1/flunders": own, "/version/": {"get": "theirs"}},
                "definitions": {"e.Flunder": {"type": "object"}, "e.Unused": {}}}),
            "/openapi/v3" => json!({"paths": {"apis/wardle.e.com/v1": {"serverRelativeURL": url}}}),
            path => json!({"asked": path}),
        })
    }
}

#[tokio::test]
async fn another_servers_part() {
    let bench = Bench::start().await;
    let before = answer(&bench, "/openapi/v2", &[]).await.1["etag"].clone();
    let (gv, other) = (GroupVersion::new("wardle.e.com", "v1"), Arc::new(Other::default()));
    let catalog = &bench.server.registry().catalog;
    catalog.delegate(gv.clone(), Priority::default(), other.clone());
    let (_, document) = bench.get("/openapi/v2").await;
    assert!(document["paths"]["/apis/wardle.e.com/v1/flunders"]["get"].is_object());
    assert_eq!(document["definitions"]["e.Flunder"]["type"], "object");
    assert!(document["definitions"].get("e.Unused").is_none());
    assert!(document["paths"]["/version/"]["get"].is_object());
    assert_ne!(answer(&bench, "/openapi/v2", &[]).await.1["etag"], before);
    let (_, index) = bench.get("/openapi/v3").await;
    let url = index["paths"]["apis/wardle.e.com/v1"]["serverRelativeURL"].as_str().unwrap();
    assert_eq!(bench.get(url).await.1["asked"], url);
    // Both documents once, and the one that was passed on.
    assert_eq!(other.0.load(Ordering::Relaxed), 3);
    catalog.undelegate(&gv);
    assert_eq!(answer(&bench, "/openapi/v2", &[]).await.1["etag"], before);
}
