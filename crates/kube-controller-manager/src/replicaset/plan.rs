//! What a ReplicaSet needs: how many pods more or less, which ones go first, and its status.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::sync::Arc;

use client::Time;

use crate::views::workload::ReplicaSetStatus;
use crate::views::{Condition, Pod, ReplicaSet, condition};

/// Pods created or deleted in one go.
pub const BURST: usize = 500;

/// What to do about the number of pods.
#[derive(Debug, PartialEq, Eq)]
pub enum Scale {
    Nothing,
    Create(usize),
    /// So many of the pods that rank lowest.
    Delete(usize),
}

/// Compares the active pods with what is wanted.
pub fn scale(active: usize, replicas: i32) -> Scale {
    let wanted = usize::try_from(replicas).unwrap_or(0);
    match active.cmp(&wanted) {
        Ordering::Equal => Scale::Nothing,
        Ordering::Less => Scale::Create((wanted - active).min(BURST)),
        Ordering::Greater => Scale::Delete((active - wanted).min(BURST)),
    }
}

/// The `count` of `pods` to delete first. `related` are the pods of all ReplicaSets of the same owner: a pod on a
/// node with more of them goes before others.
pub fn victims(mut pods: Vec<Arc<Pod>>, related: &[Arc<Pod>], count: usize, now: Time) -> Vec<Arc<Pod>> {
    if count >= pods.len() {
        return pods;
    }
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(|p| p.is_active()) {
        *on_node.entry(&pod.spec.node_name).or_default() += 1;
    }
    pods.sort_by(|a, b| rank(a, &on_node).cmp(&rank(b, &on_node)).then_with(|| by_age(a, b, now)));
    pods.truncate(count);
    pods
}

/// Smaller goes first.
fn rank(pod: &Pod, on_node: &HashMap<&str, usize>) -> (bool, u8, bool, i32, Reverse<usize>) {
    let phase = match &*pod.status.phase {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = pod.metadata.annotations.get("controller.kubernetes.io/pod-deletion-cost");
    let cost = cost.and_then(|c| c.parse().ok()).unwrap_or(0);
    let doubled = on_node.get(pod.spec.node_name.as_str()).copied().unwrap_or(0);
    (!pod.spec.node_name.is_empty(), phase, pod.is_ready(), cost, Reverse(doubled))
}

/// Ready for a shorter time, more restarts, younger: first. Times count in powers of two, so that the choice
/// among pods of about the same age is even.
fn by_age(a: &Pod, b: &Pod, now: Time) -> Ordering {
    let ready = |p: &Pod| p.ready_condition().and_then(|c| c.last_transition_time);
    let order =
        if a.is_ready() && b.is_ready() { younger_first(ready(a), ready(b), now) } else { Ordering::Equal };
    order
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| younger_first(a.metadata.creation_timestamp, b.metadata.creation_timestamp, now))
        .then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
}

fn younger_first(a: Option<Time>, b: Option<Time>, now: Time) -> Ordering {
    let magnitude = |t: Option<Time>| {
        t.map(|t| (now.seconds() - t.seconds()).max(0).checked_ilog2().map_or(0, |n| n + 1))
    };
    match (magnitude(a), magnitude(b)) {
        (None, None) => Ordering::Equal,
        // A time that is not known counts as just now.
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(a), Some(b)) => a.cmp(&b),
    }
}

fn restarts(pod: &Pod) -> i32 {
    pod.status.container_statuses.iter().map(|c| c.restart_count).max().unwrap_or(0)
}

/// The status from the pods; `failure` is what went wrong in creating (reason FailedCreate) or deleting them.
pub fn status(
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    terminating: Option<i32>,
    failure: Option<(&str, String)>,
    now: Time,
) -> ReplicaSetStatus {
    let count = |keep: &dyn Fn(&Pod) -> bool| {
        i32::try_from(active.iter().filter(|p| keep(p)).count()).unwrap_or(i32::MAX)
    };
    let labels = &set.spec.template.metadata.labels;
    let mut new = ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: count(&|p| labels.is_subset_of(&p.metadata.labels)),
        ready_replicas: count(&Pod::is_ready),
        available_replicas: count(&|p| p.is_available(set.spec.min_ready_seconds, now)),
        terminating_replicas: terminating,
        observed_generation: set.metadata.generation,
        conditions: set.status.conditions.clone(),
    };
    match failure {
        Some((reason, message)) if condition(&new.conditions, FAILURE).is_none() => {
            new.conditions.push(Condition::new(FAILURE, "True", reason, message, now));
        }
        None => new.conditions.retain(|c| c.kind != FAILURE),
        Some(_) => {}
    }
    new
}

const FAILURE: &str = "ReplicaFailure";
