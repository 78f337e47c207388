//! StorageObjectInUseProtection: volumes and claims get the finalizer that keeps them while they are used.
//! PersistentVolumeClaimResize: only what can grow may be asked to.

use std::sync::Arc;

use api::Value;
use apimachinery::Status;
use apimachinery::quantity::Quantity;
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::resource::Objects;
use async_trait::async_trait;

use super::context::{STORAGE_CLASSES, forbidden, is};

pub struct InUseProtection;

#[async_trait]
impl Plugin for InUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        let finalizer = match (&*a.resource.group, &*a.resource.resource, a.subresource) {
            ("", "persistentvolumes", "") => "kubernetes.io/pv-protection",
            ("", "persistentvolumeclaims", "") => "kubernetes.io/pvc-protection",
            ("storage.k8s.io", "volumeattributesclasses", "") => "kubernetes.io/vac-protection",
            _ => return Ok(()),
        };
        let Some(object) = &mut a.object else { return Ok(()) };
        if object.meta().has_finalizer(finalizer) {
            return Ok(());
        }
        let list = object.meta_mut().or_insert_with("finalizers", || Value::List(Vec::new()));
        match list.as_list_mut() {
            Some(list) => list.push(finalizer.into()),
            None => *list = Value::List(vec![finalizer.into()]),
        }
        Ok(())
    }
}

pub struct ClaimResize {
    objects: Arc<dyn Objects>,
}

impl ClaimResize {
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects }
    }

    fn expands(&self, claim: &Value) -> bool {
        let annotation = claim.meta().annotation("volume.beta.kubernetes.io/storage-class");
        let class = annotation.unwrap_or_else(|| claim.str_at(&["spec", "storageClassName"]));
        let found = self.objects.get(&STORAGE_CLASSES, "", class);
        !class.is_empty() && found.is_some_and(|c| c.value.bool_at(&["allowVolumeExpansion"]) == Some(true))
    }
}

fn size(claim: &Value) -> Option<Quantity> {
    claim.str_at(&["spec", "resources", "requests", "storage"]).parse().ok()
}

#[async_trait]
impl Plugin for ClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        if !is(a, "", "persistentvolumeclaims", "") {
            return Ok(());
        }
        let (Some(new), Some(old)) = (&a.object, &a.old_object) else { return Ok(()) };
        let grows = matches!((size(new), size(old)), (Some(new), Some(old)) if new > old);
        if !grows {
            return Ok(());
        }
        if old.str_at(&["status", "phase"]) != "Bound" {
            return Err(forbidden(a, "Only bound persistent volume claims can be expanded"));
        }
        if !self.expands(old) {
            return Err(forbidden(
                a,
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
            ));
        }
        Ok(())
    }
}
