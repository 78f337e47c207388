//! How the rest of the server reaches stored objects: by [`Objects`], whatever kind they are of. The registry
//! implements it; strategies, admission, authorizers and endpoints use it.

use std::sync::Arc;

use api::Value;
use api::schema::TypeRef;
use apimachinery::{GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource, Status};
use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::request::RequestContext;

/// An object as the watch cache holds it, decoded on demand and shared.
#[derive(Clone, Debug)]
pub struct Object {
    /// In the storage version, defaulted, with metadata.resourceVersion.
    pub value: Arc<Value>,
    pub resource_version: i64,
}

#[derive(Clone, Debug)]
pub enum Change {
    Set {
        object: Object,
        old: Option<Object>,
    },
    Deleted {
        old: Object,
    },
    /// All objects there were at the start have been sent.
    Synced,
}

/// A precondition of an internal write.
#[derive(Clone, Debug, Default)]
pub struct Preconditions {
    pub uid: Option<String>,
    pub resource_version: Option<i64>,
}

#[async_trait]
pub trait Objects: Send + Sync {
    /// From the watch cache, which may lag by milliseconds.
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Object>;

    /// All of a namespace, or of the cluster where it is "". Unordered; from the watch cache.
    fn list(&self, resource: &GroupResource, namespace: &str) -> Vec<Object>;

    /// The objects there are, then `Synced`, then each change.
    fn watch(&self, resource: &GroupResource) -> BoxStream<'static, Change>;

    /// The newest, from the store.
    async fn get_latest(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Object, Status>;

    /// What an object in a request's version is after decoding: canonical and with its defaults. For objects that
    /// were changed outside of this server (webhooks).
    fn complete(&self, resource: &GroupVersionResource, object: Value) -> Result<Value, Status> {
        let _ = resource;
        Ok(object)
    }

    /// The resource whose objects are of this kind, in its version, and whether it is namespaced. Walks all rows: for
    /// what is set up, not for requests.
    fn resource_of(&self, kind: &GroupVersionKind) -> Option<(GroupVersionResource, bool)> {
        let _ = kind;
        None
    }

    /// The type of a resource's objects in its version.
    fn schema(&self, resource: &GroupVersionResource) -> Option<TypeRef> {
        let _ = resource;
        None
    }

    /// The versions in which a resource is served.
    fn versions(&self, resource: &GroupResource) -> Vec<GroupVersionKind> {
        let _ = resource;
        Vec::new()
    }

    /// An object of one served version in another one.
    async fn convert(
        &self,
        resource: &GroupVersionResource,
        object: Value,
        to: &GroupVersion,
    ) -> Result<Value, Status> {
        let _ = object;
        Err(Status::internal(format!("no conversion from {} to {to}", resource.group_version())))
    }

    /// A create with admission, validation and all, as `cx.user`.
    async fn create(
        &self,
        cx: &RequestContext,
        resource: &GroupResource,
        namespace: &str,
        object: Value,
    ) -> Result<Object, Status>;

    /// Read, `change`, write, again on conflict, without admission but with the strategy; `subresource` is "" or
    /// "status". An error of `change` ends it. Used by endpoints such as pods/binding.
    async fn update(
        &self,
        cx: &RequestContext,
        resource: &GroupResource,
        subresource: &str,
        namespace: &str,
        name: &str,
        change: &(dyn for<'a> Fn(&'a mut Value) -> Result<(), Status> + Send + Sync),
    ) -> Result<Object, Status>;

    async fn delete(
        &self,
        cx: &RequestContext,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        grace_seconds: Option<i64>,
        preconditions: Preconditions,
    ) -> Result<(), Status>;
}
