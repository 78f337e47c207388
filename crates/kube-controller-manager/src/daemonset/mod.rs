//! Keeps one pod of a DaemonSet on every node where it belongs, and rolls its template out.

mod history;
mod nodes;
pub mod plan;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::events::{ObjectReference, Recorder};
use client::expectations::Expectations;
use client::{Api, DeleteOptions, Error, ObjectKey, ObjectMeta, Patch, Store, Time, WorkQueue, resource};
use futures::future::join_all;
use parking_lot::Mutex;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::time::Instant;

use crate::context::{Context, on_change};
use crate::control::{Claimer, PodControl, slow_start};
use crate::informers::{BY_CONTROLLER, BY_NAMESPACE, orphans_of};
use crate::views::workload::DaemonSetStatus;
use crate::views::{ControllerRevision, DaemonSet, Node, Pod};
use nodes::{Placement, SpecMaker};
use plan::{GENERATION_ANNOTATION, GENERATION_LABEL, HASH_LABEL, Plan, Removal, Snapshot};

const BURST: usize = 250;
/// Pods that end again and again on a node: 1 s doubling to 15 min.
const BACKOFF: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(900);

struct Controller {
    api: Api,
    recorder: Recorder,
    sets: Store<DaemonSet>,
    pods: Store<Pod>,
    nodes: Store<Node>,
    revisions: Store<ControllerRevision>,
    queue: WorkQueue<ObjectKey>,
    expectations: Expectations,
    /// Ended pods by set and node: how often, and when the next may go.
    ended: Mutex<HashMap<(ObjectKey, String), (u32, Instant)>>,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("daemon-set-controller").await;
    let informers = &context.informers;
    let (sets, pods) = (informers.daemon_sets(), informers.pods());
    let (nodes, revisions) = (informers.nodes(), informers.controller_revisions());
    let controller = Arc::new(Controller {
        recorder: context.recorder(&api, "daemonset-controller"),
        api,
        sets: sets.store(),
        pods: pods.store(),
        nodes: nodes.store(),
        revisions: revisions.store(),
        queue: WorkQueue::new("daemonset"),
        expectations: Expectations::new(),
        ended: Mutex::default(),
    });
    let own = controller.clone();
    on_change(&sets, move |_, new, deleted| {
        if deleted {
            own.expectations.forget(&new.metadata.key());
        }
        own.queue.add(new.metadata.key());
    });
    let own = controller.clone();
    on_change(&pods, move |old, new, deleted| own.pod_changed(old, new, deleted));
    let own = controller.clone();
    on_change(&nodes, move |old, new, deleted| own.node_changed(old.map(|o| &**o), new, deleted));
    let own = controller.clone();
    on_change(&revisions, move |_, new, _| {
        if let Some(set) = own.manager_of(&new.metadata) {
            own.queue.add(set.metadata.key());
        }
    });
    sets.wait_synced().await;
    pods.wait_synced().await;
    nodes.wait_synced().await;
    revisions.wait_synced().await;
    let (queue, workers) = (controller.queue.clone(), context.options.concurrency.concurrent_daemonset_syncs);
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    };
    context.work(&queue, workers, "daemonset", sync).await;
}

fn selects(set: &DaemonSet, meta: &ObjectMeta) -> bool {
    !set.spec.selector.is_empty() && set.spec.selector.matches(&meta.labels)
}

impl Controller {
    fn manager_of(&self, meta: &ObjectMeta) -> Option<Arc<DaemonSet>> {
        let owner = meta.controller().filter(|owner| owner.kind == "DaemonSet")?;
        self.sets.get(&meta.namespace, &owner.name).filter(|set| set.metadata.uid == owner.uid)
    }

    fn pod_changed(&self, old: Option<&Arc<Pod>>, new: &Arc<Pod>, deleted: bool) {
        let manager = self.manager_of(&new.metadata);
        if let Some(set) = &manager {
            let key = set.metadata.key();
            if deleted
                || (new.metadata.is_being_deleted() && old.is_none_or(|o| !o.metadata.is_being_deleted()))
            {
                self.expectations.deletion_observed(&key, &new.metadata.uid);
            } else if old.is_none() {
                self.expectations.creation_observed(&key);
            }
            let min_ready = set.spec.min_ready_seconds;
            if min_ready > 0 && new.is_ready() && old.is_some_and(|o| !o.is_ready()) {
                let seconds = u64::try_from(min_ready).unwrap_or(0) + 1;
                self.queue.add_after(key.clone(), Duration::from_secs(seconds));
            }
            self.queue.add(key);
        } else if new.metadata.controller().is_none()
            && !deleted
            && old.is_none_or(|o| o.metadata.labels != new.metadata.labels)
        {
            for set in self.sets.by_index(BY_NAMESPACE, &new.metadata.namespace) {
                if selects(&set, &new.metadata) {
                    self.queue.add(set.metadata.key());
                }
            }
        }
    }

    /// Only what decides about placement counts; statuses of nodes come every few seconds.
    fn node_changed(&self, old: Option<&Node>, new: &Node, deleted: bool) {
        let same = |old: &Node| {
            old.metadata.labels == new.metadata.labels
                && old.spec.taints == new.spec.taints
                && old.spec.unschedulable == new.spec.unschedulable
        };
        if !deleted && old.is_some_and(same) {
            return;
        }
        for set in self.sets.list() {
            let placement = Placement::of(&set);
            if deleted || old.map(|o| placement.fit(o)) != Some(placement.fit(new)) {
                self.queue.add(set.metadata.key());
            }
        }
    }

    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        let Some(set) = self.sets.get_key(&key) else {
            self.expectations.forget(&key);
            return Ok(None);
        };
        if set.spec.selector.is_empty() {
            let reference = ObjectReference::new(&resource::DAEMON_SETS, &set.metadata);
            self.recorder.warning(
                &reference,
                "SelectingAll",
                "This daemon set is selecting all pods. A non-empty selector is required.",
            );
            return Ok(None);
        }
        if set.metadata.is_being_deleted() {
            return Ok(None);
        }
        // Asked before the pods are read: what was seen in between would be missing in them.
        let may_act = self.expectations.satisfied(&key);
        let pods = self.claim_pods(&set).await?;
        let (current, revisions) = self.current_revision(&set).await?;
        let Some(current) = current else { return Ok(None) };
        let hash = history::hash_of(&current);
        let nodes = self.nodes.list();
        let mut again = None;
        if may_act {
            again = self.act(&set, &hash, &nodes, &pods).await?;
        }
        for surplus in history::surplus(&set, &revisions, &hash, &pods) {
            let meta = &surplus.metadata;
            match self
                .api
                .delete(
                    &resource::CONTROLLER_REVISIONS,
                    &meta.namespace,
                    &meta.name,
                    &DeleteOptions::default(),
                )
                .await
            {
                Err(e) if !e.is_not_found() => return Err(e),
                _ => {}
            }
        }
        // The pods as they are now, after what was created and deleted has been seen or not.
        let pods: Vec<_> = self.pods.by_index(BY_CONTROLLER, &set.metadata.uid);
        let snapshot = Snapshot::new(&set, &hash, &nodes, &pods, Time::now());
        let status = plan::status(&snapshot, set.status.collision_count);
        let waits = set.spec.min_ready_seconds > 0 && status.number_ready != status.number_available;
        self.write_status(&set, &set.metadata, status).await?;
        let recheck =
            waits.then(|| Duration::from_secs(u64::try_from(set.spec.min_ready_seconds).unwrap_or(0)));
        Ok([again, recheck].into_iter().flatten().min())
    }

    async fn claim_pods(&self, set: &DaemonSet) -> Result<Vec<Arc<Pod>>, Error> {
        let meta = &set.metadata;
        let claimer = Claimer {
            api: &self.api,
            owner_kind: &resource::DAEMON_SETS,
            owner: meta,
            kind: &resource::PODS,
            finalizer: None,
        };
        let owned = self.pods.by_index(BY_CONTROLLER, &meta.uid);
        let orphans = self.pods.by_index(BY_CONTROLLER, &orphans_of(&meta.namespace));
        claimer
            .claim_all(owned.into_iter().chain(orphans), |p| &p.metadata, |p| selects(set, &p.metadata))
            .await
    }

    /// The present template's revision, made if it is missing, and all of them. None: try again after the informer.
    async fn current_revision(
        &self,
        set: &DaemonSet,
    ) -> Result<(Option<Arc<ControllerRevision>>, Vec<Arc<ControllerRevision>>), Error> {
        let meta = &set.metadata;
        let kind = &resource::CONTROLLER_REVISIONS;
        let claimer = Claimer {
            api: &self.api,
            owner_kind: &resource::DAEMON_SETS,
            owner: meta,
            kind,
            finalizer: None,
        };
        let owned = self.revisions.by_index(BY_CONTROLLER, &meta.uid);
        let orphans = self.revisions.by_index(BY_CONTROLLER, &orphans_of(&meta.namespace));
        let orphans = orphans.into_iter().filter(|r| r.metadata.namespace == meta.namespace);
        let revisions = claimer
            .claim_all(owned.into_iter().chain(orphans), |r| &r.metadata, |r| selects(set, &r.metadata))
            .await?;
        let newest = revisions.iter().map(|r| r.revision).max().unwrap_or(0);
        if let Some(current) = history::find_current(set, &revisions) {
            if current.revision < newest {
                // An earlier template again: it becomes the newest revision.
                let patch = json!({"revision": newest + 1});
                self.api
                    .patch::<IgnoredAny>(
                        kind,
                        &meta.namespace,
                        &current.metadata.name,
                        "",
                        &Patch::Merge,
                        &patch,
                    )
                    .await?;
            }
            return Ok((Some(current.clone()), revisions));
        }
        let (name, body) = history::new_revision(set, newest + 1, set.status.collision_count);
        match self.api.create::<ControllerRevision>(kind, &meta.namespace, &body).await {
            Ok(made) => Ok((Some(Arc::new(made)), revisions)),
            Err(e) if e.is_already_exists() => {
                self.collision(set, &name, e).await.map(|found| (Some(found), revisions))
            }
            Err(e) if e.is_namespace_terminating() => Ok((None, revisions)),
            Err(e) => Err(e),
        }
    }

    /// A revision of that name: ours, not seen yet, or another template of the same hash.
    async fn collision(
        &self,
        set: &DaemonSet,
        name: &str,
        error: Error,
    ) -> Result<Arc<ControllerRevision>, Error> {
        let present: ControllerRevision =
            self.api.get(&resource::CONTROLLER_REVISIONS, &set.metadata.namespace, name).await?;
        let present = [Arc::new(present)];
        if history::find_current(set, &present).is_some()
            && present[0].metadata.is_controlled_by(&set.metadata.uid)
        {
            return Ok(present[0].clone());
        }
        let status = DaemonSetStatus {
            collision_count: Some(set.status.collision_count.unwrap_or(0) + 1),
            ..set.status.clone()
        };
        self.write_status(set, &set.metadata, status).await?;
        Err(error)
    }

    /// Creates and deletes pods; how long until pods that ended too often may be looked at again.
    async fn act(
        &self,
        set: &DaemonSet,
        hash: &str,
        nodes: &[Arc<Node>],
        pods: &[Arc<Pod>],
    ) -> Result<Option<Duration>, Error> {
        let snapshot = Snapshot::new(set, hash, nodes, pods, Time::now());
        let mut plan = plan::manage(&snapshot);
        let again = self.hold_back(set, &mut plan);
        // A rollout looks at the pods as they are once what is done now was seen; that brings the set back.
        if plan.create.is_empty() && plan.delete.is_empty() {
            plan = plan::roll(&snapshot);
        }
        self.carry_out(set, hash, plan).await?;
        Ok(again)
    }

    /// Takes pods that ended too often out of the plan.
    fn hold_back(&self, set: &DaemonSet, plan: &mut Plan) -> Option<Duration> {
        let (now, key) = (Instant::now(), set.metadata.key());
        let mut ended = self.ended.lock();
        ended.retain(|_, (_, next)| now.saturating_duration_since(*next) < LONGEST * 2);
        let mut wait: Option<Duration> = None;
        plan.delete.retain(|removal| {
            let Some(reason) = removal.ended else { return true };
            let (times, next) =
                ended.entry((key.clone(), removal.pod.spec.node_name.to_string())).or_insert((0, now));
            if *next > now {
                let left = *next - now;
                wait = Some(wait.map_or(left, |w| w.min(left)));
                return false;
            }
            *next = now + BACKOFF.saturating_mul(1 << (*times).min(10)).min(LONGEST);
            *times += 1;
            self.tell_ended(set, removal, reason);
            true
        });
        wait
    }

    fn tell_ended(&self, set: &DaemonSet, removal: &Removal, reason: &str) {
        let (meta, phase) = (&removal.pod.metadata, removal.pod.status.phase.to_lowercase());
        let node = &removal.pod.spec.node_name;
        let message = format!(
            "Found {phase} daemon pod {}/{} on node {node}, will try to kill it",
            meta.namespace, meta.name
        );
        let reference = ObjectReference::new(&resource::DAEMON_SETS, &set.metadata);
        if reason == "FailedDaemonPod" {
            self.recorder.warning(&reference, reason, message);
        } else {
            self.recorder.normal(&reference, reason, message);
        }
    }

    async fn carry_out(&self, set: &DaemonSet, hash: &str, mut plan: Plan) -> Result<(), Error> {
        plan.create.truncate(BURST);
        plan.delete.truncate(BURST);
        if plan.create.is_empty() && plan.delete.is_empty() {
            return Ok(());
        }
        let key = set.metadata.key();
        self.expectations.expect(
            &key,
            plan.create.len(),
            plan.delete.iter().map(|r| r.pod.metadata.uid.to_string()),
        );
        let control = PodControl {
            api: &self.api,
            recorder: &self.recorder,
            owner_kind: &resource::DAEMON_SETS,
            owner: &set.metadata,
        };
        let created = self.create(set, hash, &control, &plan).await;
        let deletions = plan.delete.iter().map(|removal| async {
            let result = control.delete(&removal.pod.metadata).await;
            if result.is_err() {
                self.expectations.deletion_observed(&key, &removal.pod.metadata.uid);
            }
            result
        });
        let failed =
            join_all(deletions).await.into_iter().filter_map(Result::err).find(|e| !e.is_not_found());
        created.and(failed.map_or(Ok(()), Err))
    }

    async fn create(
        &self,
        set: &DaemonSet,
        hash: &str,
        control: &PodControl<'_>,
        plan: &Plan,
    ) -> Result<(), Error> {
        let (key, template) = (set.metadata.key(), &set.spec.template);
        let mut labels = template.metadata.labels.with(HASH_LABEL, hash);
        if let Some(generation) = set.metadata.annotations.get(GENERATION_ANNOTATION) {
            labels = labels.with(GENERATION_LABEL, generation);
        }
        let maker = SpecMaker::new(set);
        let create = |at: usize| {
            let (spec, key, labels) = (maker.for_node(&plan.create[at]), &key, &labels);
            async move {
                match control.create_from(template, labels, &spec).await {
                    Err(e) if e.is_namespace_terminating() => {
                        self.expectations.creation_observed(key);
                        Ok(())
                    }
                    other => other,
                }
            }
        };
        let (succeeded, error) = slow_start(plan.create.len(), create).await;
        self.expectations.lower_creations(&key, plan.create.len() - succeeded);
        error.map_or(Ok(()), Err)
    }

    async fn write_status(
        &self,
        set: &DaemonSet,
        meta: &ObjectMeta,
        status: DaemonSetStatus,
    ) -> Result<(), Error> {
        if status == set.status {
            return Ok(());
        }
        let body = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "status": status});
        match self
            .api
            .update::<IgnoredAny>(&resource::DAEMON_SETS, &meta.namespace, &meta.name, "status", &body)
            .await
        {
            Err(e) if e.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}
