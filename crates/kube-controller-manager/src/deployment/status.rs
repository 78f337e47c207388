//! A Deployment's status: counts, Available, Progressing with its deadline, ReplicaFailure.

use super::model::{new_condition, set_condition};
use super::plan::Planner;
use crate::views::workload::DeploymentStatus;
use crate::views::{Condition, Deployment, condition};

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const FAILURE: &str = "ReplicaFailure";
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

pub(super) fn has_deadline(deployment: &Deployment) -> bool {
    deadline(deployment).is_some()
}

fn deadline(deployment: &Deployment) -> Option<i64> {
    deployment.spec.progress_deadline_seconds.filter(|d| *d != i32::MAX).map(i64::from)
}

/// Every pod is new and available, and the status is of the present generation.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let replicas = deployment.spec.replicas.unwrap_or(1);
    status.updated_replicas == replicas
        && status.replicas == replicas
        && status.available_replicas == replicas
        && status.observed_generation >= deployment.metadata.generation
}

/// Counts and the Available condition.
pub(super) fn calculate(planner: &Planner<'_>) -> DeploymentStatus {
    let sum = |of: fn(&crate::views::workload::ReplicaSetStatus) -> i32| {
        planner.sets.iter().map(|s| of(&s.status)).sum::<i32>()
    };
    let wanted: i32 = planner.sets.iter().map(|s| s.replicas).sum();
    let available = sum(|s| s.available_replicas);
    let mut status = DeploymentStatus {
        observed_generation: planner.deployment.metadata.generation,
        replicas: sum(|s| s.replicas),
        updated_replicas: planner.sets.iter().filter(|s| s.is_new).map(|s| s.status.replicas).sum(),
        ready_replicas: sum(|s| s.ready_replicas),
        available_replicas: available,
        unavailable_replicas: (wanted - available).max(0),
        terminating_replicas: planner
            .counts_terminating
            .then(|| sum(|s| s.terminating_replicas.unwrap_or(0))),
        conditions: planner.status.conditions.clone(),
        collision_count: planner.status.collision_count,
    };
    let enough = available >= planner.limits.replicas - planner.limits.max_unavailable;
    let condition = if enough {
        new_condition(
            AVAILABLE,
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.".into(),
            planner.now,
        )
    } else {
        let message = "Deployment does not have minimum availability.".into();
        new_condition(AVAILABLE, "False", "MinimumReplicasUnavailable", message, planner.now)
    };
    set_condition(&mut status.conditions, condition);
    status
}

/// Counts and all conditions of a rollout; seconds until the deadline has to be looked at.
pub(super) fn progress(planner: &mut Planner<'_>) -> Option<i64> {
    let mut new = calculate(planner);
    let present = condition(&new.conditions, PROGRESSING).cloned();
    if !has_deadline(planner.deployment) {
        new.conditions.retain(|c| c.kind != PROGRESSING);
    } else {
        let done =
            new.replicas == new.updated_replicas && present.as_ref().is_some_and(|c| c.reason == COMPLETE);
        if !done {
            judge(planner, &mut new, present.as_ref());
        }
    }
    match failure(planner) {
        Some(failed) => set_condition(&mut new.conditions, failed),
        None => new.conditions.retain(|c| c.kind != FAILURE),
    }
    let again = recheck(planner, &new);
    planner.status = new;
    again
}

fn judge(planner: &Planner<'_>, new: &mut DeploymentStatus, present: Option<&Condition>) {
    let deployment = planner.deployment;
    let subject = match planner.new_set() {
        Some(at) => format!("ReplicaSet {:?}", planner.sets[at].name),
        None => format!("Deployment {:?}", deployment.metadata.name),
    };
    let old = &deployment.status;
    if is_complete(deployment, new) {
        let message = format!("{subject} has successfully progressed.");
        set_condition(
            &mut new.conditions,
            new_condition(PROGRESSING, "True", COMPLETE, message, planner.now),
        );
    } else if has_progressed(old, new) {
        let message = format!("{subject} is progressing.");
        let mut condition = new_condition(PROGRESSING, "True", "ReplicaSetUpdated", message, planner.now);
        if let Some(present) = present.filter(|c| c.is_true()) {
            condition.last_transition_time = present.last_transition_time;
        }
        // Put in anew even if equal: its time of update is what the deadline counts from.
        new.conditions.retain(|c| c.kind != PROGRESSING);
        new.conditions.push(condition);
    } else if is_timed_out(planner, present) {
        let message = format!("{subject} has timed out progressing.");
        set_condition(
            &mut new.conditions,
            new_condition(PROGRESSING, "False", TIMED_OUT, message, planner.now),
        );
    }
}

fn has_progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    new.updated_replicas > old.updated_replicas
        || new.replicas - new.updated_replicas < old.replicas - old.updated_replicas
        || new.ready_replicas > old.ready_replicas
        || new.available_replicas > old.available_replicas
}

fn is_timed_out(planner: &Planner<'_>, present: Option<&Condition>) -> bool {
    let (Some(present), Some(deadline)) = (present, deadline(planner.deployment)) else { return false };
    match &*present.reason {
        COMPLETE => false,
        TIMED_OUT => true,
        _ => present.last_update_time.is_some_and(|since| since.seconds() + deadline < planner.now.seconds()),
    }
}

/// What the sets could not do, the new one first.
fn failure(planner: &Planner<'_>) -> Option<Condition> {
    let of = |new: bool| {
        planner
            .sets
            .iter()
            .filter(move |s| s.is_new == new)
            .find_map(|s| condition(&s.status.conditions, FAILURE))
    };
    let found = of(true).or_else(|| of(false))?;
    Some(Condition { last_update_time: found.last_transition_time, ..found.clone() })
}

fn recheck(planner: &Planner<'_>, new: &DeploymentStatus) -> Option<i64> {
    let present = condition(&planner.deployment.status.conditions, PROGRESSING)?;
    let deadline = deadline(planner.deployment)?;
    if is_complete(planner.deployment, new) || present.reason == TIMED_OUT {
        return None;
    }
    let left = present.last_update_time?.seconds() + deadline - planner.now.seconds();
    Some(left.max(0) + 1)
}
