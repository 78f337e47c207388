//! Lists: one head, the items' own bytes, one tail.

use std::collections::VecDeque;
use std::sync::Arc;

use apimachinery::{Status, fields, labels};
use bytes::Bytes;
use http::Response;

use super::{Asked, represent, table};
use crate::cache::Selection;
use crate::catalog::Served;
use crate::endpoint::{Body, Query};
use crate::form::Media;
use crate::http::body::Pieces;
use crate::http::negotiate::{As, Wanted, wanted};
use crate::http::{gzip, respond};
use crate::registry::read::{List, ListOptions};

/// Compressed items of big lists, shared while the objects stay the same.
#[derive(Default)]
pub struct Compressed(VecDeque<(String, gzip::Part)>);

const KEPT: usize = 8;

impl Compressed {
    fn get(&self, key: &str) -> Option<gzip::Part> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, b)| b.clone())
    }

    fn keep(&mut self, key: String, part: gzip::Part) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back((key, part));
    }
}

/// What a list or watch selects, out of the request.
pub fn selection(served: &Served, namespace: &str, name: &str, query: &Query) -> Result<Selection, Status> {
    let stored = served.stored.as_ref().ok_or_else(Status::no_route)?;
    let get = |key: &str| query.get(key).unwrap_or_default();
    let labels =
        labels::Selector::parse(get("labelSelector")).map_err(|e| Status::bad_request(e.to_string()))?;
    let fields =
        fields::Selector::parse(get("fieldSelector")).map_err(|e| Status::bad_request(e.to_string()))?;
    let namespace = if served.row.namespaced { namespace } else { "" };
    let known = |label: &str| served.row.field_labels.iter().any(|l| **l == *label);
    Selection::new(served.row.namespaced, namespace, name)
        .with_labels(labels)
        .with_fields(
            &fields,
            |label| if known(label) { stored.label_position(label, &served.gv) } else { None },
        )
        .map_err(|label| Status::bad_request(unknown_field(served, &label)))
}

/// Kinds with fields of their own say it shorter.
fn unknown_field(served: &Served, label: &str) -> String {
    if served.row.field_labels.len() > 2 {
        return format!("field label not supported: {label}");
    }
    format!("{label:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
}

/// `{"resourceVersion":"1","continue":"...","remainingItemCount":2}`
pub fn list_meta(list: &List) -> Vec<u8> {
    let mut out = format!("{{\"resourceVersion\":\"{}\"", list.revision);
    if !list.next.is_empty() {
        out.push_str(&format!(",\"continue\":\"{}\"", list.next));
    }
    if let Some(remaining) = list.remaining {
        out.push_str(&format!(",\"remainingItemCount\":{remaining}"));
    }
    out.push('}');
    out.into_bytes()
}

fn protobuf_meta(list: &List) -> Vec<u8> {
    use api::proto::wire;
    let mut meta = Vec::new();
    wire::bytes(&mut meta, 1, b"");
    wire::bytes(&mut meta, 2, list.revision.to_string().as_bytes());
    wire::bytes(&mut meta, 3, list.next.as_bytes());
    if let Some(remaining) = list.remaining {
        wire::number(&mut meta, 4, remaining);
    }
    meta
}

pub(super) async fn list(asked: Asked<'_>, served: Arc<Served>) -> Result<Response<Body>, Status> {
    let offer = wanted(asked.request.headers(), asked.query, represent::list_offer(&served))?;
    let options = ListOptions::of(asked.query)?;
    let selection = selection(&served, &asked.cx.info.namespace, "", asked.query)?;
    let list = asked.chain.registry.list(&served, &selection, &options).await?;
    match (&offer.shape, offer.media) {
        (As::Table(version), _) => as_table(&asked, &served, &list, version, &offer).await,
        (_, Media::Protobuf) => as_protobuf(&served, &list, &offer).await,
        _ => as_json(&asked, &served, &list, &offer).await,
    }
}

async fn as_json(
    asked: &Asked<'_>,
    served: &Served,
    list: &List,
    offer: &Wanted,
) -> Result<Response<Body>, Status> {
    let (kind, api_version) = match &offer.shape {
        As::Metadata(version) => ("PartialObjectMetadataList".to_owned(), format!("meta.k8s.io/{version}")),
        _ => (format!("{}List", served.gvk.kind), served.gv.to_string()),
    };
    let meta = String::from_utf8_lossy(&list_meta(list)).into_owned();
    let head = if served.schema.custom && offer.shape == As::Object {
        format!("{{\"apiVersion\":\"{api_version}\",\"items\":[")
    } else {
        format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{meta},\"items\":[")
    };
    let tail = if served.schema.custom && offer.shape == As::Object {
        format!("],\"kind\":\"{kind}\",\"metadata\":{}}}\n", custom_meta(list))
    } else {
        "]}\n".to_owned()
    };
    let mut pieces: Vec<Bytes> = Vec::with_capacity(list.entries.len() + 2);
    pieces.push(head.into());
    for (at, entry) in list.entries.iter().enumerate() {
        pieces.push(match &offer.shape {
            As::Metadata(version) => {
                let comma: &[u8] = if at == 0 { b"" } else { b"," };
                [comma, &represent::metadata_json(entry, version)].concat().into()
            }
            _ => represent::json(served, entry).await?.item(at == 0),
        });
    }
    pieces.push(tail.into());
    Ok(send(asked, served, list, offer, Pieces::new(pieces)))
}

/// Custom lists are maps in Go: sorted keys all the way.
fn custom_meta(list: &List) -> String {
    let mut out = String::from("{");
    out.push_str(&format!("\"continue\":\"{}\"", list.next));
    if let Some(remaining) = list.remaining {
        out.push_str(&format!(",\"remainingItemCount\":{remaining}"));
    }
    out.push_str(&format!(",\"resourceVersion\":\"{}\"}}", list.revision));
    out
}

fn send(asked: &Asked<'_>, served: &Served, list: &List, offer: &Wanted, pieces: Pieces) -> Response<Body> {
    let content_type = offer.media.content_type();
    if offer.media == Media::Yaml || offer.pretty {
        return respond::document(200, offer, pieces.concat().into());
    }
    if !offer.gzip || pieces.len() < respond::GZIP_FROM {
        return respond::pieces(200, content_type, pieces);
    }
    let Some(changed) = list.changed else {
        return respond::compressed(200, content_type, respond::gzip(pieces.iter()));
    };
    // The head names the list's revision; the items are compressed once.
    let key =
        format!("{changed} {} {:?} {} {}", asked.request.uri(), offer.shape, served.generation, content_type);
    let all: Vec<Bytes> = pieces.iter().cloned().collect();
    let (Some((first, rest)), false) = (all.split_first(), all.len() < 2) else {
        return respond::pieces(200, content_type, pieces);
    };
    let (items, last) = rest.split_at(rest.len() - 1);
    let shared = asked.chain.compressed.lock().get(&key);
    let items = shared.unwrap_or_else(|| {
        let made = gzip::part(items.iter(), false);
        asked.chain.compressed.lock().keep(key, made.clone());
        made
    });
    let parts = [gzip::part([first].into_iter(), false), items, gzip::part(last.iter(), true)];
    let mut answer = respond::pieces(200, content_type, gzip::join(&parts));
    answer.headers_mut().insert(http::header::CONTENT_ENCODING, http::HeaderValue::from_static("gzip"));
    answer.headers_mut().insert(http::header::VARY, http::HeaderValue::from_static("Accept-Encoding"));
    answer
}

async fn as_protobuf(served: &Served, list: &List, offer: &Wanted) -> Result<Response<Body>, Status> {
    use api::proto::wire;
    let mut raw = Vec::new();
    wire::bytes(&mut raw, 1, &protobuf_meta(list));
    for entry in &list.entries {
        match &offer.shape {
            As::Metadata(version) => wire::bytes(&mut raw, 2, &represent::metadata_protobuf(entry, version)?),
            _ => wire::bytes(&mut raw, 2, &represent::protobuf(served, entry).await?),
        }
    }
    let (kind, api_version) = match &offer.shape {
        As::Metadata(version) => ("PartialObjectMetadataList".to_owned(), format!("meta.k8s.io/{version}")),
        _ => (format!("{}List", served.gvk.kind), served.gv.to_string()),
    };
    let bytes = api::proto::encode_unknown(&api_version, &kind, &raw, "");
    let content_type = Media::Protobuf.content_type();
    if offer.gzip && bytes.len() as u64 >= respond::GZIP_FROM {
        return Ok(respond::compressed(200, content_type, respond::gzip([&Bytes::from(bytes)].into_iter())));
    }
    Ok(respond::bytes(200, content_type, bytes))
}

async fn as_table(
    asked: &Asked<'_>,
    served: &Served,
    list: &List,
    version: &str,
    offer: &Wanted,
) -> Result<Response<Body>, Status> {
    let include = table::include(asked.query)?;
    let mut rows = Vec::with_capacity(list.entries.len() * 512);
    let mut count = None;
    for entry in &list.entries {
        if count.is_some() {
            rows.push(b',');
        }
        count = Some(table::row((asked.cx.now, include), served, entry, version, &mut rows).await?);
    }
    let definitions = table::definitions(served, count);
    let document = table::document(version, &list_meta(list), Some(&definitions), &rows);
    if offer.gzip
        && document.len() as u64 >= respond::GZIP_FROM
        && !offer.pretty
        && offer.media == Media::Json
    {
        let bytes = Bytes::from(document);
        return Ok(respond::compressed(200, Media::Json.content_type(), respond::gzip([&bytes].into_iter())));
    }
    Ok(respond::document(200, offer, document))
}
