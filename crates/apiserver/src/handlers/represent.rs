//! One object in the form that the caller wants: the cached bytes where they fit, other forms made once and kept
//! with the object while it is hot.

use std::sync::Arc;

use api::Value;
use api::proto::wire;
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

    /// Without the newline.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.body[2..self.body.len() - 1]);
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
    convert::shown(served, &stored.tree_once(entry)).await
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
    if *entry.version == served.gv {
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

/// An object as a protobuf message, kept as lists have it: behind the key of field 2 and its length.
#[derive(Clone)]
pub struct Message(Bytes);

impl Message {
    fn of(raw: &[u8]) -> Self {
        let mut item = Vec::with_capacity(raw.len() + 6);
        wire::bytes(&mut item, 2, raw);
        Self(item.into())
    }

    /// Without the envelope.
    pub fn raw(&self) -> Bytes {
        let last = self.0.iter().skip(1).position(|b| *b < 0x80).map_or(self.0.len(), |at| at + 2);
        self.0.slice(last..)
    }

    /// As a list's item.
    pub fn item(self) -> Bytes {
        self.0
    }
}

/// The object as a protobuf message; `form` is [`form`] of that.
pub async fn protobuf(served: &Served, entry: &Entry, form: &Form) -> Result<Message, Status> {
    if let Some(bytes) = entry.form(form) {
        return Ok(Message(bytes));
    }
    let value = tree(served, entry).await?;
    let raw =
        api::proto::encode(&value, &served.schema).map_err(|e| Status::not_acceptable(e.to_string()))?;
    let made = Message::of(&raw);
    entry.keep_form(form.clone(), made.0.clone());
    Ok(made)
}

const METADATA_HEAD: &[u8] = b"\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/";

/// Writes PartialObjectMetadata as JSON, `{...}`.
pub fn write_metadata(out: &mut Vec<u8>, entry: &Entry, version: &str) {
    out.push(b'{');
    out.extend_from_slice(METADATA_HEAD);
    out.extend_from_slice(version.as_bytes());
    out.extend_from_slice(b"\",\"metadata\":");
    out.extend_from_slice(entry.metadata());
    out.push(b'}');
}

/// PartialObjectMetadata as JSON, `{...}`.
pub fn metadata_json(entry: &Entry, version: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(entry.metadata().len() + 96);
    write_metadata(&mut out, entry, version);
    out
}

/// PartialObjectMetadata as a protobuf message, the same in each of its versions.
pub fn metadata_protobuf(entry: &Entry) -> Result<Message, Status> {
    let form = Form {
        media: Media::Protobuf,
        projection: Projection::Metadata,
        api_version: "meta.k8s.io/v1".into(),
        generation: 0,
    };
    if let Some(bytes) = entry.form(&form) {
        return Ok(Message(bytes));
    }
    let of = api::schema::by_gvk("meta.k8s.io", "v1", "PartialObjectMetadata")
        .ok_or_else(|| Status::not_acceptable("PartialObjectMetadata has no protobuf form"))?;
    let (value, _) =
        api::json::decode(&metadata_json(entry, "v1"), &of).map_err(|e| Status::internal(e.to_string()))?;
    let raw = api::proto::encode(&value, &of).map_err(|e| Status::not_acceptable(e.to_string()))?;
    let made = Message::of(&raw);
    entry.keep_form(form, made.0.clone());
    Ok(made)
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
            let raw = metadata_protobuf(entry)?.raw();
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
            let form = form(served, Media::Protobuf, Projection::Whole);
            let raw = protobuf(served, entry, &form).await?.raw();
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
    fn a_message_is_found_again_in_its_item() {
        for size in [0, 1, 127, 128, 20_000] {
            let raw = vec![0x80u8; size];
            let message = Message::of(&raw);
            assert!(message.raw() == raw && message.item().len() >= size + 2, "{size}");
        }
    }
}
