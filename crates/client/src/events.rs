//! Events about objects. Controllers write core/v1 Events: equal ones raise a count, similar ones (ten in ten
//! minutes) are gathered, and a source may write 25 an object at once and one in five minutes after that. The
//! scheduler writes events.k8s.io/v1 Events with a series.
//!
//! Recording never waits: events go to a bounded channel and are dropped when it is full.

mod correlator;
mod series;

use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::api::{Api, Patch};
use crate::error::Result;
use crate::meta::{ObjectMeta, Time};
use crate::resource::{EVENTS, Resource};

pub use series::SeriesRecorder;

const CHANNEL: usize = 1000;

/// `type` of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// The object that an Event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    pub kind: CompactString,
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    pub namespace: CompactString,
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    pub name: CompactString,
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    pub uid: CompactString,
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    pub api_version: CompactString,
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    pub resource_version: CompactString,
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    pub field_path: CompactString,
}

impl ObjectReference {
    /// To an object of a resource.
    pub fn new(resource: &Resource, meta: &ObjectMeta) -> Self {
        Self {
            kind: (&*resource.kind).into(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            api_version: resource.api_version().into(),
            resource_version: meta.resource_version.clone(),
            field_path: CompactString::default(),
        }
    }
}

pub(crate) struct Occurrence {
    object: ObjectReference,
    kind: EventType,
    reason: CompactString,
    message: String,
    time: Time,
}

/// Writes core/v1 Events. Clones share the channel.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Occurrence>,
}

impl Recorder {
    /// `component` and `host` are the source that Events name; `host` may be empty.
    pub fn new(api: Api, component: &str, host: &str) -> Self {
        let (sender, receiver) = mpsc::channel(CHANNEL);
        let writer = Writer {
            api,
            component: component.into(),
            host: host.into(),
            correlator: correlator::Correlator::default(),
        };
        tokio::spawn(writer.run(receiver));
        Self { sender }
    }

    /// One that writes nothing, for tests.
    pub fn discard() -> Self {
        Self { sender: mpsc::channel(1).0 }
    }

    pub fn event(&self, object: &ObjectReference, kind: EventType, reason: &str, message: impl Into<String>) {
        let occurrence = Occurrence {
            object: object.clone(),
            kind,
            reason: reason.into(),
            message: message.into(),
            time: Time::now(),
        };
        let _ = self.sender.try_send(occurrence);
    }

    pub fn normal(&self, object: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.event(object, EventType::Normal, reason, message);
    }

    pub fn warning(&self, object: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.event(object, EventType::Warning, reason, message);
    }
}

struct Writer {
    api: Api,
    component: Arc<str>,
    host: Arc<str>,
    correlator: correlator::Correlator,
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<Occurrence>) {
        while let Some(occurrence) = receiver.recv().await {
            if let Err(e) = self.write(occurrence).await {
                tracing::debug!("writing an event: {e}");
            }
        }
    }

    async fn write(&mut self, occurrence: Occurrence) -> Result<()> {
        let Some(found) = self.correlator.correlate(&occurrence) else { return Ok(()) };
        let namespace = namespace_of(&occurrence.object);
        if let Some((name, count)) = &found.known {
            let patch = json!({"count": count, "lastTimestamp": occurrence.time, "message": found.message});
            let patched: Result<Value> =
                self.api.patch(&EVENTS, namespace, name, "", &Patch::Strategic, &patch).await;
            match patched {
                Err(e) if e.is_not_found() => {}
                other => return other.map(drop),
            }
        }
        let name = event_name(&occurrence.object.name);
        let body = self.body(&occurrence, &found.message, namespace, &name);
        let _: serde::de::IgnoredAny = self.api.create(&EVENTS, namespace, &body).await?;
        self.correlator.written(&occurrence, &found, name);
        Ok(())
    }

    fn body(&self, occurrence: &Occurrence, message: &str, namespace: &str, name: &str) -> Value {
        let mut source = json!({"component": &*self.component});
        if !self.host.is_empty() {
            source["host"] = (&*self.host).into();
        }
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": occurrence.object,
            "reason": occurrence.reason, "message": message, "source": source,
            "firstTimestamp": occurrence.time, "lastTimestamp": occurrence.time, "count": 1,
            "type": occurrence.kind.as_str(),
            "reportingComponent": &*self.component, "reportingInstance": &*self.host,
        })
    }
}

fn namespace_of(object: &ObjectReference) -> &str {
    if object.namespace.is_empty() { "default" } else { &object.namespace }
}

/// Object's name, and the time in hexadecimal nanoseconds.
fn event_name(object: &str) -> String {
    format!("{object}.{:x}", jiff::Timestamp::now().as_nanosecond())
}
