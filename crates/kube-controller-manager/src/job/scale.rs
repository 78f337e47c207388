//! Which pods a job that goes on creates and deletes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::backoff;
use super::plan::{BURST, FAILURES, IGNORED_FAILURES, Plan, View, failures_of, index_of, is_failed, wait_of};
use super::policy::{Verdict, verdict};
use crate::replicaset::plan::victims;
use crate::views::Pod;
use crate::views::batch::Job;

/// A pod to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewPod {
    pub index: Option<i32>,
    /// With `backoffLimitPerIndex`: how often the index failed before, and how often that was ignored.
    pub failures: Option<(i32, i32)>,
}

/// `restartPolicy` of the template.
pub fn restart_policy(job: &Job) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec {
        restart_policy: String,
    }
    serde_json::from_str::<Spec>(job.spec.template.spec.text()).map(|s| s.restart_policy).unwrap_or_default()
}

/// Fills in the pods to create and to delete; never both at a time.
pub fn pods(view: &View<'_>, plan: &mut Plan) {
    let job = view.job;
    if job.spec.suspend {
        plan.delete.clone_from(&view.active);
        plan.delete.truncate(BURST);
        return;
    }
    let active = view.active.len();
    let parallelism = usize::try_from(job.spec.parallelism.unwrap_or(1)).unwrap_or(0);
    let wanted = match job.spec.completions {
        // A work queue: after the first success those that run finish, and none comes anew.
        None if view.succeeded > 0 => active,
        None => parallelism,
        Some(completions) => usize::try_from(completions - view.succeeded).unwrap_or(0).min(parallelism),
    };
    plan.delete = surplus(view, active.saturating_sub(wanted));
    plan.delete.truncate(BURST);
    if !plan.delete.is_empty() {
        return;
    }
    let mut missing = wanted.saturating_sub(active);
    if job.replaces_only_failed() {
        missing = missing.saturating_sub(usize::try_from(view.terminating).unwrap_or(0));
    }
    if missing > 0 {
        create(view, missing.min(BURST), plan);
    }
}

fn create(view: &View<'_>, missing: usize, plan: &mut Plan) {
    let job = view.job;
    let wait = wait_of(&plan.backoff, view.now);
    if job.spec.backoff_limit_per_index.is_none() && !wait.is_zero() {
        plan.again = Some(wait);
        return;
    }
    if !job.is_indexed() {
        plan.create = vec![NewPod::default(); missing];
        return;
    }
    let taken: HashSet<i32> = view
        .pods
        .iter()
        .filter(|p| p.is_active() || (job.replaces_only_failed() && !p.is_terminal()))
        .filter_map(|p| index_of(job, p))
        .collect();
    let completions = job.spec.completions.unwrap_or(0);
    let skip = |i| taken.contains(&i) || view.failed_indexes.contains(i);
    let pending = view.succeeded_indexes.first_missing(missing, completions, skip);
    if job.spec.backoff_limit_per_index.is_none() {
        plan.create = pending.into_iter().map(|i| NewPod { index: Some(i), failures: None }).collect();
        return;
    }
    create_again(view, pending, plan);
}

/// With `backoffLimitPerIndex` each index waits for itself, and its next pod carries on the count of failures.
fn create_again(view: &View<'_>, pending: Vec<i32>, plan: &mut Plan) {
    let delayed = delayed(view);
    let mut shortest: Option<Duration> = None;
    for index in pending {
        let failures = match delayed.get(&index) {
            None => (0, 0),
            Some(pod) => {
                let wait = backoff::remaining(all_failures(pod) + 1, backoff::finished_at(pod), view.now);
                if !wait.is_zero() {
                    shortest = Some(shortest.map_or(wait, |s| s.min(wait)));
                    continue;
                }
                let ignored = verdict(view.job.spec.pod_failure_policy.as_ref(), pod) == Verdict::Ignore;
                (
                    failures_of(pod, FAILURES) + i32::from(!ignored),
                    failures_of(pod, IGNORED_FAILURES) + i32::from(ignored),
                )
            }
        };
        plan.create.push(NewPod { index: Some(index), failures: Some(failures) });
    }
    plan.again = shortest;
}

fn all_failures(pod: &Pod) -> u32 {
    u32::try_from(failures_of(pod, FAILURES) + failures_of(pod, IGNORED_FAILURES)).unwrap_or(0)
}

/// The last failed pod of each index that is to be tried again: it stays until there is another, as it holds the
/// count of the index's failures.
pub fn delayed<'a>(view: &View<'a>) -> HashMap<i32, &'a Arc<Pod>> {
    let job = view.job;
    let mut last: HashMap<i32, &Arc<Pod>> = HashMap::new();
    if job.spec.backoff_limit_per_index.is_none() {
        return last;
    }
    let active: HashSet<i32> = view.active.iter().filter_map(|p| index_of(job, p)).collect();
    for pod in
        view.pods.iter().filter(|p| p.metadata.has_finalizer(super::plan::TRACKING) && is_failed(job, p))
    {
        let Some(index) = index_of(job, pod) else { continue };
        let over = view.succeeded_indexes.contains(index) || view.failed_indexes.contains(index);
        if over || active.contains(&index) {
            continue;
        }
        let known = last.entry(index).or_insert(pod);
        if all_failures(pod) > all_failures(known) {
            *known = pod;
        }
    }
    last
}

/// At least `count` of the active pods: first those of no index or of one that another has, then the least useful.
fn surplus(view: &View<'_>, count: usize) -> Vec<Arc<Pod>> {
    let (mut gone, mut left) = (Vec::new(), view.active.clone());
    if view.job.is_indexed() {
        let mut by_index: BTreeMap<Option<i32>, Vec<Arc<Pod>>> = BTreeMap::new();
        for pod in left.drain(..) {
            by_index.entry(index_of(view.job, &pod)).or_default().push(pod);
        }
        for (index, pods) in by_index {
            let extra = if index.is_some() { pods.len() - 1 } else { pods.len() };
            let ordered = victims(pods.clone(), &[], pods.len() - 1, view.now);
            let leaving: Vec<_> =
                if index.is_some() { ordered.into_iter().take(extra).collect() } else { pods.clone() };
            let uids: HashSet<_> = leaving.iter().map(|p| p.metadata.uid.clone()).collect();
            left.extend(pods.into_iter().filter(|p| !uids.contains(&p.metadata.uid)));
            gone.extend(leaving);
        }
    }
    if gone.len() < count {
        gone.extend(victims(left, &[], count - gone.len(), view.now));
    }
    gone
}
