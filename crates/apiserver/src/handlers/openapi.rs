//! OpenAPI v3: an index with hashes, and a document a group-version, made when first asked for.

use std::sync::Arc;

use api::openapi::{self, Entry};
use apimachinery::{Reason, Status};
use http::{HeaderValue, Response, header};

use super::Asked;
use crate::catalog::{Served, Table};
use crate::endpoint::Body;
use crate::http::negotiate::{Offer, wanted};
use crate::http::respond;

/// What a group-version serves, sorted by resource.
fn of(table: &Table, path: &str) -> Vec<Arc<Served>> {
    let mut list: Vec<Arc<Served>> = table
        .resources
        .values()
        .filter(|s| openapi::path_of(&s.gv.group, &s.gv.version) == path)
        .cloned()
        .collect();
    list.sort_by(|a, b| a.gr.resource.cmp(&b.gr.resource));
    list
}

fn entries(list: &[Arc<Served>]) -> Vec<Entry<'_>> {
    list.iter().map(|s| Entry { row: &s.row, of: s.schema.clone(), custom: s.openapi.as_deref() }).collect()
}

fn hash(list: &[Arc<Served>]) -> String {
    list.first().map(|s| openapi::hash(&s.gv.group, &s.gv.version, &entries(list))).unwrap_or_default()
}

/// None: the path is not one of OpenAPI.
pub(super) fn serve(asked: &Asked<'_>) -> Option<Result<Response<Body>, Status>> {
    let path = asked.cx.info.path.trim_end_matches('/');
    if path == "/openapi/v2" {
        return Some(Err(Status::new(404, Reason::NotFound, "OpenAPI v2 is not built yet; /openapi/v3 is")));
    }
    let rest = path.strip_prefix("/openapi/v3")?;
    Some(match rest.strip_prefix('/') {
        None if rest.is_empty() => index(asked),
        Some(path) => document(asked, path),
        None => return None,
    })
}

fn index(asked: &Asked<'_>) -> Result<Response<Body>, Status> {
    let offer = wanted(asked.request.headers(), asked.query, Offer::PLAIN)?;
    let table = asked.chain.registry.catalog.table();
    let bytes = asked.chain.discovery.get(table.revision, "openapi", || {
        let mut paths: Vec<String> =
            table.resources.values().map(|s| openapi::path_of(&s.gv.group, &s.gv.version)).collect();
        paths.sort();
        paths.dedup();
        let hashes: Vec<(String, String)> =
            paths.into_iter().map(|p| (hash(&of(&table, &p)), p)).map(|(h, p)| (p, h)).collect();
        openapi::index(hashes.iter().map(|(p, h)| (p.as_str(), h.as_str())))
    });
    let offer = crate::http::negotiate::Wanted { media: crate::form::Media::Json, ..offer };
    Ok(respond::document(200, &offer, bytes.to_vec()))
}

fn document(asked: &Asked<'_>, path: &str) -> Result<Response<Body>, Status> {
    let table = asked.chain.registry.catalog.table();
    let list = of(&table, path);
    let Some(first) = list.first() else { return Err(Status::no_route()) };
    let etag = hash(&list);
    let gzip = wanted(asked.request.headers(), asked.query, Offer::PLAIN).is_ok_and(|w| w.gzip);
    // Keyed by content, so that a change elsewhere in the table costs nothing here.
    let key = format!("openapi {path}");
    let bytes = asked.chain.discovery.get(table.revision, &key, || {
        let document = openapi::document(&first.gv.group, &first.gv.version, &entries(&list));
        respond::gzip([&document.into()].into_iter()).to_vec()
    });
    let mut answer = if gzip {
        respond::compressed(200, "application/json", bytes)
    } else {
        respond::bytes(200, "application/json", unzip(&bytes))
    };
    let headers = answer.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        headers.insert(header::ETAG, etag);
    }
    if asked.query.get("hash") == Some(etag.as_str()) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    Ok(answer)
}

fn unzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut out = Vec::with_capacity(bytes.len() * 8);
    // It was compressed by this server.
    let _ = flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out);
    out
}
