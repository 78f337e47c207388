//! Creates Jobs at their times.

pub mod plan;
pub mod schedule;

use std::sync::Arc;
use std::time::Duration;

use client::events::{ObjectReference, Recorder};
use client::{Api, DeleteOptions, Error, ObjectKey, Propagation, Store, WorkQueue, Writes, resource};
use jiff::Timestamp;
use serde_json::json;

use crate::context::{Context, on_change};
use crate::control::{OnlyMeta, controller_ref};
use crate::informers::BY_CONTROLLER;
use crate::views::batch::{CronJob, CronJobStatus, Job};

/// On a job: the time that it is for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

struct Controller {
    api: Api,
    recorder: Recorder,
    cron_jobs: Store<CronJob>,
    jobs: Store<Job>,
    queue: WorkQueue<ObjectKey>,
    own_writes: Writes<CronJob>,
    job_writes: Writes<Job>,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("cronjob-controller").await;
    let (cron_jobs, jobs) = (context.informers.cron_jobs(), context.informers.jobs());
    let controller = Arc::new(Controller {
        recorder: context.recorder(&api, "cronjob-controller"),
        api,
        own_writes: Writes::new(cron_jobs.store()),
        job_writes: Writes::new(jobs.store()),
        cron_jobs: cron_jobs.store(),
        jobs: jobs.store(),
        queue: WorkQueue::new("cronjob"),
    });
    let own = controller.clone();
    on_change(&cron_jobs, move |_, new, _| own.queue.add(new.metadata.key()));
    let own = controller.clone();
    on_change(&jobs, move |_, new, _| {
        if let Some(owner) = new.metadata.controller().filter(|o| o.kind == "CronJob") {
            own.queue.add(ObjectKey::new(&new.metadata.namespace, &owner.name));
        }
    });
    cron_jobs.wait_synced().await;
    jobs.wait_synced().await;
    let queue = controller.queue.clone();
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    };
    context.work(&queue, context.options.concurrency.concurrent_cron_job_syncs, "cronjob", sync).await;
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        if !self.own_writes.is_settled(&key) || !self.job_writes.is_settled(&key) {
            return Ok(Some(client::writes::FORGET));
        }
        let Some(cron_job) = self.cron_jobs.get_key(&key) else {
            self.own_writes.forget(&key);
            self.job_writes.forget(&key);
            return Ok(None);
        };
        let jobs = self.jobs.by_index(BY_CONTROLLER, &cron_job.metadata.uid);
        let mut plan = plan::plan(&cron_job, &jobs, Timestamp::now());
        let reference = ObjectReference::new(&resource::CRON_JOBS, &cron_job.metadata);
        for (warning, reason, message) in std::mem::take(&mut plan.events) {
            match warning {
                true => self.recorder.warning(&reference, reason, message),
                false => self.recorder.normal(&reference, reason, message),
            }
        }
        for job in plan.replace.iter().chain(&plan.forget) {
            self.delete(&reference, job).await?;
        }
        let created = match plan.create {
            Some(time) => self.create(&cron_job, &reference, time).await,
            None => Ok(None),
        };
        let failed = match created {
            Ok(job) => {
                plan.status.active.extend(job);
                None
            }
            Err(e) => {
                plan.status.last_schedule_time = cron_job.status.last_schedule_time;
                Some(e)
            }
        };
        self.write_status(&cron_job, &plan.status).await?;
        failed.map_or(Ok(plan.again), Err)
    }

    async fn delete(&self, cron_job: &ObjectReference, job: &Job) -> Result<(), Error> {
        let (meta, options) = (
            &job.metadata,
            DeleteOptions { propagation_policy: Some(Propagation::Background), ..DeleteOptions::default() },
        );
        match self.api.delete(&resource::JOBS, &meta.namespace, &meta.name, &options).await {
            Err(e) if !e.is_not_found() => {
                self.recorder.warning(cron_job, "FailedDelete", format!("Deleted job: {e}"));
                Err(e)
            }
            _ => {
                self.recorder.normal(cron_job, "SuccessfulDelete", format!("Deleted job {}", meta.name));
                Ok(())
            }
        }
    }

    /// The job of a time; None where its namespace is going, or it was made before and has ended.
    async fn create(
        &self,
        cron_job: &CronJob,
        reference: &ObjectReference,
        time: Timestamp,
    ) -> Result<Option<ObjectReference>, Error> {
        let (meta, template) = (&cron_job.metadata, &cron_job.spec.job_template);
        let zone = plan::zone_of(cron_job).unwrap_or(jiff::tz::TimeZone::UTC);
        let shown = time.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z");
        let name = plan::job_name(cron_job, time);
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": name, "namespace": meta.namespace, "labels": template.metadata.labels,
                "annotations": template.metadata.annotations.with(SCHEDULED, &shown),
                "ownerReferences": [controller_ref(&resource::CRON_JOBS, meta)],
            },
            "spec": template.spec,
        });
        let made: Job = match self.api.create(&resource::JOBS, &meta.namespace, &job).await {
            Ok(made) => made,
            Err(e) if e.is_namespace_terminating() => return Ok(None),
            Err(e) if e.is_already_exists() => {
                let known: Job = self.api.get(&resource::JOBS, &meta.namespace, &name).await?;
                if !known.metadata.is_controlled_by(&meta.uid) || known.finished().is_some() {
                    return Ok(None);
                }
                known
            }
            Err(e) => {
                self.recorder.warning(reference, "FailedCreate", format!("Error creating job: {e}"));
                return Err(e);
            }
        };
        self.recorder.normal(reference, "SuccessfulCreate", format!("Created job {name}"));
        self.job_writes.written(&meta.key(), made.metadata.key(), &made.metadata.resource_version);
        Ok(Some(ObjectReference::new(&resource::JOBS, &made.metadata)))
    }

    async fn write_status(&self, cron_job: &CronJob, status: &CronJobStatus) -> Result<(), Error> {
        if *status == cron_job.status {
            return Ok(());
        }
        let meta = &cron_job.metadata;
        let body = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta, "status": status});
        let written: OnlyMeta =
            self.api.update(&resource::CRON_JOBS, &meta.namespace, &meta.name, "status", &body).await?;
        self.own_writes.written(&meta.key(), meta.key(), &written.metadata.resource_version);
        Ok(())
    }
}
