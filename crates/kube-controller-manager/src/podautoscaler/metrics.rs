//! The three metrics APIs, all of them aggregated: metrics.k8s.io for what containers use, custom.metrics.k8s.io for
//! metrics of pods and other objects by name, external.metrics.k8s.io for anything else.

use std::time::{Duration, Instant};

use apimachinery::labels::Selector;
use client::api::encode;
use client::{Api, Resource, Time};
use compact_str::CompactString;
use component_base::flags::GoDuration;
use http::Method;
use parking_lot::Mutex;
use serde::Deserialize;

use super::usage::{Sample, Samples};
use crate::views::autoscaling::{MetricIdentifier, Milli};

/// What a sample without a window is an average over.
const WINDOW: Duration = Duration::from_secs(60);
/// For how long the version that the custom metrics' server prefers is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);
const CUSTOM: &str = "/apis/custom.metrics.k8s.io";

/// Why there are no samples, in upstream's words.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error("unable to fetch metrics from {api} metrics API: {source}")]
    Request { api: &'static str, source: client::Error },
    #[error("no metrics returned from {0} metrics API")]
    Nothing(&'static str),
    #[error("container {container} not present in metrics for pod {namespace}/{pod}")]
    NoContainer { container: String, namespace: String, pod: String },
}

/// Asks the metrics APIs.
pub struct Metrics {
    api: Api,
    /// `group/version` of the custom metrics, and when it was found.
    custom: Mutex<Option<(String, Instant)>>,
}

#[derive(Deserialize)]
struct Items<T> {
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Deserialize)]
struct PodMetrics {
    metadata: Name,
    timestamp: Time,
    #[serde(default)]
    window: CompactString,
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Name {
    name: CompactString,
}

#[derive(Deserialize)]
struct ContainerMetrics {
    name: CompactString,
    #[serde(default)]
    usage: std::collections::BTreeMap<CompactString, Milli>,
}

/// Of custom.metrics.k8s.io and, without an object, of external.metrics.k8s.io.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetricValue {
    #[serde(default)]
    described_object: Name,
    timestamp: Time,
    #[serde(default)]
    window_seconds: Option<u64>,
    value: Milli,
}

impl Metrics {
    pub fn new(api: Api) -> Self {
        Self { api, custom: Mutex::new(None) }
    }

    async fn items<T: serde::de::DeserializeOwned>(
        &self,
        api: &'static str,
        path: &str,
    ) -> Result<Vec<T>, MetricsError> {
        let answer: Result<Items<T>, _> = self.api.request(Method::GET, path, None).await;
        let items = answer.map_err(|source| MetricsError::Request { api, source })?.items;
        if items.is_empty() { Err(MetricsError::Nothing(api)) } else { Ok(items) }
    }

    /// What the selected pods use of a resource; with `container`, that container of each. A pod of which a
    /// container was not measured is left out.
    pub async fn of_resource(
        &self,
        namespace: &str,
        pods: &Selector,
        resource: &str,
        container: &str,
    ) -> Result<Samples, MetricsError> {
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods{}", selecting(pods));
        let measured: Vec<PodMetrics> = self.items("resource", &path).await?;
        let mut samples = Samples::new();
        for pod in measured {
            if let Some(value) = pod.usage(namespace, resource, container)? {
                let window = pod.window.parse().map_or(WINDOW, |GoDuration(window)| window);
                samples.insert(pod.metadata.name, Sample { value, at: pod.timestamp.0, window });
            }
        }
        Ok(samples)
    }

    /// A metric of each of the selected pods.
    pub async fn of_pods(
        &self,
        namespace: &str,
        pods: &Selector,
        metric: &MetricIdentifier,
    ) -> Result<Samples, MetricsError> {
        let root = self.custom_root().await?;
        let query = match (selecting(pods), narrowed(metric)) {
            (all, None) => all,
            (all, Some(more)) if all.is_empty() => format!("?metricLabelSelector={more}"),
            (all, Some(more)) => format!("{all}&metricLabelSelector={more}"),
        };
        let path = format!("{root}/namespaces/{namespace}/pods/*/{}{query}", metric.name);
        let measured: Vec<MetricValue> = self.items("custom", &path).await?;
        let sample = |m: MetricValue| {
            let window = m.window_seconds.map_or(WINDOW, Duration::from_secs);
            (m.described_object.name, Sample { value: m.value.0, at: m.timestamp.0, window })
        };
        Ok(measured.into_iter().map(sample).collect())
    }

    /// A metric of one object, in thousandths.
    pub async fn of_object(
        &self,
        namespace: &str,
        resource: &Resource,
        name: &str,
        metric: &MetricIdentifier,
    ) -> Result<i64, MetricsError> {
        let root = self.custom_root().await?;
        let query = narrowed(metric).map(|more| format!("?metricLabelSelector={more}")).unwrap_or_default();
        let plural = match (&*resource.plural, &*resource.group) {
            (plural, "") => plural.to_owned(),
            (plural, group) => format!("{plural}.{group}"),
        };
        let path = match (resource.namespaced, &*plural) {
            (_, "namespaces") => format!("{root}/namespaces/{name}/metrics/{}{query}", metric.name),
            (true, _) => format!("{root}/namespaces/{namespace}/{plural}/{name}/{}{query}", metric.name),
            (false, _) => format!("{root}/{plural}/{name}/{}{query}", metric.name),
        };
        let measured: Vec<MetricValue> = self.items("custom", &path).await?;
        Ok(measured.first().map_or(0, |m| m.value.0))
    }

    /// The sum of all values of a metric from outside the cluster, in thousandths.
    pub async fn of_outside(&self, namespace: &str, metric: &MetricIdentifier) -> Result<i64, MetricsError> {
        let root = "/apis/external.metrics.k8s.io/v1beta1";
        let query = narrowed(metric).map(|more| format!("?labelSelector={more}")).unwrap_or_default();
        let path = format!("{root}/namespaces/{namespace}/{}{query}", metric.name);
        let measured: Vec<MetricValue> = self.items("external", &path).await?;
        Ok(measured.iter().map(|m| m.value.0).sum())
    }

    /// The path of the custom metrics in the version that their server prefers.
    async fn custom_root(&self) -> Result<String, MetricsError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Group {
            preferred_version: Version,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            group_version: String,
        }
        if let Some((known, since)) = &*self.custom.lock()
            && since.elapsed() < REMEMBERED
        {
            return Ok(format!("/apis/{known}"));
        }
        let group: Group = self
            .api
            .request(Method::GET, CUSTOM, None)
            .await
            .map_err(|source| MetricsError::Request { api: "custom", source })?;
        let found = group.preferred_version.group_version;
        *self.custom.lock() = Some((found.clone(), Instant::now()));
        Ok(format!("/apis/{found}"))
    }
}

impl PodMetrics {
    /// None where a container that counts was not measured.
    fn usage(&self, namespace: &str, resource: &str, container: &str) -> Result<Option<i64>, MetricsError> {
        let of = |c: &ContainerMetrics| c.usage.get(resource).map(|q| q.0);
        if container.is_empty() {
            return Ok(self.containers.iter().map(of).sum());
        }
        match self.containers.iter().find(|c| c.name == container) {
            Some(found) => Ok(of(found)),
            None => Err(MetricsError::NoContainer {
                container: container.into(),
                namespace: namespace.into(),
                pod: self.metadata.name.to_string(),
            }),
        }
    }
}

/// `?labelSelector=...`, or nothing for all pods.
fn selecting(pods: &Selector) -> String {
    if pods.is_everything() { String::new() } else { format!("?labelSelector={}", encode(&pods.to_string())) }
}

/// The selector of a metric's series, encoded; the server has checked it.
fn narrowed(metric: &MetricIdentifier) -> Option<String> {
    let selector = metric.selector.as_ref()?.selector().ok()?;
    (!selector.is_everything()).then(|| encode(&selector.to_string()))
}
