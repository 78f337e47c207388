//! Watches: what there is at the start where asked for, then each change, bookmarks, and a proper end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use api::Value;
use apimachinery::Status;
use bytes::Bytes;
use futures::stream;
use http::Response;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::{Instant, Sleep};

use super::{Asked, list, represent, table};
use crate::cache::{Change, End, Entry, EventKind, Subscription};
use crate::catalog::Served;
use crate::endpoint::{Body, Query};
use crate::form::{Form, Media, Projection};
use crate::http::negotiate::{As, wanted};
use crate::http::{body, metrics, respond};
use crate::registry::read::{check_watch_options, parse_int, parse_single_revision};

/// Between bookmarks.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// The last bookmark comes that long before the end.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// How events are written.
#[derive(Clone)]
struct Writer {
    served: Arc<Served>,
    media: Media,
    shape: As,
    form: Form,
    include: table::Include,
    now: jiff::Timestamp,
}

/// A watch on its way to one client.
struct Stream {
    writer: Writer,
    initial: VecDeque<Arc<Entry>>,
    /// Tell the end of the initial events with this revision.
    end_of_initial: Option<i64>,
    subscription: Option<Subscription>,
    /// Changes up to this revision are not the watch's.
    after: i64,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    timer: std::pin::Pin<Box<Sleep>>,
    failed: Option<Status>,
    /// A Table tells its columns once.
    columns_told: bool,
    _gauge: Gauge,
}

/// Counts a watch as long as it runs.
struct Gauge(component_base::metrics::Gauge, component_base::metrics::Counter);

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn gauge(asked: &Asked<'_>) -> Gauge {
    let i = &asked.cx.info;
    let labels = ["WATCH", &i.group, &i.version, &i.resource, &i.subresource, metrics::scope(i), "apiserver"];
    let gauge = metrics::METRICS.long_running.with(&labels);
    gauge.inc();
    Gauge(gauge, metrics::METRICS.watch_events.with(&[&i.group, &i.version, &i.resource]))
}

/// `timeoutSeconds`, or upstream's random time.
fn time_limit(query: &Query, least: Duration) -> Duration {
    match query.get("timeoutSeconds").and_then(|t| t.parse::<u64>().ok()) {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds),
        _ => least.mul_f64(1.0 + f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 256.0),
    }
}

pub(super) async fn watch(asked: Asked<'_>, served: Arc<Served>) -> Result<Response<Body>, Status> {
    let offer = wanted(asked.request.headers(), asked.query, represent::list_offer(&served))?;
    if offer.media == Media::Yaml {
        return Err(Status::not_acceptable(
            "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch",
        ));
    }
    check_watch_options(asked.query)?;
    if let Some(text) = asked.query.get("timeoutSeconds").filter(|t| !t.is_empty()) {
        parse_int(text)?;
    }
    let info = &asked.cx.info;
    let name = if info.parts.len() > 1 { info.name.as_str() } else { "" };
    let selection = list::selection(&served, &info.namespace, name, asked.query)?;
    let revision = parse_single_revision(asked.query.get("resourceVersion").unwrap_or_default())?;
    let stored = served.stored.clone().ok_or_else(Status::no_route)?;
    let bookmarks = asked.query.flag("allowWatchBookmarks");
    let send_initial = asked.query.get("sendInitialEvents").map(|_| asked.query.flag("sendInitialEvents"));
    let limit = time_limit(asked.query, asked.chain.options.min_request_timeout);
    let projection =
        if matches!(offer.shape, As::Metadata(_)) { Projection::Metadata } else { Projection::Whole };
    let writer = Writer {
        form: represent::form(&served, offer.media, projection),
        include: table::include(asked.query)?,
        served,
        media: offer.media,
        shape: offer.shape,
        now: asked.cx.now,
    };
    let now = Instant::now();
    let mut stream = Stream {
        writer,
        initial: VecDeque::new(),
        end_of_initial: None,
        subscription: None,
        after: 0,
        bookmarks,
        next_bookmark: now + BOOKMARK_EVERY,
        deadline: now + limit,
        timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        failed: None,
        columns_told: false,
        _gauge: gauge(&asked),
    };
    match (send_initial, revision) {
        (Some(true), _) | (None, None | Some(0)) => {
            let at_least = match (send_initial, revision) {
                (Some(true), None) => asked.chain.registry.current_revision(&stored).await?,
                (_, revision) => revision.unwrap_or(0),
            };
            stored.cache.fresh(at_least).await?;
            stored.decide(&selection).await?;
            let (snapshot, subscription) = stored.cache.list_and_watch(selection);
            stream.end_of_initial = (send_initial == Some(true) && bookmarks).then_some(snapshot.revision);
            stream.initial = snapshot.entries.into();
            stream.subscription = Some(subscription);
        }
        (Some(false), None | Some(0)) => {
            stored.cache.ready().await?;
            stored.decide(&selection).await?;
            stream.subscription = Some(stored.cache.list_and_watch(selection).1);
        }
        (_, Some(revision)) => {
            stored.cache.ready().await?;
            stored.decide(&selection).await?;
            stream.after = revision;
            stream.subscription = stored.cache.watch_from(&*stored, selection, revision).await;
            if stream.subscription.is_none() {
                let current = stored.cache.revision();
                stream.failed =
                    Some(Status::expired(format!("too old resource version: {revision} ({current})")));
            }
        }
    }
    let content_type = stream.writer.media.stream_content_type();
    let stop = stored.stop.clone();
    let frames = stream::unfold(stream, move |mut stream| {
        let stop = stop.clone();
        async move {
            let frame = tokio::select! {
                biased;
                frame = stream.next() => frame?,
                () = stop.cancelled() => return None,
            };
            Some((Ok::<_, std::convert::Infallible>(Frame::data(frame)), stream))
        }
    });
    let body = crate::http::memory_shared(StreamBody::new(Box::pin(frames)));
    Ok(respond::finish(respond::head(200, content_type), body::boxed(body)))
}

enum Happened {
    Change(Result<(EventKind, Arc<Change>), End>),
    Timer,
}

impl Stream {
    /// The next bytes to send; None: the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(status) = self.failed.take() {
            self.subscription = None;
            return Some(self.writer.error(&status));
        }
        if let Some(entry) = self.initial.pop_front() {
            let frame = self.writer.entry(EventKind::Added, &entry, !self.columns_told).await;
            self.columns_told = true;
            return Some(self.sent(frame));
        }
        if let Some(revision) = self.end_of_initial.take() {
            return Some(self.writer.bookmark(revision, true));
        }
        loop {
            let wake = if self.bookmarks { self.next_bookmark.min(self.deadline) } else { self.deadline };
            self.timer.as_mut().reset(wake);
            let subscription = self.subscription.as_mut()?;
            let happened = tokio::select! {
                biased;
                change = subscription.next() => Happened::Change(change),
                () = &mut self.timer => Happened::Timer,
            };
            match happened {
                Happened::Change(Ok((_, change))) if change.revision <= self.after => {}
                Happened::Change(Ok((kind, change))) => {
                    let frame = self.writer.change(kind, &change, !self.columns_told).await;
                    self.columns_told = true;
                    return Some(self.sent(frame));
                }
                Happened::Change(Err(End::Closed)) => return None,
                Happened::Change(Err(End::TooSlow)) => {
                    self.subscription = None;
                    return Some(
                        self.writer
                            .error(&Status::expired("too old resource version: the watch was too slow")),
                    );
                }
                Happened::Timer if Instant::now() >= self.deadline => return None,
                Happened::Timer => return Some(self.bookmark()),
            }
        }
    }

    fn sent(&mut self, frame: Result<Bytes, Status>) -> Bytes {
        self._gauge.1.inc();
        frame.unwrap_or_else(|status| {
            self.subscription = None;
            self.writer.error(&status)
        })
    }

    fn bookmark(&mut self) -> Bytes {
        let before_end = self.deadline - BOOKMARK_BEFORE_END;
        let now = Instant::now();
        self.next_bookmark = now + BOOKMARK_EVERY;
        if now < before_end && self.next_bookmark > before_end {
            self.next_bookmark = before_end;
        }
        let revision = self.subscription.as_mut().map_or(0, |s| {
            s.cache().ask_progress();
            s.bookmark()
        });
        self.writer.bookmark(revision.max(self.after), false)
    }
}

impl Writer {
    /// The frame of a change, shared with all watchers of the same form.
    async fn change(&self, kind: EventKind, change: &Change, with_columns: bool) -> Result<Bytes, Status> {
        let shared = !matches!(self.shape, As::Table(_));
        if let Some(frame) = change.frame(kind, &self.form).filter(|_| shared) {
            return Ok(frame);
        }
        let frame = match (kind, &change.new, &change.old) {
            (EventKind::Deleted, _, Some(old)) => {
                let last = self.at_revision(old, change.revision);
                self.entry(kind, &last, with_columns).await?
            }
            (_, Some(new), _) => self.entry(kind, new, with_columns).await?,
            _ => return Err(Status::internal("a change without an object")),
        };
        if shared {
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

    async fn entry(&self, kind: EventKind, entry: &Entry, with_columns: bool) -> Result<Bytes, Status> {
        let served = &self.served;
        match (&self.shape, self.media) {
            (As::Table(version), _) => {
                let now = jiff::Timestamp::now().max(self.now);
                let mut row = Vec::new();
                let count = table::row((now, self.include), served, entry, version, &mut row).await?;
                let definitions = with_columns.then(|| table::definitions(served, Some(count)));
                let meta = format!("{{\"resourceVersion\":\"{}\"}}", entry.revision);
                let document = table::document(version, meta.as_bytes(), definitions.as_deref(), &row);
                Ok(json_frame(kind.as_str(), &[&document[..document.len() - 1]]))
            }
            (As::Metadata(version), Media::Protobuf) => {
                let raw = represent::metadata_protobuf(entry, version)?;
                Ok(proto_frame(
                    kind.as_str(),
                    &format!("meta.k8s.io/{version}"),
                    "PartialObjectMetadata",
                    &raw,
                ))
            }
            (As::Metadata(version), _) => {
                Ok(json_frame(kind.as_str(), &[&represent::metadata_json(entry, version)]))
            }
            (_, Media::Protobuf) => {
                let raw = represent::protobuf(served, entry).await?;
                Ok(proto_frame(kind.as_str(), &served.gv.to_string(), &served.gvk.kind, &raw))
            }
            _ => {
                let json = represent::json(served, entry).await?;
                Ok(json_frame(kind.as_str(), &[&json.head, &json.body[2..json.body.len() - 1]]))
            }
        }
    }

    fn bookmark(&self, revision: i64, end_of_initial: bool) -> Bytes {
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
        match (&self.shape, self.media) {
            (As::Object, Media::Protobuf) => match api::proto::encode(&value, &served.schema) {
                Ok(raw) => proto_frame("BOOKMARK", &served.gv.to_string(), &served.gvk.kind, &raw),
                Err(error) => self.error(&Status::internal(error)),
            },
            (As::Metadata(_), Media::Protobuf) => {
                let of = api::schema::by_gvk("meta.k8s.io", "v1", "PartialObjectMetadata");
                match of.and_then(|of| api::proto::encode(&value, &of).ok()) {
                    Some(raw) => proto_frame("BOOKMARK", value.api_version(), "PartialObjectMetadata", &raw),
                    None => self.error(&Status::internal("PartialObjectMetadata has no protobuf form")),
                }
            }
            (As::Table(version), _) => {
                let mut row = b"{\"cells\":[],\"object\":".to_vec();
                api::json::write(&mut row, &value, &served.schema);
                row.push(b'}');
                let meta = format!("{{\"resourceVersion\":\"{revision}\"}}");
                let document = table::document(version, meta.as_bytes(), None, &row);
                json_frame("BOOKMARK", &[&document[..document.len() - 1]])
            }
            (As::Object, _) => {
                let mut json = Vec::new();
                api::json::write(&mut json, &value, &served.schema);
                json_frame("BOOKMARK", &[&json])
            }
            _ => json_frame("BOOKMARK", &[&api::json::to_vec(&value)]),
        }
    }

    fn error(&self, status: &Status) -> Bytes {
        match self.media {
            Media::Protobuf => {
                let (_, envelope) = respond::encode_status(status, Media::Protobuf, false);
                api::proto::watch_frame("ERROR", &envelope).into()
            }
            _ => json_frame("ERROR", &[status.to_json().as_bytes()]),
        }
    }
}

fn json_frame(kind: &str, object: &[&[u8]]) -> Bytes {
    let size: usize = object.iter().map(|p| p.len()).sum();
    let mut out = Vec::with_capacity(size + 40);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    object.iter().for_each(|p| out.extend_from_slice(p));
    out.extend_from_slice(b"}\n");
    out.into()
}

fn proto_frame(kind: &str, api_version: &str, object_kind: &str, raw: &[u8]) -> Bytes {
    api::proto::watch_frame(kind, &api::proto::encode_unknown(api_version, object_kind, raw, "")).into()
}
