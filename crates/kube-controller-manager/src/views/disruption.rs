//! PodDisruptionBudgets.

use std::collections::BTreeMap;

use client::{LabelSelector, ObjectMeta, Time, view};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::workload::IntOrPercent;
use super::{Condition, is_zero_i64};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodDisruptionBudget {
    pub metadata: ObjectMeta,
    pub spec: BudgetSpec,
    pub status: BudgetStatus,
}

view!(PodDisruptionBudget);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetSpec {
    pub min_available: Option<IntOrPercent>,
    pub max_unavailable: Option<IntOrPercent>,
    /// None selects nothing, the empty one everything.
    pub selector: Option<LabelSelector>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetStatus {
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub observed_generation: i64,
    /// Pods whose eviction was let through, and when; by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub disrupted_pods: BTreeMap<CompactString, Time>,
    pub disruptions_allowed: i32,
    pub current_healthy: i32,
    pub desired_healthy: i32,
    pub expected_pods: i32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl PodDisruptionBudget {
    pub fn selects(&self, pod: &ObjectMeta) -> bool {
        let matches = |selector: &LabelSelector| selector.matches(&pod.labels);
        pod.namespace == self.metadata.namespace && self.spec.selector.as_ref().is_some_and(matches)
    }
}
