//! The frames of a watch: a change or an object in the form that the client asked for.

use std::sync::Arc;

use api::Value;
use apimachinery::Status;
use bytes::Bytes;

use crate::cache::{Change, Entry, EventKind};
use crate::catalog::Served;
use crate::form::{Form, Media};
use crate::handlers::{represent, table};
use crate::http::negotiate::As;
use crate::http::respond;

/// How events are written.
pub(super) struct Writer {
    pub served: Arc<Served>,
    pub media: Media,
    pub shape: As,
    pub form: Form,
    pub include: table::Include,
    /// When the watch began.
    pub now: jiff::Timestamp,
}

impl Writer {
    /// The frame of a change that was made for another watcher.
    pub fn shared(&self, kind: EventKind, change: &Change) -> Option<Bytes> {
        if matches!(self.shape, As::Table(_)) { None } else { change.frame(kind, &self.form) }
    }

    /// The frame of a change, shared with all watchers of the same form. A Table's has its own moment.
    pub async fn change(
        &self,
        kind: EventKind,
        change: &Change,
        with_columns: bool,
    ) -> Result<Bytes, Status> {
        let mut frame = Vec::new();
        match (kind, &change.new, &change.old) {
            (EventKind::Deleted, _, Some(old)) => {
                let last = self.at_revision(old, change.revision);
                self.write(kind, &last, with_columns, &mut frame).await?;
            }
            (_, Some(new), _) => self.write(kind, new, with_columns, &mut frame).await?,
            _ => return Err(Status::internal("a change without an object")),
        }
        let frame = Bytes::from(frame);
        if !matches!(self.shape, As::Table(_)) {
            change.keep_frame(kind, self.form.clone(), frame.clone());
        }
        Ok(frame)
    }

    /// A deleted object is told as it was, at the revision of its deletion.
    fn at_revision(&self, old: &Entry, revision: i64) -> Arc<Entry> {
        let Some(stored) = &self.served.stored else { return Arc::new(old.at(revision, old.body.clone())) };
        let mut value = Value::clone(&stored.tree(old));
        value.meta_mut().insert("resourceVersion", revision.to_string());
        stored.entry(old.key.clone(), revision, Arc::new(value))
    }

    /// Appends the frame of an object.
    pub async fn write(
        &self,
        kind: EventKind,
        entry: &Entry,
        with_columns: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        let served = &self.served;
        match (&self.shape, self.media) {
            (As::Table(version), _) => {
                let now = jiff::Timestamp::now().max(self.now);
                let mut row = Vec::new();
                let count =
                    table::Rows::new(served, version, now, self.include).write(entry, &mut row).await?;
                let definitions = with_columns.then(|| table::definitions(served, Some(count)));
                let meta = format!("{{\"resourceVersion\":\"{}\"}}", entry.revision);
                let document = table::document(version, meta.as_bytes(), definitions.as_deref(), &row);
                json_frame(out, kind.as_str(), |out| out.extend_from_slice(&document[..document.len() - 1]));
            }
            (As::Metadata(version), Media::Protobuf) => {
                let raw = represent::metadata_protobuf(entry)?.raw();
                let api_version = format!("meta.k8s.io/{version}");
                proto_frame(out, kind.as_str(), &api_version, "PartialObjectMetadata", &raw);
            }
            (As::Metadata(version), _) => {
                json_frame(out, kind.as_str(), |out| represent::write_metadata(out, entry, version));
            }
            (_, Media::Protobuf) => {
                let raw = represent::protobuf(served, entry, &self.form).await?.raw();
                proto_frame(out, kind.as_str(), &self.form.api_version, &served.gvk.kind, &raw);
            }
            _ => {
                let json = represent::json(served, entry).await?;
                out.reserve(json.head.len() + json.body.len() + 40);
                json_frame(out, kind.as_str(), |out| json.write(out));
            }
        }
        Ok(())
    }

    pub fn bookmark(&self, revision: i64, end_of_initial: bool) -> Bytes {
        let served = &self.served;
        let mut value = match &self.shape {
            As::Metadata(version) => {
                let mut value = Value::map();
                value.set_at(&["kind"], "PartialObjectMetadata");
                value.set_at(&["apiVersion"], format!("meta.k8s.io/{version}"));
                value
            }
            _ => api::merge::empty(&served.schema, &served.gvk),
        };
        let meta = value.meta_mut();
        meta.insert("resourceVersion", revision.to_string());
        if end_of_initial {
            let mut annotations = api::Map::new();
            annotations.insert("k8s.io/initial-events-end", "true");
            meta.insert("annotations", annotations);
        }
        let mut out = Vec::new();
        match (&self.shape, self.media) {
            (As::Object, Media::Protobuf) => match api::proto::encode(&value, &served.schema) {
                Ok(raw) => {
                    proto_frame(&mut out, "BOOKMARK", &self.form.api_version, &served.gvk.kind, &raw);
                }
                Err(error) => return self.error(&Status::internal(error)),
            },
            (As::Metadata(_), Media::Protobuf) => {
                let of = api::schema::by_gvk("meta.k8s.io", "v1", "PartialObjectMetadata");
                match of.and_then(|of| api::proto::encode(&value, &of).ok()) {
                    Some(raw) => {
                        let api_version = value.api_version();
                        proto_frame(&mut out, "BOOKMARK", api_version, "PartialObjectMetadata", &raw);
                    }
                    None => {
                        return self.error(&Status::internal("PartialObjectMetadata has no protobuf form"));
                    }
                }
            }
            (As::Table(version), _) => {
                let mut row = b"{\"cells\":[],\"object\":".to_vec();
                api::json::write(&mut row, &value, &served.schema);
                row.push(b'}');
                let meta = format!("{{\"resourceVersion\":\"{revision}\"}}");
                let document = table::document(version, meta.as_bytes(), None, &row);
                json_frame(&mut out, "BOOKMARK", |out| {
                    out.extend_from_slice(&document[..document.len() - 1])
                });
            }
            (As::Object, _) => {
                json_frame(&mut out, "BOOKMARK", |out| api::json::write(out, &value, &served.schema));
            }
            _ => json_frame(&mut out, "BOOKMARK", |out| api::json::write_value(out, &value)),
        }
        out.into()
    }

    pub fn error(&self, status: &Status) -> Bytes {
        match self.media {
            Media::Protobuf => {
                let (_, envelope) = respond::encode_status(status, Media::Protobuf, false);
                api::proto::watch_frame("ERROR", &envelope).into()
            }
            _ => {
                let mut out = Vec::new();
                json_frame(&mut out, "ERROR", |out| out.extend_from_slice(status.to_json().as_bytes()));
                out.into()
            }
        }
    }
}

fn json_frame(out: &mut Vec<u8>, kind: &str, object: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    object(out);
    out.extend_from_slice(b"}\n");
}

fn proto_frame(out: &mut Vec<u8>, kind: &str, api_version: &str, object_kind: &str, raw: &[u8]) {
    let envelope = api::proto::encode_unknown(api_version, object_kind, raw, "");
    out.extend_from_slice(&api::proto::watch_frame(kind, &envelope));
}
