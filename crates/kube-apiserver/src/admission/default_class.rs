//! DefaultStorageClass and DefaultIngressClass: what names no class gets the one that is marked as default, the
//! newest of several.

use std::sync::Arc;

use api::Value;
use apimachinery::{GroupResource, Status};
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::resource::Objects;
use async_trait::async_trait;

use super::context::{INGRESS_CLASSES, STORAGE_CLASSES, is};

/// The newest class with one of the annotations set to "true"; by name where they are equally old.
fn default_of(objects: &dyn Objects, resource: &GroupResource, annotations: &[&str]) -> Option<String> {
    let marked = |class: &Value| annotations.iter().any(|a| class.meta().annotation(a) == Some("true"));
    let mut classes: Vec<Arc<Value>> =
        objects.list(resource, "").into_iter().map(|o| o.value).filter(|c| marked(c)).collect();
    classes.sort_by(|a, b| {
        let age = b.meta().creation_timestamp().cmp(a.meta().creation_timestamp());
        age.then_with(|| a.name().cmp(b.name()))
    });
    classes.first().map(|c| c.name().to_owned())
}

pub struct DefaultStorageClass {
    objects: Arc<dyn Objects>,
}

impl DefaultStorageClass {
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects }
    }
}

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !is(a, "", "persistentvolumeclaims", "") {
            return Ok(());
        }
        let Some(claim) = &mut a.object else { return Ok(()) };
        let named = claim.at(&["spec", "storageClassName"]).is_some_and(|v| !v.is_null());
        if named || claim.meta().annotation("volume.beta.kubernetes.io/storage-class").is_some() {
            return Ok(());
        }
        const MARKS: [&str; 2] = [
            "storageclass.kubernetes.io/is-default-class",
            "storageclass.beta.kubernetes.io/is-default-class",
        ];
        if let Some(name) = default_of(self.objects.as_ref(), &STORAGE_CLASSES, &MARKS) {
            claim.set_at(&["spec", "storageClassName"], name);
        }
        Ok(())
    }
}

pub struct DefaultIngressClass {
    objects: Arc<dyn Objects>,
}

impl DefaultIngressClass {
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects }
    }
}

#[async_trait]
impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !is(a, "networking.k8s.io", "ingresses", "") {
            return Ok(());
        }
        let Some(ingress) = &mut a.object else { return Ok(()) };
        let named = ingress.at(&["spec", "ingressClassName"]).is_some_and(|v| !v.is_null());
        if named || ingress.meta().annotation("kubernetes.io/ingress.class").is_some() {
            return Ok(());
        }
        const MARK: [&str; 1] = ["ingressclass.kubernetes.io/is-default-class"];
        if let Some(name) = default_of(self.objects.as_ref(), &INGRESS_CLASSES, &MARK) {
            ingress.set_at(&["spec", "ingressClassName"], name);
        }
        Ok(())
    }
}
