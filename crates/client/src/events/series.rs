//! events.k8s.io/v1 Events: the first of its kind is created, the following ones within six minutes make a
//! series on it.

use std::collections::HashMap;
use std::time::Duration;

use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{CHANNEL, EventType, ObjectReference, event_name, namespace_of};
use crate::api::{Api, Patch};
use crate::error::Result;
use crate::meta::MicroTime;
use crate::resource::EVENTS_V1;

const SERIES: Duration = Duration::from_secs(360);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    regarding: ObjectReference,
    related: Option<ObjectReference>,
    kind: EventType,
    reason: String,
    action: String,
}

struct Series {
    name: String,
    count: i64,
    last: Instant,
}

/// Writes events.k8s.io/v1 Events. Clones share the channel.
#[derive(Clone)]
pub struct SeriesRecorder {
    sender: mpsc::Sender<(Key, String)>,
}

impl SeriesRecorder {
    /// `controller` is the reporting controller, such as `default-scheduler`; `instance` names the process.
    pub fn new(api: Api, controller: &str, instance: &str) -> Self {
        let (sender, mut receiver) = mpsc::channel::<(Key, String)>(CHANNEL);
        let mut writer =
            Writer { api, controller: controller.into(), instance: instance.into(), series: HashMap::new() };
        tokio::spawn(async move {
            while let Some((key, note)) = receiver.recv().await {
                if let Err(e) = writer.write(key, note).await {
                    tracing::debug!("writing an event: {e}");
                }
            }
        });
        Self { sender }
    }

    /// One that writes nothing, for tests.
    pub fn discard() -> Self {
        Self { sender: mpsc::channel(1).0 }
    }

    /// Notes above 1024 bytes are cut.
    pub fn event(
        &self,
        regarding: &ObjectReference,
        related: Option<&ObjectReference>,
        kind: EventType,
        reason: &str,
        action: &str,
        note: impl Into<String>,
    ) {
        let key = Key {
            regarding: regarding.clone(),
            related: related.cloned(),
            kind,
            reason: reason.into(),
            action: action.into(),
        };
        let mut note = note.into();
        note.truncate(note.floor_char_boundary(1024));
        let _ = self.sender.try_send((key, note));
    }
}

struct Writer {
    api: Api,
    controller: String,
    instance: String,
    series: HashMap<Key, Series>,
}

impl Writer {
    async fn write(&mut self, key: Key, note: String) -> Result<()> {
        self.series.retain(|_, series| series.last.elapsed() < SERIES);
        let namespace = namespace_of(&key.regarding).to_owned();
        if let Some(series) = self.series.get_mut(&key) {
            series.count += 1;
            series.last = Instant::now();
            let patch = json!({"series": {"count": series.count, "lastObservedTime": MicroTime::now()}});
            let patched = self
                .api
                .patch::<IgnoredAny>(&EVENTS_V1, &namespace, &series.name, "", &Patch::Strategic, &patch)
                .await;
            match patched {
                Err(e) if e.is_not_found() => {}
                other => return other.map(drop),
            }
        }
        let name = event_name(&key.regarding.name);
        let mut body = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": MicroTime::now(), "reportingController": self.controller, "reportingInstance": self.instance,
            "action": key.action, "reason": key.reason, "regarding": key.regarding, "note": note,
            "type": key.kind.as_str(),
        });
        if let Some(related) = &key.related {
            body["related"] = json!(related);
        }
        self.api.create::<IgnoredAny>(&EVENTS_V1, &namespace, &body).await?;
        self.series.insert(key, Series { name, count: 1, last: Instant::now() });
        Ok(())
    }
}
