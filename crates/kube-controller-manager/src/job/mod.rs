//! Runs the pods of Jobs until enough of them have succeeded.

mod backoff;
mod condition;
pub mod indexes;
pub mod plan;
mod policy;
mod scale;
mod template;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::events::{ObjectReference, Recorder};
use client::{Api, Error, ObjectKey, ObjectMeta, Patch, Store, Time, WorkQueue, Writes, resource};
use futures::future::join_all;
use parking_lot::Mutex;
use serde_json::json;

use crate::context::{Context, on_change};
use crate::control::{Claimer, OnlyMeta, PodControl, slow_start};
use crate::informers::{BY_CONTROLLER, BY_NAMESPACE, orphans_of};
use crate::views::Pod;
use crate::views::batch::{Job, JobStatus};
use backoff::Record;
use plan::{Plan, Snapshot, TRACKING};

/// The value of `managedBy` that means this controller (KEP-4368).
const MANAGER: &str = "kubernetes.io/job-controller";

struct Controller {
    api: Api,
    recorder: Recorder,
    jobs: Store<Job>,
    pods: Store<Pod>,
    queue: WorkQueue<ObjectKey>,
    /// Pods that carry the finalizer of a job that no longer cares.
    orphans: WorkQueue<ObjectKey>,
    job_writes: Writes<Job>,
    pod_writes: Writes<Pod>,
    failures: Mutex<HashMap<ObjectKey, Record>>,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("job-controller").await;
    let (jobs, pods) = (context.informers.jobs(), context.informers.pods());
    let controller = Arc::new(Controller {
        recorder: context.recorder(&api, "job-controller"),
        api,
        job_writes: Writes::new(jobs.store()),
        pod_writes: Writes::new(pods.store()),
        jobs: jobs.store(),
        pods: pods.store(),
        queue: WorkQueue::new("job"),
        orphans: WorkQueue::new("job_orphan_pod"),
        failures: Mutex::default(),
    });
    let own = controller.clone();
    on_change(&jobs, move |_, new, deleted| own.job_changed(new, deleted));
    let own = controller.clone();
    on_change(&pods, move |old, new, deleted| own.pod_changed(old, new, deleted));
    jobs.wait_synced().await;
    pods.wait_synced().await;
    let (queue, orphans) = (controller.queue.clone(), controller.orphans.clone());
    let own = controller.clone();
    let release = move |key| {
        let own = own.clone();
        async move { own.sync_orphan(key).await }
    };
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    };
    let workers = context.options.concurrency.concurrent_job_syncs;
    tokio::join!(
        context.work(&queue, workers, "job", sync),
        context.work(&orphans, 1, "job_orphan_pod", release)
    );
}

fn selects(job: &Job, meta: &ObjectMeta) -> bool {
    !job.spec.selector.is_empty() && job.spec.selector.matches(&meta.labels)
}

fn is_ours(job: &Job) -> bool {
    job.spec.managed_by.as_deref().is_none_or(|manager| manager == MANAGER)
}

impl Controller {
    fn job_changed(&self, job: &Job, deleted: bool) {
        let key = job.metadata.key();
        if deleted || job.finished().is_some() {
            for pod in self.pods.by_index(BY_CONTROLLER, &job.metadata.uid) {
                self.check_orphan(&pod);
            }
        }
        self.queue.add(key);
    }

    fn job_of(&self, meta: &ObjectMeta) -> Option<Arc<Job>> {
        let owner = meta.controller().filter(|owner| owner.kind == "Job")?;
        self.jobs.get(&meta.namespace, &owner.name).filter(|job| job.metadata.uid == owner.uid)
    }

    fn pod_changed(&self, old: Option<&Arc<Pod>>, new: &Arc<Pod>, deleted: bool) {
        let manager = self.job_of(&new.metadata);
        let before = old.and_then(|o| self.job_of(&o.metadata));
        for job in before.iter().chain(&manager) {
            self.queue.add(job.metadata.key());
        }
        if deleted {
            return;
        }
        if manager.as_ref().is_none_or(|job| job.finished().is_some()) {
            self.check_orphan(new);
        }
        if new.metadata.controller().is_none() && old.is_none_or(|o| o.metadata.labels != new.metadata.labels)
        {
            for job in self.jobs.by_index(BY_NAMESPACE, &new.metadata.namespace) {
                if selects(&job, &new.metadata) {
                    self.queue.add(job.metadata.key());
                }
            }
        }
    }

    fn check_orphan(&self, pod: &Pod) {
        if pod.metadata.has_finalizer(TRACKING) {
            self.orphans.add(pod.metadata.key());
        }
    }

    /// Takes the finalizer off a pod whose job is gone or has ended.
    async fn sync_orphan(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        let Some(pod) = self.pods.get_key(&key) else { return Ok(None) };
        let wanted = self.job_of(&pod.metadata).is_some_and(|job| job.finished().is_none() || !is_ours(&job));
        if pod.metadata.has_finalizer(TRACKING) && !wanted {
            self.remove_finalizer(&pod.metadata).await?;
        }
        Ok(None)
    }

    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        let job = self.jobs.get_key(&key).filter(|job| job.finished().is_none());
        let Some(job) = job else {
            self.failures.lock().remove(&key);
            self.job_writes.forget(&key);
            self.pod_writes.forget(&key);
            return Ok(None);
        };
        if !is_ours(&job) {
            return Ok(None);
        }
        if !self.job_writes.is_settled(&key) || !self.pod_writes.is_settled(&key) {
            return Ok(Some(client::writes::FORGET));
        }
        // Read again: what was written may have been shown since.
        let Some(job) = self.jobs.get_key(&key) else { return Ok(None) };
        let pods = self.claim(&job).await?;
        let backoff = self.failures.lock().get(&key).cloned().unwrap_or_default();
        let plan = plan::plan(&Snapshot { job: &job, pods: &pods, backoff, now: Time::now() });
        self.carry_out(&job, plan).await
    }

    async fn claim(&self, job: &Job) -> Result<Vec<Arc<Pod>>, Error> {
        let meta = &job.metadata;
        let claimer = Claimer {
            api: &self.api,
            owner_kind: &resource::JOBS,
            owner: meta,
            kind: &resource::PODS,
            finalizer: Some(TRACKING),
        };
        let owned = self.pods.by_index(BY_CONTROLLER, &meta.uid);
        let orphans = self.pods.by_index(BY_CONTROLLER, &orphans_of(&meta.namespace));
        claimer
            .claim_all(owned.into_iter().chain(orphans), |p| &p.metadata, |p| selects(job, &p.metadata))
            .await
    }

    async fn carry_out(&self, job: &Job, mut plan: Plan) -> Result<Option<Duration>, Error> {
        let key = job.metadata.key();
        let managed = self.manage(job, &mut plan).await;
        self.write_status(job, &plan.status).await?;
        self.failures.lock().insert(key.clone(), plan.backoff);
        let reference = ObjectReference::new(&resource::JOBS, &job.metadata);
        for (warning, reason, message) in plan.events {
            match warning {
                true => self.recorder.warning(&reference, reason, message),
                false => self.recorder.normal(&reference, reason, message),
            }
        }
        let released = join_all(plan.release.iter().map(|pod| async {
            let version = self.remove_finalizer(&pod.metadata).await?;
            self.pod_writes.written(&key, pod.metadata.key(), &version);
            Ok::<_, Error>(())
        }));
        released.await.into_iter().collect::<Result<(), Error>>()?;
        managed?;
        Ok(plan.again)
    }

    /// Creates and deletes pods; what fails is taken back from the status.
    async fn manage(&self, job: &Job, plan: &mut Plan) -> Result<(), Error> {
        let key = job.metadata.key();
        let control = PodControl {
            api: &self.api,
            recorder: &self.recorder,
            owner_kind: &resource::JOBS,
            owner: &job.metadata,
        };
        let mut first_error = None;
        let deletions = join_all(plan.delete.iter().map(|pod| async {
            let version = control.delete(&pod.metadata).await?;
            self.pod_writes.written(&key, pod.metadata.key(), &version);
            Ok::<_, Error>(())
        }));
        for error in deletions.await.into_iter().filter_map(Result::err).filter(|e| !e.is_not_found()) {
            plan.status.active += 1;
            plan.status.terminating = plan.status.terminating.map(|n| n - 1);
            first_error.get_or_insert(error);
        }
        let template = template::Template::of(job);
        let create = |at: usize| {
            let shape = template.shape(&plan.create[at]);
            let (control, key) = (&control, &key);
            async move {
                match control.create(&shape).await {
                    Err(e) if e.is_namespace_terminating() => Ok(()),
                    Err(e) => Err(e),
                    Ok(made) => {
                        self.pod_writes.written(key, made.key(), &made.resource_version);
                        Ok(())
                    }
                }
            }
        };
        let (succeeded, error) = slow_start(plan.create.len(), create).await;
        plan.status.active -= i32::try_from(plan.create.len() - succeeded).unwrap_or(0);
        first_error.or(error).map_or(Ok(()), Err)
    }

    async fn write_status(&self, job: &Job, status: &JobStatus) -> Result<(), Error> {
        if *status == job.status {
            return Ok(());
        }
        let meta = &job.metadata;
        let body = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "status": status});
        let written: OnlyMeta =
            self.api.update(&resource::JOBS, &meta.namespace, &meta.name, "status", &body).await?;
        self.job_writes.written(&meta.key(), meta.key(), &written.metadata.resource_version);
        Ok(())
    }

    /// The pod's resourceVersion afterwards; empty for one that is gone.
    async fn remove_finalizer(&self, pod: &ObjectMeta) -> Result<String, Error> {
        let patch = json!({"metadata": {"uid": pod.uid, "$deleteFromPrimitiveList/finalizers": [TRACKING]}});
        let (kind, namespace, name) = (&resource::PODS, &pod.namespace, &pod.name);
        match self.api.patch::<OnlyMeta>(kind, namespace, name, "", &Patch::Strategic, &patch).await {
            Ok(changed) => Ok(changed.metadata.resource_version.to_string()),
            // Gone, or another pod of that name.
            Err(e) if e.is_not_found() || e.is_conflict() => Ok(String::new()),
            Err(e) => Err(e),
        }
    }
}
