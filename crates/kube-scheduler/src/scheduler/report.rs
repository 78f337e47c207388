//! What the scheduler tells about a pod: Events, and the PodScheduled condition.

use client::events::{EventType, ObjectReference, SeriesRecorder};
use client::resource::PODS;
use client::{Api, Patch, Store, Time};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::core::Failure;
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

    /// An Event now, the condition in a task of its own, if it says something new.
    pub fn failed(&self, recorder: &SeriesRecorder, pod: &Pod, failure: Failure, message: &str) {
        recorder.event(&reference(pod), None, EventType::Warning, "FailedScheduling", "Scheduling", message);
        let Some(view) = self.pods.get_key(&pod.key).filter(|v| v.metadata.uid == pod.uid) else { return };
        let Some(patch) =
            condition_patch(view.status.condition("PodScheduled"), failure, message, pod.generation)
        else {
            return;
        };
        let (api, key) = (self.api.clone(), pod.key.clone());
        tokio::spawn(async move {
            let patched = api
                .patch::<IgnoredAny>(&PODS, key.namespace(), key.name(), "status", &Patch::Strategic, &patch)
                .await;
            if let Err(error) = patched
                && !error.is_not_found()
            {
                tracing::warn!(pod = %key, %error, "the pod's condition could not be written");
            }
        });
    }
}

/// The change of a pod's status that says why it has no node; None if it says so already.
fn condition_patch(
    known: Option<&Condition>,
    failure: Failure,
    message: &str,
    generation: i64,
) -> Option<Value> {
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
    Some(
        json!({"status": {"$setElementOrder/conditions": [{"type": "PodScheduled"}], "conditions": [condition]}}),
    )
}

fn reference(pod: &Pod) -> ObjectReference {
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
        let patch = condition_patch(None, Failure::Unschedulable, "m", 2).unwrap_or_default();
        let written = &patch["status"]["conditions"][0];
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
        assert!(condition_patch(Some(&known), Failure::Unschedulable, "m", 2).is_none());
        let other = condition_patch(Some(&known), Failure::Error, "m", 2).unwrap_or_default();
        assert_eq!(other["status"]["conditions"][0]["lastTransitionTime"], json!("2026-01-02T03:04:05Z"));
    }
}
