//! A small store of objects for unit tests of authorizers, admission plugins and endpoints, and what else such tests
//! make. No strategies, no resource versions that mean anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Value;
use api::schema::TypeRef;
use apimachinery::{GroupResource, GroupVersionKind, GroupVersionResource, Status};
use apiserver::request::{RequestContext, RequestInfo, UserInfo};
use apiserver::resource::{Change, Object, Objects, Preconditions};
use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt as _};
use parking_lot::Mutex;

/// The PEM text of a new certificate, of an authority or of nobody in particular.
pub fn certificate(is_authority: bool) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["a.b".to_owned()]).unwrap();
    if is_authority {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    params.self_signed(&key).unwrap().pem()
}

type Key = (GroupResource, String, String);

#[derive(Default)]
pub struct Fake {
    objects: Mutex<BTreeMap<Key, Object>>,
}

impl Fake {
    /// With objects from JSON, by resource (`pods`, `roles.rbac.authorization.k8s.io`).
    pub fn with(objects: &[(&str, serde_json::Value)]) -> Arc<Self> {
        let fake = Self::default();
        for (resource, object) in objects {
            fake.put(resource, object.clone());
        }
        Arc::new(fake)
    }

    pub fn put(&self, resource: &str, object: serde_json::Value) {
        let value = value(object);
        let key = (
            group_resource(resource),
            value.str_at(&["metadata", "namespace"]).to_owned(),
            value.str_at(&["metadata", "name"]).to_owned(),
        );
        self.objects.lock().insert(key, Object { value: Arc::new(value), resource_version: 1 });
    }

    pub fn remove(&self, resource: &str, namespace: &str, name: &str) {
        self.objects.lock().remove(&(group_resource(resource), namespace.into(), name.into()));
    }
}

/// `roles.rbac.authorization.k8s.io` to resource and group.
pub fn group_resource(text: &str) -> GroupResource {
    let (resource, group) = text.split_once('.').unwrap_or((text, ""));
    GroupResource::new(group, resource)
}

/// An object tree out of `json!`.
pub fn value(json: serde_json::Value) -> Value {
    crate::webhook::json::from_json(json)
}

/// A context of `user` for admission and endpoints.
pub fn context(user: UserInfo) -> RequestContext {
    RequestContext {
        info: RequestInfo::default(),
        user: Arc::new(user),
        dry_run: false,
        field_manager: String::new(),
        user_agent: String::new(),
        audit_id: String::new(),
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
        warnings: apiserver::request::Warnings::default(),
    }
}

#[async_trait]
impl Objects for Fake {
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Object> {
        self.objects.lock().get(&(resource.clone(), namespace.into(), name.into())).cloned()
    }

    fn list(&self, resource: &GroupResource, namespace: &str) -> Vec<Object> {
        let objects = self.objects.lock();
        let wanted = |key: &Key| key.0 == *resource && (namespace.is_empty() || key.1 == namespace);
        objects.iter().filter(|(key, _)| wanted(key)).map(|(_, o)| o.clone()).collect()
    }

    fn watch(&self, resource: &GroupResource) -> BoxStream<'static, Change> {
        let present: Vec<Change> =
            self.list(resource, "").into_iter().map(|object| Change::Set { object, old: None }).collect();
        futures::stream::iter(present)
            .chain(futures::stream::once(async { Change::Synced }))
            .chain(futures::stream::pending())
            .boxed()
    }

    async fn get_latest(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Object, Status> {
        self.get(resource, namespace, name).ok_or_else(|| Status::not_found(resource, name))
    }

    async fn create(
        &self,
        _: &RequestContext,
        resource: &GroupResource,
        namespace: &str,
        object: Value,
    ) -> Result<Object, Status> {
        let name = object.str_at(&["metadata", "name"]).to_owned();
        let object = Object { value: Arc::new(object), resource_version: 1 };
        self.objects.lock().insert((resource.clone(), namespace.into(), name), object.clone());
        Ok(object)
    }

    async fn update(
        &self,
        _: &RequestContext,
        resource: &GroupResource,
        _: &str,
        namespace: &str,
        name: &str,
        change: &(dyn for<'a> Fn(&'a mut Value) -> Result<(), Status> + Send + Sync),
    ) -> Result<Object, Status> {
        let mut value = self.get_latest(resource, namespace, name).await?.value.as_ref().clone();
        change(&mut value)?;
        let object = Object { value: Arc::new(value), resource_version: 2 };
        self.objects.lock().insert((resource.clone(), namespace.into(), name.into()), object.clone());
        Ok(object)
    }

    async fn delete(
        &self,
        _: &RequestContext,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        _: Option<i64>,
        _: Preconditions,
    ) -> Result<(), Status> {
        self.objects.lock().remove(&(resource.clone(), namespace.into(), name.into()));
        Ok(())
    }

    /// As if all kinds were namespaced and their plurals regular.
    fn resource_of(&self, kind: &GroupVersionKind) -> Option<(GroupVersionResource, bool)> {
        let resource = format!("{}s", kind.kind.to_lowercase());
        Some((GroupVersionResource::new(&*kind.group, &*kind.version, resource), true))
    }

    /// Of config maps alone.
    fn schema(&self, resource: &GroupVersionResource) -> Option<TypeRef> {
        (&*resource.resource == "configmaps").then(|| api::schema::by_gvk("", "v1", "ConfigMap"))?
    }
}
