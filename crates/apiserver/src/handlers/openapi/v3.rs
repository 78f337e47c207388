//! `/openapi/v3`: an index with hashes, and a document a group-version.

use std::sync::Arc;
use std::time::Duration;

use api::openapi::{self, Format, Info};
use apimachinery::{GroupVersion, Status};
use http::{HeaderValue, Response, StatusCode, header};

use super::Documents;
use super::answer::{self, Version, answer, choose, not_acceptable};
use super::documents::{Sections, compress, join, published};
use crate::catalog::Table;
use crate::endpoint::Body;
use crate::handlers::Asked;
use crate::http::{body, gzip, respond};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

pub(super) async fn index(asked: &Asked<'_>) -> Result<Response<Body>, Status> {
    let table = asked.chain.registry.catalog.table();
    let documents = &asked.chain.openapi;
    let others = documents.others.v3(&table).await;
    let own = documents.hashes(&table);
    let own = own.iter().map(|(path, hash)| (path.as_str(), hash.as_str()));
    let bytes = openapi::index(own.chain(others.iter().map(|(path, hash)| (path.as_str(), hash.as_str()))));
    let version = documents.version("v3", &openapi::hash_all([String::from_utf8_lossy(&bytes).as_ref()]));
    let headers = asked.request.headers();
    Ok(answer(headers, "application/json", &version, || {
        gzip::join(&[gzip::part([&bytes.into()].into_iter(), true)])
    }))
}

pub(super) async fn document(asked: &Asked<'_>, path: &str) -> Result<Response<Body>, Status> {
    let table = asked.chain.registry.catalog.table();
    let documents = &asked.chain.openapi;
    let Some(hash) = documents.hashes(&table).get(path).cloned() else {
        return others(asked, &table, path).await;
    };
    let headers = asked.request.headers();
    if choose(headers, &["json"]).is_none() {
        return Ok(not_acceptable());
    }
    let given = asked.query.get("hash").filter(|h| !h.is_empty());
    if given.is_some_and(|given| given != hash) {
        return Ok(moved(path, &hash));
    }
    let version = documents.version(path, &hash);
    let mut out = if answer::has(headers, &version) {
        answer::not_modified(&version)
    } else {
        let all = [sections(documents, &table, path, &hash).await];
        let info = match is_custom(&table, path) {
            true => Info::custom(),
            false => Info::server(&asked.chain.options.version.git_version),
        };
        answer(headers, "application/json", &version, || join(Format::V3, &info, &all))
    };
    if given.is_some() {
        for_ever(&mut out, &version);
    }
    Ok(out)
}

/// Whether a document has custom resources alone.
fn is_custom(table: &Table, path: &str) -> bool {
    let published = published(table);
    let entries = published.entries(path).unwrap_or_default();
    !entries.is_empty() && entries.iter().all(|e| e.custom.is_some())
}

async fn sections(documents: &Arc<Documents>, table: &Arc<Table>, path: &str, hash: &str) -> Sections {
    let _making = documents.making.lock().await;
    if let Some(kept) = documents.kept(path, hash) {
        return kept;
    }
    let (table, document) = (table.clone(), path.to_owned());
    let make = move || {
        compress(Format::V3, true, |sink| {
            // It is in the table that its hash was made of.
            let _ = published(&table).v3(&document, sink);
        })
    };
    let made = tokio::task::spawn_blocking(make).await.unwrap_or_default();
    documents.keep(path, hash, &made);
    made
}

/// The document has another hash by now.
fn moved(path: &str, hash: &str) -> Response<Body> {
    let to = format!("/openapi/v3/{path}?hash={hash}");
    let text = format!("<a href=\"{to}\">Moved Permanently</a>.\n\n");
    let mut answer =
        respond::finish(Response::builder().status(StatusCode::MOVED_PERMANENTLY), body::full(text));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.extend(HeaderValue::try_from(to).map(|to| (header::LOCATION, to)));
    answer
}

/// Under its hash a document never changes.
fn for_ever(answer: &mut Response<Body>, version: &Version) {
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    let until = answer::http_date(version.modified.max(std::time::SystemTime::now()) + YEAR);
    until.into_iter().for_each(|until| drop(headers.insert(header::EXPIRES, until)));
}

/// Another server's document, by that server.
async fn others(asked: &Asked<'_>, table: &Table, path: &str) -> Result<Response<Body>, Status> {
    let gv = path.strip_prefix("apis/").and_then(|p| p.split_once('/')).map(|(g, v)| GroupVersion::new(g, v));
    let Some(delegate) = gv.and_then(|gv| table.delegates.get(&gv)) else {
        return Ok(respond::not_found_text());
    };
    let query = asked.request.uri().query().map(|q| format!("?{q}")).unwrap_or_default();
    let uri = format!("/openapi/v3/{path}{query}");
    Ok(delegate.openapi(&uri, asked.request.headers()).await)
}
