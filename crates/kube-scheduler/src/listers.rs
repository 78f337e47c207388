//! What informers know of claims, volumes and namespaces, and of what selects pods, for the pods that these matter to.

use client::Store;

use crate::views::{
    BudgetView, ClaimView, NamespaceView, ServiceView, StorageClassView, VolumeView, WorkloadView,
};

/// Clones share what is known.
#[derive(Clone, Default)]
pub struct Listers {
    pub claims: Store<ClaimView>,
    pub volumes: Store<VolumeView>,
    pub classes: Store<StorageClassView>,
    pub namespaces: Store<NamespaceView>,
    pub budgets: Store<BudgetView>,
    pub services: Store<ServiceView>,
    pub replica_sets: Store<WorkloadView>,
    pub stateful_sets: Store<WorkloadView>,
    pub replication_controllers: Store<WorkloadView>,
}
