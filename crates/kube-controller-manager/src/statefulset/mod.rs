//! Pods with names and claims of their own, which come, go and are updated in order.

pub mod claims;
pub mod plan;
mod revisions;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use client::events::{ObjectReference, Recorder};
use client::{
    Api, DeleteOptions, Error, ObjectKey, ObjectMeta, Patch, Store, Time, WorkQueue, Writes, resource,
};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::context::{Context, on_change};
use crate::control::{Claimer, OnlyMeta};
use crate::history;
use crate::informers::{BY_CONTROLLER, BY_NAMESPACE, orphans_of};
use crate::views::stateful::{StatefulSet, StatefulSetStatus};
use crate::views::{ControllerRevision, PersistentVolumeClaim, Pod};
use plan::{Snapshot, Step};
use revisions::Revisions;

struct Controller {
    api: Api,
    recorder: Recorder,
    sets: Store<StatefulSet>,
    pods: Store<Pod>,
    claims: Store<PersistentVolumeClaim>,
    revisions: Store<ControllerRevision>,
    queue: WorkQueue<ObjectKey>,
    set_writes: Writes<StatefulSet>,
    pod_writes: Writes<Pod>,
    revision_writes: Writes<ControllerRevision>,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("statefulset-controller").await;
    let informers = &context.informers;
    let (sets, pods) = (informers.stateful_sets(), informers.pods());
    let (claims, revisions) = (informers.persistent_volume_claims(), informers.controller_revisions());
    let controller = Arc::new(Controller {
        recorder: context.recorder(&api, "statefulset-controller"),
        api,
        set_writes: Writes::new(sets.store()),
        pod_writes: Writes::new(pods.store()),
        revision_writes: Writes::new(revisions.store()),
        sets: sets.store(),
        pods: pods.store(),
        claims: claims.store(),
        revisions: revisions.store(),
        queue: WorkQueue::new("statefulset"),
    });
    let own = controller.clone();
    on_change(&sets, move |_, new, _| own.queue.add(new.metadata.key()));
    let own = controller.clone();
    on_change(&pods, move |old, new, deleted| own.pod_changed(old, new, deleted));
    let own = controller.clone();
    on_change(&revisions, move |_, new, _| own.enqueue_owner(&new.metadata));
    let own = controller.clone();
    // A claim that goes may be what a pod's successor waits for.
    on_change(&claims, move |_, claim, deleted| {
        for set in own.sets.by_index(BY_NAMESPACE, &claim.metadata.namespace) {
            let mut templates = set.spec.volume_claim_templates.iter();
            if deleted && templates.any(|t| claim.metadata.name.starts_with(t.metadata.name.as_str())) {
                own.queue.add(set.metadata.key());
            }
        }
    });
    sets.wait_synced().await;
    pods.wait_synced().await;
    claims.wait_synced().await;
    revisions.wait_synced().await;
    let queue = controller.queue.clone();
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    };
    context.work(&queue, context.options.concurrency.concurrent_statefulset_syncs, "statefulset", sync).await;
}

fn selects(set: &StatefulSet, meta: &ObjectMeta) -> bool {
    !set.spec.selector.is_empty() && set.spec.selector.matches(&meta.labels)
}

impl Controller {
    fn enqueue_owner(&self, meta: &ObjectMeta) {
        if let Some(owner) = meta.controller().filter(|o| o.kind == "StatefulSet") {
            self.queue.add(ObjectKey::new(&meta.namespace, &owner.name));
        }
    }

    fn pod_changed(&self, old: Option<&Arc<Pod>>, new: &Arc<Pod>, deleted: bool) {
        old.into_iter().chain([new]).for_each(|pod| self.enqueue_owner(&pod.metadata));
        let changed = old.is_none_or(|o| o.metadata.labels != new.metadata.labels);
        if new.metadata.controller().is_none() && !deleted && changed {
            for set in self.sets.by_index(BY_NAMESPACE, &new.metadata.namespace) {
                if selects(&set, &new.metadata) {
                    self.queue.add(set.metadata.key());
                }
            }
        }
    }

    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        let settled = self.set_writes.is_settled(&key)
            && self.pod_writes.is_settled(&key)
            && self.revision_writes.is_settled(&key);
        if !settled {
            return Ok(Some(client::writes::FORGET));
        }
        let Some(set) = self.sets.get_key(&key) else {
            self.set_writes.forget(&key);
            self.pod_writes.forget(&key);
            self.revision_writes.forget(&key);
            return Ok(None);
        };
        if set.spec.selector.is_empty() {
            return Ok(None);
        }
        let pods = self.claim(&set).await?;
        let Some(revisions) = revisions::find(&self.api, &self.revisions, &set).await? else {
            return Ok(None);
        };
        let update = &revisions.update.metadata;
        self.revision_writes.written(&key, update.key(), &update.resource_version);
        let snapshot = Snapshot {
            set: &set,
            pods: &pods,
            current: &revisions.current.metadata.name,
            update: &update.name,
            now: Time::now(),
        };
        let done = self.carry_out(&set, &revisions, plan::steps(&snapshot)).await;
        self.keep_claims(&set, &pods).await?;
        let status = plan::status(&snapshot, revisions.collisions);
        let waits = set.spec.min_ready_seconds > 0 && status.available_replicas != status.ready_replicas;
        self.write_status(&set, status).await?;
        done?;
        revisions::truncate(&self.api, &set, &revisions, &pods).await?;
        let seconds = u64::try_from(set.spec.min_ready_seconds).unwrap_or(0);
        Ok(waits.then(|| Duration::from_secs(seconds)))
    }

    async fn claim(&self, set: &StatefulSet) -> Result<Vec<Arc<Pod>>, Error> {
        let meta = &set.metadata;
        let claimer = Claimer {
            api: &self.api,
            owner_kind: &resource::STATEFUL_SETS,
            owner: meta,
            kind: &resource::PODS,
            finalizer: None,
        };
        let owned = self.pods.by_index(BY_CONTROLLER, &meta.uid);
        let orphans = self.pods.by_index(BY_CONTROLLER, &orphans_of(&meta.namespace));
        let ours = |p: &Pod| selects(set, &p.metadata) && set.ordinal_of(&p.metadata.name).is_some();
        claimer.claim_all(owned.into_iter().chain(orphans), |p| &p.metadata, ours).await
    }

    /// All steps are tried; the first failure counts.
    async fn carry_out(
        &self,
        set: &StatefulSet,
        revisions: &Revisions,
        steps: Vec<Step>,
    ) -> Result<(), Error> {
        let steps = steps.into_iter().map(|step| async move {
            match step {
                Step::Create { ordinal, updated } => self.create(set, revisions, ordinal, updated).await,
                Step::Delete(pod, why) => self.delete(set, &pod, why).await,
                Step::Claims(_, ordinal) => self.create_claims(set, ordinal).await.map(drop),
                Step::Identify(pod, ordinal) => self.identify(set, &pod, ordinal).await,
            }
        });
        futures::future::join_all(steps).await.into_iter().collect()
    }

    async fn create(
        &self,
        set: &StatefulSet,
        revisions: &Revisions,
        ordinal: i32,
        updated: bool,
    ) -> Result<(), Error> {
        if !self.create_claims(set, ordinal).await? {
            return Ok(());
        }
        let revision = if updated { &revisions.update } else { &revisions.current };
        let older = if updated { None } else { history::template(revision) };
        let template = older.as_ref().unwrap_or(&set.spec.template);
        let body = claims::pod(set, template, ordinal, &revision.metadata.name);
        let name = claims::pod_name(set, ordinal);
        let namespace = &set.metadata.namespace;
        match self.api.create::<OnlyMeta>(&resource::PODS, namespace, &body).await {
            Err(e) if e.is_namespace_terminating() => return Ok(()),
            Err(e) => {
                if !e.is_already_exists() {
                    self.tell(set, "create", &format!("Pod {name}"), Some(&e));
                }
                return Err(e);
            }
            Ok(made) => {
                let version = made.metadata.resource_version.as_str();
                self.pod_writes.written(&set.metadata.key(), made.metadata.key(), version);
                self.tell(set, "create", &format!("Pod {name}"), None);
            }
        }
        Ok(())
    }

    /// An Event about a pod or a claim.
    fn tell(&self, set: &StatefulSet, verb: &str, what: &str, error: Option<&Error>) {
        let reference = ObjectReference::new(&resource::STATEFUL_SETS, &set.metadata);
        let (name, title) = (&set.metadata.name, [verb[..1].to_uppercase().as_str(), &verb[1..]].concat());
        match error {
            None => {
                let message = format!("{verb} {what} in StatefulSet {name} successful");
                self.recorder.normal(&reference, &format!("Successful{title}"), message);
            }
            Some(e) => {
                let message = format!("{verb} {what} in StatefulSet {name} failed error: {e}");
                self.recorder.warning(&reference, &format!("Failed{title}"), message);
            }
        }
    }

    /// Makes the claims of a pod that are not there. Whether all are there and none is about to go.
    async fn create_claims(&self, set: &StatefulSet, ordinal: i32) -> Result<bool, Error> {
        let (kind, namespace, pod) =
            (&resource::PERSISTENT_VOLUME_CLAIMS, &set.metadata.namespace, claims::pod_name(set, ordinal));
        for (name, body) in claims::names(set, ordinal).zip(claims::claims(set, ordinal)) {
            if let Some(known) = self.claims.get(namespace, &name) {
                let of_pod = |o: &client::OwnerReference| o.kind == "Pod" && o.name == pod.as_str();
                let alive = |o: &client::OwnerReference| {
                    self.pods.get(namespace, &o.name).is_some_and(|p| p.metadata.uid == o.uid)
                };
                // It goes with a pod that is gone: its end brings the set back.
                let stale = known.metadata.owner_references.iter().any(|o| of_pod(o) && !alive(o));
                if known.metadata.is_being_deleted() || stale {
                    return Ok(false);
                }
                continue;
            }
            let what = format!("Claim {name} Pod {pod}");
            match self.api.create::<IgnoredAny>(kind, namespace, &body).await {
                Ok(_) => self.tell(set, "create", &what, None),
                Err(e) if e.is_already_exists() || e.is_namespace_terminating() => {}
                Err(e) => {
                    self.tell(set, "create", &what, Some(&e));
                    return Err(e);
                }
            }
        }
        Ok(true)
    }

    async fn delete(&self, set: &StatefulSet, pod: &Pod, why: Option<&str>) -> Result<(), Error> {
        let meta = &pod.metadata;
        if let Some(reason) = why {
            let reference = ObjectReference::new(&resource::STATEFUL_SETS, &set.metadata);
            let what = if reason == "RecreatingFailedPod" { "failed" } else { "terminated" };
            let (namespace, name) = (&set.metadata.namespace, &set.metadata.name);
            let message = format!("StatefulSet {namespace}/{name} is recreating {what} Pod {}", meta.name);
            match what {
                "failed" => self.recorder.warning(&reference, reason, message),
                _ => self.recorder.normal(&reference, reason, message),
            }
        }
        let options = DeleteOptions::uid(&meta.uid);
        let (kind, what) = (&resource::PODS, format!("Pod {}", meta.name));
        match self.api.delete_answer::<OnlyMeta>(kind, &meta.namespace, &meta.name, &options).await {
            Ok(last) => {
                let version = last.metadata.resource_version.as_str();
                self.pod_writes.written(&set.metadata.key(), meta.key(), version);
                self.tell(set, "delete", &what, None);
                Ok(())
            }
            Err(e) if e.is_not_found() || e.is_conflict() => Ok(()),
            Err(e) => {
                self.tell(set, "delete", &what, Some(&e));
                Err(e)
            }
        }
    }

    async fn identify(&self, set: &StatefulSet, pod: &Pod, ordinal: i32) -> Result<(), Error> {
        let meta = &pod.metadata;
        let labels = json!({plan::POD_NAME: meta.name, plan::POD_INDEX: ordinal.to_string()});
        let patch = json!({"metadata": {"uid": meta.uid, "labels": labels}});
        let changed: OnlyMeta = self
            .api
            .patch(&resource::PODS, &meta.namespace, &meta.name, "", &Patch::Strategic, &patch)
            .await?;
        let version = changed.metadata.resource_version.as_str();
        self.pod_writes.written(&set.metadata.key(), meta.key(), version);
        Ok(())
    }

    /// Sees that the claims of present pods go with whom the retention policy says.
    async fn keep_claims(&self, set: &StatefulSet, pods: &[Arc<Pod>]) -> Result<(), Error> {
        if set.metadata.is_being_deleted() {
            return Ok(());
        }
        let split = plan::split(set, pods);
        let kept = split.replicas.iter().map(|(ordinal, pod)| (*ordinal, pod, false));
        let condemned = split.condemned.iter().map(|(ordinal, pod)| (*ordinal, pod, true));
        for (ordinal, pod, condemned) in kept.chain(condemned) {
            let wanted = claims::owner(set, condemned);
            for name in claims::names(set, ordinal) {
                let Some(claim) = self.claims.get(&set.metadata.namespace, &name) else { continue };
                if !claim.metadata.is_being_deleted() {
                    self.own(set, pod, &claim, wanted).await?;
                }
            }
        }
        Ok(())
    }

    /// Sets the owners of a claim, where they are not as wanted.
    async fn own(
        &self,
        set: &StatefulSet,
        pod: &Pod,
        claim: &PersistentVolumeClaim,
        wanted: Option<claims::Owner>,
    ) -> Result<(), Error> {
        use claims::Owner;
        let owners =
            [(Owner::Set, "apps/v1", "StatefulSet", &set.metadata), (Owner::Pod, "v1", "Pod", &pod.metadata)];
        let is_owned = |uid: &str| claim.metadata.owner_references.iter().any(|o| o.uid == uid);
        if owners.iter().all(|(owner, _, _, meta)| is_owned(&meta.uid) == (wanted == Some(*owner))) {
            return Ok(());
        }
        let change = |live: &mut Value| {
            let mut references = live["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
            for (owner, version, kind, meta) in owners {
                references.retain(|r| r["uid"] != *meta.uid);
                if wanted == Some(owner) {
                    references.push(
                        json!({"apiVersion": version, "kind": kind, "name": meta.name, "uid": meta.uid,
                        "controller": true, "blockOwnerDeletion": true}),
                    );
                }
            }
            live["metadata"]["ownerReferences"] = json!(references);
            live["metadata"]["uid"] == *claim.metadata.uid
        };
        let (kind, meta) = (&resource::PERSISTENT_VOLUME_CLAIMS, &claim.metadata);
        self.api.modify::<IgnoredAny>(kind, &meta.namespace, &meta.name, "", change).await.map(drop)
    }

    async fn write_status(&self, set: &StatefulSet, status: StatefulSetStatus) -> Result<(), Error> {
        if status == set.status {
            return Ok(());
        }
        let (kind, meta) = (&resource::STATEFUL_SETS, &set.metadata);
        let body =
            json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "status": status});
        match self.api.update::<OnlyMeta>(kind, &meta.namespace, &meta.name, "status", &body).await {
            Ok(written) => {
                self.set_writes.written(&meta.key(), meta.key(), &written.metadata.resource_version);
                Ok(())
            }
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e),
        }
    }
}
