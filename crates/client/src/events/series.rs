//! events.k8s.io/v1 Events: the first of its kind is created, the following ones within six minutes make a
//! series on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::Serialize;
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
/// How often series that ended are looked for.
const PURGE: Duration = Duration::from_secs(60);
/// Requests that are out at the same time.
const AT_ONCE: usize = 16;

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
        let (sender, receiver) = mpsc::channel::<(Key, String)>(CHANNEL);
        let writer = Writer {
            api,
            source: Arc::new((controller.into(), instance.into())),
            series: HashMap::new(),
            purged: Instant::now(),
        };
        tokio::spawn(writer.run(receiver));
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
    /// Controller and instance.
    source: Arc<(String, String)>,
    series: HashMap<Key, Series>,
    /// When series that ended were last looked for.
    purged: Instant,
}

impl Writer {
    /// Writes what comes, several at a time: one slow answer holds up no other.
    async fn run(mut self, mut receiver: mpsc::Receiver<(Key, String)>) {
        let mut written = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(result) = written.next() => {
                    if let Err(e) = result {
                        tracing::debug!("writing an event: {e}");
                    }
                }
                received = receiver.recv(), if written.len() < AT_ONCE => match received {
                    Some((key, note)) => written.push(self.write(key, note)),
                    None => return,
                },
            }
        }
    }

    /// The request for one more event of its kind.
    fn write(&mut self, key: Key, note: String) -> impl Future<Output = Result<()>> + use<> {
        let now = Instant::now();
        if now - self.purged > PURGE {
            self.purged = now;
            self.series.retain(|_, series| now - series.last < SERIES);
        }
        let known = self.series.get_mut(&key).filter(|series| now - series.last < SERIES);
        let goes_on = known.map(|series| {
            (series.count, series.last) = (series.count + 1, now);
            (series.name.clone(), series.count)
        });
        let name = match &goes_on {
            Some((name, _)) => name.clone(),
            None => event_name(&key.regarding.name),
        };
        if goes_on.is_none() {
            self.series.insert(key.clone(), Series { name: name.clone(), count: 1, last: now });
        }
        let (api, source) = (self.api.clone(), self.source.clone());
        async move {
            if let Some((name, count)) = goes_on
                && patch_count(&api, namespace_of(&key.regarding), &name, count).await?
            {
                return Ok(());
            }
            create(&api, &source, &key, &note, &name).await
        }
    }
}

/// Raises a series' count; false: its event is gone.
async fn patch_count(api: &Api, namespace: &str, name: &str, count: i64) -> Result<bool> {
    let patch = json!({"series": {"count": count, "lastObservedTime": MicroTime::now()}});
    match api.patch::<IgnoredAny>(&EVENTS_V1, namespace, name, "", &Patch::Strategic, &patch).await {
        Err(e) if e.is_not_found() => Ok(false),
        other => other.map(|_| true),
    }
}

/// An Event as it is sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    event_time: MicroTime,
    reporting_controller: &'a str,
    reporting_instance: &'a str,
    action: &'a str,
    reason: &'a str,
    regarding: &'a ObjectReference,
    #[serde(skip_serializing_if = "Option::is_none")]
    related: Option<&'a ObjectReference>,
    note: &'a str,
    #[serde(rename = "type")]
    event_type: &'static str,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
}

async fn create(api: &Api, source: &(String, String), key: &Key, note: &str, name: &str) -> Result<()> {
    let namespace = namespace_of(&key.regarding);
    let body = Body {
        api_version: "events.k8s.io/v1",
        kind: "Event",
        metadata: Metadata { name, namespace },
        event_time: MicroTime::now(),
        reporting_controller: &source.0,
        reporting_instance: &source.1,
        action: &key.action,
        reason: &key.reason,
        regarding: &key.regarding,
        related: key.related.as_ref(),
        note,
        event_type: key.kind.as_str(),
    };
    api.create::<IgnoredAny>(&EVENTS_V1, namespace, &body).await.map(drop)
}
