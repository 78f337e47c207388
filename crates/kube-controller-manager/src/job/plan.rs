//! One look at a Job and its pods: which pods to create and to delete, which have been counted and may lose their
//! tracking finalizer, and the status.
//!
//! A pod's end is counted in two steps, so that none is counted twice or lost: its uid goes to
//! `uncountedTerminatedPods`; its finalizer is taken off; a later look finds it without, and moves it into the
//! counts. Likewise a job ends in two steps: FailureTarget or SuccessCriteriaMet says how, Failed or Complete
//! follows when every pod has ended and is counted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use client::Time;

use super::backoff::{self, Record};
use super::condition::{self, End};
use super::indexes::Indexes;
use super::policy::{Verdict, success, verdict};
use super::scale::{self, NewPod};
use crate::views::Pod;
use crate::views::batch::{Job, JobStatus, Uncounted};

pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
pub const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
pub const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";
/// Pods that are created or deleted in one go, and uids that the status may hold.
pub const BURST: usize = 500;

/// What the plan looks at.
pub struct Snapshot<'a> {
    pub job: &'a Job,
    pub pods: &'a [Arc<Pod>],
    pub backoff: Record,
    pub now: Time,
}

/// What is to be done: pods first, then the status, then the finalizers.
#[derive(Debug, Default)]
pub struct Plan {
    pub create: Vec<NewPod>,
    pub delete: Vec<Arc<Pod>>,
    pub status: JobStatus,
    /// Pods that are in the status, and lose their finalizer once it is written.
    pub release: Vec<Arc<Pod>>,
    /// Events once the status is written: warning, reason, message.
    pub events: Vec<(bool, &'static str, String)>,
    /// Look again after so long.
    pub again: Option<Duration>,
    pub backoff: Record,
}

/// The pods of a job by what they mean for it.
pub struct View<'a> {
    pub job: &'a Job,
    pub now: Time,
    pub pods: &'a [Arc<Pod>],
    pub active: Vec<Arc<Pod>>,
    pub terminating: i32,
    pub succeeded: i32,
    pub failed: i32,
    pub succeeded_indexes: Indexes,
    pub failed_indexes: Indexes,
    new_succeeded: Vec<&'a Arc<Pod>>,
    new_failed: Vec<&'a Arc<Pod>>,
}

/// The index that a pod carries, if it is one of the job's.
pub fn index_of(job: &Job, pod: &Pod) -> Option<i32> {
    let index = pod.metadata.annotations.get(INDEX)?.parse().ok()?;
    (0..job.spec.completions.unwrap_or(0)).contains(&index).then_some(index)
}

/// Failed, or so far on the way out that it counts as such.
pub fn is_failed(job: &Job, pod: &Pod) -> bool {
    let phase = &*pod.status.phase;
    phase == "Failed"
        || (pod.metadata.is_being_deleted() && phase != "Succeeded" && !job.replaces_only_failed())
}

pub fn failures_of(pod: &Pod, annotation: &str) -> i32 {
    pod.metadata.annotations.get(annotation).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.has_finalizer(TRACKING)
}

fn count<T>(list: &[T]) -> i32 {
    i32::try_from(list.len()).unwrap_or(i32::MAX)
}

/// See the module.
pub fn plan(snapshot: &Snapshot<'_>) -> Plan {
    let (job, now) = (snapshot.job, snapshot.now);
    let mut status = job.status.clone();
    settle(&mut status, job, snapshot.pods);
    let view = View::of(snapshot, &status);
    let mut plan =
        Plan { backoff: snapshot.backoff.after(&view.new_succeeded, &view.new_failed), ..Plan::default() };
    if status.start_time.is_none() && !job.spec.suspend {
        status.start_time = Some(now);
    }
    let end = condition::interim(&status, now).or_else(|| end_of(&view, &status));
    if end.is_some() {
        plan.delete.clone_from(&view.active);
    } else if !job.metadata.is_being_deleted() {
        scale::pods(&view, &mut plan);
    }
    let end = end.or_else(|| completed(&view, &plan, now));
    if end.is_none() && !job.metadata.is_being_deleted() {
        condition::suspension(job, &mut status, &mut plan, now);
    }
    note_active(&view, &plan, &mut status);
    account(&view, end.as_ref(), &mut status, &mut plan);
    if let Some(end) = &end {
        condition::apply(end, &view, &mut status, &mut plan);
    } else if let Some(wait) = deadline_in(job, &status, now) {
        plan.again = Some(plan.again.map_or(wait, |again| again.min(wait)));
    }
    plan.status = status;
    plan
}

/// Moves the uids of pods that have lost their finalizer, or are gone, into the counts.
fn settle(status: &mut JobStatus, job: &Job, pods: &[Arc<Pod>]) {
    let tracked: HashSet<&str> =
        pods.iter().filter(|p| is_tracked(p)).map(|p| p.metadata.uid.as_str()).collect();
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    let settled = |uids: &mut Vec<compact_str::CompactString>| {
        let before = count(uids);
        uids.retain(|uid| tracked.contains(uid.as_str()));
        before - count(uids)
    };
    let (succeeded, failed) = (settled(&mut uncounted.succeeded), settled(&mut uncounted.failed));
    if !job.is_indexed() {
        status.succeeded += succeeded;
    }
    status.failed += failed;
}

impl<'a> View<'a> {
    fn of(snapshot: &Snapshot<'a>, status: &JobStatus) -> Self {
        let (job, pods) = (snapshot.job, snapshot.pods);
        let empty = Uncounted::default();
        let uncounted = status.uncounted_terminated_pods.as_ref().unwrap_or(&empty);
        let is_new = |p: &&Arc<Pod>| {
            let uid = &p.metadata.uid;
            is_tracked(p)
                && !uncounted.succeeded.contains(uid)
                && !uncounted.failed.contains(uid)
                && (!job.is_indexed() || index_of(job, p).is_some())
        };
        let new_succeeded: Vec<_> =
            pods.iter().filter(is_new).filter(|p| p.status.phase == "Succeeded").collect();
        let new_failed: Vec<_> = pods.iter().filter(is_new).filter(|p| is_failed(job, p)).collect();
        let policy = job.spec.pod_failure_policy.as_ref();
        let counted = new_failed.iter().filter(|p| verdict(policy, p) != Verdict::Ignore).count();
        let mut view = Self {
            job,
            now: snapshot.now,
            pods,
            active: pods.iter().filter(|p| p.is_active()).cloned().collect(),
            terminating: count(
                &pods
                    .iter()
                    .filter(|p| p.metadata.is_being_deleted() && !p.is_terminal())
                    .collect::<Vec<_>>(),
            ),
            succeeded: status.succeeded + count(&uncounted.succeeded) + count(&new_succeeded),
            failed: status.failed + count(&uncounted.failed) + i32::try_from(counted).unwrap_or(i32::MAX),
            succeeded_indexes: Indexes::default(),
            failed_indexes: Indexes::default(),
            new_succeeded,
            new_failed,
        };
        view.read_indexes(status);
        view
    }

    fn read_indexes(&mut self, status: &JobStatus) {
        let job = self.job;
        if !job.is_indexed() {
            return;
        }
        let completions = job.spec.completions.unwrap_or(0);
        let indexes_of = |keep: &dyn Fn(&Pod) -> bool| -> Vec<i32> {
            let pods = self.pods.iter().filter(|p| is_tracked(p) && keep(p));
            pods.filter_map(|p| index_of(job, p)).collect()
        };
        let succeeded = indexes_of(&|p| p.status.phase == "Succeeded");
        let failed =
            job.spec.backoff_limit_per_index.map(|limit| indexes_of(&|p| fails_index(job, p, limit)));
        self.succeeded_indexes = Indexes::parse(&status.completed_indexes, completions).with(succeeded);
        self.succeeded = self.succeeded_indexes.total();
        let known = status.failed_indexes.as_deref().unwrap_or_default();
        self.failed_indexes = Indexes::parse(known, completions).with(failed.unwrap_or_default());
    }
}

/// Whether the index of a pod is not tried again.
fn fails_index(job: &Job, pod: &Pod, limit: i32) -> bool {
    is_failed(job, pod)
        && match verdict(job.spec.pod_failure_policy.as_ref(), pod) {
            Verdict::FailIndex => true,
            Verdict::Ignore => false,
            _ => failures_of(pod, FAILURES) >= limit,
        }
}

/// Whether the job ends by what has happened, before pods are managed.
fn end_of(view: &View<'_>, status: &JobStatus) -> Option<End> {
    let (job, now) = (view.job, view.now);
    let fail = |reason, message: &str| Some(End::failed(reason, message, now));
    let policy = job.spec.pod_failure_policy.as_ref();
    for pod in view.pods.iter().filter(|p| policy.is_some() && is_failed(job, p)) {
        if let Verdict::FailJob(message) = verdict(policy, pod) {
            return fail("PodFailurePolicy", &message);
        }
    }
    if view.failed > job.spec.backoff_limit.unwrap_or(6) || restarted_too_often(view) {
        return fail("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    if deadline_in(job, status, now) == Some(Duration::ZERO) {
        return fail("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    if !job.is_indexed() {
        return None;
    }
    let (completions, failed) = (job.spec.completions.unwrap_or(0), view.failed_indexes.total());
    if job.spec.max_failed_indexes.is_some_and(|limit| failed > limit) {
        return fail(
            "MaxFailedIndexesExceeded",
            "Job has exceeded the specified maximal number of failed indexes",
        );
    }
    if failed > 0 && failed + view.succeeded_indexes.total() >= completions {
        return fail("FailedIndexes", "Job has failed indexes");
    }
    let message = success(job.spec.success_policy.as_ref(), completions, &view.succeeded_indexes)?;
    Some(End::succeeded("SuccessPolicy", &message, now))
}

/// For pods that restart in place: their restarts are the failures.
fn restarted_too_often(view: &View<'_>) -> bool {
    if scale::restart_policy(view.job) != "OnFailure" {
        return false;
    }
    let running = view.pods.iter().filter(|p| matches!(&*p.status.phase, "Running" | "Pending"));
    let restarts: i32 = running
        .flat_map(|p| p.status.init_container_statuses.iter().chain(&p.status.container_statuses))
        .map(|c| c.restart_count)
        .sum();
    let limit = view.job.spec.backoff_limit.unwrap_or(6);
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}

/// How long the job may still be active.
fn deadline_in(job: &Job, status: &JobStatus, now: Time) -> Option<Duration> {
    let (seconds, start) = (job.spec.active_deadline_seconds?, status.start_time?);
    let left = start.seconds() + seconds - now.seconds();
    (!job.spec.suspend).then(|| Duration::from_secs(u64::try_from(left).unwrap_or(0)))
}

/// Whether enough pods have succeeded and none is left.
fn completed(view: &View<'_>, plan: &Plan, now: Time) -> Option<End> {
    let active = view.active.len() + plan.create.len() - plan.delete.len();
    let enough = view.job.spec.completions.map_or(view.succeeded > 0, |wanted| view.succeeded >= wanted);
    (enough && active == 0)
        .then(|| End::succeeded("CompletionsReached", "Reached expected number of succeeded pods", now))
}

fn note_active(view: &View<'_>, plan: &Plan, status: &mut JobStatus) {
    let gone: HashSet<&str> = plan.delete.iter().map(|p| p.metadata.uid.as_str()).collect();
    let left: Vec<_> = view.active.iter().filter(|p| !gone.contains(p.metadata.uid.as_str())).collect();
    status.active = count(&left) + count(&plan.create);
    status.ready = Some(count(&left.iter().filter(|p| p.is_ready()).collect::<Vec<_>>()));
    status.terminating = Some(view.terminating + count(&plan.delete));
}

/// Puts the pods that have ended into the status, and lets those that are in it go.
fn account(view: &View<'_>, end: Option<&End>, status: &mut JobStatus, plan: &mut Plan) {
    let (job, indexed) = (view.job, view.job.is_indexed());
    let delayed = scale::delayed(view);
    let mut uncounted = status.uncounted_terminated_pods.take().unwrap_or_default();
    let mut done = Vec::new();
    for pod in view.pods.iter().filter(|p| is_tracked(p)) {
        let (uid, failed) = (&pod.metadata.uid, is_failed(job, pod));
        let kept = || delayed.values().any(|p| p.metadata.uid == *uid);
        let over = end.is_some() || job.metadata.is_being_deleted() || pod.status.phase == "Succeeded";
        if !over && (!failed || kept()) {
            continue;
        }
        if uncounted.succeeded.len() + uncounted.failed.len() + done.len() >= BURST {
            plan.again = Some(Duration::ZERO);
            break;
        }
        plan.release.push(pod.clone());
        let index = index_of(job, pod);
        if uncounted.failed.contains(uid) || uncounted.succeeded.contains(uid) {
            continue;
        }
        if pod.status.phase == "Succeeded" {
            match (indexed, index) {
                (false, _) => uncounted.succeeded.push(uid.clone()),
                (true, Some(index)) => done.push(index),
                (true, None) => {}
            }
        } else if (failed || end.is_some_and(|e| !e.is_success()))
            && (!indexed || index.is_some())
            && verdict(job.spec.pod_failure_policy.as_ref(), pod) != Verdict::Ignore
        {
            uncounted.failed.push(uid.clone());
        }
    }
    if indexed {
        let completions = job.spec.completions.unwrap_or(0);
        let succeeded = Indexes::parse(&status.completed_indexes, completions).with(done);
        status.succeeded = succeeded.total();
        status.completed_indexes = succeeded.to_string();
        if job.spec.backoff_limit_per_index.is_some() {
            status.failed_indexes = Some(view.failed_indexes.to_string());
        }
    }
    status.uncounted_terminated_pods = Some(uncounted);
}

/// How long until the next pod may be created after failures.
pub fn wait_of(record: &Record, now: Time) -> Duration {
    backoff::remaining(record.failures, record.last, now)
}
