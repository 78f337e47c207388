//! What aggregated servers publish: fetched when somebody asks, and again when it is a minute old.
//!
//! Their definitions of types that this server has too are taken for the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::openapi::{self, Format, Section};
use apimachinery::GroupVersion;
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use serde_json::Value as Json;

use super::documents::{Sections, compress};
use crate::catalog::{Delegate, Table};

/// As often as upstream's aggregator asks.
const FRESH_FOR: Duration = Duration::from_secs(60);
const LIMIT: usize = 32 << 20;

/// What one server says of its group-version in v2, in both encodings.
pub(super) struct Other {
    pub hash: String,
    json: Sections,
    protobuf: Sections,
}

impl Other {
    pub fn sections(&self, format: Format) -> Sections {
        if format == Format::V2Protobuf { self.protobuf.clone() } else { self.json.clone() }
    }
}

struct Fetched {
    at: Instant,
    /// Of the server: one that comes anew under the same name is asked again.
    of: usize,
    v2: Option<Arc<Other>>,
    /// (path, hash) in its index of v3.
    v3: Option<(String, String)>,
}

#[derive(Default)]
pub(super) struct Others(Mutex<HashMap<GroupVersion, Arc<Fetched>>>);

impl Others {
    pub fn forget(&self) {
        self.0.lock().clear();
    }

    pub async fn v2(&self, table: &Table) -> Vec<Arc<Other>> {
        self.all(table).await.iter().filter_map(|f| f.v2.clone()).collect()
    }

    pub async fn v3(&self, table: &Table) -> Vec<(String, String)> {
        self.all(table).await.iter().filter_map(|f| f.v3.clone()).collect()
    }

    /// By group and version.
    async fn all(&self, table: &Table) -> Vec<Arc<Fetched>> {
        if table.delegates.is_empty() {
            return Vec::new();
        }
        self.0.lock().retain(|gv, _| table.delegates.contains_key(gv));
        let sorted: BTreeMap<&GroupVersion, &Arc<dyn Delegate>> = table.delegates.iter().collect();
        let mut all: Vec<BoxFuture<'_, Arc<Fetched>>> = Vec::with_capacity(sorted.len());
        for (gv, delegate) in sorted {
            all.push(Box::pin(self.one(gv.clone(), delegate.clone())));
        }
        join_all(all).await
    }

    async fn one(&self, gv: GroupVersion, delegate: Arc<dyn Delegate>) -> Arc<Fetched> {
        let of = Arc::as_ptr(&delegate).cast::<()>() as usize;
        if let Some(known) = self.0.lock().get(&gv).filter(|f| f.of == of && f.at.elapsed() < FRESH_FOR) {
            return known.clone();
        }
        let (v2, v3) = tokio::join!(fetch(&delegate, "/openapi/v2"), fetch(&delegate, "/openapi/v3"));
        let v2 = v2.and_then(|text| other(&gv, &text)).map(Arc::new);
        let v3 = v3.and_then(|text| indexed(&gv, &text));
        let fetched = Arc::new(Fetched { at: Instant::now(), of, v2, v3 });
        // What could not be had is asked for again next time.
        if fetched.v2.is_some() || fetched.v3.is_some() {
            self.0.lock().insert(gv, fetched.clone());
        }
        fetched
    }
}

async fn fetch(delegate: &Arc<dyn Delegate>, path: &str) -> Option<Bytes> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let answer = delegate.openapi(path, &headers).await;
    if answer.status() != StatusCode::OK {
        return None;
    }
    crate::http::body::read(answer.into_body(), LIMIT).await.ok()
}

fn indexed(gv: &GroupVersion, text: &[u8]) -> Option<(String, String)> {
    let index: Json = serde_json::from_slice(text).ok()?;
    let path = openapi::path_of(&gv.group, &gv.version);
    let url = index["paths"][&path]["serverRelativeURL"].as_str()?;
    let hash = url.split_once("hash=").map_or("", |(_, hash)| hash).to_owned();
    Some((path, hash))
}

/// The paths of that group-version, and what they need that no built-in type is.
fn other(gv: &GroupVersion, text: &[u8]) -> Option<Other> {
    let document: Json = serde_json::from_slice(text).ok()?;
    let prefix = format!("/apis/{}/{}/", gv.group, gv.version);
    let paths: BTreeMap<&String, &Json> =
        document["paths"].as_object()?.iter().filter(|(path, _)| path.starts_with(&prefix)).collect();
    let (mut definitions, mut parameters) = (BTreeMap::new(), BTreeMap::new());
    let mut todo: Vec<&Json> = paths.values().copied().collect();
    while let Some(of) = todo.pop() {
        references(of, &mut |to| {
            let (section, name) = to.trim_start_matches("#/").split_once('/').unwrap_or_default();
            let found = document.get(section).and_then(|s| s.get(name));
            let into = if section == "parameters" { &mut parameters } else { &mut definitions };
            if let Some(found) = found
                && api::schema::look(name).is_none()
                && into.insert(name.to_owned(), found).is_none()
            {
                todo.push(found);
            }
        });
    }
    let make = |format| {
        compress(format, false, |sink| {
            paths.iter().for_each(|(name, of)| sink(Section::Paths, name, of));
            definitions.iter().for_each(|(name, of)| sink(Section::Definitions, name, of));
            parameters.iter().for_each(|(name, of)| sink(Section::Parameters, name, of));
        })
    };
    let hash = openapi::hash_all([String::from_utf8_lossy(text).as_ref()]);
    Some(Other { hash, json: make(Format::V2), protobuf: make(Format::V2Protobuf) })
}

fn references<'a>(of: &'a Json, found: &mut dyn FnMut(&'a str)) {
    match of {
        Json::Object(map) => map.iter().for_each(|(key, value)| match value {
            Json::String(to) if key == "$ref" => found(to),
            value => references(value, found),
        }),
        Json::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_server_adds() {
        let document = serde_json::json!({
            "paths": {
                "/apis/w.e.com/v1/x": {"get": {"parameters": [{"$ref": "#/parameters/p-1"}], "responses": {"200": {"schema": {"$ref": "#/definitions/X"}}}}},
                "/apis/w.e.com/v2/x": {"get": {"responses": {"200": {"schema": {"$ref": "#/definitions/Z"}}}}},
                "/api/": {}},
            "definitions": {
                "X": {"properties": {"y": {"$ref": "#/definitions/Y"}, "m": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}}},
                "Y": {"properties": {"x": {"$ref": "#/definitions/X"}}}, "Z": {},
                "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {}},
            "parameters": {"p-1": {"name": "p"}, "q-1": {"name": "q"}}});
        let other = other(&GroupVersion::new("w.e.com", "v1"), document.to_string().as_bytes()).unwrap();
        let parts = &other.json.compressed;
        let piece = |section: Section| {
            let whole =
                crate::http::gzip::join(&[parts[&section].clone(), crate::http::gzip::stored(b"", true)]);
            let mut out = String::new();
            let bytes = whole.concat();
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut out).unwrap();
            serde_json::from_str::<Json>(&format!("{{{}}}", &out[1..])).unwrap()
        };
        let names = |section| piece(section).as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(Section::Paths), ["/apis/w.e.com/v1/x"]);
        assert_eq!(names(Section::Definitions), ["X", "Y"]);
        assert_eq!(other.json.parameters.keys().collect::<Vec<_>>(), ["p-1"]);
    }

    #[test]
    fn the_index_of_another_server() {
        let index = serde_json::json!({"paths": {"apis/w.e.com/v1": {"serverRelativeURL": "/openapi/v3/apis/w.e.com/v1?hash=AB"}}});
        let found = indexed(&GroupVersion::new("w.e.com", "v1"), index.to_string().as_bytes());
        assert_eq!(found, Some(("apis/w.e.com/v1".into(), "AB".into())));
    }
}
