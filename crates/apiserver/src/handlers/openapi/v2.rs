//! `/openapi/v2`: one document of everything, in JSON or gnostic's protobuf.

use std::sync::Arc;

use api::openapi::{self, Format, Info};
use apimachinery::Status;
use http::Response;

use super::Documents;
use super::answer::{self, answer, choose, not_acceptable};
use super::documents::{Sections, compress, entry, join, published};
use crate::catalog::{Served, Table};
use crate::endpoint::Body;
use crate::handlers::Asked;

const JSON: &str = "json";
const PROTOBUF: &str = "com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// How clients ask for it that learned it early.
const PROTOBUF_OLD: &str = "com.github.proto-openapi.spec.v2@v1.0+protobuf";

pub(super) async fn document(asked: &Asked<'_>) -> Result<Response<Body>, Status> {
    let headers = asked.request.headers();
    let Some(chosen) = choose(headers, &[JSON, PROTOBUF_OLD, PROTOBUF]) else { return Ok(not_acceptable()) };
    let (format, content_type) = match chosen {
        JSON => (Format::V2, "application/json"),
        _ => (Format::V2Protobuf, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"),
    };
    let table = asked.chain.registry.catalog.table();
    let documents = &asked.chain.openapi;
    let others = documents.others.v2(&table).await;
    let own = documents.hashes(&table);
    let hashes = own.values().map(String::as_str).chain(others.iter().map(|o| o.hash.as_str()));
    let version = documents.version("v2", &openapi::hash_all(hashes));
    if answer::has(headers, &version) {
        return Ok(answer::not_modified(&version));
    }
    let mut all = sections(documents, &table, format).await;
    all.extend(others.iter().map(|other| other.sections(format)));
    let info = Info::server(&asked.chain.options.version.git_version);
    Ok(answer(headers, content_type, &version, || join(format, &info, &all)))
}

/// What this server serves itself: built-in kinds, then each custom resource.
async fn sections(documents: &Arc<Documents>, table: &Arc<Table>, format: Format) -> Vec<Sections> {
    let builtin: Vec<&Arc<Served>> = table.resources.values().filter(|s| s.openapi.is_none()).collect();
    let mut hashes: Vec<String> = builtin.into_iter().map(|s| documents.hash(s)).collect();
    hashes.sort_unstable();
    let hash = openapi::hash_all(hashes.iter().map(String::as_str));
    let mut all = vec![builtin_sections(documents, table, format, &hash).await];
    let mut custom: Vec<&Arc<Served>> = table.resources.values().filter(|s| s.openapi.is_some()).collect();
    custom.sort_unstable_by(|a, b| (&a.gv, &a.gr.resource).cmp(&(&b.gv, &b.gr.resource)));
    for served in custom {
        let (name, hash) =
            (format!("v2 {format:?} {}/{}", served.gv, served.gr.resource), documents.hash(served));
        all.push(documents.kept(&name, &hash).unwrap_or_else(|| {
            let made = compress(format, false, |sink| openapi::v2_custom(&[entry(served)], sink));
            documents.keep(&name, &hash, &made);
            made
        }));
    }
    all
}

async fn builtin_sections(
    documents: &Arc<Documents>,
    table: &Arc<Table>,
    format: Format,
    hash: &str,
) -> Sections {
    let name = format!("v2 {format:?}");
    let _making = documents.making.lock().await;
    if let Some(kept) = documents.kept(&name, hash) {
        return kept;
    }
    let table = table.clone();
    let make = move || compress(format, true, |sink| published(&table).v2_builtin(sink));
    // Hundreds of paths and definitions: not on a thread that answers requests.
    let made = tokio::task::spawn_blocking(make).await.unwrap_or_default();
    documents.keep(&name, hash, &made);
    made
}
