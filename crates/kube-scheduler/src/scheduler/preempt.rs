//! Making room: the victims of a preemption are told why, and deleted.

use client::events::{EventType, SeriesRecorder};
use client::resource::PODS;
use client::{Api, DeleteOptions, Patch, Time};
use futures::future::try_join_all;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::report::reference;
use crate::framework::Preemption;
use crate::pod::Pod;

/// Deletes the victims; those that are gone or going already count as done.
pub(super) async fn execute(
    api: &Api,
    recorder: &SeriesRecorder,
    pod: &Pod,
    preemption: &Preemption,
) -> client::Result<()> {
    let evicted = preemption.victims.iter().map(|victim| async {
        evict(api, pod, victim).await?;
        let note = format!("Preempted by pod {} on node {}", pod.uid, preemption.node);
        let by = reference(pod);
        recorder.event(&reference(victim), Some(&by), EventType::Normal, "Preempted", "Preempting", note);
        Ok(())
    });
    try_join_all(evicted).await.map(drop)
}

async fn evict(api: &Api, pod: &Pod, victim: &Pod) -> client::Result<()> {
    if victim.is_being_deleted {
        return Ok(());
    }
    let (namespace, name) = (victim.key.namespace(), victim.key.name());
    let patch = disruption(pod, victim);
    let told = api.patch::<IgnoredAny>(&PODS, namespace, name, "status", &Patch::Strategic, &patch).await;
    unless_gone(told.map(drop))?;
    unless_gone(api.delete(&PODS, namespace, name, &DeleteOptions::uid(&victim.uid)).await)
}

/// A pod that is gone, or is another by that name, needs nothing more.
fn unless_gone(result: client::Result<()>) -> client::Result<()> {
    match result {
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        other => other,
    }
}

/// The change of a victim's status that says why it goes (KEP-3329).
fn disruption(pod: &Pod, victim: &Pod) -> Value {
    let mut condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
        "message": format!("{}: preempting to accommodate a higher priority pod", pod.scheduler_name),
        "lastProbeTime": null, "lastTransitionTime": Time::now(),
    });
    if victim.generation > 0 {
        condition["observedGeneration"] = victim.generation.into();
    }
    json!({"metadata": {"uid": victim.uid}, "status": {"conditions": [condition]}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Symbols;
    use crate::testing::pod;

    #[test]
    fn the_condition_names_the_scheduler() {
        let one = |name: &str| {
            let view = json!({"metadata": {"name": name, "uid": name, "generation": 2},
                "spec": {"schedulerName": "mine", "containers": []}});
            pod(view, &mut Symbols::default())
        };
        let patch = disruption(&one("a"), &one("b"));
        assert_eq!(patch["metadata"]["uid"], "b");
        let condition = &patch["status"]["conditions"][0];
        assert_eq!(condition["message"], "mine: preempting to accommodate a higher priority pod");
        assert_eq!(condition["observedGeneration"], 2);
    }
}
