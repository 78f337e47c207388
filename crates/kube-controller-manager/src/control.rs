//! What workload controllers share: who manages an object, adopting and releasing, creating and deleting pods in
//! growing batches.

use std::sync::Arc;

use client::events::{ObjectReference, Recorder};
use client::{Api, DeleteOptions, Error, ObjectMeta, OwnerReference, Patch, Resource, StringMap, resource};
use futures::future::join_all;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::views::PodTemplate;
use crate::views::pod::RawSpec;

/// The first of the batches in which pods are created; each next one is twice as large.
const FIRST_BATCH: usize = 1;

/// What is to happen to the relation of an object to a controller that could manage it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    Keep,
    Adopt,
    Release,
    Ignore,
}

/// Decides for one object; `matches`: the controller's selector matches it.
pub fn claim(controller: &ObjectMeta, object: &ObjectMeta, matches: bool) -> Claim {
    match object.controller() {
        Some(owner) if owner.uid != controller.uid => Claim::Ignore,
        Some(_) if matches => Claim::Keep,
        Some(_) if controller.is_being_deleted() => Claim::Ignore,
        Some(_) => Claim::Release,
        None if controller.is_being_deleted() || !matches || object.is_being_deleted() => Claim::Ignore,
        None => Claim::Adopt,
    }
}

/// The reference by which a controller manages objects.
pub fn controller_ref(kind: &Resource, meta: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: kind.api_version().into(),
        kind: (&*kind.kind).into(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Any answer of which only the metadata is read.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct OnlyMeta {
    pub metadata: ObjectMeta,
}

/// Carries out claims on objects of one resource for one controller.
pub struct Claimer<'a> {
    pub api: &'a Api,
    pub owner_kind: &'a Resource,
    pub owner: &'a ObjectMeta,
    pub kind: &'a Resource,
    /// What managed objects carry besides the reference.
    pub finalizer: Option<&'static str>,
}

impl Claimer<'_> {
    /// Whether the controller is still the one that was read, and not being deleted: asked of the server once
    /// before the first adoption.
    pub async fn can_adopt(&self) -> Result<bool, Error> {
        let fresh: OnlyMeta =
            match self.api.get(self.owner_kind, &self.owner.namespace, &self.owner.name).await {
                Err(e) if e.is_not_found() => return Ok(false),
                other => other?,
            };
        Ok(fresh.metadata.uid == self.owner.uid && !fresh.metadata.is_being_deleted())
    }

    /// Makes the controller the object's manager.
    pub async fn adopt(&self, object: &ObjectMeta) -> Result<(), Error> {
        let owner = controller_ref(self.owner_kind, self.owner);
        let mut patch = json!({"metadata": {"uid": object.uid, "ownerReferences": [owner]}});
        if let Some(finalizer) = self.finalizer {
            patch["metadata"]["finalizers"] = json!([finalizer]);
        }
        self.patch(object, patch).await
    }

    /// Ends the controller's management. An object that is gone, or is another one by now, needs nothing.
    pub async fn release(&self, object: &ObjectMeta) -> Result<(), Error> {
        let gone = json!({"$patch": "delete", "uid": self.owner.uid});
        let mut patch = json!({"metadata": {"uid": object.uid, "ownerReferences": [gone]}});
        if let Some(finalizer) = self.finalizer {
            patch["metadata"]["$deleteFromPrimitiveList/finalizers"] = json!([finalizer]);
        }
        match self.patch(object, patch).await {
            Err(e) if e.is_not_found() || e.is_invalid() => Ok(()),
            other => other,
        }
    }

    async fn patch(&self, object: &ObjectMeta, patch: Value) -> Result<(), Error> {
        let (namespace, name) = (&object.namespace, &object.name);
        self.api
            .patch::<IgnoredAny>(self.kind, namespace, name, "", &Patch::Strategic, &patch)
            .await
            .map(drop)
    }

    /// Claims each of `objects`: those that are managed afterwards.
    pub async fn claim_all<V>(
        &self,
        objects: impl IntoIterator<Item = Arc<V>>,
        meta: impl Fn(&V) -> &ObjectMeta,
        matches: impl Fn(&V) -> bool,
    ) -> Result<Vec<Arc<V>>, Error> {
        let mut mine = Vec::new();
        let mut adoptable = None;
        for object in objects {
            match claim(self.owner, meta(&object), matches(&object)) {
                Claim::Keep => mine.push(object),
                Claim::Ignore => {}
                Claim::Release => self.release(meta(&object)).await?,
                Claim::Adopt => {
                    if adoptable.is_none() {
                        adoptable = Some(self.can_adopt().await?);
                    }
                    if adoptable == Some(true) {
                        match self.adopt(meta(&object)).await {
                            Ok(()) => mine.push(object),
                            Err(e) if e.is_not_found() => {}
                            Err(e) => return Err(e),
                        }
                    }
                }
            }
        }
        Ok(mine)
    }
}

/// A pod to be created.
pub struct PodShape {
    /// What the server completes to a name; it cuts what is too long.
    pub generate_name: String,
    pub labels: StringMap,
    pub annotations: StringMap,
    pub finalizers: Vec<compact_str::CompactString>,
    pub spec: RawSpec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewPod<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: NewMeta<'a>,
    spec: &'a RawSpec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewMeta<'a> {
    generate_name: &'a str,
    namespace: &'a str,
    labels: &'a StringMap,
    #[serde(skip_serializing_if = "StringMap::is_empty")]
    annotations: &'a StringMap,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    finalizers: &'a [compact_str::CompactString],
    owner_references: [OwnerReference; 1],
}

/// Creates and deletes the pods of one controller, and tells of it in Events.
pub struct PodControl<'a> {
    pub api: &'a Api,
    pub recorder: &'a Recorder,
    pub owner_kind: &'a Resource,
    pub owner: &'a ObjectMeta,
}

impl PodControl<'_> {
    fn reference(&self) -> ObjectReference {
        ObjectReference::new(self.owner_kind, self.owner)
    }

    /// One pod of a template; `spec` and `labels` in place of the template's.
    pub async fn create_from(
        &self,
        template: &PodTemplate,
        labels: &StringMap,
        spec: &RawSpec,
    ) -> Result<(), Error> {
        let meta = NewMeta {
            generate_name: &format!("{}-", self.owner.name),
            namespace: &self.owner.namespace,
            labels,
            annotations: &template.metadata.annotations,
            finalizers: &template.metadata.finalizers,
            owner_references: [controller_ref(self.owner_kind, self.owner)],
        };
        self.send(meta, spec).await.map(drop)
    }

    /// One pod; its metadata as the server made it.
    pub async fn create(&self, shape: &PodShape) -> Result<ObjectMeta, Error> {
        let meta = NewMeta {
            generate_name: &shape.generate_name,
            namespace: &self.owner.namespace,
            labels: &shape.labels,
            annotations: &shape.annotations,
            finalizers: &shape.finalizers,
            owner_references: [controller_ref(self.owner_kind, self.owner)],
        };
        self.send(meta, &shape.spec).await
    }

    async fn send(&self, metadata: NewMeta<'_>, spec: &RawSpec) -> Result<ObjectMeta, Error> {
        let pod = NewPod { api_version: "v1", kind: "Pod", metadata, spec };
        match self.api.create::<OnlyMeta>(&resource::PODS, &self.owner.namespace, &pod).await {
            Ok(made) => {
                self.recorder.normal(
                    &self.reference(),
                    "SuccessfulCreate",
                    format!("Created pod: {}", made.metadata.name),
                );
                Ok(made.metadata)
            }
            Err(e) => {
                if !e.is_namespace_terminating() {
                    self.recorder.warning(&self.reference(), "FailedCreate", format!("Error creating: {e}"));
                }
                Err(e)
            }
        }
    }

    /// Deletes a pod: its resourceVersion now, empty where it is gone at once. One that was gone already is an error
    /// that `is_not_found`.
    pub async fn delete(&self, pod: &ObjectMeta) -> Result<String, Error> {
        let options = DeleteOptions::default();
        match self.api.delete_answer::<OnlyMeta>(&resource::PODS, &pod.namespace, &pod.name, &options).await {
            Ok(last) => {
                self.recorder.normal(
                    &self.reference(),
                    "SuccessfulDelete",
                    format!("Deleted pod: {}", pod.name),
                );
                Ok(last.metadata.resource_version.to_string())
            }
            Err(e) => {
                if !e.is_not_found() {
                    self.recorder.warning(&self.reference(), "FailedDelete", format!("Error deleting: {e}"));
                }
                Err(e)
            }
        }
    }
}

/// Does `work` for 0..count in batches of 1, 2, 4, ..., side by side within one; stops after the first batch with
/// a failure. How many succeeded, and the first failure.
pub async fn slow_start<R>(count: usize, mut work: impl FnMut(usize) -> R) -> (usize, Option<Error>)
where
    R: Future<Output = Result<(), Error>>,
{
    let (mut done, mut succeeded, mut batch) = (0, 0, FIRST_BATCH);
    while done < count {
        let size = batch.min(count - done);
        let results = join_all((done..done + size).map(&mut work)).await;
        done += size;
        let failed: Vec<Error> = results.into_iter().filter_map(Result::err).collect();
        succeeded += size - failed.len();
        if let Some(first) = failed.into_iter().next() {
            return (succeeded, Some(first));
        }
        batch *= 2;
    }
    (succeeded, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use apimachinery::Status;

    fn meta(owner: &str, deleting: bool) -> ObjectMeta {
        let reference =
            OwnerReference { uid: owner.into(), controller: Some(true), ..OwnerReference::default() };
        ObjectMeta {
            uid: "own".into(),
            owner_references: if owner.is_empty() { vec![] } else { vec![reference] },
            deletion_timestamp: deleting.then(client::Time::now),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn claims() {
        for (owner, matches, controller_deleting, object_deleting, expected) in [
            ("own", true, false, false, Claim::Keep),
            ("own", false, false, false, Claim::Release),
            ("own", false, true, false, Claim::Ignore),
            ("other", true, false, false, Claim::Ignore),
            ("", true, false, false, Claim::Adopt),
            ("", true, true, false, Claim::Ignore),
            ("", true, false, true, Claim::Ignore),
            ("", false, false, false, Claim::Ignore),
        ] {
            let found = claim(&meta("", controller_deleting), &meta(owner, object_deleting), matches);
            assert_eq!(found, expected, "{owner} {matches} {controller_deleting} {object_deleting}");
        }
    }

    #[tokio::test]
    async fn batches_grow_and_stop_at_a_failure() {
        let mut tried = 0;
        let (done, error) = slow_start(100, |i| {
            tried += 1;
            async move { if i == 5 { Err(Error::Api(Status::unauthorized())) } else { Ok(()) } }
        })
        .await;
        assert!(error.is_some());
        assert_eq!((done, tried), (6, 7));
        assert_eq!(slow_start(10, |_| async { Ok(()) }).await.0, 10);
    }
}
