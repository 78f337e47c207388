//! What selects pods: budgets, which preemption respects, and the services and controllers whose pods are spread by
//! default.

use client::{LabelSelector, StringMap, view};
use serde::Deserialize;

use super::Meta;

/// A PodDisruptionBudget.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct BudgetView {
    pub metadata: Meta,
    pub spec: Selecting,
    pub status: BudgetStatus,
}

/// A specification of which only the selector counts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Selecting {
    /// None selects nothing.
    pub selector: Option<LabelSelector>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetStatus {
    pub disruptions_allowed: i32,
    /// Pods whose eviction was granted already, by name.
    pub disrupted_pods: StringMap,
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ServiceView {
    pub metadata: Meta,
    pub spec: ServiceSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    pub selector: StringMap,
}

/// A ReplicaSet, a StatefulSet or a ReplicationController.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct WorkloadView {
    pub metadata: Meta,
    pub spec: Selecting,
}

impl ServiceView {
    /// Whether the service is of pods with these labels; one without a selector is of none.
    pub fn selects(&self, namespace: &str, labels: &StringMap) -> bool {
        self.metadata.namespace == namespace
            && !self.spec.selector.is_empty()
            && self.spec.selector.is_subset_of(labels)
    }
}

view!(BudgetView, ServiceView, WorkloadView);
