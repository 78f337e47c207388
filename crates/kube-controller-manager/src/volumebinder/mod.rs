//! Binds claims to volumes that are there, and says what becomes of a volume when its claim goes.
//!
//! Deliberately absent: provisioners. A claim of a class with an external provisioner is handed to it by annotation;
//! in-tree provisioners, deleters and recyclers are not built, and their volumes become Failed with upstream's words.

pub mod plan;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use client::events::{ObjectReference, Recorder};
use client::{Api, Error, ObjectKey, Store, Time, WorkQueue, resource};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::context::{Context, on_change};
use crate::informers::BY_CLASS;
use crate::views::storage::BIND_COMPLETED;
use crate::views::{PersistentVolume, PersistentVolumeClaim, StorageClass};
use plan::{BOUND_BY_CONTROLLER, ClaimStep, Reclaim, Told, VolumeStep};

/// One queue and one worker for both halves, so that no volume is given away twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Claim(ObjectKey),
    Volume(ObjectKey),
}

struct Controller {
    api: Api,
    recorder: Recorder,
    volumes: Store<PersistentVolume>,
    claims: Store<PersistentVolumeClaim>,
    classes: Store<StorageClass>,
    queue: WorkQueue<Key>,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("persistent-volume-binder").await;
    let informers = &context.informers;
    let (volumes, claims, classes) =
        (informers.persistent_volumes(), informers.persistent_volume_claims(), informers.storage_classes());
    let controller = Arc::new(Controller {
        recorder: context.recorder(&api, "persistentvolume-controller"),
        api,
        volumes: volumes.store(),
        claims: claims.store(),
        classes: classes.store(),
        queue: WorkQueue::new("volumes"),
    });
    let own = controller.clone();
    on_change(&volumes, move |_, new, _| own.volume_changed(new));
    let own = controller.clone();
    on_change(&claims, move |old, new, _| {
        own.queue.add(Key::Claim(new.metadata.key()));
        for claim in old.into_iter().chain([new]).filter(|c| !c.spec.volume_name.is_empty()) {
            own.queue.add(Key::Volume(ObjectKey::from(claim.spec.volume_name.as_str())));
        }
    });
    let own = controller.clone();
    on_change(&classes, move |_, class, _| own.enqueue_pending(&class.metadata.name));
    volumes.wait_synced().await;
    claims.wait_synced().await;
    classes.wait_synced().await;
    let queue = controller.queue.clone();
    let sync = move |key| {
        let controller = controller.clone();
        async move {
            match key {
                Key::Claim(key) => controller.sync_claim(&key).await,
                Key::Volume(key) => controller.sync_volume(&key).await,
            }
        }
    };
    context.work(&queue, 1, "volumes", sync).await;
}

impl Controller {
    fn volume_changed(&self, volume: &PersistentVolume) {
        self.queue.add(Key::Volume(volume.metadata.key()));
        match &volume.spec.claim_ref {
            Some(claim) => self.queue.add(Key::Claim(ObjectKey::new(&claim.namespace, &claim.name))),
            None => self.enqueue_pending(volume.class()),
        }
    }

    /// The claims that wait for a volume of a class.
    fn enqueue_pending(&self, class: &str) {
        for claim in self.claims.by_index(BY_CLASS, class) {
            self.queue.add(Key::Claim(claim.metadata.key()));
        }
    }

    async fn sync_claim(&self, key: &ObjectKey) -> Result<Option<Duration>, Error> {
        let Some(claim) = self.claims.get_key(key) else { return Ok(None) };
        let class = self.classes.get("", claim.class());
        let mut volumes = self.volumes.by_index(BY_CLASS, claim.class());
        volumes.extend(self.volumes.get("", &claim.spec.volume_name).filter(|v| v.class() != claim.class()));
        match plan::claim_step(&claim, &volumes, class.as_deref()) {
            ClaimStep::Bind(volume) => return self.bind(&volume, &claim).await,
            ClaimStep::Provision(provisioner) => self.hand_over(&claim, &provisioner).await?,
            ClaimStep::Phase(phase, told) => {
                if phase != "Lost" || claim.status.phase != "Lost" {
                    self.tell(&resource::PERSISTENT_VOLUME_CLAIMS, &claim.metadata, told);
                }
                self.claim_phase(&claim, phase, None).await?;
            }
        }
        Ok(None)
    }

    fn tell(&self, kind: &client::Resource, meta: &client::ObjectMeta, told: Option<Told>) {
        let reference = ObjectReference::new(kind, meta);
        match told {
            Some(told) if told.warning => self.recorder.warning(&reference, told.reason, told.message),
            Some(told) => self.recorder.normal(&reference, told.reason, told.message),
            None => {}
        }
    }

    /// Makes both halves name each other; each step only where it is still to be done.
    async fn bind(
        &self,
        volume: &PersistentVolume,
        claim: &PersistentVolumeClaim,
    ) -> Result<Option<Duration>, Error> {
        if !self.bind_volume(volume, claim).await? {
            // The volume went to another claim meanwhile: its event is on the way.
            return Ok(Some(Duration::from_secs(1)));
        }
        self.volume_phase(volume, "Bound", None).await?;
        if claim.spec.volume_name != volume.metadata.name || !claim.is_bound() {
            self.bind_claim(volume, claim).await?;
        }
        self.claim_phase(claim, "Bound", Some(volume)).await?;
        Ok(None)
    }

    /// Whether the volume names the claim afterwards.
    async fn bind_volume(
        &self,
        volume: &PersistentVolume,
        claim: &PersistentVolumeClaim,
    ) -> Result<bool, Error> {
        if volume.spec.claim_ref.as_ref().is_some_and(|r| r.uid == claim.metadata.uid) {
            return Ok(true);
        }
        let mut ours = false;
        let change = |live: &mut Value| {
            let reference: crate::views::storage::ClaimReference =
                serde_json::from_value(live["spec"]["claimRef"].clone()).unwrap_or_default();
            let free = reference.name.is_empty();
            ours =
                live["metadata"]["uid"] == *volume.metadata.uid && (free || plan::is_for(&reference, claim));
            if free {
                live["metadata"]["annotations"][BOUND_BY_CONTROLLER] = "yes".into();
            }
            let meta = &claim.metadata;
            live["spec"]["claimRef"] = json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta.namespace, "name": meta.name,
                "uid": meta.uid, "resourceVersion": meta.resource_version,
            });
            ours
        };
        let kind = &resource::PERSISTENT_VOLUMES;
        self.api.modify::<IgnoredAny>(kind, "", &volume.metadata.name, "", change).await?;
        Ok(ours)
    }

    async fn bind_claim(
        &self,
        volume: &PersistentVolume,
        claim: &PersistentVolumeClaim,
    ) -> Result<(), Error> {
        let change = |live: &mut Value| {
            let annotations = &mut live["metadata"]["annotations"];
            annotations[BIND_COMPLETED] = "yes".into();
            if claim.spec.volume_name.is_empty() {
                annotations[BOUND_BY_CONTROLLER] = "yes".into();
            }
            live["spec"]["volumeName"] = volume.metadata.name.as_str().into();
            live["metadata"]["uid"] == *claim.metadata.uid
        };
        let (kind, meta) = (&resource::PERSISTENT_VOLUME_CLAIMS, &claim.metadata);
        self.api.modify::<IgnoredAny>(kind, &meta.namespace, &meta.name, "", change).await.map(drop)
    }

    /// The claim's phase; of a bound one also what it got.
    async fn claim_phase(
        &self,
        claim: &PersistentVolumeClaim,
        phase: &str,
        volume: Option<&PersistentVolume>,
    ) -> Result<(), Error> {
        let known = volume.is_none_or(|v| {
            let class = &claim.status.current_volume_attributes_class_name;
            claim.status.access_modes == v.spec.access_modes
                && claim.status.capacity.contains_key("storage")
                && *class == v.spec.volume_attributes_class_name
        });
        if claim.status.phase == phase && known {
            return Ok(());
        }
        let change = |live: &mut Value| {
            let status = &mut live["status"];
            status["phase"] = phase.into();
            match volume {
                Some(volume) => {
                    status["accessModes"] = json!(volume.spec.access_modes);
                    if status["capacity"]["storage"].is_null() {
                        status["capacity"]["storage"] = json!(volume.spec.capacity.get("storage"));
                    }
                    if !volume.spec.volume_attributes_class_name.is_empty() {
                        status["currentVolumeAttributesClassName"] =
                            json!(volume.spec.volume_attributes_class_name);
                    }
                }
                None => {
                    let status = status.as_object_mut().into_iter();
                    status.for_each(|s| s.retain(|key, _| key != "accessModes" && key != "capacity"));
                }
            }
            live["metadata"]["uid"] == *claim.metadata.uid
        };
        let (kind, meta) = (&resource::PERSISTENT_VOLUME_CLAIMS, &claim.metadata);
        self.api.modify::<IgnoredAny>(kind, &meta.namespace, &meta.name, "status", change).await.map(drop)
    }

    /// Names the external provisioner in the claim.
    async fn hand_over(&self, claim: &PersistentVolumeClaim, provisioner: &str) -> Result<(), Error> {
        const NAMES: [&str; 2] =
            ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];
        let (kind, meta) = (&resource::PERSISTENT_VOLUME_CLAIMS, &claim.metadata);
        if NAMES.iter().any(|name| meta.annotations.get(name) != Some(provisioner)) {
            let change = |live: &mut Value| {
                NAMES.iter().for_each(|name| live["metadata"]["annotations"][*name] = provisioner.into());
                live["metadata"]["uid"] == *meta.uid
            };
            self.api.modify::<IgnoredAny>(kind, &meta.namespace, &meta.name, "", change).await?;
        }
        self.tell(kind, meta, Some(plan::external(provisioner)));
        self.claim_phase(claim, "Pending", None).await
    }

    async fn sync_volume(&self, key: &ObjectKey) -> Result<Option<Duration>, Error> {
        let Some(volume) = self.volumes.get_key(key) else { return Ok(None) };
        let claim = match &volume.spec.claim_ref {
            Some(reference) if !reference.uid.is_empty() => {
                self.claim_of(&reference.namespace, &reference.name, &reference.uid).await?
            }
            _ => None,
        };
        match plan::volume_step(&volume, claim.as_deref()) {
            VolumeStep::Phase(phase) => self.volume_phase(&volume, phase, None).await?,
            VolumeStep::Wait => {
                self.queue.add(Key::Claim(claim.map_or_else(|| key.clone(), |c| c.metadata.key())));
            }
            VolumeStep::Unbind(whole) => self.unbind(&volume, whole).await?,
            VolumeStep::Reclaim(Reclaim::Release) => self.volume_phase(&volume, "Released", None).await?,
            VolumeStep::Reclaim(Reclaim::Fail(reason, message)) => {
                self.volume_phase(&volume, "Failed", Some(&message)).await?;
                let told = Told { warning: true, reason, message };
                self.tell(&resource::PERSISTENT_VOLUMES, &volume.metadata, Some(told));
            }
        }
        Ok(None)
    }

    /// The claim of that uid, also one that the informer does not show yet.
    async fn claim_of(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<Option<Arc<PersistentVolumeClaim>>, Error> {
        if let Some(known) = self.claims.get(namespace, name)
            && known.metadata.uid == uid
        {
            return Ok(Some(known));
        }
        match self.api.get(&resource::PERSISTENT_VOLUME_CLAIMS, namespace, name).await {
            Ok(claim) => Ok(Some(Arc::new(claim))),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn volume_phase(
        &self,
        volume: &PersistentVolume,
        phase: &str,
        message: Option<&str>,
    ) -> Result<(), Error> {
        if volume.status.phase == phase {
            return Ok(());
        }
        let change = |live: &mut Value| {
            let status = &mut live["status"];
            if status["phase"] != phase {
                status["lastPhaseTransitionTime"] = json!(Time::now());
            }
            status["phase"] = phase.into();
            status["message"] = message.unwrap_or_default().into();
            live["metadata"]["uid"] == *volume.metadata.uid
        };
        let (kind, name) = (&resource::PERSISTENT_VOLUMES, &volume.metadata.name);
        match self.api.modify::<IgnoredAny>(kind, "", name, "status", change).await {
            Err(e) if !e.is_not_found() => Err(e),
            _ => Ok(()),
        }
    }

    /// `whole`: the controller had bound it, and takes everything back; else the user's reference stays.
    async fn unbind(&self, volume: &PersistentVolume, whole: bool) -> Result<(), Error> {
        let change = |live: &mut Value| {
            if let Some(spec) = live["spec"].as_object_mut().filter(|_| whole) {
                spec.remove("claimRef");
            }
            if let Some(annotations) = live["metadata"]["annotations"].as_object_mut().filter(|_| whole) {
                annotations.remove(BOUND_BY_CONTROLLER);
            }
            if let Some(reference) = live["spec"]["claimRef"].as_object_mut() {
                reference.remove("uid");
                reference.remove("resourceVersion");
            }
            live["metadata"]["uid"] == *volume.metadata.uid
        };
        let kind = &resource::PERSISTENT_VOLUMES;
        self.api.modify::<IgnoredAny>(kind, "", &volume.metadata.name, "", change).await?;
        self.volume_phase(volume, "Available", None).await
    }
}
