//! Keeps as many pods as a ReplicaSet wants; ReplicationControllers by the same code under other names.

pub mod plan;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use client::events::Recorder;
use client::expectations::Expectations;
use client::{Api, Error, ObjectKey, ObjectMeta, Resource, Store, Time, WorkQueue, resource};
use futures::future::join_all;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::context::{Context, on_change};
use crate::control::{Claimer, PodControl, slow_start};
use crate::informers::{BY_CONTROLLER, BY_NAMESPACE, orphans_of};
use crate::views::workload::ReplicaSetStatus;
use crate::views::{Pod, ReplicaSet};
use plan::Scale;

/// ReplicaSets or ReplicationControllers.
#[derive(Clone, Copy)]
pub struct Flavor {
    resource: &'static Resource,
    account: &'static str,
    name: &'static str,
}

pub const REPLICA_SETS: Flavor =
    Flavor { resource: &resource::REPLICA_SETS, account: "replicaset-controller", name: "replicaset" };
pub const REPLICATION_CONTROLLERS: Flavor = Flavor {
    resource: &resource::REPLICATION_CONTROLLERS,
    account: "replication-controller",
    name: "replicationmanager",
};

struct Controller {
    flavor: Flavor,
    api: Api,
    recorder: Recorder,
    sets: Store<ReplicaSet>,
    pods: Store<Pod>,
    queue: WorkQueue<ObjectKey>,
    expectations: Expectations,
    counts_terminating: bool,
}

/// Runs until shutdown.
pub async fn run(context: Context, flavor: Flavor) {
    let api = context.api(flavor.account).await;
    let replica_sets = flavor.name == REPLICA_SETS.name;
    let informers = &context.informers;
    let sets = if replica_sets { informers.replica_sets() } else { informers.replication_controllers() };
    let pods = informers.pods();
    let workers = &context.options.concurrency;
    let workers =
        if replica_sets { workers.concurrent_replicaset_syncs } else { workers.concurrent_rc_syncs };
    let controller = Arc::new(Controller {
        flavor,
        recorder: context.recorder(&api, flavor.account),
        api,
        sets: sets.store(),
        pods: pods.store(),
        queue: WorkQueue::new(flavor.name),
        expectations: Expectations::new(),
        counts_terminating: replica_sets
            && context.options.feature_gates.enabled("DeploymentReplicaSetTerminatingReplicas"),
    });
    let own = controller.clone();
    on_change(&sets, move |old, new, deleted| own.set_changed(old, new, deleted));
    let own = controller.clone();
    on_change(&pods, move |old, new, deleted| own.pod_changed(old, new, deleted));
    sets.wait_synced().await;
    pods.wait_synced().await;
    let queue = controller.queue.clone();
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    };
    context.work(&queue, workers, flavor.name, sync).await;
}

impl Controller {
    fn set_changed(&self, old: Option<&Arc<ReplicaSet>>, new: &Arc<ReplicaSet>, deleted: bool) {
        let key = new.metadata.key();
        if deleted || old.is_some_and(|old| old.metadata.uid != new.metadata.uid) {
            self.expectations.forget(&key);
        }
        self.queue.add(key);
    }

    /// The set that manages a pod, if it is one of ours.
    fn manager_of(&self, meta: &ObjectMeta) -> Option<Arc<ReplicaSet>> {
        let owner = meta.controller().filter(|owner| owner.kind == *self.flavor.resource.kind)?;
        self.sets.get(&meta.namespace, &owner.name).filter(|set| set.metadata.uid == owner.uid)
    }

    fn pod_changed(&self, old: Option<&Arc<Pod>>, new: &Arc<Pod>, deleted: bool) {
        let manager = self.manager_of(&new.metadata);
        if deleted || (new.metadata.is_being_deleted() && old.is_none_or(|o| !o.metadata.is_being_deleted()))
        {
            if let Some(set) = &manager {
                self.expectations.deletion_observed(&set.metadata.key(), &new.metadata.uid);
            }
        } else if let (None, Some(set)) = (old, &manager) {
            self.expectations.creation_observed(&set.metadata.key());
        }
        if let Some(before) = old.and_then(|old| self.manager_of(&old.metadata))
            && manager.as_ref().is_none_or(|set| set.metadata.uid != before.metadata.uid)
        {
            self.queue.add(before.metadata.key());
        }
        match manager {
            Some(set) => self.enqueue(&set, old.map(|o| &**o), new),
            None if new.metadata.controller().is_none() && !deleted => {
                self.enqueue_matching(old.map(|o| &**o), new)
            }
            None => {}
        }
    }

    fn enqueue(&self, set: &ReplicaSet, old: Option<&Pod>, new: &Pod) {
        self.queue.add(set.metadata.key());
        if set.spec.min_ready_seconds > 0 && new.is_ready() && old.is_some_and(|old| !old.is_ready()) {
            let seconds = u64::try_from(set.spec.min_ready_seconds).unwrap_or(0) + 1;
            self.queue.add_after(set.metadata.key(), Duration::from_secs(seconds));
        }
    }

    /// A pod without a manager: whoever might adopt it.
    fn enqueue_matching(&self, old: Option<&Pod>, new: &Pod) {
        let same =
            |old: &Pod| old.metadata.labels == new.metadata.labels && old.metadata.controller().is_none();
        if new.metadata.is_being_deleted() || old.is_some_and(same) {
            return;
        }
        for set in self.sets.by_index(BY_NAMESPACE, &new.metadata.namespace) {
            if selects(&set, new) {
                self.queue.add(set.metadata.key());
            }
        }
    }

    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        let Some(set) = self.sets.get_key(&key) else {
            self.expectations.forget(&key);
            return Ok(None);
        };
        let may_act = self.expectations.satisfied(&key);
        let owned = self.pods.by_index(BY_CONTROLLER, &set.metadata.uid);
        let orphans = self.pods.by_index(BY_CONTROLLER, &orphans_of(&set.metadata.namespace));
        let terminating = owned
            .iter()
            .filter(|p| p.metadata.is_being_deleted() && !p.is_terminal() && selects(&set, p))
            .count();
        let claimer = Claimer {
            api: &self.api,
            owner_kind: self.flavor.resource,
            owner: &set.metadata,
            kind: &resource::PODS,
            finalizer: None,
        };
        let candidates = owned.into_iter().chain(orphans).filter(|p| p.is_active());
        let active = claimer.claim_all(candidates, |p| &p.metadata, |p| selects(&set, p)).await?;
        let acted = if may_act && !set.metadata.is_being_deleted() {
            self.manage(&set, &active).await
        } else {
            Ok(())
        };
        let now = Time::now();
        let failure = acted.as_ref().err().map(|(reason, e)| (*reason, e.to_string()));
        // ReplicationControllers do not count the terminating ones.
        let terminating = self.counts_terminating.then(|| i32::try_from(terminating).unwrap_or(i32::MAX));
        let status = plan::status(&set, &active, terminating, failure, now);
        let waits = set.spec.min_ready_seconds > 0
            && status.ready_replicas == set.replicas()
            && status.available_replicas != set.replicas();
        self.write_status(&set, status).await?;
        acted.map_err(|(_, e)| e)?;
        Ok(waits.then(|| Duration::from_secs(u64::try_from(set.spec.min_ready_seconds).unwrap_or(0))))
    }

    async fn manage(&self, set: &ReplicaSet, active: &[Arc<Pod>]) -> Result<(), (&'static str, Error)> {
        let control = PodControl {
            api: &self.api,
            recorder: &self.recorder,
            owner_kind: self.flavor.resource,
            owner: &set.metadata,
        };
        match plan::scale(active.len(), set.replicas()) {
            Scale::Nothing => Ok(()),
            Scale::Create(count) => self.create(set, &control, count).await.map_err(|e| ("FailedCreate", e)),
            Scale::Delete(count) => {
                let pods = plan::victims(active.to_vec(), &self.related(set), count, Time::now());
                self.delete(set, &control, &pods).await.map_err(|e| ("FailedDelete", e))
            }
        }
    }

    async fn create(&self, set: &ReplicaSet, control: &PodControl<'_>, count: usize) -> Result<(), Error> {
        let key = set.metadata.key();
        self.expectations.expect(&key, count, []);
        let template = &set.spec.template;
        let create = |_| async {
            match control.create_from(template, &template.metadata.labels, &template.spec).await {
                Err(e) if e.is_namespace_terminating() => {
                    // It goes away with its namespace: nothing to try again, nothing to wait for.
                    self.expectations.creation_observed(&key);
                    Ok(())
                }
                other => other,
            }
        };
        let (succeeded, error) = slow_start(count, create).await;
        self.expectations.lower_creations(&key, count - succeeded);
        error.map_or(Ok(()), Err)
    }

    async fn delete(
        &self,
        set: &ReplicaSet,
        control: &PodControl<'_>,
        pods: &[Arc<Pod>],
    ) -> Result<(), Error> {
        let key = set.metadata.key();
        self.expectations.expect(&key, 0, pods.iter().map(|p| p.metadata.uid.to_string()));
        let deletions = pods.iter().map(|pod| async {
            let result = control.delete(&pod.metadata).await;
            if result.is_err() {
                self.expectations.deletion_observed(&key, &pod.metadata.uid);
            }
            result
        });
        let failed =
            join_all(deletions).await.into_iter().filter_map(Result::err).find(|e| !e.is_not_found());
        failed.map_or(Ok(()), Err)
    }

    /// The pods of every set that has the same manager as this one.
    fn related(&self, set: &ReplicaSet) -> Vec<Arc<Pod>> {
        let pods_of = |uid: &str| self.pods.by_index(BY_CONTROLLER, uid);
        match set.metadata.controller() {
            Some(owner) => self
                .sets
                .by_index(BY_CONTROLLER, &owner.uid)
                .iter()
                .flat_map(|s| pods_of(&s.metadata.uid))
                .collect(),
            None => pods_of(&set.metadata.uid),
        }
    }

    async fn write_status(&self, set: &ReplicaSet, status: ReplicaSetStatus) -> Result<(), Error> {
        if status == set.status {
            return Ok(());
        }
        let kind = self.flavor.resource;
        let body = json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": set.metadata, "status": status});
        let (namespace, name) = (&set.metadata.namespace, &set.metadata.name);
        match self.api.update::<IgnoredAny>(kind, namespace, name, "status", &body).await {
            Err(e) if e.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}

fn selects(set: &ReplicaSet, pod: &Pod) -> bool {
    !set.spec.selector.is_empty() && set.spec.selector.matches(&pod.metadata.labels)
}
