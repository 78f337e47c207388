//! What the scheduler tells about a pod: Events, and the PodScheduled condition.

use client::events::{EventType, ObjectReference, SeriesRecorder};
use client::resource::PODS;
use client::{Api, Patch, Store, Time};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::core::{Failure, Nomination};
use crate::pod::Pod;
use crate::views::{Condition, PodView};

/// Writes Events and conditions.
#[derive(Clone)]
pub struct Reporter {
    pub api: Api,
    pub pods: Store<PodView>,
}

impl Reporter {
    pub fn scheduled(&self, recorder: &SeriesRecorder, pod: &Pod) {
        let note = format!("Successfully assigned {} to {}", pod.key, pod.node_name);
        recorder.event(&reference(pod), None, EventType::Normal, "Scheduled", "Binding", note);
    }

    pub fn skipped(&self, recorder: &SeriesRecorder, pod: &Pod) {
        let note = format!("skip schedule deleting pod: {}", pod.key);
        recorder.event(&reference(pod), None, EventType::Warning, "FailedScheduling", "Scheduling", note);
    }

    /// An Event now; the condition and the nomination in a task of its own, if they say something new.
    pub fn failed(
        &self,
        recorder: &SeriesRecorder,
        pod: &Pod,
        failure: Failure,
        message: &str,
        nomination: &Nomination,
    ) {
        recorder.event(&reference(pod), None, EventType::Warning, "FailedScheduling", "Scheduling", message);
        let Some(view) = self.pods.get_key(&pod.key).filter(|v| v.metadata.uid == pod.uid) else { return };
        let condition = condition(view.status.condition("PodScheduled"), failure, message, pod.generation);
        let nominated = nominated(&view.status.nominated_node_name, nomination);
        if let Some(patch) = status_patch(&pod.uid, condition, nominated) {
            self.write(pod, patch);
        }
    }

    /// A more important pod took the place that this one was nominated for.
    pub fn demoted(&self, pod: &Pod) {
        if let Some(patch) = status_patch(&pod.uid, None, Some(Value::Null)) {
            self.write(pod, patch);
        }
    }

    fn write(&self, pod: &Pod, patch: Value) {
        let (api, key) = (self.api.clone(), pod.key.clone());
        tokio::spawn(async move {
            let patched = api
                .patch::<IgnoredAny>(&PODS, key.namespace(), key.name(), "status", &Patch::Strategic, &patch)
                .await;
            if let Err(error) = patched
                && !error.is_not_found()
            {
                tracing::warn!(pod = %key, %error, "the pod's status could not be written");
            }
        });
    }
}

/// The `nominatedNodeName` to write, if it is not what the API says.
fn nominated(known: &str, nomination: &Nomination) -> Option<Value> {
    match nomination {
        Nomination::Set(node) if known != node.as_str() => Some(json!(node)),
        Nomination::Clear if !known.is_empty() => Some(Value::Null),
        _ => None,
    }
}

fn status_patch(uid: &str, condition: Option<Value>, nominated: Option<Value>) -> Option<Value> {
    let mut status = serde_json::Map::new();
    if let Some(condition) = condition {
        status.insert("$setElementOrder/conditions".into(), json!([{"type": "PodScheduled"}]));
        status.insert("conditions".into(), json!([condition]));
    }
    if let Some(node) = nominated {
        status.insert("nominatedNodeName".into(), node);
    }
    (!status.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": status}))
}

/// The condition that says why a pod has no node; None if it says so already.
fn condition(known: Option<&Condition>, failure: Failure, message: &str, generation: i64) -> Option<Value> {
    let reason = failure.reason();
    if known.is_some_and(|c| c.status == "False" && c.reason == reason && c.message == message) {
        return None;
    }
    let since =
        known.filter(|c| c.status == "False").and_then(|c| c.last_transition_time).unwrap_or_else(Time::now);
    let mut condition = json!({
        "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
        "lastProbeTime": null, "lastTransitionTime": since,
    });
    if generation > 0 {
        condition["observedGeneration"] = generation.into();
    }
    Some(condition)
}

/// The pod, as an Event is about it.
pub(super) fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: "Pod".into(),
        namespace: pod.key.namespace().into(),
        name: pod.key.name().into(),
        uid: pod.uid.clone(),
        api_version: "v1".into(),
        resource_version: pod.resource_version.clone(),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_written_once() {
        let written = condition(None, Failure::Unschedulable, "m", 2).unwrap_or_default();
        assert_eq!(
            (&written["reason"], &written["observedGeneration"]),
            (&json!("Unschedulable"), &json!(2))
        );
        let since: Time = "2026-01-02T03:04:05Z".parse().map(Time).unwrap_or_else(|_| Time::now());
        let known = Condition {
            kind: "PodScheduled".into(),
            status: "False".into(),
            reason: "Unschedulable".into(),
            message: "m".into(),
            last_transition_time: Some(since),
        };
        assert!(condition(Some(&known), Failure::Unschedulable, "m", 2).is_none());
        let other = condition(Some(&known), Failure::Error, "m", 2).unwrap_or_default();
        assert_eq!(other["lastTransitionTime"], json!("2026-01-02T03:04:05Z"));
    }

    #[test]
    fn a_nomination_is_written_where_it_differs() {
        let set = Nomination::Set("n".into());
        for (known, nomination, expected) in [
            ("", &set, Some(json!("n"))),
            ("n", &set, None),
            ("n", &Nomination::Clear, Some(Value::Null)),
            ("", &Nomination::Clear, None),
            ("n", &Nomination::Keep, None),
        ] {
            assert_eq!(nominated(known, nomination), expected, "{known} {nomination:?}");
        }
        assert_eq!(status_patch("u", None, None), None);
        let patch = status_patch("u", None, Some(Value::Null)).unwrap_or_default();
        assert_eq!(patch, json!({"metadata": {"uid": "u"}, "status": {"nominatedNodeName": null}}));
    }
}
