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
use crate::form::{Media, Projection};
use crate::http::body::{self, Pieces};
use crate::http::negotiate::{As, Wanted, wanted};
use crate::http::{gzip, respond};
use crate::registry::read::{List, ListOptions};

/// Compressed items of big lists, shared while the objects stay the same and somebody asks for them.
#[derive(Default)]
pub struct Compressed(VecDeque<Kept>);

struct Kept {
    key: String,
    part: gzip::Part,
    /// Asked for since the last sweep.
    used: bool,
}

/// At most so many lists.
const KEPT: usize = 8;
/// At most so many bytes of them all.
const KEPT_BYTES: usize = 32 << 20;

impl Compressed {
    fn get(&mut self, key: &str) -> Option<gzip::Part> {
        let found = self.0.iter_mut().find(|k| k.key == key)?;
        found.used = true;
        Some(found.part.clone())
    }

    fn keep(&mut self, key: String, part: gzip::Part) {
        let room = KEPT_BYTES.saturating_sub(part.len());
        while self.0.len() >= KEPT || self.0.iter().map(|k| k.part.len()).sum::<usize>() > room {
            if self.0.pop_front().is_none() {
                return;
            }
        }
        self.0.push_back(Kept { key, part, used: true });
    }

    /// Lets go of what nobody has asked for since the last call.
    pub fn drop_cold(&mut self) {
        self.0.retain_mut(|k| std::mem::take(&mut k.used));
        self.0.shrink_to_fit();
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
        (As::Table(version), _) => as_table(&asked, &served, list, version, &offer).await,
        (_, Media::Protobuf) => as_protobuf(&asked, &served, &list, &offer).await,
        (As::Metadata(version), _) => Ok(as_metadata(&asked, &served, list, version, &offer)),
        _ => as_json(&asked, &served, &list, &offer).await,
    }
}

/// Kind and apiVersion of the list.
fn type_of(served: &Served, shape: &As) -> (String, String) {
    match shape {
        As::Metadata(version) => ("PartialObjectMetadataList".to_owned(), format!("meta.k8s.io/{version}")),
        _ => (served.row.list_kind(), served.gv.to_string()),
    }
}

fn json_head((kind, api_version): &(String, String), meta: &[u8]) -> Vec<u8> {
    let meta = String::from_utf8_lossy(meta);
    format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{meta},\"items\":[").into()
}

const TAIL: &[u8] = b"]}\n";

async fn as_json(
    asked: &Asked<'_>,
    served: &Served,
    list: &List,
    offer: &Wanted,
) -> Result<Response<Body>, Status> {
    let (kind, api_version) = type_of(served, &offer.shape);
    let (head, tail) = if served.schema.custom {
        let head = format!("{{\"apiVersion\":\"{api_version}\",\"items\":[");
        let tail = format!("],\"kind\":\"{kind}\",\"metadata\":{}}}\n", custom_meta(list));
        (head.into(), tail.into())
    } else {
        (json_head(&(kind, api_version), &list_meta(list)), Bytes::from_static(TAIL))
    };
    let mut pieces: Vec<Bytes> = Vec::with_capacity(list.entries.len() + 2);
    pieces.push(head.into());
    for (at, entry) in list.entries.iter().enumerate() {
        pieces.push(represent::json(served, entry).await?.item(at == 0));
    }
    pieces.push(tail);
    Ok(send(asked, served, list.changed, offer, Pieces::new(pieces)))
}

/// Whether the answer can be sent as it is written.
fn is_plain(offer: &Wanted) -> bool {
    offer.media == Media::Json && !offer.pretty && !offer.gzip
}

fn as_metadata(
    asked: &Asked<'_>,
    served: &Served,
    mut list: List,
    version: &str,
    offer: &Wanted,
) -> Response<Body> {
    let head = json_head(&type_of(served, &offer.shape), &list_meta(&list));
    let (entries, version) = (std::mem::take(&mut list.entries), version.to_owned());
    let count = entries.len();
    let item = move |at: usize, out: &mut Vec<u8>| represent::write_metadata(out, &entries[at], &version);
    if is_plain(offer) {
        return respond::written(200, offer.media.content_type(), body::items(head, count, TAIL, item));
    }
    let items = body::collect(body::items(Vec::new(), count, b"", item));
    let pieces = [head.into(), items.into(), Bytes::from_static(TAIL)];
    send(asked, served, list.changed, offer, Pieces::new(pieces))
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

/// `changed`: see [`List::changed`].
fn send(
    asked: &Asked<'_>,
    served: &Served,
    changed: Option<i64>,
    offer: &Wanted,
    pieces: Pieces,
) -> Response<Body> {
    let content_type = offer.media.content_type();
    if offer.media == Media::Yaml || offer.pretty && offer.media == Media::Json {
        return respond::document(200, offer, pieces.concat().into());
    }
    if !offer.gzip || pieces.len() < respond::GZIP_FROM {
        return respond::pieces(200, content_type, pieces);
    }
    let Some(changed) = changed else {
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
    let shared = asked.chain.registry.compressed.lock().get(&key);
    let items = shared.unwrap_or_else(|| {
        let made = gzip::part(items.iter(), false);
        asked.chain.registry.compressed.lock().keep(key, made.clone());
        made
    });
    let parts = [gzip::part([first].into_iter(), false), items, gzip::part(last.iter(), true)];
    let mut answer = respond::pieces(200, content_type, gzip::join(&parts));
    answer.headers_mut().insert(http::header::CONTENT_ENCODING, http::HeaderValue::from_static("gzip"));
    answer.headers_mut().insert(http::header::VARY, http::HeaderValue::from_static("Accept-Encoding"));
    answer
}

async fn as_protobuf(
    asked: &Asked<'_>,
    served: &Served,
    list: &List,
    offer: &Wanted,
) -> Result<Response<Body>, Status> {
    use api::proto::wire;
    let mut items = Vec::with_capacity(list.entries.len() + 2);
    items.push(Bytes::new());
    let form = represent::form(served, Media::Protobuf, Projection::Whole);
    for entry in &list.entries {
        let message = match &offer.shape {
            As::Metadata(_) => represent::metadata_protobuf(entry)?,
            _ => represent::protobuf(served, entry, &form).await?,
        };
        items.push(message.item());
    }
    let mut meta = Vec::new();
    wire::bytes(&mut meta, 1, &protobuf_meta(list));
    let (kind, api_version) = type_of(served, &offer.shape);
    let size = meta.len() + items.iter().map(Bytes::len).sum::<usize>();
    let (mut head, tail) = api::proto::around(&api_version, &kind, size);
    head.extend_from_slice(&meta);
    items[0] = head.into();
    items.push(Bytes::from_static(tail));
    Ok(send(asked, served, list.changed, offer, Pieces::new(items)))
}

async fn as_table(
    asked: &Asked<'_>,
    served: &Served,
    mut list: List,
    version: &str,
    offer: &Wanted,
) -> Result<Response<Body>, Status> {
    let now = asked.cx.now;
    let rows = table::Rows::new(served, version, now, table::include(asked.query)?);
    let mut items = Vec::with_capacity(list.entries.len());
    for entry in std::mem::take(&mut list.entries) {
        items.push(rows.item(&entry).await?);
    }
    let definitions = table::definitions(served, items.last().map(|i| i.row().count()));
    let head = table::head(version, &list_meta(&list), Some(&definitions));
    let (count, version) = (items.len(), version.to_owned());
    let item = move |at: usize, out: &mut Vec<u8>| items[at].write(&version, now, out);
    let document = body::items(head, count, table::TAIL, item);
    if is_plain(offer) {
        return Ok(respond::written(200, Media::Json.content_type(), document));
    }
    let document = body::collect(document);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn part(size: usize) -> gzip::Part {
        let noise: Vec<u8> =
            (0..size as u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        gzip::part([Bytes::from(noise)].iter(), false)
    }

    #[test]
    fn compressed_lists_are_few_and_go_when_cold() {
        let mut kept = Compressed::default();
        (0..20).for_each(|n| kept.keep(n.to_string(), part(10)));
        assert_eq!(kept.0.len(), KEPT);
        kept.drop_cold();
        assert!(kept.get("19").is_some() && kept.get("0").is_none());
        kept.drop_cold();
        assert_eq!(kept.0.len(), 1);
        kept.drop_cold();
        assert!(kept.0.is_empty());
    }
}
