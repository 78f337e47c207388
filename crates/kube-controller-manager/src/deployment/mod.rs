//! Rolls a Deployment's template out over ReplicaSets.

pub mod model;
pub mod plan;
mod scaling;
mod status;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::events::{ObjectReference, Recorder};
use client::{Api, DeleteOptions, Error, ObjectKey, ObjectMeta, Patch, Store, Time, WorkQueue, resource};
use compact_str::CompactString;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::context::{Context, on_change};
use crate::control::{Claimer, controller_ref};
use crate::informers::{BY_CONTROLLER, BY_NAMESPACE, orphans_of};
use crate::views::workload::DeploymentStatus;
use crate::views::{Condition, Deployment, Pod, ReplicaSet};
use model::{HASH_LABEL, REVISION, Set};
use plan::{Action, Plan};

struct Controller {
    api: Api,
    recorder: Recorder,
    deployments: Store<Deployment>,
    sets: Store<ReplicaSet>,
    pods: Store<Pod>,
    queue: WorkQueue<ObjectKey>,
    counts_terminating: bool,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("deployment-controller").await;
    let (deployments, sets, pods) =
        (context.informers.deployments(), context.informers.replica_sets(), context.informers.pods());
    let controller = Arc::new(Controller {
        recorder: context.recorder(&api, "deployment-controller"),
        api,
        deployments: deployments.store(),
        sets: sets.store(),
        pods: pods.store(),
        queue: WorkQueue::new("deployment"),
        counts_terminating: context.options.feature_gates.enabled("DeploymentReplicaSetTerminatingReplicas"),
    });
    let queue = controller.queue.clone();
    on_change(&deployments, move |_, new, _| queue.add(new.metadata.key()));
    let own = controller.clone();
    on_change(&sets, move |old, new, deleted| own.set_changed(old, new, deleted));
    let own = controller.clone();
    on_change(&pods, move |_, pod, deleted| {
        if deleted {
            own.pod_deleted(pod);
        }
    });
    deployments.wait_synced().await;
    sets.wait_synced().await;
    pods.wait_synced().await;
    let (queue, workers) =
        (controller.queue.clone(), context.options.concurrency.concurrent_deployment_syncs);
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    };
    context.work(&queue, workers, "deployment", sync).await;
}

impl Controller {
    fn manager_of(&self, meta: &ObjectMeta) -> Option<Arc<Deployment>> {
        let owner = meta.controller().filter(|owner| owner.kind == "Deployment")?;
        self.deployments.get(&meta.namespace, &owner.name).filter(|d| d.metadata.uid == owner.uid)
    }

    fn set_changed(&self, old: Option<&Arc<ReplicaSet>>, new: &Arc<ReplicaSet>, deleted: bool) {
        if let Some(before) = old.and_then(|old| self.manager_of(&old.metadata)) {
            self.queue.add(before.metadata.key());
        }
        if let Some(deployment) = self.manager_of(&new.metadata) {
            self.queue.add(deployment.metadata.key());
        } else if new.metadata.controller().is_none() && !deleted {
            for deployment in self.deployments.by_index(BY_NAMESPACE, &new.metadata.namespace) {
                if selects(&deployment, new) {
                    self.queue.add(deployment.metadata.key());
                }
            }
        }
    }

    /// The last pod of a Deployment that recreates lets the next ones begin.
    fn pod_deleted(&self, pod: &Pod) {
        let Some(owner) = pod.metadata.controller() else { return };
        let set = self.sets.get(&pod.metadata.namespace, &owner.name).filter(|s| s.metadata.uid == owner.uid);
        if let Some(deployment) = set.and_then(|set| self.manager_of(&set.metadata))
            && deployment.spec.strategy.kind == "Recreate"
        {
            self.queue.add(deployment.metadata.key());
        }
    }

    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        let Some(deployment) = self.deployments.get_key(&key) else { return Ok(None) };
        if deployment.spec.selector.is_empty() {
            return self.refuse_empty_selector(&deployment).await;
        }
        let claimed = self.claim(&deployment).await?;
        let newest = model::find_new(&deployment, &claimed);
        let sets: Vec<Set> =
            claimed.iter().enumerate().map(|(i, set)| Set::of(set, newest == Some(i))).collect();
        let old_pods_run = deployment.spec.strategy.kind == "Recreate" && self.old_pods_run(&sets);
        let plan = plan::plan(&deployment, sets, old_pods_run, self.counts_terminating, Time::now());
        let mut versions: HashMap<CompactString, CompactString> =
            claimed.iter().map(|s| (s.metadata.name.clone(), s.metadata.resource_version.clone())).collect();
        for action in &plan.actions {
            if !self.act(&deployment, action, &mut versions).await? {
                return Ok(None);
            }
        }
        self.write_status(&deployment, &plan).await?;
        Ok(plan.again_after.map(|s| Duration::from_secs(u64::try_from(s).unwrap_or(1))))
    }

    async fn refuse_empty_selector(&self, deployment: &Deployment) -> Result<Option<Duration>, Error> {
        let reference = ObjectReference::new(&resource::DEPLOYMENTS, &deployment.metadata);
        let message = "This deployment is selecting all pods. A non-empty selector is required.";
        self.recorder.warning(&reference, "SelectingAll", message);
        if deployment.status.observed_generation < deployment.metadata.generation {
            let status = DeploymentStatus {
                observed_generation: deployment.metadata.generation,
                ..deployment.status.clone()
            };
            self.put_status(deployment, &deployment.metadata, &status).await?;
        }
        Ok(None)
    }

    async fn claim(&self, deployment: &Deployment) -> Result<Vec<Arc<ReplicaSet>>, Error> {
        let meta = &deployment.metadata;
        let claimer = Claimer {
            api: &self.api,
            owner_kind: &resource::DEPLOYMENTS,
            owner: meta,
            kind: &resource::REPLICA_SETS,
            finalizer: None,
        };
        let owned = self.sets.by_index(BY_CONTROLLER, &meta.uid);
        let orphans = self.sets.by_index(BY_CONTROLLER, &orphans_of(&meta.namespace));
        let candidates = owned.into_iter().chain(orphans);
        claimer.claim_all(candidates, |s| &s.metadata, |s| selects(deployment, s)).await
    }

    fn old_pods_run(&self, sets: &[Set]) -> bool {
        let old = sets.iter().filter(|s| !s.is_new);
        old.flat_map(|s| self.pods.by_index(BY_CONTROLLER, &s.uid)).any(|pod| !pod.is_terminal())
    }

    /// Whether to go on with the next action.
    async fn act(
        &self,
        deployment: &Deployment,
        action: &Action,
        versions: &mut Versions,
    ) -> Result<bool, Error> {
        match action {
            Action::Create { name, hash, replicas, annotations } => {
                let body = new_set(deployment, name, hash, *replicas, annotations);
                self.create(deployment, name, &body, *replicas).await
            }
            Action::Annotate { name, annotations, min_ready_seconds } => {
                let patch = json!({"metadata": {"annotations": annotations}, "spec": {"minReadySeconds": min_ready_seconds}});
                self.patch(deployment, name, patch, versions).await.map(|()| true)
            }
            Action::Scale { name, from, to, annotations } => {
                let patch = json!({"metadata": {"annotations": annotations}, "spec": {"replicas": to}});
                self.patch(deployment, name, patch, versions).await?;
                self.tell_scaled(deployment, name, *from, *to);
                Ok(true)
            }
            Action::Delete { name, uid } => {
                let options = DeleteOptions::uid(uid);
                match self
                    .api
                    .delete(&resource::REPLICA_SETS, &deployment.metadata.namespace, name, &options)
                    .await
                {
                    Err(e) if !e.is_not_found() => Err(e),
                    _ => Ok(true),
                }
            }
        }
    }

    fn tell_scaled(&self, deployment: &Deployment, name: &str, from: i32, to: i32) {
        if from != to {
            let way = if to > from { "up" } else { "down" };
            let message = format!("Scaled {way} replica set {name} from {from} to {to}");
            let reference = ObjectReference::new(&resource::DEPLOYMENTS, &deployment.metadata);
            self.recorder.normal(&reference, "ScalingReplicaSet", message);
        }
    }

    /// Patches the set as it was read; a set that changed since then is a conflict.
    async fn patch(
        &self,
        deployment: &Deployment,
        name: &str,
        mut patch: Value,
        versions: &mut Versions,
    ) -> Result<(), Error> {
        if let Some(version) = versions.get(name) {
            patch["metadata"]["resourceVersion"] = version.as_str().into();
        }
        let namespace = &deployment.metadata.namespace;
        let after: OnlyMeta =
            self.api.patch(&resource::REPLICA_SETS, namespace, name, "", &Patch::Merge, &patch).await?;
        versions.insert(name.into(), after.metadata.resource_version);
        Ok(())
    }

    async fn create(
        &self,
        deployment: &Deployment,
        name: &str,
        body: &Value,
        replicas: i32,
    ) -> Result<bool, Error> {
        let namespace = &deployment.metadata.namespace;
        match self.api.create::<IgnoredAny>(&resource::REPLICA_SETS, namespace, body).await {
            Ok(_) => {
                self.tell_scaled(deployment, name, 0, replicas);
                Ok(true)
            }
            Err(e) if e.is_already_exists() => self.collision(deployment, name, e).await,
            Err(e) if e.is_namespace_terminating() => Ok(false),
            Err(e) => {
                self.tell_failed_create(deployment, name, &e).await?;
                Err(e)
            }
        }
    }

    /// A set of that name exists: ours from a sync that the informer has not shown yet, or another template of
    /// the same hash.
    async fn collision(&self, deployment: &Deployment, name: &str, error: Error) -> Result<bool, Error> {
        let meta = &deployment.metadata;
        let present: ReplicaSet = self.api.get(&resource::REPLICA_SETS, &meta.namespace, name).await?;
        if present.metadata.is_controlled_by(&meta.uid)
            && model::same_template(&present.spec.template, &deployment.spec.template)
        {
            return Ok(true);
        }
        let mut status = deployment.status.clone();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        self.put_status(deployment, meta, &status).await?;
        Err(error)
    }

    async fn tell_failed_create(
        &self,
        deployment: &Deployment,
        name: &str,
        error: &Error,
    ) -> Result<(), Error> {
        let message = format!("Failed to create new replica set {name:?}: {error}");
        let mut status = deployment.status.clone();
        let failed = Condition {
            last_update_time: Some(Time::now()),
            ..Condition::new("Progressing", "False", "ReplicaSetCreateError", message, Time::now())
        };
        model::set_condition(&mut status.conditions, failed);
        if status == deployment.status {
            return Ok(());
        }
        self.put_status(deployment, &deployment.metadata, &status).await
    }

    async fn write_status(&self, deployment: &Deployment, plan: &Plan) -> Result<(), Error> {
        if plan.status == deployment.status && plan.revision.is_none() {
            return Ok(());
        }
        let mut meta = deployment.metadata.clone();
        if let Some(revision) = &plan.revision {
            meta.annotations = meta.annotations.with(REVISION, revision);
        }
        self.put_status(deployment, &meta, &plan.status).await
    }

    async fn put_status(
        &self,
        deployment: &Deployment,
        meta: &ObjectMeta,
        status: &DeploymentStatus,
    ) -> Result<(), Error> {
        let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "status": status});
        let (namespace, name) = (&deployment.metadata.namespace, &deployment.metadata.name);
        match self.api.update::<IgnoredAny>(&resource::DEPLOYMENTS, namespace, name, "status", &body).await {
            Err(e) if e.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}

type Versions = HashMap<CompactString, CompactString>;

#[derive(Deserialize)]
struct OnlyMeta {
    metadata: ObjectMeta,
}

fn selects(deployment: &Deployment, set: &ReplicaSet) -> bool {
    !deployment.spec.selector.is_empty() && deployment.spec.selector.matches(&set.metadata.labels)
}

fn new_set(
    deployment: &Deployment,
    name: &str,
    hash: &str,
    replicas: i32,
    annotations: &client::StringMap,
) -> Value {
    let spec = &deployment.spec;
    let labels = spec.template.metadata.labels.with(HASH_LABEL, hash);
    let mut selector = spec.selector.clone();
    selector.match_labels = selector.match_labels.with(HASH_LABEL, hash);
    let mut template = spec.template.clone();
    template.metadata.labels = labels.clone();
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": deployment.metadata.namespace, "labels": labels, "annotations": annotations,
            "ownerReferences": [controller_ref(&resource::DEPLOYMENTS, &deployment.metadata)],
        },
        "spec": {"replicas": replicas, "minReadySeconds": spec.min_ready_seconds, "selector": selector, "template": template},
    })
}
