//! Scales what HorizontalPodAutoscalers name by the metrics of its pods: each is looked at every sync period, as
//! the metrics cannot be watched.

mod ask;
mod limits;
mod metrics;
mod plan;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use apimachinery::labels::Selector;
use client::events::{ObjectReference, Recorder};
use client::{Api, Error, ObjectKey, Resource, Store, Time, WorkQueue, resource};
use parking_lot::Mutex;
use serde_json::json;

use self::limits::{Bounds, History};
use self::metrics::Metrics;
use self::plan::{ABLE_TO_SCALE, SCALING_ACTIVE};
use crate::context::{Context, on_change};
use crate::control::OnlyMeta;
use crate::informers::BY_NAMESPACE;
use crate::options::Autoscaling;
use crate::scales::{self, Scale};
use crate::views::Pod;
use crate::views::autoscaling::{AutoscalerStatus, HorizontalPodAutoscaler};

struct Controller {
    api: Api,
    recorder: Recorder,
    metrics: Metrics,
    autoscalers: Store<HorizontalPodAutoscaler>,
    pods: Store<Pod>,
    queue: WorkQueue<ObjectKey>,
    settings: Autoscaling,
    past: Mutex<HashMap<ObjectKey, History>>,
    /// The pods that each autoscaler scales, by its target's selector.
    selectors: Mutex<BTreeMap<ObjectKey, Selector>>,
}

/// Why a look ended early; the conditions and Events say so too.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(
        "unable to determine resource for scale target reference: no matches for kind {kind:?} in group {group:?}"
    )]
    NoResource { kind: String, group: String },
    #[error("{0}")]
    Metrics(String),
    #[error(transparent)]
    Request(#[from] Error),
}

/// A target, as one look found it.
struct Found<'a> {
    autoscaler: &'a HorizontalPodAutoscaler,
    reference: &'a ObjectReference,
    resource: Resource,
    scale: Scale,
    now: Time,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("horizontal-pod-autoscaler").await;
    let (autoscalers, pods) = (context.informers.autoscalers(), context.informers.pods());
    let controller = Arc::new(Controller {
        recorder: context.recorder(&api, "horizontal-pod-autoscaler"),
        metrics: Metrics::new(api.clone()),
        api,
        autoscalers: autoscalers.store(),
        pods: pods.store(),
        queue: WorkQueue::new("horizontalpodautoscaler"),
        settings: context.options.autoscaling.clone(),
        past: Mutex::default(),
        selectors: Mutex::default(),
    });
    let own = controller.clone();
    // Later changes are seen at the next look: looks bring themselves back.
    on_change(&autoscalers, move |old, new, deleted| {
        if old.is_none() || deleted {
            own.queue.add_after(new.metadata.key(), own.settings.horizontal_pod_autoscaler_sync_period.0);
        }
    });
    autoscalers.wait_synced().await;
    pods.wait_synced().await;
    let (queue, workers) =
        (controller.queue.clone(), context.options.concurrency.concurrent_horizontal_pod_autoscaler_syncs);
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    };
    context.work(&queue, workers, "horizontal-pod-autoscaler", sync).await;
}

impl Controller {
    /// One look. An error shows in the status and is no reason to look again sooner.
    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        let Some(autoscaler) = self.autoscalers.get_key(&key) else {
            self.past.lock().remove(&key);
            self.selectors.lock().remove(&key);
            return Ok(None);
        };
        let mut status = autoscaler.status.clone();
        if let Err(e) = self.look(&key, &autoscaler, &mut status).await {
            tracing::debug!(autoscaler = %key, "{e}");
        }
        if let Err(e) = self.write(&autoscaler, &status).await {
            tracing::warn!(autoscaler = %key, "status: {e}");
        }
        Ok(Some(self.settings.horizontal_pod_autoscaler_sync_period.0))
    }

    async fn look(
        &self,
        key: &ObjectKey,
        autoscaler: &HorizontalPodAutoscaler,
        status: &mut AutoscalerStatus,
    ) -> Result<(), LookError> {
        let (now, spec) = (Time::now(), &autoscaler.spec);
        let reference = &ObjectReference::new(&resource::HORIZONTAL_POD_AUTOSCALERS, &autoscaler.metadata);
        let (resource, scale) = match self.target(autoscaler).await {
            Ok(found) => found,
            Err(e) => {
                self.recorder.warning(reference, "FailedGetScale", e.to_string());
                let message = format!("the HPA controller was unable to get the target's current scale: {e}");
                plan::set(status, ABLE_TO_SCALE, false, "FailedGetScale", message, now);
                return Err(e);
            }
        };
        let message = "the HPA controller was able to get the target's current scale";
        plan::set(status, ABLE_TO_SCALE, true, "SucceededGetScale", message, now);
        let (min, replicas) = (spec.min_replicas.unwrap_or(1), scale.spec.replicas);
        status.current_replicas = scale.status.replicas;
        let found = Found { autoscaler, reference, resource, scale, now };
        let (wanted, reason) = if plan::is_disabled(min, replicas) {
            let message = "scaling is disabled since the replica count of the target is zero";
            plan::set(status, SCALING_ACTIVE, false, "ScalingDisabled", message, now);
            status.current_metrics.clear();
            (replicas, String::new())
        } else if let Some((bound, reason)) = plan::out_of_bounds(min, spec.max_replicas, replicas) {
            status.current_metrics.clear();
            (bound, reason.to_owned())
        } else {
            self.by_metrics(key, &found, min, status).await?
        };
        if wanted != replicas {
            self.scale(key, &found, wanted, &reason, status).await?;
            status.last_scale_time = Some(now);
        }
        status.desired_replicas = wanted;
        Ok(())
    }

    /// The object that is scaled, as its scale.
    async fn target(&self, autoscaler: &HorizontalPodAutoscaler) -> Result<(Resource, Scale), LookError> {
        let target = &autoscaler.spec.scale_target_ref;
        let group = target.api_version.split_once('/').map_or("", |(group, _)| group);
        let found = scales::resource_of(&self.api, group, &target.kind).await?;
        let no_resource = || LookError::NoResource { kind: target.kind.to_string(), group: group.into() };
        let resource = found.ok_or_else(no_resource)?;
        let scale = scales::get(&self.api, &resource, &autoscaler.metadata.namespace, &target.name).await?;
        Ok((resource, scale))
    }

    /// The number of pods that the metrics ask for, within the bounds, and why.
    async fn by_metrics(
        &self,
        key: &ObjectKey,
        found: &Found<'_>,
        min: i32,
        status: &mut AutoscalerStatus,
    ) -> Result<(i32, String), LookError> {
        let (spec, now, replicas) = (&found.autoscaler.spec, found.now, found.scale.spec.replicas);
        let (selector, pods) = self.selected(key, found, status)?;
        let mut answers = Vec::with_capacity(spec.metrics.len());
        for metric in &spec.metrics {
            answers.push(self.ask(found, metric, &selector, &pods).await);
        }
        for unknown in answers.iter().filter_map(|a| a.as_ref().err()) {
            self.recorder.warning(found.reference, unknown.reason, &*unknown.why);
        }
        let sum = plan::sum(answers, replicas);
        status.current_metrics = sum.statuses;
        let Some(asked) = sum.asked else {
            if let Some(unknown) = sum.unknown {
                let message = format!("the HPA was unable to compute the replica count: {}", unknown.why);
                plan::set(status, SCALING_ACTIVE, false, unknown.reason, message, now);
            }
            self.recorder.warning(found.reference, "FailedComputeMetricsReplicas", &*sum.error);
            return Err(LookError::Metrics(sum.error));
        };
        let message = format!("the HPA was able to successfully calculate a replica count from {}", asked.1);
        plan::set(status, SCALING_ACTIVE, true, "ValidMetricFound", message, now);
        let bounds = self.bounds(found.autoscaler, min);
        let mut past = self.past.lock();
        let history = past.entry(key.clone()).or_default();
        Ok(plan::bounded(status, history, &bounds, replicas, &asked, now))
    }

    /// The pods of the target, if no other autoscaler scales any of them.
    fn selected(
        &self,
        key: &ObjectKey,
        found: &Found<'_>,
        status: &mut AutoscalerStatus,
    ) -> Result<(Selector, Vec<Arc<Pod>>), LookError> {
        let mut refuse = |reason: &str, event: &str, message: String| {
            self.recorder.warning(found.reference, event, &*message);
            plan::set(status, SCALING_ACTIVE, false, reason, message.clone(), found.now);
            LookError::Metrics(message)
        };
        let text = &found.scale.status.selector;
        if text.is_empty() {
            let message = "the HPA target's scale is missing a selector".to_owned();
            return Err(refuse("InvalidSelector", "SelectorRequired", message));
        }
        let selector = Selector::parse(text).map_err(|e| {
            let message =
                format!("couldn't convert selector into a corresponding internal selector object: {e}");
            refuse("InvalidSelector", "InvalidSelector", message)
        })?;
        let mut pods = self.pods.by_index(BY_NAMESPACE, key.namespace());
        pods.retain(|pod| selects(&selector, pod));
        let mut selectors = self.selectors.lock();
        selectors.insert(key.clone(), selector.clone());
        let rivals: Vec<String> = selectors
            .iter()
            .filter(|(other, _)| other.namespace() == key.namespace())
            .filter(|(_, other)| pods.iter().any(|pod| selects(other, pod)))
            .map(|(other, _)| format!("{{{} {}}}", other.name(), other.namespace()))
            .collect();
        drop(selectors);
        if rivals.len() > 1 {
            let message =
                format!("pods by selector {text} are controlled by multiple HPAs: [{}]", rivals.join(" "));
            return Err(refuse("AmbiguousSelector", "AmbiguousSelector", message));
        }
        Ok((selector, pods))
    }

    fn bounds<'a>(&self, autoscaler: &'a HorizontalPodAutoscaler, min: i32) -> Bounds<'a> {
        Bounds {
            min,
            max: autoscaler.spec.max_replicas,
            rules: plan::rules(autoscaler),
            stabilization: self.settings.horizontal_pod_autoscaler_downscale_stabilization.0,
        }
    }

    async fn scale(
        &self,
        key: &ObjectKey,
        found: &Found<'_>,
        wanted: i32,
        reason: &str,
        status: &mut AutoscalerStatus,
    ) -> Result<(), LookError> {
        let now = found.now;
        if let Err(e) = scales::set(&self.api, &found.resource, &found.scale, wanted).await {
            let message = format!("New size: {wanted}; reason: {reason}; error: {e}");
            self.recorder.warning(found.reference, "FailedRescale", message);
            let message = format!("the HPA controller was unable to update the target scale: {e}");
            plan::set(status, ABLE_TO_SCALE, false, "FailedUpdateScale", message, now);
            return Err(e.into());
        }
        let message = format!("the HPA controller was able to update the target scale to {wanted}");
        plan::set(status, ABLE_TO_SCALE, true, "SucceededRescale", message, now);
        let message = format!("New size: {wanted}; reason: {reason}");
        self.recorder.normal(found.reference, "SuccessfulRescale", message);
        let bounds = self.bounds(found.autoscaler, found.autoscaler.spec.min_replicas.unwrap_or(1));
        let mut past = self.past.lock();
        past.entry(key.clone()).or_default().scaled(&bounds, found.scale.spec.replicas, wanted, now.0);
        Ok(())
    }

    async fn write(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        status: &AutoscalerStatus,
    ) -> Result<(), Error> {
        if *status == autoscaler.status {
            return Ok(());
        }
        let (kind, meta) = (&resource::HORIZONTAL_POD_AUTOSCALERS, &autoscaler.metadata);
        let body =
            json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": meta, "status": status});
        match self.api.update::<OnlyMeta>(kind, &meta.namespace, &meta.name, "status", &body).await {
            Err(e) if !e.is_not_found() => Err(e),
            _ => Ok(()),
        }
    }
}

fn selects(selector: &Selector, pod: &Pod) -> bool {
    selector.matches(|key| pod.metadata.labels.get(key))
}
