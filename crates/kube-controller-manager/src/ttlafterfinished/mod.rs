//! Deletes Jobs some time after they have ended (`ttlSecondsAfterFinished`, KEP-592).

use std::sync::Arc;
use std::time::Duration;

use client::{Api, DeleteOptions, Error, ObjectKey, Propagation, Store, Time, WorkQueue, resource};

use crate::context::{Context, on_change};
use crate::views::batch::Job;

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("ttl-after-finished-controller").await;
    let jobs = context.informers.jobs();
    let (store, queue) = (jobs.store(), WorkQueue::<ObjectKey>::new("ttl_jobs_to_delete"));
    let enqueue = queue.clone();
    on_change(&jobs, move |_, new, deleted| {
        if !deleted && left(new, Time::now()).is_some() {
            enqueue.add(new.metadata.key());
        }
    });
    jobs.wait_synced().await;
    let workers = context.options.concurrency.concurrent_ttl_after_finished_syncs;
    let sync = move |key| {
        let (api, store) = (api.clone(), store.clone());
        async move { sync(&api, &store, &key).await }
    };
    context.work(&queue, workers, "ttl_jobs_to_delete", sync).await;
}

async fn sync(api: &Api, jobs: &Store<Job>, key: &ObjectKey) -> Result<Option<Duration>, Error> {
    let Some(known) = jobs.get_key(key) else { return Ok(None) };
    match left(&known, Time::now()) {
        None => return Ok(None),
        Some(wait) if !wait.is_zero() => return Ok(Some(wait)),
        Some(_) => {}
    }
    // The time may have been changed meanwhile: the server decides.
    let fresh: Arc<Job> = match api.get(&resource::JOBS, key.namespace(), key.name()).await {
        Err(e) if e.is_not_found() => return Ok(None),
        other => Arc::new(other?),
    };
    match left(&fresh, Time::now()) {
        Some(wait) if wait.is_zero() => {}
        other => return Ok(other),
    }
    let options = DeleteOptions {
        propagation_policy: Some(Propagation::Foreground),
        ..DeleteOptions::uid(&fresh.metadata.uid)
    };
    match api.delete(&resource::JOBS, key.namespace(), key.name(), &options).await {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(None),
    }
}

/// How long a job is still to be kept; None: it has not ended, is kept for ever, or is going already.
fn left(job: &Job, now: Time) -> Option<Duration> {
    let ttl = job.spec.ttl_seconds_after_finished.filter(|_| !job.metadata.is_being_deleted())?;
    let ended = job.finished()?.last_transition_time?;
    let left = ended.seconds() + i64::from(ttl) - now.seconds();
    Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn how_long_a_job_is_kept() {
        let now = Time("2026-01-01T00:01:00Z".parse().unwrap());
        for (ttl, kind, deleting, expected) in [
            (Some(100), "Complete", false, Some(40)),
            (Some(100), "Failed", false, Some(40)),
            (Some(0), "Complete", false, Some(0)),
            (Some(60), "SuccessCriteriaMet", false, None),
            (None, "Complete", false, None),
            (Some(0), "Complete", true, None),
        ] {
            let condition =
                json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let mut job = json!({"metadata": {"name": "j"}, "spec": {"ttlSecondsAfterFinished": ttl},
                "status": {"conditions": [condition]}});
            if deleting {
                job["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:30Z".into();
            }
            let job: Job = serde_json::from_value(job).unwrap();
            assert_eq!(left(&job, now).map(|d| d.as_secs()), expected, "{ttl:?} {kind} {deleting}");
        }
    }
}
