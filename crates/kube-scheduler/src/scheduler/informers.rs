//! The informers of the scheduler: nodes and pods as messages, everything else as stores to look into, with a message
//! where a change may matter.

use client::resource::{
    NAMESPACES, NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, POD_DISRUPTION_BUDGETS, PODS,
    REPLICA_SETS, REPLICATION_CONTROLLERS, SERVICES, STATEFUL_SETS, STORAGE_CLASSES,
};
use client::{Api, Event, Informer, InformerOptions, Resource, Store, View};
use futures::future::{BoxFuture, join_all};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Message;
use crate::listers::{Changes, Listers};
use crate::views::{NamespaceView, PodView, ServiceView, WorkloadView};

type Sender = mpsc::UnboundedSender<Message>;

/// What runs.
pub(super) struct Informers {
    pub pods: Store<PodView>,
    pub listers: Listers,
    waits: Vec<BoxFuture<'static, ()>>,
}

impl Informers {
    /// Starts them all; they end with `shutdown`.
    pub(super) fn start(api: &Api, sender: &Sender, shutdown: &CancellationToken) -> Self {
        let mut starter = Starter { api, sender, shutdown, waits: Vec::new() };
        let active = "status.phase!=Succeeded,status.phase!=Failed";
        let all = InformerOptions::default;
        let metadata_only = || InformerOptions { metadata_only: true, ..all() };
        let changes = Changes::default();
        let volume = |label: &'static str| {
            let changes = changes.clone();
            move || {
                changes.mark();
                Some(Message::Volume(label))
            }
        };
        starter.start(NODES, all(), |event| Some(Message::Node(event.clone())));
        let pods = starter.start(PODS, InformerOptions { field_selector: active.into(), ..all() }, |event| {
            Some(Message::Pod(event.clone()))
        });
        let (claims, volumes, classes) = (
            volume("PersistentVolumeClaimChange"),
            volume("PersistentVolumeChange"),
            volume("StorageClassChange"),
        );
        let listers = Listers {
            claims: starter.start(PERSISTENT_VOLUME_CLAIMS, all(), move |_| claims()),
            volumes: starter.start(PERSISTENT_VOLUMES, all(), move |_| volumes()),
            classes: starter.start(STORAGE_CLASSES, all(), move |_| classes()),
            namespaces: starter.start(NAMESPACES, metadata_only(), namespace_changed),
            budgets: starter.start(POD_DISRUPTION_BUDGETS, all(), |_| None),
            services: starter.start(SERVICES, all(), service_changed),
            replica_sets: starter.start(REPLICA_SETS, all(), workload_changed),
            stateful_sets: starter.start(STATEFUL_SETS, all(), workload_changed),
            replication_controllers: starter.start(REPLICATION_CONTROLLERS, all(), workload_changed),
            volume_changes: changes,
        };
        Self { pods, listers, waits: starter.waits }
    }

    /// Waits until all are filled.
    pub(super) async fn wait_synced(&mut self) {
        join_all(self.waits.drain(..)).await;
    }
}

struct Starter<'a> {
    api: &'a Api,
    sender: &'a Sender,
    shutdown: &'a CancellationToken,
    waits: Vec<BoxFuture<'static, ()>>,
}

impl Starter<'_> {
    fn start<V: View>(
        &mut self,
        resource: Resource,
        options: InformerOptions,
        message: impl Fn(&Event<V>) -> Option<Message> + Send + Sync + 'static,
    ) -> Store<V> {
        let informer: Informer<V> = Informer::new(self.api.clone(), resource, options);
        let sender = self.sender.clone();
        // The receiver is gone only at the end.
        informer.add_handler(move |event| {
            if let Some(message) = message(event) {
                drop(sender.send(message));
            }
        });
        drop(informer.start(self.shutdown.clone()));
        let store = informer.store();
        self.waits.push(Box::pin(async move { informer.wait_synced().await }));
        store
    }
}

/// Terms may select namespaces by label: whatever was counted by them is void.
fn namespace_changed(event: &Event<NamespaceView>) -> Option<Message> {
    let same = matches!(event, Event::Modified { old, new } if old.metadata.labels == new.metadata.labels);
    (!same).then_some(Message::Counted(None))
}

fn service_changed(event: &Event<ServiceView>) -> Option<Message> {
    let same = matches!(event, Event::Modified { old, new } if old.spec == new.spec);
    (!same).then(|| Message::Counted(Some(event.object().metadata.namespace.clone())))
}

fn workload_changed(event: &Event<WorkloadView>) -> Option<Message> {
    let same = matches!(event, Event::Modified { old, new } if old.spec == new.spec);
    (!same).then(|| Message::Counted(Some(event.object().metadata.namespace.clone())))
}
