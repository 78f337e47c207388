//! What a fresh server makes by itself, and keeps as it should be: namespaces, roles and their bindings, priority
//! classes, flow control, the Service `kubernetes` with its endpoints, its own lease, and the objects by which
//! others find it. Each step is a hook after the start with a check of its own in `/readyz`, named as upstream's.
//!
//! Deliberately absent: default service accounts and `kube-root-ca.crt`, which are the controller manager's.

mod apiservices;
mod configmaps;
pub mod endpoints;
mod flowcontrol;
mod lease;
mod rbac;
mod service;
mod simple;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::Value;
use apimachinery::{GroupResource, Reason, Status};
use apiserver::resource::{Object, Objects};
use component_base::health::Health;
use etcd::SharedStore;
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use crate::allocators::context;
use crate::strategies::fields::{Fields, map_at};

/// What the objects say about this server.
#[derive(Clone, Debug)]
pub struct Settings {
    pub advertise: IpAddr,
    pub secure_port: u16,
    /// `--kubernetes-service-node-port`, 0 for none.
    pub node_port: u16,
    pub service_cidrs: Vec<IpNet>,
    pub etcd_prefix: String,
    /// Whether this server registers itself behind the Service `kubernetes`.
    pub reconcile_endpoints: bool,
    /// `data` of extension-apiserver-authentication.
    pub authentication: Vec<(String, String)>,
    /// Group-versions served by this server itself, with their places in discovery.
    pub local_groups: Vec<LocalGroup>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalGroup {
    pub group: String,
    pub version: String,
    pub group_priority: i64,
    pub version_priority: i64,
}

/// All that a hook needs.
#[derive(Clone)]
pub struct Bootstrap {
    pub objects: Arc<dyn Objects>,
    pub store: SharedStore,
    pub settings: Arc<Settings>,
    pub stop: CancellationToken,
}

/// Between two tries of a hook that failed.
const RETRY: Duration = Duration::from_millis(200);

impl Bootstrap {
    /// Starts all hooks; each is tried until it succeeds.
    pub fn start(&self, health: &Health) {
        self.hook(
            health,
            "start-system-namespaces-controller",
            |b| async move { simple::namespaces(&b).await },
        );
        self.hook(health, "rbac/bootstrap-roles", |b| async move { rbac::reconcile(&b).await });
        self.hook(health, "scheduling/bootstrap-system-priority-classes", |b| async move {
            simple::priority_classes(&b).await
        });
        self.hook(health, "priority-and-fairness-config-producer", |b| async move {
            flowcontrol::reconcile(&b).await
        });
        self.hook(
            health,
            "start-kubernetes-service-cidr-controller",
            |b| async move { service::cidr(&b).await },
        );
        self.hook(health, "start-cluster-authentication-info-controller", |b| async move {
            configmaps::authentication(&b).await
        });
        self.hook(health, "start-legacy-token-tracking-controller", |b| async move {
            configmaps::token_tracking(&b).await
        });
        self.hook(
            health,
            "apiservice-registration-controller",
            |b| async move { apiservices::local(&b).await },
        );
        self.background("bootstrap-controller", |b| async move { service::run(b).await });
        self.background(
            "start-kube-apiserver-identity-lease-controller",
            |b| async move { lease::run(b).await },
        );
        self.background("apiservice-autoregister", |b| async move { apiservices::run(b).await });
    }

    fn hook<F>(&self, health: &Health, name: &'static str, step: impl Fn(Bootstrap) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let done = Arc::new(AtomicBool::new(false));
        let seen = done.clone();
        health.add(&format!("poststarthook/{name}"), move || {
            if seen.load(Ordering::Acquire) { Ok(()) } else { Err("not finished".into()) }
        });
        let (this, health) = (self.clone(), health.clone());
        tokio::spawn(async move {
            while !this.stop.is_cancelled() {
                match step(this.clone()).await {
                    Ok(()) => {
                        done.store(true, Ordering::Release);
                        return health.touch();
                    }
                    Err(error) => tracing::info!(hook = name, %error, "will be tried again"),
                }
                this.pause(RETRY).await;
            }
        });
    }

    fn background<F>(&self, name: &'static str, task: impl FnOnce(Bootstrap) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tracing::debug!(name, "started");
        tokio::spawn(task(self.clone()));
    }

    /// Waits, but not beyond the end of the server.
    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    async fn create(&self, resource: &GroupResource, object: Value) -> Result<Object, Status> {
        let meta = map_at(&object, &["metadata"]);
        let (namespace, name) = (meta.text("namespace").to_owned(), meta.text("name").to_owned());
        let version = version_of(&object).to_owned();
        let cx = context::own("create", resource, &version, &namespace, &name);
        self.objects.create(&cx, resource, &namespace, object).await
    }

    /// As it is in the store, None if it is not there.
    async fn find(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Value>>, Status> {
        match self.objects.get_latest(resource, namespace, name).await {
            Ok(object) => Ok(Some(object.value)),
            Err(status) if status.is(Reason::NotFound) => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// Creates what is not there; what is stays as it is.
    async fn ensure(&self, resource: &GroupResource, object: Value) -> Result<(), Status> {
        let meta = map_at(&object, &["metadata"]);
        if self.find(resource, meta.text("namespace"), meta.text("name")).await?.is_some() {
            return Ok(());
        }
        match self.create(resource, object).await {
            Ok(_) => Ok(()),
            Err(status) if status.is(Reason::AlreadyExists) => Ok(()),
            Err(status) => Err(status),
        }
    }

    async fn update(
        &self,
        resource: &GroupResource,
        version: &str,
        subresource: &str,
        object: &Value,
        change: &(dyn for<'a> Fn(&'a mut Value) -> Result<(), Status> + Send + Sync),
    ) -> Result<(), Status> {
        let meta = map_at(object, &["metadata"]);
        let (namespace, name) = (meta.text("namespace"), meta.text("name"));
        let mut cx = context::own("update", resource, version, namespace, name);
        cx.info.subresource = subresource.into();
        self.objects.update(&cx, resource, subresource, namespace, name, change).await.map(drop)
    }
}

fn version_of(object: &Value) -> &str {
    let text = object.str_at(&["apiVersion"]);
    text.rsplit('/').next().unwrap_or(text)
}

/// The bootstrap objects of a resource, with apiVersion and kind.
pub(crate) fn objects_of(group: &str, resource: &str) -> Vec<Value> {
    let rows = api::resources::BOOTSTRAP
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut found = Vec::new();
    for row in rows {
        let Some(path) = row["path"].as_str() else { continue };
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (row_group, version, row_resource) = match parts[..] {
            ["api", version, resource] => ("", version, resource),
            ["apis", group, version, resource] => (group, version, resource),
            _ => continue,
        };
        if row_group != group || row_resource != resource {
            continue;
        }
        let mut object = crate::webhook::json::from_json(row["object"].clone());
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        object.set_at(&["apiVersion"], api_version);
        if let Some(kind) = kind_of(group, version, resource) {
            object.set_at(&["kind"], kind.as_str());
        }
        if let Some(m) = object.as_map_mut() {
            m.remove("status");
            m.map_mut("metadata").remove("generation");
        }
        found.push(object);
    }
    found
}

fn kind_of(group: &str, version: &str, resource: &str) -> Option<String> {
    let rows = api::resources::builtin();
    let row =
        rows.iter().find(|r| &*r.group == group && &*r.version == version && &*r.resource == resource)?;
    Some(row.kind.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_objects_are_whole() {
        assert_eq!(objects_of("", "namespaces").len(), 4);
        let roles = objects_of("rbac.authorization.k8s.io", "clusterroles");
        assert_eq!(roles.len(), 73);
        assert_eq!(roles[0].str_at(&["kind"]), "ClusterRole");
        assert_eq!(roles[0].str_at(&["apiVersion"]), "rbac.authorization.k8s.io/v1");
    }
}
