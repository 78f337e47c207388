//! How a job ends, and its suspension, as conditions.

use client::Time;

use super::plan::{Plan, View};
use crate::views::Condition;
use crate::views::batch::{Job, JobStatus};

/// The end that a job is heading for: FailureTarget, or SuccessCriteriaMet.
#[derive(Clone, Debug, PartialEq)]
pub struct End(Condition);

fn new(kind: &str, reason: &str, message: &str, now: Time) -> Condition {
    Condition { last_probe_time: Some(now), ..Condition::new(kind, "True", reason, message, now) }
}

impl End {
    pub fn failed(reason: &str, message: &str, now: Time) -> Self {
        Self(new("FailureTarget", reason, message, now))
    }

    pub fn succeeded(reason: &str, message: &str, now: Time) -> Self {
        Self(new("SuccessCriteriaMet", reason, message, now))
    }

    pub fn is_success(&self) -> bool {
        self.0.kind == "SuccessCriteriaMet"
    }
}

/// The end that the status has settled on already.
pub fn interim(status: &JobStatus, now: Time) -> Option<End> {
    let is_end = |c: &&Condition| matches!(&*c.kind, "SuccessCriteriaMet" | "FailureTarget") && c.is_true();
    let found = status.conditions.iter().find(is_end)?;
    Some(End(new(&found.kind, &found.reason, &found.message, now)))
}

/// Writes the end down; the final condition only when it stood there before, no pod is left, and all are counted.
pub fn apply(end: &End, view: &View<'_>, status: &mut JobStatus, plan: &mut Plan) {
    let Condition { kind, reason, message, .. } = &end.0;
    if !view.job.has(kind) {
        status.conditions.push(end.0.clone());
        return;
    }
    let uncounted = status.uncounted_terminated_pods.as_ref();
    let all_counted = uncounted.is_none_or(|u| u.succeeded.is_empty() && u.failed.is_empty());
    if !all_counted || !plan.release.is_empty() || !plan.delete.is_empty() || view.terminating > 0 {
        return;
    }
    let last = if end.is_success() { "Complete" } else { "Failed" };
    status.conditions.push(new(last, reason, message, view.now));
    if end.is_success() {
        status.completion_time = Some(view.now);
        if view.job.spec.completions.is_some_and(|wanted| status.succeeded > wanted) {
            let message = "Too many succeeded pods running after completion count reached";
            plan.events.push((true, "TooManySucceededPods", message.into()));
        }
        plan.events.push((false, "Completed", "Job completed".into()));
    } else {
        plan.events.push((true, event_reason(reason), message.clone()));
    }
}

/// The reasons by which jobs fail, as the Events' reasons.
fn event_reason(reason: &str) -> &'static str {
    const REASONS: [&str; 5] = [
        "PodFailurePolicy",
        "BackoffLimitExceeded",
        "DeadlineExceeded",
        "MaxFailedIndexesExceeded",
        "FailedIndexes",
    ];
    REASONS.into_iter().find(|r| *r == reason).unwrap_or("Failed")
}

/// Says whether the job is suspended, once that is a change.
pub fn suspension(job: &Job, status: &mut JobStatus, plan: &mut Plan, now: Time) {
    let (wanted, reason, message) = if job.spec.suspend {
        ("True", "JobSuspended", "Job suspended")
    } else {
        ("False", "JobResumed", "Job resumed")
    };
    let known = status.conditions.iter_mut().find(|c| c.kind == "Suspended");
    match known {
        None if !job.spec.suspend => return,
        Some(condition) if condition.status == wanted => return,
        Some(condition) => {
            *condition = Condition { status: wanted.into(), ..new("Suspended", reason, message, now) };
        }
        None => status.conditions.push(new("Suspended", reason, message, now)),
    }
    if !job.spec.suspend {
        status.start_time = Some(now);
    }
    plan.events.push((false, if job.spec.suspend { "Suspended" } else { "Resumed" }, message.into()));
}
