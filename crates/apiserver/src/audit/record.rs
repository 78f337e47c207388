//! One request on its way through the chain: what is learned of it, and the stages at which that is written.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use api::{Map, Value};
use apimachinery::Status;
use bytes::Bytes;
use http::{HeaderMap, Response, Uri, header};
use http_body::{Frame, SizeHint};
use jiff::Timestamp;
use parking_lot::Mutex;

use super::event::{Event, Reference};
use super::{Auditor, Level, Sink, Stage, without_managed};
use crate::auth::{Decision, Peer};
use crate::catalog::{Served, Table};
use crate::codec;
use crate::endpoint::Body;
use crate::form::Media;
use crate::handlers::decode;
use crate::http::{body, negotiate};
use crate::request::{RequestInfo, UserInfo};

/// A request as it came.
pub(crate) struct Incoming<'a> {
    pub id: &'a str,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    pub peer: &'a Peer,
    pub info: &'a RequestInfo,
    pub user: &'a UserInfo,
    /// A watch or a stream.
    pub is_long: bool,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Record(Arc<Inner>);

struct Inner {
    sink: Arc<dyn Sink>,
    level: Level,
    omit_stages: Vec<Stage>,
    omit_managed: bool,
    is_long: bool,
    /// Nothing comes after a panic.
    panicked: AtomicBool,
    event: Mutex<Event>,
}

impl Auditor {
    /// Begins to follow a request; None where the policy wants nothing of it.
    fn record(&self, asked: &Incoming<'_>) -> Option<Record> {
        let said = self.policy.decide(asked.user, asked.info);
        if said.level == Level::None {
            return None;
        }
        let agent = asked.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok());
        let event = Event {
            level: said.level,
            id: asked.id.to_owned(),
            uri: asked.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            verb: asked.info.verb.clone(),
            user: asked.user.clone(),
            impersonated: None,
            sources: sources(asked.headers, asked.peer),
            agent: agent.unwrap_or_default().to_owned(),
            object: Reference::of(asked.info),
            status: None,
            request: None,
            response: None,
            received: Timestamp::now(),
            annotations: Vec::new(),
        };
        Some(Record(Arc::new(Inner {
            sink: self.sink.clone(),
            level: said.level,
            omit_stages: said.omit_stages,
            omit_managed: said.omit_managed,
            is_long: asked.is_long,
            panicked: AtomicBool::new(false),
            event: Mutex::new(event),
        })))
    }

    /// An authenticated request, the first stage of which is written.
    pub(crate) fn received(&self, asked: &Incoming<'_>) -> Option<Record> {
        let record = self.record(asked)?;
        record.write(Stage::RequestReceived);
        Some(record)
    }

    /// A request whose credentials were refused: all there will be of it.
    pub(crate) fn refused(&self, asked: &Incoming<'_>, status: &Status) {
        if let Some(record) = self.record(asked) {
            record.status(status);
            record.write(Stage::ResponseStarted);
        }
    }
}

/// Addresses that the request came over, the farthest first.
fn sources(headers: &HeaderMap, peer: &Peer) -> Vec<String> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let parsed = |text: &str| text.trim().parse::<IpAddr>().ok();
    let mut all: Vec<IpAddr> = text("x-forwarded-for").split(',').filter_map(parsed).collect();
    let more = parsed(&text("x-real-ip")).into_iter().chain(peer.address.map(|a| a.ip().to_canonical()));
    for ip in more {
        if all.last() != Some(&ip) {
            all.push(ip);
        }
    }
    all.iter().map(ToString::to_string).collect()
}

/// A `Status` as `responseStatus` has it.
fn status_of(object: &Value) -> Map {
    let mut out = Map::new();
    for key in ["status", "message", "reason", "details", "code"] {
        object.get(key).filter(|v| !v.is_null()).into_iter().for_each(|v| out.push(key, v.clone()));
    }
    out
}

impl Record {
    fn write(&self, stage: Stage) {
        if !self.0.omit_stages.contains(&stage) {
            let line = self.0.event.lock().line(stage, Timestamp::now());
            self.0.sink.write(&line);
        }
    }

    pub fn impersonated(&self, user: &UserInfo) {
        let mut event = self.0.event.lock();
        if event.user != *user {
            event.impersonated = Some(user.clone());
        }
    }

    pub fn decided(&self, decision: &Decision) {
        let (word, why) = match decision {
            Decision::Allow(why) => ("allow", why),
            Decision::Deny(why) | Decision::NoOpinion(why) => ("forbid", why),
        };
        let mut event = self.0.event.lock();
        event.annotations.push(("authorization.k8s.io/decision".into(), word.into()));
        event.annotations.push(("authorization.k8s.io/reason".into(), why.clone()));
    }

    /// Reads the body where something of it is written, and gives it back.
    pub async fn read(
        &self,
        request: http::Request<Body>,
        info: &RequestInfo,
        table: &Table,
        limit: usize,
    ) -> Result<http::Request<Body>, Status> {
        let is_object = matches!(info.verb.as_str(), "create" | "update");
        let is_other = matches!(info.verb.as_str(), "patch" | "delete" | "deletecollection");
        let is_wanted = is_object || is_other && self.0.level >= Level::Request;
        if !info.is_resource || !is_wanted {
            return Ok(request);
        }
        let (head, given) = request.into_parts();
        let bytes = body::read(given, limit).await?;
        if let Some(object) = decoded(&head.headers, &bytes, info, table) {
            self.requested(object, is_object);
        }
        Ok(http::Request::from_parts(head, body::full(bytes)))
    }

    fn requested(&self, mut object: Value, is_object: bool) {
        let mut event = self.0.event.lock();
        if let (true, Some(reference)) = (is_object, &mut event.object) {
            reference.complete(&object);
        }
        if self.0.level >= Level::Request {
            if self.0.omit_managed {
                without_managed(&mut object);
            }
            event.request = Some(object);
        }
    }

    fn status(&self, status: &Status) {
        let object = api::json::parse(status.to_json().as_bytes()).unwrap_or_default();
        let mut event = self.0.event.lock();
        event.status = Some(status_of(&object));
        if self.0.level >= Level::RequestResponse {
            event.response = Some(object);
        }
    }

    /// The answer: the last stage of a short request, the second of a long one.
    pub async fn answered(&self, answer: Response<Body>, refused: Option<&Status>) -> Response<Body> {
        if self.0.panicked.load(Ordering::Acquire) {
            return answer;
        }
        let code = i64::from(answer.status().as_u16());
        let answer = match refused {
            Some(status) => {
                self.status(status);
                answer
            }
            None => self.read_answer(answer).await,
        };
        {
            let mut event = self.0.event.lock();
            event.status.get_or_insert_with(Map::new).insert("code", code);
        }
        if !self.0.is_long {
            self.write(Stage::ResponseComplete);
            return answer;
        }
        self.write(Stage::ResponseStarted);
        let record = self.clone();
        answer.map(|body| body::boxed(Ending { body, record }))
    }

    pub fn panicked(&self) {
        let status = Status::internal("APIServer panic'd");
        self.status(&status);
        self.write(Stage::Panic);
        self.0.panicked.store(true, Ordering::Release);
    }

    /// Takes the object out of an answer that has one to tell of.
    async fn read_answer(&self, answer: Response<Body>) -> Response<Body> {
        let (has_object, may_be_status) = {
            let event = self.0.event.lock();
            (event.object.is_some() && !self.0.is_long, event.verb == "delete")
        };
        if !has_object || self.0.level < Level::RequestResponse && !may_be_status {
            return answer;
        }
        let (head, given) = answer.into_parts();
        let Ok(bytes) = body::read(given, usize::MAX).await else {
            return Response::from_parts(head, body::empty());
        };
        if let Some(mut object) = encoded(&head.headers, &bytes) {
            let mut event = self.0.event.lock();
            if object.kind() == "Status" {
                event.status = Some(status_of(&object));
            }
            if self.0.level >= Level::RequestResponse {
                if self.0.omit_managed {
                    without_managed(&mut object);
                }
                event.response = Some(object);
            }
        }
        Response::from_parts(head, body::full(bytes))
    }
}

/// The object of a request's body as upstream writes it: with defaults, deletions' options as internal ones, patches as
/// they came.
fn decoded(headers: &HeaderMap, bytes: &[u8], info: &RequestInfo, table: &Table) -> Option<Value> {
    if bytes.is_empty() {
        return None;
    }
    if info.verb == "patch" {
        return api::json::parse(bytes).ok().or_else(|| api::yaml::parse(bytes).ok());
    }
    let media = negotiate::body_media(headers).ok()?;
    let (api_version, kind) = codec::type_meta(media, bytes).ok()?;
    if matches!(info.verb.as_str(), "delete" | "deletecollection") {
        let of = api::schema::by_gvk("", "v1", "DeleteOptions")?;
        let (mut options, _) = codec::decode(media, bytes, &of).ok()?;
        options.set_at(&["apiVersion"], "meta.k8s.io/__internal");
        return Some(options);
    }
    let served = served(table, info)?;
    let own = kind.is_empty() && info.subresource.is_empty()
        || kind == *served.gvk.kind && (api_version.is_empty() || api_version == served.gv.to_string());
    if own {
        let (mut object, _) = decode::object(media, bytes, &served.schema, &served.gvk).ok()?;
        decode::complete(served, &mut object);
        return Some(object);
    }
    let (group, version) = api::resources::split(&api_version);
    let of = api::schema::by_gvk(group, version, &kind)?;
    let (mut object, _) = codec::decode(media, bytes, &of).ok()?;
    api::defaults::apply(&mut object, &of);
    Some(object)
}

fn served<'a>(table: &'a Table, info: &RequestInfo) -> Option<&'a Served> {
    let key = apimachinery::GroupVersionResource::new(
        info.group.as_str(),
        info.version.as_str(),
        info.resource.as_str(),
    );
    table.resources.get(&key).map(|s| &**s)
}

/// The object of an answer, whatever its encoding.
fn encoded(headers: &HeaderMap, bytes: &Bytes) -> Option<Value> {
    let text = |name| headers.get(name).and_then(|v: &http::HeaderValue| v.to_str().ok()).unwrap_or_default();
    let plain;
    let bytes: &[u8] = match text(header::CONTENT_ENCODING) {
        "gzip" => {
            let mut out = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut out).ok()?;
            plain = out;
            &plain
        }
        _ => bytes,
    };
    let media = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default();
    let mut object = match media {
        "application/json" => api::json::parse(bytes).ok()?,
        "application/yaml" => api::yaml::parse(bytes).ok()?,
        "application/vnd.kubernetes.protobuf" => {
            let (api_version, kind) = codec::type_meta(Media::Protobuf, bytes).ok()?;
            let (group, version) = api::resources::split(&api_version);
            codec::decode(Media::Protobuf, bytes, &*api::schema::by_gvk(group, version, &kind)?).ok()?.0
        }
        _ => return None,
    };
    object.as_map_mut()?;
    Some(object)
}

/// A body whose end is the end of its request.
struct Ending {
    body: Body,
    record: Record,
}

impl http_body::Body for Ending {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.record.write(Stage::ResponseComplete);
    }
}
