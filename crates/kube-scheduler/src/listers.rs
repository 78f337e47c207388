//! What informers know of claims, volumes and namespaces, and of what selects pods, for the pods that these matter to.

use std::sync::Arc;

use client::Store;
use tokio::sync::watch;

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
    /// Marked when a claim or a volume changes.
    pub volume_changes: Changes,
}

/// Tells who waits that something changed.
#[derive(Clone)]
pub struct Changes(Arc<watch::Sender<()>>);

impl Default for Changes {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }
}

impl Changes {
    pub fn mark(&self) {
        self.0.send_replace(());
    }

    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
