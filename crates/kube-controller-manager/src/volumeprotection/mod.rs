//! Volumes, claims and VolumeAttributesClasses are kept by a finalizer while they are used: three controllers with
//! one shell. The finalizers are put on by admission (StorageObjectInUseProtection), and here where it did not.

pub mod plan;

use std::sync::Arc;
use std::time::Duration;

use client::{Api, Error, Informer, ObjectKey, ObjectMeta, Resource, Store, View, WorkQueue, resource};
use futures::future::BoxFuture;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::context::{Context, on_change};
use crate::views::{PersistentVolume, PersistentVolumeClaim, Pod, VolumeAttributesClass};
use plan::Step;

/// What differs between the three.
struct Kind<V> {
    name: &'static str,
    resource: Resource,
    finalizer: &'static str,
    meta: fn(&V) -> &ObjectMeta,
}

type IsUsed<V> = Arc<dyn Fn(Arc<V>) -> BoxFuture<'static, Result<bool, Error>> + Send + Sync>;

struct Protector<V> {
    kind: Kind<V>,
    api: Api,
    objects: Store<V>,
    queue: WorkQueue<ObjectKey>,
    is_used: IsUsed<V>,
}

impl<V: View> Protector<V> {
    async fn run(self, informer: Informer<V>, context: Context) {
        let own = Arc::new(self);
        let enqueue = own.clone();
        on_change(&informer, move |_, new, deleted| {
            if !deleted && plan::step((enqueue.kind.meta)(new), enqueue.kind.finalizer) != Step::Nothing {
                enqueue.queue.add(new.key());
            }
        });
        informer.wait_synced().await;
        let (queue, name) = (own.queue.clone(), own.kind.name);
        let sync = move |key| {
            let own = own.clone();
            async move { own.sync(key).await }
        };
        context.work(&queue, 1, name, sync).await;
    }

    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        let Some(object) = self.objects.get_key(&key) else { return Ok(None) };
        let finalizer = self.kind.finalizer;
        match plan::step((self.kind.meta)(&object), finalizer) {
            Step::Nothing => {}
            Step::Add => self.write(&object, |list| list.push(finalizer.into())).await?,
            Step::Remove if (self.is_used)(object.clone()).await? => {}
            Step::Remove => self.write(&object, |list| list.retain(|f| *f != finalizer)).await?,
        }
        Ok(None)
    }

    /// Edits the finalizers of the object if it is still as the informer shows it; otherwise its event brings it back.
    async fn write(&self, object: &V, edit: impl FnOnce(&mut Vec<Value>)) -> Result<(), Error> {
        let (uid, version) = (object.uid(), object.resource_version());
        let change = |live: &mut Value| {
            let meta = &mut live["metadata"];
            if meta["uid"] != uid || meta["resourceVersion"] != version {
                return false;
            }
            match meta["finalizers"].as_array_mut() {
                Some(list) => edit(list),
                None => {
                    let mut list = Vec::new();
                    edit(&mut list);
                    meta["finalizers"] = json!(list);
                }
            }
            true
        };
        let written =
            self.api.modify::<IgnoredAny>(&self.kind.resource, object.namespace(), object.name(), "", change);
        match written.await {
            Err(e) if !e.is_not_found() => Err(e),
            _ => Ok(()),
        }
    }
}

/// PersistentVolumeClaims: kept while a pod on a node uses them.
pub async fn run_claims(context: Context) {
    let api = context.api("pvc-protection-controller").await;
    let (claims, pods) = (context.informers.persistent_volume_claims(), context.informers.pods());
    let queue = WorkQueue::new("pvcprotection");
    let enqueue = queue.clone();
    on_change(&pods, move |old, new, deleted| {
        let replaced = old.filter(|o| o.metadata.uid != new.metadata.uid);
        // Only a pod that uses nothing any more can set a claim free.
        if deleted || new.is_terminal() || new.spec.node_name.is_empty() || replaced.is_some() {
            for pod in replaced.into_iter().chain([new]) {
                pod.claims().for_each(|c| enqueue.add(ObjectKey::new(&pod.metadata.namespace, &c)));
            }
        }
    });
    pods.wait_synced().await;
    let (known, live) = (pods.store(), api.clone());
    let protector = Protector {
        kind: Kind {
            name: "pvcprotection",
            resource: resource::PERSISTENT_VOLUME_CLAIMS,
            finalizer: "kubernetes.io/pvc-protection",
            meta: |v: &PersistentVolumeClaim| &v.metadata,
        },
        api,
        objects: claims.store(),
        queue,
        is_used: Arc::new(move |claim| Box::pin(claim_is_used(known.clone(), live.clone(), claim))),
    };
    protector.run(claims, context).await;
}

/// The informer may not know the newest pods: before a claim is set free the server is asked.
async fn claim_is_used(
    known: Store<Pod>,
    api: Api,
    claim: Arc<PersistentVolumeClaim>,
) -> Result<bool, Error> {
    if plan::claim_is_used(&known, &claim) {
        return Ok(true);
    }
    let live = api.list::<Pod>(&resource::PODS, &claim.metadata.namespace, "").await?;
    Ok(live.items.iter().any(|pod| plan::pod_uses(pod, &claim)))
}

/// PersistentVolumes: kept while they are bound.
pub async fn run_volumes(context: Context) {
    let api = context.api("pv-protection-controller").await;
    let volumes = context.informers.persistent_volumes();
    let protector = Protector {
        kind: Kind {
            name: "pvprotection",
            resource: resource::PERSISTENT_VOLUMES,
            finalizer: "kubernetes.io/pv-protection",
            meta: |v: &PersistentVolume| &v.metadata,
        },
        api,
        objects: volumes.store(),
        queue: WorkQueue::new("pvprotection"),
        is_used: Arc::new(|volume| Box::pin(async move { Ok(plan::volume_is_used(&volume)) })),
    };
    protector.run(volumes, context).await;
}

/// VolumeAttributesClasses: kept while a volume or a claim names them.
pub async fn run_classes(context: Context) {
    let api = context.api("volumeattributesclass-protection-controller").await;
    let informers = &context.informers;
    let (classes, volumes, claims) = (
        informers.volume_attributes_classes(),
        informers.persistent_volumes(),
        informers.persistent_volume_claims(),
    );
    let queue = WorkQueue::new("vacprotection");
    let enqueue = queue.clone();
    on_change(&volumes, move |old, new, _| {
        let named = old.into_iter().chain([new]).map(|v| v.spec.volume_attributes_class_name.as_str());
        named.filter(|name| !name.is_empty()).for_each(|name| enqueue.add(ObjectKey::from(name)));
    });
    let enqueue = queue.clone();
    on_change(&claims, move |old, new, _| {
        let named = old.into_iter().chain([new]).flat_map(|c| plan::classes_of(c));
        named.for_each(|name| enqueue.add(ObjectKey::from(name)));
    });
    volumes.wait_synced().await;
    claims.wait_synced().await;
    let (volumes, claims, live) = (volumes.store(), claims.store(), api.clone());
    let protector = Protector {
        kind: Kind {
            name: "vacprotection",
            resource: resource::VOLUME_ATTRIBUTES_CLASSES,
            finalizer: "kubernetes.io/vac-protection",
            meta: |v: &VolumeAttributesClass| &v.metadata,
        },
        api,
        objects: classes.store(),
        queue,
        is_used: Arc::new(move |class| {
            Box::pin(class_is_used(volumes.clone(), claims.clone(), live.clone(), class))
        }),
    };
    protector.run(classes, context).await;
}

async fn class_is_used(
    volumes: Store<PersistentVolume>,
    claims: Store<PersistentVolumeClaim>,
    api: Api,
    class: Arc<VolumeAttributesClass>,
) -> Result<bool, Error> {
    let name = &class.metadata.name;
    let volume = |v: &PersistentVolume| v.spec.volume_attributes_class_name == *name;
    let claim = |c: &PersistentVolumeClaim| plan::classes_of(c).any(|n| n == name);
    if !volumes.select(volume).is_empty() || !claims.select(claim).is_empty() {
        return Ok(true);
    }
    let live = api.list::<PersistentVolumeClaim>(&resource::PERSISTENT_VOLUME_CLAIMS, "", "").await?;
    if live.items.iter().any(claim) {
        return Ok(true);
    }
    let live = api.list::<PersistentVolume>(&resource::PERSISTENT_VOLUMES, "", "").await?;
    Ok(live.items.iter().any(volume))
}
