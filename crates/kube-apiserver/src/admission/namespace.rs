//! NamespaceLifecycle and NamespaceExists: nothing is written into a namespace that is not there, nothing new into
//! one that is going, and three namespaces stay for ever.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apimachinery::Status;
use apimachinery::status::{Cause, Details};
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::resource::{Object, Objects};
use async_trait::async_trait;
use parking_lot::Mutex;

use super::context::{NAMESPACES, forbidden};

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

fn is_namespace(a: &Attributes<'_>) -> bool {
    &*a.kind.kind == "Namespace" && a.kind.group.is_empty()
}

/// From the cache, and where that has none from the store: the namespace may be a moment old.
async fn find(objects: &dyn Objects, name: &str) -> Result<Object, Status> {
    match objects.get(&NAMESPACES, "", name) {
        Some(found) => Ok(found),
        None => objects.get_latest(&NAMESPACES, "", name).await,
    }
}

/// For so long after its delete a namespace is looked up in the store: the cache may not know of it yet.
const LIVE: Duration = Duration::from_secs(30);

pub struct Lifecycle {
    objects: Arc<dyn Objects>,
    /// Namespaces whose delete went through this server, and when.
    deleted: Mutex<HashMap<String, Instant>>,
}

impl Lifecycle {
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects, deleted: Mutex::default() }
    }

    fn note_deleted(&self, name: &str) {
        let mut deleted = self.deleted.lock();
        deleted.retain(|_, when| when.elapsed() < LIVE);
        deleted.insert(name.to_owned(), Instant::now());
    }

    async fn find(&self, name: &str) -> Result<Object, Status> {
        let recent = self.deleted.lock().get(name).is_some_and(|when| when.elapsed() < LIVE);
        if recent {
            return self.objects.get_latest(&NAMESPACES, "", name).await;
        }
        find(self.objects.as_ref(), name).await
    }
}

#[async_trait]
impl Plugin for Lifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation != Operation::Connect
    }

    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if is_namespace(a) {
            if a.operation == Operation::Delete && IMMORTAL.contains(&a.name) {
                let why = "this namespace may not be deleted";
                return Err(Status::forbidden(&a.resource.group_resource(), a.name, why));
            }
            if a.operation == Operation::Delete {
                self.note_deleted(a.name);
            }
            return Ok(());
        }
        let review = &*a.resource.resource == "localsubjectaccessreviews";
        if a.namespace.is_empty() || a.operation == Operation::Delete || review {
            return Ok(());
        }
        let namespace = self.find(a.namespace).await?;
        let terminating = namespace.value.str_at(&["status", "phase"]) == "Terminating";
        if a.operation == Operation::Create && terminating { Err(going(a)) } else { Ok(()) }
    }
}

fn going(a: &Attributes<'_>) -> Status {
    let namespace = a.namespace;
    let mut status = forbidden(
        a,
        format!("unable to create new content in namespace {namespace} because it is being terminated"),
    );
    status.details.get_or_insert_with(Details::default).causes.push(Cause {
        reason: "NamespaceTerminating".into(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".into(),
    });
    status
}

pub struct Exists {
    objects: Arc<dyn Objects>,
}

impl Exists {
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects }
    }
}

#[async_trait]
impl Plugin for Exists {
    fn name(&self) -> &'static str {
        "NamespaceExists"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation != Operation::Connect
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        if a.namespace.is_empty() || is_namespace(a) {
            return Ok(());
        }
        find(self.objects.as_ref(), a.namespace).await.map(drop)
    }
}
