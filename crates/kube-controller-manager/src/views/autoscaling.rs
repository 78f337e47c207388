//! HorizontalPodAutoscalers (autoscaling/v2), whole: the controller writes the status back from what it read.

use apimachinery::labels::LabelSelector;
use apimachinery::quantity::{Format, Quantity};
use client::{ObjectMeta, Time, view};
use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Condition;

/// A quantity in thousandths, rounded up; written in the decimal format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Milli(pub i64);

impl From<i64> for Milli {
    fn from(thousandths: i64) -> Self {
        Self(thousandths)
    }
}

impl Serialize for Milli {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Quantity::milli(self.0, Format::DecimalSi))
    }
}

impl<'de> Deserialize<'de> for Milli {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        let quantity: Quantity = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(quantity.milli_value()))
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct HorizontalPodAutoscaler {
    pub metadata: ObjectMeta,
    pub spec: AutoscalerSpec,
    pub status: AutoscalerStatus,
}

view!(HorizontalPodAutoscaler);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AutoscalerSpec {
    pub scale_target_ref: ObjectRef,
    pub min_replicas: Option<i32>,
    pub max_replicas: i32,
    pub metrics: Vec<MetricSpec>,
    pub behavior: Option<Behavior>,
}

/// Names an object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    pub kind: CompactString,
    pub name: CompactString,
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    pub api_version: CompactString,
}

/// One of the sources; `kind` says which field holds it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricSpec {
    #[serde(rename = "type")]
    pub kind: CompactString,
    pub resource: Option<ResourceSource>,
    pub container_resource: Option<ResourceSource>,
    pub pods: Option<MetricSource>,
    pub object: Option<MetricSource>,
    pub external: Option<MetricSource>,
}

/// A resource of whole pods, or with `container` of that container of each.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResourceSource {
    pub name: CompactString,
    pub container: CompactString,
    pub target: Target,
}

/// A metric by name; of an object where one is described.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricSource {
    pub described_object: Option<ObjectRef>,
    pub metric: MetricIdentifier,
    pub target: Target,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricIdentifier {
    pub name: CompactString,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Target {
    pub value: Option<Milli>,
    pub average_value: Option<Milli>,
    /// Percent of the request.
    pub average_utilization: Option<i32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Behavior {
    pub scale_up: Option<ScalingRules>,
    pub scale_down: Option<ScalingRules>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScalingRules {
    pub stabilization_window_seconds: Option<i32>,
    pub select_policy: CompactString,
    pub policies: Vec<ScalingPolicy>,
    /// A share: 100 thousandths are ten percent (KEP-4951).
    pub tolerance: Option<Milli>,
}

/// At most `value` pods, or percent of them, in `period_seconds`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScalingPolicy {
    #[serde(rename = "type")]
    pub kind: CompactString,
    pub value: i32,
    pub period_seconds: i32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AutoscalerStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scale_time: Option<Time>,
    pub current_replicas: i32,
    pub desired_replicas: i32,
    pub current_metrics: Vec<MetricStatus>,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricStatus {
    #[serde(rename = "type")]
    pub kind: CompactString,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_resource: Option<ResourceStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<SourceStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<SourceStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<SourceStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceStatus {
    pub name: CompactString,
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    pub container: CompactString,
    pub current: Current,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub described_object: Option<ObjectRef>,
    pub metric: MetricIdentifier,
    pub current: Current,
}

/// What a metric is now, in the terms of its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Current {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Milli>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_value: Option<Milli>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_utilization: Option<i32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_and_written() {
        for (text, milli, written) in
            [("500m", 500, "500m"), ("2", 2000, "2"), ("128Mi", 134_217_728_000, "134217728")]
        {
            let read: Milli = serde_json::from_value(text.into()).unwrap();
            assert_eq!((read.0, serde_json::to_value(read).unwrap()), (milli, written.into()), "{text}");
        }
        assert!(serde_json::from_value::<Milli>("much".into()).is_err());
    }
}
