//! What a StatefulSet does next: one step after the other in the order of its pods, or, with the Parallel policy, all
//! steps at a time; and its status.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::Time;

use crate::views::Pod;
use crate::views::stateful::{StatefulSet, StatefulSetStatus};

pub const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
pub const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
pub const REVISION: &str = "controller-revision-hash";

/// What the plan looks at.
pub struct Snapshot<'a> {
    pub set: &'a StatefulSet,
    /// All pods of the set.
    pub pods: &'a [Arc<Pod>],
    /// Names of the revision that pods had so far, and of the present template's.
    pub current: &'a str,
    pub update: &'a str,
    pub now: Time,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Step {
    Create {
        ordinal: i32,
        /// From the present template; else from that of the current revision.
        updated: bool,
    },
    /// With the reason of an Event where the pod had ended by itself.
    Delete(Arc<Pod>, Option<&'static str>),
    /// A pod that waits: its claims may be missing.
    Claims(Arc<Pod>, i32),
    /// Its labels do not say who it is.
    Identify(Arc<Pod>, i32),
}

fn is_created(pod: &Pod) -> bool {
    !pod.status.phase.is_empty()
}

fn is_healthy(pod: &Pod) -> bool {
    is_running_and_ready(pod) && !pod.metadata.is_being_deleted()
}

fn is_running_and_ready(pod: &Pod) -> bool {
    pod.status.phase == "Running" && pod.is_ready()
}

fn revision(pod: &Pod) -> &str {
    pod.metadata.labels.get(REVISION).unwrap_or_default()
}

/// The pods by ordinal, and those to be scaled away, the highest first.
pub struct Split {
    pub replicas: BTreeMap<i32, Arc<Pod>>,
    pub condemned: Vec<(i32, Arc<Pod>)>,
}

/// Sorts the pods of a set.
pub fn split(set: &StatefulSet, pods: &[Arc<Pod>]) -> Split {
    let wanted = set.start()..set.start().saturating_add(set.replicas());
    let mut split = Split { replicas: BTreeMap::new(), condemned: Vec::new() };
    for pod in pods {
        match set.ordinal_of(&pod.metadata.name) {
            Some(ordinal) if wanted.contains(&ordinal) => drop(split.replicas.insert(ordinal, pod.clone())),
            Some(ordinal) => split.condemned.push((ordinal, pod.clone())),
            None => {}
        }
    }
    split.condemned.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
    split
}

/// The steps, in order; those of one call do not depend on each other's success.
pub fn steps(snapshot: &Snapshot<'_>) -> Vec<Step> {
    let set = snapshot.set;
    let mut steps = Vec::new();
    if set.metadata.is_being_deleted() {
        return steps;
    }
    let split = split(set, snapshot.pods);
    let in_order = set.spec.pod_management_policy != "Parallel";
    for ordinal in set.start()..set.start().saturating_add(set.replicas()) {
        if replica(snapshot, split.replicas.get(&ordinal), ordinal, &mut steps) && in_order {
            return steps;
        }
    }
    if scale_down(snapshot, &split, in_order, &mut steps) || set.spec.update_strategy.kind == "OnDelete" {
        return steps;
    }
    update(snapshot, &split.replicas, &mut steps);
    steps
}

/// One pod that is wanted. Whether, in order, the others wait for it.
fn replica(snapshot: &Snapshot<'_>, pod: Option<&Arc<Pod>>, ordinal: i32, steps: &mut Vec<Step>) -> bool {
    let Some(pod) = pod else {
        steps.push(Step::Create { ordinal, updated: !keeps_current(snapshot, ordinal) });
        return true;
    };
    let deleting = pod.metadata.is_being_deleted();
    if pod.is_terminal() {
        let reason =
            if pod.status.phase == "Failed" { "RecreatingFailedPod" } else { "RecreatingTerminatedPod" };
        if !deleting {
            steps.push(Step::Delete(pod.clone(), Some(reason)));
        }
        return true;
    }
    if pod.status.phase == "Pending" && !deleting {
        steps.push(Step::Claims(pod.clone(), ordinal));
    }
    if deleting || !pod.is_ready() || !is_available(snapshot, pod) {
        return true;
    }
    let labels = &pod.metadata.labels;
    if labels.get(POD_NAME) != Some(&pod.metadata.name) {
        steps.push(Step::Identify(pod.clone(), ordinal));
    }
    false
}

fn is_available(snapshot: &Snapshot<'_>, pod: &Pod) -> bool {
    is_running_and_ready(pod) && pod.is_available(snapshot.set.spec.min_ready_seconds, snapshot.now)
}

/// Whether a new pod of this ordinal is still made from the current revision.
fn keeps_current(snapshot: &Snapshot<'_>, ordinal: i32) -> bool {
    let set = snapshot.set;
    if set.spec.update_strategy.kind == "OnDelete" {
        return false;
    }
    let below = match &set.spec.update_strategy.rolling_update {
        Some(rolling) => rolling.partition.unwrap_or(0),
        None => set.status.current_replicas,
    };
    ordinal < set.start().saturating_add(below)
}

/// Deletes what is beyond the wanted pods. Whether nothing else is to happen now.
fn scale_down(snapshot: &Snapshot<'_>, split: &Split, in_order: bool, steps: &mut Vec<Step>) -> bool {
    let all = split.replicas.values().chain(split.condemned.iter().rev().map(|(_, pod)| pod));
    let first_unhealthy = all.filter(|pod| !is_healthy(pod)).map(|pod| &pod.metadata.uid).next();
    for (_, pod) in &split.condemned {
        if pod.metadata.is_being_deleted() {
            if in_order {
                return true;
            }
            continue;
        }
        let may_wait = in_order && first_unhealthy != Some(&pod.metadata.uid);
        if may_wait && !is_available(snapshot, pod) {
            return true;
        }
        steps.push(Step::Delete(pod.clone(), None));
        if in_order {
            return true;
        }
    }
    false
}

/// Deletes pods of an older revision from the highest ordinal down to the partition.
fn update(snapshot: &Snapshot<'_>, replicas: &BTreeMap<i32, Arc<Pod>>, steps: &mut Vec<Step>) {
    let set = snapshot.set;
    let rolling = set.spec.update_strategy.rolling_update.as_ref();
    let first = set.start() + rolling.and_then(|r| r.partition).unwrap_or(0);
    let limit =
        rolling.and_then(|r| r.max_unavailable.as_ref()).map_or(1, |m| m.of(set.replicas(), false).max(1));
    let unavailable =
        |pod: Option<&Arc<Pod>>| pod.is_none_or(|p| !is_healthy(p) || !is_available(snapshot, p));
    let ordinals = set.start()..set.start().saturating_add(set.replicas());
    let mut budget = limit;
    if limit > 1 {
        let missing = ordinals.clone().filter(|o| unavailable(replicas.get(o))).count();
        budget -= i32::try_from(missing).unwrap_or(i32::MAX);
    }
    for ordinal in ordinals.rev().filter(|o| *o >= first) {
        let pod = replicas.get(&ordinal);
        if budget <= 0 {
            return;
        }
        if let Some(pod) = pod.filter(|p| revision(p) != snapshot.update && !p.metadata.is_being_deleted()) {
            steps.push(Step::Delete(pod.clone(), None));
            budget -= 1;
        } else if limit == 1 && pod.is_none_or(|p| !is_healthy(p)) {
            return;
        }
    }
}

/// The status by the pods as they are.
pub fn status(snapshot: &Snapshot<'_>, collisions: Option<i32>) -> StatefulSetStatus {
    let set = snapshot.set;
    let count = |keep: &dyn Fn(&Pod) -> bool| {
        let pods = snapshot.pods.iter().filter(|p| set.ordinal_of(&p.metadata.name).is_some() && keep(p));
        i32::try_from(pods.count()).unwrap_or(i32::MAX)
    };
    let of = |name: &str| count(&|p| is_created(p) && !p.metadata.is_being_deleted() && revision(p) == name);
    let mut status = StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas: count(&is_created),
        ready_replicas: count(&is_running_and_ready),
        available_replicas: count(&|p| is_available(snapshot, p)),
        current_replicas: of(snapshot.current),
        updated_replicas: of(snapshot.update),
        current_revision: snapshot.current.into(),
        update_revision: snapshot.update.into(),
        collision_count: collisions,
        conditions: set.status.conditions.clone(),
    };
    let wanted = set.replicas();
    let all = [status.updated_replicas, status.ready_replicas, status.replicas].iter().all(|n| *n == wanted);
    if set.spec.update_strategy.kind != "OnDelete" && all {
        status.current_replicas = status.updated_replicas;
        status.current_revision = status.update_revision.clone();
    }
    status
}
