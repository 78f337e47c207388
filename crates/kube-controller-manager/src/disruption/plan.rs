//! How many pods of a budget may go, by those that are there and what their controllers want.

use std::sync::Arc;
use std::time::Duration;

use client::Time;

use crate::views::disruption::{BudgetStatus, PodDisruptionBudget};
use crate::views::workload::IntOrPercent;
use crate::views::{Condition, Pod, condition};

/// An eviction that was let through counts for so long; then the pod is taken to stay.
pub const TIMEOUT_SECONDS: i64 = 120;
pub const ALLOWED: &str = "DisruptionAllowed";

/// What a budget says, and of which number of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    pub expected: i32,
    pub healthy: i32,
}

/// Whether the number of pods that the controllers want matters, or those that are there do.
pub fn asks_controllers(budget: &PodDisruptionBudget) -> bool {
    budget.spec.max_unavailable.is_some() || matches!(budget.spec.min_available, Some(IntOrPercent::Text(_)))
}

/// `pods` are there, `wanted` by their controllers (see [`asks_controllers`]).
pub fn need(budget: &PodDisruptionBudget, pods: usize, wanted: i32) -> Need {
    let pods = i32::try_from(pods).unwrap_or(i32::MAX);
    match (&budget.spec.max_unavailable, &budget.spec.min_available) {
        (Some(most), _) => Need { expected: wanted, healthy: (wanted - most.of(wanted, true)).max(0) },
        (None, Some(IntOrPercent::Int(least))) => Need { expected: pods, healthy: *least },
        (None, Some(least)) => Need { expected: wanted, healthy: least.of(wanted, true) },
        (None, None) => Need { expected: 0, healthy: 0 },
    }
}

/// The outcome of a look at a budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub status: BudgetStatus,
    /// When the next eviction that was let through counts no longer.
    pub again: Option<Duration>,
    /// Pods that were to be evicted and stay.
    pub not_deleted: Vec<String>,
}

/// The status by the pods that the budget selects.
pub fn outcome(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], need: Need, now: Time) -> Outcome {
    let mut outcome = Outcome { status: budget.status.clone(), again: None, not_deleted: Vec::new() };
    let status = &mut outcome.status;
    status.disrupted_pods.clear();
    let mut healthy = 0;
    for pod in pods {
        let name = &pod.metadata.name;
        let disrupted = budget.status.disrupted_pods.get(name).filter(|_| !pod.metadata.is_being_deleted());
        if let Some(since) = disrupted {
            let left = since.seconds() + TIMEOUT_SECONDS - now.seconds();
            match u64::try_from(left).ok().filter(|left| *left > 0) {
                Some(left) => {
                    status.disrupted_pods.insert(name.clone(), *since);
                    let left = Duration::from_secs(left);
                    outcome.again = Some(outcome.again.map_or(left, |again| again.min(left)));
                    continue;
                }
                None => outcome.not_deleted.push(name.to_string()),
            }
        }
        healthy += i32::from(pod.is_ready() && !pod.metadata.is_being_deleted());
    }
    status.current_healthy = healthy;
    status.desired_healthy = need.healthy;
    status.expected_pods = need.expected;
    status.disruptions_allowed = if need.expected <= 0 { 0 } else { (healthy - need.healthy).max(0) };
    status.observed_generation = budget.metadata.generation;
    let reason = if status.disruptions_allowed > 0 { "SufficientPods" } else { "InsufficientPods" };
    set_allowed(budget, status, reason, "", now);
    outcome
}

/// Nothing may go while it is not known how many pods there should be.
pub fn failed(budget: &PodDisruptionBudget, why: &str, now: Time) -> BudgetStatus {
    let mut status = BudgetStatus { disruptions_allowed: 0, ..budget.status.clone() };
    set_allowed(budget, &mut status, "SyncFailed", why, now);
    status
}

fn set_allowed(
    budget: &PodDisruptionBudget,
    status: &mut BudgetStatus,
    reason: &str,
    message: &str,
    now: Time,
) {
    let word = if status.disruptions_allowed > 0 { "True" } else { "False" };
    let known = condition(&status.conditions, ALLOWED);
    let since = known.filter(|c| c.status == word).and_then(|c| c.last_transition_time).unwrap_or(now);
    let mut new = Condition::new(ALLOWED, word, reason, message, since);
    new.observed_generation = Some(budget.metadata.generation);
    match status.conditions.iter_mut().find(|c| c.kind == ALLOWED) {
        Some(known) => *known = new,
        None => status.conditions.push(new),
    }
}

/// How long until a pod that was to be disrupted, and is not being deleted, is taken to stay; None: it is none.
pub fn stale_in(pod: &Pod, now: Time) -> Option<Duration> {
    let target = condition(&pod.status.conditions, "DisruptionTarget").filter(|c| c.is_true())?;
    let since = target.last_transition_time.filter(|_| pod.is_active())?;
    let left = since.seconds() + TIMEOUT_SECONDS - now.seconds();
    Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn now() -> Time {
        Time("2026-01-01T12:00:00Z".parse().unwrap())
    }

    fn budget(spec: Value, disrupted: Value) -> PodDisruptionBudget {
        serde_json::from_value(
            json!({"metadata": {"name": "b", "namespace": "n", "generation": 3}, "spec": spec,
            "status": {"disruptedPods": disrupted}}),
        )
        .unwrap()
    }

    fn pod(name: &str, ready: bool, deleting: bool) -> Arc<Pod> {
        let status = if ready { "True" } else { "False" };
        let mut pod = json!({"metadata": {"name": name, "namespace": "n"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]}});
        if deleting {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T11:00:00Z".into();
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn what_is_needed() {
        for (spec, pods, wanted, expected, healthy) in [
            (json!({"minAvailable": 2}), 5, 0, 5, 2),
            (json!({"minAvailable": "50%"}), 2, 5, 5, 3),
            (json!({"maxUnavailable": 1}), 2, 5, 5, 4),
            (json!({"maxUnavailable": "30%"}), 2, 5, 5, 3),
            (json!({"maxUnavailable": 9}), 2, 5, 5, 0),
        ] {
            let budget = budget(spec.clone(), json!({}));
            assert_eq!(need(&budget, pods, wanted), Need { expected, healthy }, "{spec}");
        }
    }

    #[test]
    fn how_many_may_go() {
        let disrupted =
            json!({"b": "2026-01-01T11:59:00Z", "c": "2026-01-01T11:00:00Z", "d": "2026-01-01T11:59:30Z"});
        let budget = budget(json!({"minAvailable": 1}), disrupted);
        let pods = [
            pod("a", true, false),
            pod("b", true, false),
            pod("c", true, false),
            pod("d", true, true),
            pod("e", false, false),
        ];
        let found = outcome(&budget, &pods, Need { expected: 5, healthy: 1 }, now());
        let status = &found.status;
        assert_eq!((status.current_healthy, status.disruptions_allowed), (2, 1));
        assert_eq!(status.disrupted_pods.keys().map(|k| k.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!((found.again.map(|d| d.as_secs()), found.not_deleted), (Some(60), vec!["c".to_owned()]));
        assert_eq!(
            (&*status.conditions[0].status, &*status.conditions[0].reason),
            ("True", "SufficientPods")
        );
        let none = outcome(&budget, &pods[4..], Need { expected: 1, healthy: 1 }, now()).status;
        assert_eq!((none.disruptions_allowed, &*none.conditions[0].reason), (0, "InsufficientPods"));
        assert_eq!(&*failed(&budget, "x", now()).conditions[0].reason, "SyncFailed");
    }

    #[test]
    fn a_second_look_changes_nothing() {
        let mut budget = budget(json!({"minAvailable": 1}), json!({}));
        let look = |b: &PodDisruptionBudget, at| {
            outcome(b, &[pod("a", true, false)], Need { expected: 1, healthy: 1 }, at).status
        };
        budget.status = look(&budget, now());
        assert_eq!(look(&budget, Time("2026-01-01T13:00:00Z".parse().unwrap())), budget.status);
    }

    #[test]
    fn disruptions_that_did_not_happen() {
        let mut target = (*pod("a", true, false)).clone();
        assert_eq!(stale_in(&target, now()), None);
        let since = Some(Time("2026-01-01T11:59:00Z".parse().unwrap()));
        let mut condition = Condition::new("DisruptionTarget", "True", "EvictionByEvictionAPI", "", now());
        condition.last_transition_time = since;
        target.status.conditions.push(condition);
        assert_eq!(stale_in(&target, now()).map(|d| d.as_secs()), Some(60));
    }
}
