//! Sends statuses: one patch at a time a pod, always the newest, at once.
//!
//! Without an API server the statuses are only kept, for `/pods` and for the next status to build on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Api, DeleteOptions, Patch, Resource};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::patch;
use crate::pod::PodExt;

/// The resource of pods.
pub const PODS: Resource = Resource::of("", "v1", "pods", "Pod", true);

/// Fields of a pod's status that others write.
const FOREIGN: [&str; 6] = [
    "nominatedNodeName",
    "resourceClaimStatuses",
    "extendedResourceClaimStatus",
    "nodeAllocatableResourceClaimStatuses",
    "allocatedResources",
    "resources",
];
/// Pause after a failed patch.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Entry {
    status: PodStatus,
    /// Name and namespace in the API, and the UID there: a mirror pod's differ from its static pod's.
    target: Option<Target>,
    version: u64,
    sent: u64,
    sending: bool,
    /// The status as the server has it, as far as is known.
    server: Option<Value>,
}

#[derive(Clone, PartialEq)]
struct Target {
    namespace: String,
    name: String,
    uid: String,
}

/// Keeps and sends the statuses of pods.
#[derive(Clone)]
pub struct Statuses {
    inner: Arc<Inner>,
}

struct Inner {
    api: Option<Api>,
    entries: Mutex<HashMap<String, Entry>>,
    sent: Notify,
}

/// A status as JSON with what does not change left out, so that it compares.
fn to_value(status: &PodStatus) -> Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    strip_nulls(&mut value);
    value
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

impl Statuses {
    /// Sends to `api` if there is one.
    #[must_use]
    pub fn new(api: Option<Api>) -> Self {
        Self { inner: Arc::new(Inner { api, entries: Mutex::default(), sent: Notify::new() }) }
    }

    /// The newest status of a pod.
    #[must_use]
    pub fn get(&self, uid: &str) -> Option<PodStatus> {
        self.inner.entries.lock().get(uid).filter(|entry| entry.version > 0).map(|entry| entry.status.clone())
    }

    /// Sets the status of a pod. `shown` is the pod in the API: the pod itself, or the mirror of a static one.
    pub fn set(&self, pod: &Pod, shown: Option<&Pod>, status: PodStatus) {
        let send = {
            let mut entries = self.inner.entries.lock();
            let entry = entries.entry(pod.uid().to_owned()).or_default();
            let target = shown.map(|shown| Target {
                namespace: shown.namespace().to_owned(),
                name: shown.name().to_owned(),
                uid: shown.uid().to_owned(),
            });
            if entry.version > 0 && entry.status == status && entry.target == target {
                return;
            }
            if entry.target != target {
                entry.server = shown.and_then(|shown| shown.status.as_ref()).map(to_value);
                entry.target = target;
            }
            entry.status = status;
            entry.version += 1;
            entry.target.is_some() && self.inner.api.is_some() && !std::mem::replace(&mut entry.sending, true)
        };
        if send {
            let (inner, uid) = (self.inner.clone(), pod.uid().to_owned());
            tokio::spawn(async move { inner.send(&uid).await });
        }
    }

    /// Another writer changed the pod's status: later patches build on that.
    pub fn observe(&self, uid: &str, shown: &Pod) {
        let mut entries = self.inner.entries.lock();
        let Some(entry) = entries.get_mut(uid) else { return };
        if !entry.sending && entry.target.as_ref().is_some_and(|target| target.uid == shown.uid()) {
            entry.server = shown.status.as_ref().map(to_value);
        }
    }

    /// Forgets a pod.
    pub fn forget(&self, uid: &str) {
        self.inner.entries.lock().remove(uid);
        self.inner.sent.notify_waiters();
    }

    /// Waits until the newest status is at the server.
    pub async fn flush(&self, uid: &str) {
        loop {
            let notified = self.inner.sent.notified();
            let pending = self.inner.entries.lock().get(uid).is_some_and(|entry| entry.sending);
            if !pending {
                return;
            }
            notified.await;
        }
    }

    /// Deletes the pod's object for good, now that nothing of it is left on the node.
    pub async fn delete(&self, pod: &Pod) {
        let Some(api) = &self.inner.api else { return };
        self.flush(pod.uid()).await;
        let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::uid(pod.uid()) };
        loop {
            match api.delete(&PODS, pod.namespace(), pod.name(), &options).await {
                Ok(()) => return,
                Err(error) if error.is_not_found() || error.is_conflict() => return,
                Err(error) => {
                    tracing::warn!(pod = pod.shown(), %error, "delete pod");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

impl Inner {
    /// Sends the newest status until the server has it.
    async fn send(&self, uid: &str) {
        while let Some((target, version, new, old)) = self.next(uid) {
            match self.patch(&target, &new, old.as_ref()).await {
                Ok(server) => self.done(uid, version, server),
                Err(error) if error.is_not_found() || error.is_conflict() => {
                    tracing::debug!(%error, pod = target.name, "status of a pod that is gone");
                    self.done(uid, version, None);
                }
                Err(error) => {
                    tracing::warn!(%error, pod = target.name, namespace = target.namespace, "update status of pod");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        self.sent.notify_waiters();
    }

    /// The next thing to send; `None`, and nobody is sending any more, if there is none.
    fn next(&self, uid: &str) -> Option<(Target, u64, Value, Option<Value>)> {
        let mut entries = self.entries.lock();
        let entry = entries.get_mut(uid)?;
        let target = entry.target.clone().filter(|_| entry.sent < entry.version);
        let Some(target) = target else {
            entry.sending = false;
            return None;
        };
        Some((target, entry.version, to_value(&entry.status), entry.server.clone()))
    }

    fn done(&self, uid: &str, version: u64, server: Option<Value>) {
        if let Some(entry) = self.entries.lock().get_mut(uid) {
            entry.sent = version;
            entry.server = server.or(entry.server.take());
        }
    }

    async fn patch(
        &self,
        target: &Target,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<Option<Value>, client::Error> {
        let Some(api) = &self.api else { return Ok(None) };
        let old = old.cloned().unwrap_or_else(|| json!({}));
        let mut new = new.clone();
        for field in FOREIGN {
            match (old.get(field), new.as_object_mut()) {
                (Some(value), Some(map)) => drop(map.insert(field.to_owned(), value.clone())),
                (None, Some(map)) => drop(map.remove(field)),
                _ => {}
            }
        }
        keep_foreign_conditions(&old, &mut new);
        let Some(status) = patch::between(&old, &new) else { return Ok(Some(old)) };
        let body = json!({"metadata": {"uid": target.uid}, "status": status});
        let pod: Pod =
            api.patch(&PODS, &target.namespace, &target.name, "status", &Patch::Strategic, &body).await?;
        Ok(pod.status.as_ref().map(to_value))
    }
}

/// Conditions of others stay as the server has them.
fn keep_foreign_conditions(old: &Value, new: &mut Value) {
    let owned = |condition: &Value| {
        let kind = condition["type"].as_str().unwrap_or_default();
        super::conditions::OWNED.contains(&kind) || kind == "DisruptionTarget"
    };
    let foreign: Vec<Value> =
        old["conditions"].as_array().into_iter().flatten().filter(|c| !owned(c)).cloned().collect();
    if let Some(list) = new.get_mut("conditions").and_then(Value::as_array_mut) {
        list.retain(owned);
        list.extend(foreign);
    }
}
