//! One object in the form that the caller wants: the cached bytes where they fit, other forms made once and kept
//! with the object while it is hot.

use std::sync::Arc;

use api::Value;
use apimachinery::Status;
use bytes::Bytes;
use http::Response;

use super::{Asked, table};
use crate::cache::Entry;
use crate::catalog::Served;
use crate::codec;
use crate::endpoint::Body;
use crate::form::{Form, Media, Projection};
use crate::http::body::Pieces;
use crate::http::negotiate::{As, Offer, Wanted, wanted};
use crate::http::respond;
use crate::registry::convert;
use crate::registry::read::parse_single_revision;

/// JSON in two parts, as [`Entry`] holds it: `{...` and `,{...}` + newline.
pub struct Json {
    pub head: Bytes,
    pub body: Bytes,
}

impl Json {
    pub fn document(&self) -> [Bytes; 2] {
        [self.head.clone(), self.body.slice(2..)]
    }

    pub fn item(&self, first: bool) -> Bytes {
        self.body.slice(usize::from(first)..self.body.len() - 1)
    }

    /// Without the newline, in one.
    pub fn concat(&self) -> Vec<u8> {
        [&self.head, &self.body[2..self.body.len() - 1]].concat()
    }
}

pub fn form(served: &Served, media: Media, projection: Projection) -> Form {
    Form { media, projection, api_version: served.gv.to_string().into(), generation: served.generation }
}

/// The head of all objects of a kind that items of lists leave out.
fn head_of(served: &Served) -> Bytes {
    if served.schema.custom {
        return Bytes::from_static(b"{");
    }
    format!("{{\"kind\":\"{}\",\"apiVersion\":\"{}\",", served.gvk.kind, served.gv).into()
}

/// The object in the version in which it is served.
pub async fn tree(served: &Served, entry: &Entry) -> Result<Arc<Value>, Status> {
    let stored = served.stored.as_ref().ok_or_else(Status::no_route)?;
    let value = stored.tree(entry);
    if stored.shape().gv == served.gv {
        return Ok(value);
    }
    Ok(Arc::new(convert::one_from_storage(served, &value).await?))
}

fn cut(json: Vec<u8>, head: Bytes) -> Json {
    let (head, rest) = match json.strip_prefix(&*head) {
        Some(rest) => (head, rest),
        None => (Bytes::from_static(b"{"), json.get(1..).unwrap_or_default()),
    };
    Json { body: [b",{", rest, b"\n"].concat().into(), head }
}

/// The whole object as JSON.
pub async fn json(served: &Served, entry: &Entry) -> Result<Json, Status> {
    let stored = served.stored.as_ref().ok_or_else(Status::no_route)?;
    if stored.shape().gv == served.gv {
        return Ok(Json { head: entry.head.clone(), body: entry.body.clone() });
    }
    let form = form(served, Media::Json, Projection::Whole);
    let head = head_of(served);
    if let Some(body) = entry.form(&form) {
        return Ok(Json { head, body });
    }
    let value = tree(served, entry).await?;
    let mut out = Vec::with_capacity(entry.body.len());
    api::json::write(&mut out, &value, &served.schema);
    let made = cut(out, head);
    entry.keep_form(form, made.body.clone());
    Ok(made)
}

/// The object as a protobuf message, without the envelope.
pub async fn protobuf(served: &Served, entry: &Entry) -> Result<Bytes, Status> {
    let form = form(served, Media::Protobuf, Projection::Whole);
    if let Some(bytes) = entry.form(&form) {
        return Ok(bytes);
    }
    let value = tree(served, entry).await?;
    let made =
        api::proto::encode(&value, &served.schema).map_err(|e| Status::not_acceptable(e.to_string()))?;
    let made = Bytes::from(made);
    entry.keep_form(form, made.clone());
    Ok(made)
}

/// The bytes of `metadata` in an object's JSON: found by its braces, not decoded.
pub fn metadata_of(body: &[u8]) -> Option<&[u8]> {
    let mut at = 2;
    loop {
        let (key, after) = string(body, at)?;
        let start = after + 1;
        let end = skip(body, start)?;
        if key == b"metadata" {
            return body.get(start..end);
        }
        if body.get(end) != Some(&b',') {
            return None;
        }
        at = end + 1;
    }
}

/// The text of the string that starts at `at`, and where it ends.
fn string(json: &[u8], at: usize) -> Option<(&[u8], usize)> {
    if json.get(at) != Some(&b'"') {
        return None;
    }
    let mut end = at + 1;
    loop {
        match json.get(end)? {
            b'"' => return Some((&json[at + 1..end], end + 1)),
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
}

/// The end of the value that starts at `at`.
fn skip(json: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0usize;
    loop {
        match json.get(at)? {
            b'"' => at = string(json, at)?.1,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth == 0 => return Some(at),
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            b',' if depth == 0 => return Some(at),
            _ => at += 1,
        }
        if depth == 0 && matches!(json.get(at), Some(b',' | b'}' | b']')) {
            return Some(at);
        }
    }
}

const METADATA_HEAD: &[u8] = b"\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/";

/// PartialObjectMetadata as JSON, `{...}`.
pub fn metadata_json(entry: &Entry, version: &str) -> Vec<u8> {
    let metadata = metadata_of(&entry.body).unwrap_or(b"{}");
    [b"{", METADATA_HEAD, version.as_bytes(), b"\",\"metadata\":", metadata, b"}"].concat()
}

/// PartialObjectMetadata as a protobuf message.
pub fn metadata_protobuf(entry: &Entry, version: &str) -> Result<Vec<u8>, Status> {
    let of = api::schema::by_gvk("meta.k8s.io", "v1", "PartialObjectMetadata")
        .ok_or_else(|| Status::not_acceptable("PartialObjectMetadata has no protobuf form"))?;
    let (value, _) = api::json::decode(&metadata_json(entry, version), &of)
        .map_err(|e| Status::internal(e.to_string()))?;
    api::proto::encode(&value, &of).map_err(|e| Status::not_acceptable(e.to_string()))
}

/// An answer of one stored object.
pub async fn answer(
    asked: &Asked<'_>,
    served: &Served,
    entry: &Entry,
    code: u16,
    offer: &Wanted,
) -> Result<Response<Body>, Status> {
    let content_type = offer.media.content_type();
    match (&offer.shape, offer.media) {
        (As::Table(version), _) => {
            let document = table::of_one(asked, served, entry, version).await?;
            Ok(respond::document(code, offer, document))
        }
        (As::Metadata(version), Media::Protobuf) => {
            let raw = metadata_protobuf(entry, version)?;
            let api_version = format!("meta.k8s.io/{version}");
            let bytes = api::proto::encode_unknown(&api_version, "PartialObjectMetadata", &raw, "");
            Ok(respond::bytes(code, content_type, bytes))
        }
        (As::Metadata(version), _) => {
            let mut json = metadata_json(entry, version);
            json.push(b'\n');
            Ok(respond::document(code, offer, json))
        }
        (_, Media::Protobuf) => {
            let raw = protobuf(served, entry).await?;
            let bytes = api::proto::encode_unknown(&served.gv.to_string(), &served.gvk.kind, &raw, "");
            Ok(respond::bytes(code, content_type, bytes))
        }
        (_, Media::Json) if !offer.pretty => {
            let pieces = Pieces::new(json(served, entry).await?.document());
            Ok(respond::pieces(code, content_type, pieces))
        }
        _ => {
            let document = json(served, entry).await?.document().concat();
            Ok(respond::document(code, offer, document))
        }
    }
}

/// An answer of an object that is not stored (or not any more), of a type.
pub fn answer_value(offer: &Wanted, value: &Value, code: u16) -> Result<Response<Body>, Status> {
    let (group, version) = api::resources::split(value.api_version());
    let Some(of) = api::schema::by_gvk(group, version, value.kind()) else {
        let mut json = api::json::to_vec(value);
        json.push(b'\n');
        return Ok(respond::document(code, offer, json));
    };
    match offer.media {
        Media::Protobuf => {
            let bytes = codec::encode(Media::Protobuf, value, &of)?;
            Ok(respond::bytes(code, Media::Protobuf.content_type(), bytes))
        }
        _ => Ok(respond::document(code, offer, codec::encode(Media::Json, value, &of)?)),
    }
}

pub(super) fn list_offer(served: &Served) -> Offer {
    Offer { stream: true, ..stored_offer(served) }
}

pub(super) fn stored_offer(served: &Served) -> Offer {
    Offer { protobuf: !served.schema.custom, ..Offer::STORED }
}

pub(super) async fn get(asked: Asked<'_>, served: &Arc<Served>) -> Result<Response<Body>, Status> {
    let offer = wanted(asked.request.headers(), asked.query, stored_offer(served))?;
    let info = &asked.cx.info;
    let revision = parse_single_revision(asked.query.get("resourceVersion").unwrap_or_default())?;
    let namespace = if served.row.namespaced { info.namespace.as_str() } else { "" };
    let entry = asked.chain.registry.get(served, (namespace, &info.name), revision).await?;
    answer(&asked, served, &entry, 200, &offer).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_found_by_its_braces() {
        for (body, expected) in [
            (&b",{\"metadata\":{\"name\":\"x\"},\"spec\":{}}\n"[..], Some(&b"{\"name\":\"x\"}"[..])),
            (
                b",{\"apiVersion\":\"a/v1\",\"data\":[{\"metadata\":1}],\"metadata\":{\"a\":\"}\\\"\"}}\n",
                Some(b"{\"a\":\"}\\\"\"}"),
            ),
            (b",{\"a\":1}\n", None),
        ] {
            assert_eq!(metadata_of(body), expected);
        }
    }
}
