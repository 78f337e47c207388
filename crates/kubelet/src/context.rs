//! What every part of one kubelet shares. One value a kubelet; nothing in it is global to the process.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Api, Informer, ObjectMeta, Resource};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::RwLock;
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::cgroups::Cgroups;
use crate::config::KubeletConfiguration;
use crate::containers_gc::Policy;
use crate::environment::{Facts, ServiceFacts, service_variables};
use crate::events::Events;
use crate::eviction::Pressure;
use crate::images_gc::ImageGc;
use crate::network::dns::ClusterDns;
use crate::objects::Objects;
use crate::paths::Paths;
use crate::pod::PodExt;
use crate::pods::Pods;
use crate::probes::Probes;
use crate::runtime::configs::NodeSettings;
use crate::runtime::images::Images;
use crate::status::manager::Statuses;
use crate::user_namespaces::UserNamespaces;
use crate::volumes::Volumes;

const RUNTIME_CLASSES: Resource = Resource::of("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", false);

/// A Service as far as the environment of containers needs it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServiceView {
    /// Name and namespace.
    pub metadata: ObjectMeta,
    /// Address and ports.
    pub spec: ServiceSpec,
}

/// Part of a Service's specification.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpec {
    /// Cluster address, empty or `None` without one.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    /// Ports.
    pub ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServicePort {
    /// Name, maybe empty.
    pub name: String,
    /// Number.
    pub port: i32,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}

client::view!(ServiceView);

/// What is known of the node and may change.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    /// UID of the node's object; empty until it is registered.
    pub uid: String,
    /// Addresses, the primary one first.
    pub ips: Vec<String>,
    /// Labels, as the API has them.
    pub labels: BTreeMap<String, String>,
    /// Taints, as the API has them: key, value, effect.
    pub taints: Vec<k8s_openapi::api::core::v1::Taint>,
    /// Allocatable resources.
    pub allocatable: BTreeMap<String, String>,
}

/// One kubelet.
pub struct Context {
    /// Name of the node.
    pub node_name: String,
    /// Configuration with defaults.
    pub config: KubeletConfiguration,
    /// Folders.
    pub paths: Paths,
    /// The container runtime.
    pub runtime: cri::Runtime,
    /// The API server, if there is one.
    pub api: Option<Api>,
    /// Events.
    pub events: Events,
    /// Config maps and secrets.
    pub objects: Arc<Objects>,
    /// Images.
    pub images: Images,
    /// Volumes.
    pub volumes: Volumes,
    /// Ids of pods with users of their own.
    pub user_namespaces: UserNamespaces,
    /// Probes.
    pub probes: Probes,
    /// Statuses.
    pub statuses: Statuses,
    /// Control groups.
    pub cgroups: Cgroups,
    /// Settings of all containers.
    pub settings: NodeSettings,
    /// DNS of pods.
    pub dns: ClusterDns,
    /// Services, if there is an API server.
    pub services: Option<Informer<ServiceView>>,
    /// The node.
    pub node: RwLock<NodeFacts>,
    /// Why the pod network is not ready, `None` if it is.
    pub network: watch::Sender<Option<String>>,
    /// The pods.
    pub pods: Pods,
    /// When the machine was booted.
    pub machine_started: Timestamp,
    /// Told when there is something new to report about the node.
    pub node_news: Notify,
    /// What runs short on the node.
    pub pressure: Pressure,
    /// Images that may go.
    pub image_gc: ImageGc,
    /// Dead containers that are kept.
    pub dead_containers: Policy,
    /// The end.
    pub shutdown: CancellationToken,
}

impl Context {
    /// What the downward API tells containers of a pod with these addresses.
    #[must_use]
    pub fn facts(&self, ips: &[String]) -> Facts {
        let node = self.node.read();
        Facts { host_ips: node.ips.clone(), pod_ips: ips.to_vec(), allocatable: node.allocatable.clone() }
    }

    /// The addresses of a pod that is in the node's network.
    #[must_use]
    pub fn host_ips(&self) -> Vec<String> {
        self.node.read().ips.clone()
    }

    /// Where to reach a pod.
    #[must_use]
    pub fn pod_ip(&self, pod: &Pod) -> String {
        if pod.host_network() {
            return self.host_ips().first().cloned().unwrap_or_default();
        }
        self.statuses.get(pod.uid()).and_then(|status| status.pod_ip).unwrap_or_default()
    }

    /// Environment variables for the Services that a pod may see.
    ///
    /// # Errors
    /// If the Services are not known in time.
    pub async fn service_variables(&self, pod: &Pod) -> Result<Vec<(String, String)>, String> {
        let Some(services) = &self.services else { return Ok(Vec::new()) };
        let limit = std::time::Duration::from_secs(10);
        if tokio::time::timeout(limit, services.wait_synced()).await.is_err() {
            return Err("services have not yet been read at least once, cannot construct envvars".to_owned());
        }
        let links = pod.spec().enable_service_links.unwrap_or(true);
        let visible = services.store().select(|service| {
            let (namespace, name) = (&*service.metadata.namespace, &*service.metadata.name);
            (namespace == "default" && name == "kubernetes") || (links && namespace == pod.namespace())
        });
        let mut facts: Vec<_> = visible.iter().map(|service| facts_of(service)).collect();
        // the namespace's own service wins over the default one of the same name
        facts.sort_by(|a, b| (&a.0, a.1 != pod.namespace()).cmp(&(&b.0, b.1 != pod.namespace())));
        facts.dedup_by(|a, b| a.0 == b.0);
        let facts: Vec<_> = facts.into_iter().map(|(_, _, facts)| facts).collect();
        Ok(service_variables(&facts))
    }

    /// The runtime's handler for a pod, empty for the default.
    ///
    /// # Errors
    /// If the pod names a RuntimeClass that does not exist.
    pub async fn runtime_handler(&self, pod: &Pod) -> Result<String, String> {
        #[derive(Deserialize)]
        struct RuntimeClass {
            handler: String,
        }
        let name = pod.spec().runtime_class_name.as_deref().filter(|name| !name.is_empty());
        let (Some(name), Some(api)) = (name, &self.api) else { return Ok(String::new()) };
        match api.get::<RuntimeClass>(&RUNTIME_CLASSES, "", name).await {
            Ok(class) => Ok(class.handler),
            Err(error) => Err(format!("failed to get sandbox runtime: {error}")),
        }
    }
}

fn facts_of(service: &ServiceView) -> (String, String, ServiceFacts) {
    let ports =
        service.spec.ports.iter().map(|port| (port.name.clone(), port.port, port.protocol.clone())).collect();
    let facts =
        ServiceFacts { name: service.metadata.name.to_string(), ip: service.spec.cluster_ip.clone(), ports };
    (facts.name.clone(), service.metadata.namespace.to_string(), facts)
}
