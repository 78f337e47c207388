//! Keeps the status of PodDisruptionBudgets, by which the API server lets evictions through; and takes back the
//! condition of pods that were to be disrupted and were not.

pub mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::events::{ObjectReference, Recorder};
use client::{Api, Error, ObjectKey, OwnerReference, Patch, Store, Time, WorkQueue, Writes, resource};
use serde::de::IgnoredAny;
use serde_json::json;

use crate::context::{Context, on_change};
use crate::control::OnlyMeta;
use crate::informers::BY_NAMESPACE;
use crate::scales;
use crate::views::disruption::{BudgetStatus, PodDisruptionBudget};
use crate::views::stateful::StatefulSet;
use crate::views::{Deployment, Pod, ReplicaSet};

struct Controller {
    api: Api,
    recorder: Recorder,
    budgets: Store<PodDisruptionBudget>,
    pods: Store<Pod>,
    replica_sets: Store<ReplicaSet>,
    replication_controllers: Store<ReplicaSet>,
    deployments: Store<Deployment>,
    stateful_sets: Store<StatefulSet>,
    queue: WorkQueue<ObjectKey>,
    /// Pods whose DisruptionTarget condition may be out of date.
    stale: WorkQueue<ObjectKey>,
    writes: Writes<PodDisruptionBudget>,
}

/// Why the number of wanted pods is not known.
#[derive(Debug, thiserror::Error)]
enum ScaleError {
    #[error("found no controllers for pod {0:?}")]
    NoController(String),
    #[error("{0} does not implement the scale subresource")]
    NoScale(String),
    #[error(transparent)]
    Request(#[from] Error),
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("disruption-controller").await;
    let informers = &context.informers;
    let (budgets, pods) = (informers.disruption_budgets(), informers.pods());
    let (replica_sets, replication_controllers) =
        (informers.replica_sets(), informers.replication_controllers());
    let (deployments, stateful_sets) = (informers.deployments(), informers.stateful_sets());
    let controller = Arc::new(Controller {
        recorder: context.recorder(&api, "controllermanager"),
        api,
        writes: Writes::new(budgets.store()),
        budgets: budgets.store(),
        pods: pods.store(),
        replica_sets: replica_sets.store(),
        replication_controllers: replication_controllers.store(),
        deployments: deployments.store(),
        stateful_sets: stateful_sets.store(),
        queue: WorkQueue::new("disruption"),
        stale: WorkQueue::new("stale_pod_disruption"),
    });
    let own = controller.clone();
    on_change(&budgets, move |_, new, _| own.queue.add(new.metadata.key()));
    let own = controller.clone();
    on_change(&pods, move |old, new, _| own.pod_changed(old.map(|o| &**o), new));
    budgets.wait_synced().await;
    pods.wait_synced().await;
    replica_sets.wait_synced().await;
    replication_controllers.wait_synced().await;
    deployments.wait_synced().await;
    stateful_sets.wait_synced().await;
    let (queue, stale) = (controller.queue.clone(), controller.stale.clone());
    let own = controller.clone();
    let take_back = move |key| {
        let own = own.clone();
        async move { own.sync_stale(key).await }
    };
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    };
    tokio::join!(
        context.work(&queue, 1, "disruption", sync),
        context.work(&stale, 1, "stale_pod_disruption", take_back)
    );
}

impl Controller {
    fn pod_changed(&self, old: Option<&Pod>, new: &Pod) {
        for budget in self.budgets.by_index(BY_NAMESPACE, &new.metadata.namespace) {
            if old.into_iter().chain([new]).any(|pod| budget.selects(&pod.metadata)) {
                self.queue.add(budget.metadata.key());
            }
        }
        if let Some(wait) = plan::stale_in(new, Time::now()) {
            self.stale.add_after(new.metadata.key(), wait);
        }
    }

    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        if !self.writes.is_settled(&key) {
            return Ok(Some(client::writes::FORGET));
        }
        let Some(budget) = self.budgets.get_key(&key) else { return Ok(None) };
        let mut pods = self.pods.by_index(BY_NAMESPACE, key.namespace());
        pods.retain(|pod| budget.selects(&pod.metadata));
        let reference = ObjectReference::new(&resource::POD_DISRUPTION_BUDGETS, &budget.metadata);
        if pods.is_empty() {
            self.recorder.normal(&reference, "NoPods", "No matching pods found");
        }
        let wanted = match plan::asks_controllers(&budget) {
            true => self.wanted(&budget, &pods, &reference).await,
            false => Ok(0),
        };
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(e) => {
                let message = format!("Failed to calculate the number of expected pods: {e}");
                self.recorder.warning(&reference, "CalculateExpectedPodCountFailed", message);
                self.write(&budget, &plan::failed(&budget, &e.to_string(), Time::now())).await?;
                // A change of the pods brings it back; what only a request tells is asked for again.
                return Ok(Some(Duration::from_secs(30)));
            }
        };
        let need = plan::need(&budget, pods.len(), wanted);
        let outcome = plan::outcome(&budget, &pods, need, Time::now());
        for pod in pods.iter().filter(|p| outcome.not_deleted.iter().any(|name| p.metadata.name == *name)) {
            let message = format!(
                "Pod was expected by PDB {}/{} to be deleted but it wasn't",
                budget.metadata.namespace, budget.metadata.name
            );
            self.recorder.warning(
                &ObjectReference::new(&resource::PODS, &pod.metadata),
                "NotDeleted",
                message,
            );
        }
        self.write(&budget, &outcome.status).await?;
        Ok(outcome.again)
    }

    /// The pods that the controllers of these pods want, together.
    async fn wanted(
        &self,
        budget: &PodDisruptionBudget,
        pods: &[Arc<Pod>],
        reference: &ObjectReference,
    ) -> Result<i32, ScaleError> {
        let mut scales: HashMap<String, i32> = HashMap::new();
        let mut unmanaged = false;
        for pod in pods {
            let Some(owner) = pod.metadata.controller() else {
                unmanaged = true;
                continue;
            };
            if !scales.contains_key(owner.uid.as_str()) {
                let (uid, scale) = match self.known_scale(&pod.metadata.namespace, owner) {
                    Some(found) => found,
                    None => self.asked_scale(pod, owner).await?,
                };
                scales.insert(uid, scale);
            }
        }
        if unmanaged {
            let selector = json!(budget.spec.selector);
            let message = format!(
                "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, \
                 the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account \
                 for these pods please set \".spec.minAvailable\" field of the PDB to an integer value."
            );
            self.recorder.warning(reference, "UnmanagedPods", message);
        }
        Ok(scales.values().sum())
    }

    /// The scale of a controller that is watched anyway, under the uid that counts: a Deployment's for its sets.
    fn known_scale(&self, namespace: &str, owner: &OwnerReference) -> Option<(String, i32)> {
        let same = |uid: &str| uid == owner.uid;
        match &*owner.kind {
            "ReplicaSet" => {
                let set = self.replica_sets.get(namespace, &owner.name).filter(|s| same(&s.metadata.uid))?;
                let Some(above) = set.metadata.controller().filter(|o| o.kind == "Deployment") else {
                    return Some((owner.uid.to_string(), set.replicas()));
                };
                let deployment = self.deployments.get(namespace, &above.name)?;
                Some((above.uid.to_string(), deployment.spec.replicas.unwrap_or(1)))
            }
            "ReplicationController" => {
                let set = self.replication_controllers.get(namespace, &owner.name)?;
                same(&set.metadata.uid).then(|| (owner.uid.to_string(), set.replicas()))
            }
            "StatefulSet" => {
                let set = self.stateful_sets.get(namespace, &owner.name)?;
                same(&set.metadata.uid).then(|| (owner.uid.to_string(), set.replicas()))
            }
            _ => None,
        }
    }

    /// The scale of any other controller, by its `scale` subresource.
    async fn asked_scale(&self, pod: &Pod, owner: &OwnerReference) -> Result<(String, i32), ScaleError> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let kind = scales::resource_of(&self.api, group, &owner.kind).await?;
        let kind = kind.ok_or_else(|| ScaleError::NoController(pod.metadata.name.to_string()))?;
        match scales::get(&self.api, &kind, &pod.metadata.namespace, &owner.name).await {
            Ok(scale) if scale.metadata.uid == owner.uid => Ok((owner.uid.to_string(), scale.spec.replicas)),
            Ok(_) => Err(ScaleError::NoController(pod.metadata.name.to_string())),
            Err(e) if e.is_not_found() => Err(ScaleError::NoScale(format!("{}.{group}", kind.plural))),
            Err(e) => Err(e.into()),
        }
    }

    async fn write(&self, budget: &PodDisruptionBudget, status: &BudgetStatus) -> Result<(), Error> {
        if *status == budget.status {
            return Ok(());
        }
        let (kind, meta) = (&resource::POD_DISRUPTION_BUDGETS, &budget.metadata);
        let body = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "status": status});
        match self.api.update::<OnlyMeta>(kind, &meta.namespace, &meta.name, "status", &body).await {
            Ok(written) => {
                self.writes.written(&meta.key(), meta.key(), &written.metadata.resource_version);
                Ok(())
            }
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// A pod that was to be disrupted two minutes ago and is not being deleted: it stays.
    async fn sync_stale(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        let Some(pod) = self.pods.get_key(&key) else { return Ok(None) };
        match plan::stale_in(&pod, Time::now()) {
            None => return Ok(None),
            Some(wait) if !wait.is_zero() => return Ok(Some(wait)),
            Some(_) => {}
        }
        let condition =
            json!({"type": "DisruptionTarget", "status": "False", "lastTransitionTime": Time::now()});
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
        let (kind, namespace, name) = (&resource::PODS, key.namespace(), key.name());
        match self.api.patch::<IgnoredAny>(kind, namespace, name, "status", &Patch::Strategic, &patch).await {
            Err(e) if !e.is_not_found() => Err(e),
            _ => Ok(None),
        }
    }
}
