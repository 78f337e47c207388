//! What each source of metrics asks for: its samples, and what they come to.

use std::sync::Arc;

use apimachinery::labels::Selector;
use serde_json::json;

use super::plan::{Asked, Unknown};
use super::usage::{Goal, Grace, Look, Tolerance};
use super::{Controller, Found};
use crate::scales;
use crate::views::Pod;
use crate::views::autoscaling::{
    Current, HorizontalPodAutoscaler, MetricSource, MetricSpec, MetricStatus, ResourceSource, ResourceStatus,
    ScalingRules, SourceStatus, Target,
};

impl Controller {
    /// What one metric asks for.
    pub(super) async fn ask(
        &self,
        found: &Found<'_>,
        metric: &MetricSpec,
        selector: &Selector,
        pods: &[Arc<Pod>],
    ) -> Result<Asked, Unknown> {
        let look = Look {
            pods,
            resource: None,
            container: "",
            replicas: found.scale.spec.replicas,
            tolerance: self.tolerance(found.autoscaler),
            grace: Grace {
                cpu_initialization: self.settings.horizontal_pod_autoscaler_cpu_initialization_period.0,
                initial_readiness: self.settings.horizontal_pod_autoscaler_initial_readiness_delay.0,
            },
            now: found.now.0,
        };
        let kind = metric.kind.clone();
        let empty = MetricStatus { kind, ..MetricStatus::default() };
        match metric {
            MetricSpec { resource: Some(source), .. } if metric.kind == "Resource" => {
                let (replicas, what, status) = self.ask_resource(found, source, selector, look).await?;
                let status = MetricStatus { resource: Some(status), ..empty };
                Ok(Asked { replicas, metric: format!("{} {what}", source.name), status })
            }
            MetricSpec { container_resource: Some(source), .. } if metric.kind == "ContainerResource" => {
                let (replicas, what, status) = self.ask_resource(found, source, selector, look).await?;
                let status = MetricStatus { container_resource: Some(status), ..empty };
                Ok(Asked { replicas, metric: format!("{} container {what}", source.name), status })
            }
            MetricSpec { pods: Some(source), .. } if metric.kind == "Pods" => {
                self.ask_pods(found, source, selector, look, empty).await
            }
            MetricSpec { object: Some(source), .. } if metric.kind == "Object" => {
                self.ask_object(found, source, look, empty).await
            }
            MetricSpec { external: Some(source), .. } if metric.kind == "External" => {
                self.ask_outside(found, source, look, empty).await
            }
            _ => {
                let error = format!("unknown metric source type {:?}", metric.kind);
                Err(Unknown { reason: "InvalidMetricSourceType", why: error.clone(), error })
            }
        }
    }

    async fn ask_resource(
        &self,
        found: &Found<'_>,
        source: &ResourceSource,
        selector: &Selector,
        look: Look<'_>,
    ) -> Result<(i32, &'static str, ResourceStatus), Unknown> {
        let (reason, of) = match source.container.is_empty() {
            true => ("FailedGetResourceMetric", "resource"),
            false => ("FailedGetContainerResourceMetric", "container"),
        };
        let name = &source.name;
        let unknown = |why: String| {
            let error = format!("failed to get {name} {of} metric value: {why}");
            Unknown { reason, why, error }
        };
        let (goal, kind, what) = match source.target {
            Target { average_value: Some(value), .. } => (Goal::Average(value.0), "usage", "resource"),
            Target { average_utilization: Some(percent), .. } => {
                (Goal::Utilization(percent), "utilization", "resource utilization (percentage of request)")
            }
            Target { .. } => {
                let article =
                    if of == "resource" { "invalid resource" } else { "invalid container resource" };
                let needs =
                    "neither an average utilization target nor an average value (usage) target was set";
                return Err(unknown(format!("{article} metric source: {needs}")));
            }
        };
        let namespace = &*found.autoscaler.metadata.namespace;
        let container = &*source.container;
        let samples = self.metrics.of_resource(namespace, selector, name, container).await;
        let look = Look { resource: Some(name), container, ..look };
        let failed = |e: String| unknown(format!("failed to get {name} {kind}: {e}"));
        let samples =
            samples.map_err(|e| failed(format!("unable to get metrics for resource {name}: {e}")))?;
        let proposal = look.by_pods(samples, goal).map_err(|e| failed(e.to_string()))?;
        let current = Current {
            average_value: Some(proposal.value.into()),
            average_utilization: proposal.utilization,
            value: None,
        };
        let status = ResourceStatus { name: name.clone(), container: container.into(), current };
        Ok((proposal.replicas, what, status))
    }

    async fn ask_pods(
        &self,
        found: &Found<'_>,
        source: &MetricSource,
        selector: &Selector,
        look: Look<'_>,
        empty: MetricStatus,
    ) -> Result<Asked, Unknown> {
        let name = &source.metric.name;
        let unknown = |why: String| {
            let error = format!("failed to get pods metric value: {why}");
            Unknown { reason: "FailedGetPodsMetric", why, error }
        };
        let namespace = &*found.autoscaler.metadata.namespace;
        let samples = self.metrics.of_pods(namespace, selector, &source.metric).await;
        let samples = samples.map_err(|e| unknown(format!("unable to get metric {name}: {e}")))?;
        let goal = Goal::Average(source.target.average_value.map_or(0, |v| v.0));
        let proposal = look.by_pods(samples, goal).map_err(|e| unknown(e.to_string()))?;
        let status =
            source.status(Current { average_value: Some(proposal.value.into()), ..Current::default() });
        let status = MetricStatus { pods: Some(status), ..empty };
        Ok(Asked { replicas: proposal.replicas, metric: format!("pods metric {name}"), status })
    }

    async fn ask_object(
        &self,
        found: &Found<'_>,
        source: &MetricSource,
        look: Look<'_>,
        empty: MetricStatus,
    ) -> Result<Asked, Unknown> {
        let unknown = |why: String| {
            let error = format!("failed to get object metric value: {why}");
            Unknown { reason: "FailedGetObjectMetric", why, error }
        };
        let object = source.described_object.clone().unwrap_or_default();
        let (namespace, name) = (&*found.autoscaler.metadata.namespace, &source.metric.name);
        let group = object.api_version.split_once('/').map_or("", |(group, _)| group);
        let resource = scales::resource_of(&self.api, group, &object.kind).await;
        let resource = resource.map_err(|e| unknown(e.to_string()))?;
        let resource = resource.ok_or_else(|| unknown(format!("no matches for kind {:?}", object.kind)))?;
        let value = self.metrics.of_object(namespace, &resource, &object.name, &source.metric).await;
        let value = value.map_err(|e| {
            let of = format!("{} {namespace}/{}", object.kind, object.name);
            unknown(format!("unable to get metric {name} on {of}: {e}"))
        })?;
        let metric = format!("{} metric {name}", object.kind);
        let (replicas, current) = by_target(source, &look, value, found.scale.status.replicas)
            .map_err(|needs| unknown(format!("invalid object metric source: {needs}")))?;
        let status = MetricStatus { object: Some(source.status(current)), ..empty };
        Ok(Asked { replicas, metric, status })
    }

    async fn ask_outside(
        &self,
        found: &Found<'_>,
        source: &MetricSource,
        look: Look<'_>,
        empty: MetricStatus,
    ) -> Result<Asked, Unknown> {
        let name = &source.metric.name;
        let unknown = |why: String| {
            let error = format!("failed to get {name} external metric value: {why}");
            Unknown { reason: "FailedGetExternalMetric", why, error }
        };
        let namespace = &*found.autoscaler.metadata.namespace;
        let value = self.metrics.of_outside(namespace, &source.metric).await.map_err(|e| {
            let selector = json!(source.metric.selector);
            unknown(format!("unable to get external metric {namespace}/{name}/{selector}: {e}"))
        })?;
        let (replicas, current) = by_target(source, &look, value, found.scale.status.replicas)
            .map_err(|needs| unknown(format!("invalid external metric source: {needs}")))?;
        let metric = format!("external metric {name}({})", json!(source.metric.selector));
        let status = MetricStatus { external: Some(source.status(current)), ..empty };
        Ok(Asked { replicas, metric, status })
    }

    /// The autoscaler's own tolerance either way, else the flag's.
    fn tolerance(&self, autoscaler: &HorizontalPodAutoscaler) -> Tolerance {
        let usual = self.settings.horizontal_pod_autoscaler_tolerance;
        let of = |rules: Option<&ScalingRules>| {
            rules.and_then(|r| r.tolerance).map_or(usual, |share| share.0 as f64 / 1000.0)
        };
        let behavior = autoscaler.spec.behavior.as_ref();
        Tolerance {
            up: of(behavior.and_then(|b| b.scale_up.as_ref())),
            down: of(behavior.and_then(|b| b.scale_down.as_ref())),
        }
    }
}

/// What a value that is not measured on pods asks for, by the target for each pod or for all; the error is what
/// the target lacks.
fn by_target(
    source: &MetricSource,
    look: &Look<'_>,
    value: i64,
    there: i32,
) -> Result<(i32, Current), &'static str> {
    match source.target {
        Target { average_value: Some(goal), .. } => {
            let proposal = look.by_average(value, goal.0, there);
            let current = Current { average_value: Some(proposal.value.into()), ..Current::default() };
            Ok((proposal.replicas, current))
        }
        Target { value: Some(goal), .. } => {
            let proposal = look.by_value(value, goal.0);
            Ok((proposal.replicas, Current { value: Some(proposal.value.into()), ..Current::default() }))
        }
        Target { .. } => Err("neither a value target nor an average value target was set"),
    }
}

impl MetricSource {
    fn status(&self, current: Current) -> SourceStatus {
        SourceStatus { described_object: self.described_object.clone(), metric: self.metric.clone(), current }
    }
}
