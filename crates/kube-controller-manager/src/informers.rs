//! The informers that the controllers share: one a kind, begun when the first controller asks for it.

use std::sync::OnceLock;

use client::{Api, Informer, InformerOptions, ObjectMeta, View, resource};
use tokio_util::sync::CancellationToken;

use crate::certificates::plan::Csr;
use crate::validatingadmissionpolicystatus::{POLICIES, Policy};
use crate::views::autoscaling::HorizontalPodAutoscaler;
use crate::views::batch::{CronJob, Job};
use crate::views::disruption::PodDisruptionBudget;
use crate::views::quota::ResourceQuota;
use crate::views::stateful::StatefulSet;
use crate::views::{
    ClusterRole, ConfigMap, ControllerRevision, DaemonSet, Deployment, EndpointSlice, Endpoints, Lease,
    Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicaSet, Service, ServiceAccount,
    StorageClass, TokenSecret, VolumeAttributesClass,
};

/// Index of namespaced objects by namespace.
pub const BY_NAMESPACE: &str = "namespace";
/// Index by the uid of the managing owner, or [`orphans_of`] a namespace.
pub const BY_CONTROLLER: &str = "controller";
/// Index of pods by node; empty for those that have none.
pub const BY_NODE: &str = "node";
/// Index of pods by `namespace/claim` of the claims that they use.
pub const BY_CLAIM: &str = "claim";
/// Index of volumes, and of claims that are not bound yet, by their storage class.
pub const BY_CLASS: &str = "class";
/// Index of Secrets with tokens by `namespace/name` of their service account.
pub const BY_ACCOUNT: &str = "account";
/// Index of EndpointSlices by `namespace/service`.
pub const BY_SERVICE: &str = "service";

/// The key in [`BY_CONTROLLER`] of a namespace's objects that nobody manages.
pub fn orphans_of(namespace: &str) -> String {
    format!("orphan/{namespace}")
}

fn controller_key(meta: &ObjectMeta) -> Vec<String> {
    vec![meta.controller().map_or_else(|| orphans_of(&meta.namespace), |owner| owner.uid.to_string())]
}

fn namespace_key(meta: &ObjectMeta) -> Vec<String> {
    vec![meta.namespace.to_string()]
}

/// See the module.
pub struct Informers {
    api: Api,
    shutdown: CancellationToken,
    pods: OnceLock<Informer<Pod>>,
    nodes: OnceLock<Informer<Node>>,
    replica_sets: OnceLock<Informer<ReplicaSet>>,
    replication_controllers: OnceLock<Informer<ReplicaSet>>,
    deployments: OnceLock<Informer<Deployment>>,
    daemon_sets: OnceLock<Informer<DaemonSet>>,
    controller_revisions: OnceLock<Informer<ControllerRevision>>,
    services: OnceLock<Informer<Service>>,
    endpoints: OnceLock<Informer<Endpoints>>,
    endpoint_slices: OnceLock<Informer<EndpointSlice>>,
    namespaces: OnceLock<Informer<Namespace>>,
    service_accounts: OnceLock<Informer<ServiceAccount>>,
    token_secrets: OnceLock<Informer<TokenSecret>>,
    root_ca_config_maps: OnceLock<Informer<ConfigMap>>,
    node_leases: OnceLock<Informer<Lease>>,
    cluster_roles: OnceLock<Informer<ClusterRole>>,
    certificate_signing_requests: OnceLock<Informer<Csr>>,
    jobs: OnceLock<Informer<Job>>,
    disruption_budgets: OnceLock<Informer<PodDisruptionBudget>>,
    resource_quotas: OnceLock<Informer<ResourceQuota>>,
    stateful_sets: OnceLock<Informer<StatefulSet>>,
    autoscalers: OnceLock<Informer<HorizontalPodAutoscaler>>,
    cron_jobs: OnceLock<Informer<CronJob>>,
    volume_attributes_classes: OnceLock<Informer<VolumeAttributesClass>>,
    storage_classes: OnceLock<Informer<StorageClass>>,
    persistent_volume_claims: OnceLock<Informer<PersistentVolumeClaim>>,
    persistent_volumes: OnceLock<Informer<PersistentVolume>>,
    validating_policies: OnceLock<Informer<Policy>>,
}

impl Informers {
    /// None is begun yet.
    pub fn new(api: Api, shutdown: CancellationToken) -> Self {
        Self {
            api,
            shutdown,
            pods: OnceLock::new(),
            nodes: OnceLock::new(),
            replica_sets: OnceLock::new(),
            replication_controllers: OnceLock::new(),
            deployments: OnceLock::new(),
            daemon_sets: OnceLock::new(),
            controller_revisions: OnceLock::new(),
            services: OnceLock::new(),
            endpoints: OnceLock::new(),
            endpoint_slices: OnceLock::new(),
            namespaces: OnceLock::new(),
            service_accounts: OnceLock::new(),
            token_secrets: OnceLock::new(),
            root_ca_config_maps: OnceLock::new(),
            node_leases: OnceLock::new(),
            cluster_roles: OnceLock::new(),
            certificate_signing_requests: OnceLock::new(),
            jobs: OnceLock::new(),
            disruption_budgets: OnceLock::new(),
            resource_quotas: OnceLock::new(),
            stateful_sets: OnceLock::new(),
            autoscalers: OnceLock::new(),
            cron_jobs: OnceLock::new(),
            volume_attributes_classes: OnceLock::new(),
            storage_classes: OnceLock::new(),
            persistent_volume_claims: OnceLock::new(),
            persistent_volumes: OnceLock::new(),
            validating_policies: OnceLock::new(),
        }
    }

    fn all<V: View>(&self, resource: resource::Resource) -> Informer<V> {
        self.some(resource, InformerOptions::default())
    }

    fn some<V: View>(&self, resource: resource::Resource, options: InformerOptions) -> Informer<V> {
        Informer::new(self.api.clone(), resource, options)
    }

    fn begin<V: View>(
        &self,
        cell: &OnceLock<Informer<V>>,
        make: impl FnOnce() -> Informer<V>,
    ) -> Informer<V> {
        let begun = || {
            let informer = make();
            informer.start(self.shutdown.clone());
            informer
        };
        cell.get_or_init(begun).clone()
    }

    pub fn pods(&self) -> Informer<Pod> {
        self.begin(&self.pods, || {
            self.all::<Pod>(resource::PODS)
                .with_index(BY_NAMESPACE, |v| namespace_key(&v.metadata))
                .with_index(BY_CONTROLLER, |v| controller_key(&v.metadata))
                .with_index(BY_NODE, |v| vec![v.spec.node_name.to_string()])
                .with_index(BY_CLAIM, |v| {
                    v.claims().map(|c| format!("{}/{c}", v.metadata.namespace)).collect()
                })
        })
    }

    pub fn nodes(&self) -> Informer<Node> {
        self.begin(&self.nodes, || self.all(resource::NODES))
    }

    pub fn replica_sets(&self) -> Informer<ReplicaSet> {
        self.begin(&self.replica_sets, || {
            self.all::<ReplicaSet>(resource::REPLICA_SETS)
                .with_index(BY_NAMESPACE, |v| namespace_key(&v.metadata))
                .with_index(BY_CONTROLLER, |v| controller_key(&v.metadata))
        })
    }

    pub fn replication_controllers(&self) -> Informer<ReplicaSet> {
        self.begin(&self.replication_controllers, || {
            self.all::<ReplicaSet>(resource::REPLICATION_CONTROLLERS)
                .with_index(BY_NAMESPACE, |v| namespace_key(&v.metadata))
                .with_index(BY_CONTROLLER, |v| controller_key(&v.metadata))
        })
    }

    pub fn deployments(&self) -> Informer<Deployment> {
        self.begin(&self.deployments, || {
            self.all::<Deployment>(resource::DEPLOYMENTS)
                .with_index(BY_NAMESPACE, |v| namespace_key(&v.metadata))
        })
    }

    pub fn daemon_sets(&self) -> Informer<DaemonSet> {
        self.begin(&self.daemon_sets, || {
            self.all::<DaemonSet>(resource::DAEMON_SETS)
                .with_index(BY_NAMESPACE, |v| namespace_key(&v.metadata))
        })
    }

    pub fn controller_revisions(&self) -> Informer<ControllerRevision> {
        self.begin(&self.controller_revisions, || {
            self.all::<ControllerRevision>(resource::CONTROLLER_REVISIONS)
                .with_index(BY_CONTROLLER, |v| controller_key(&v.metadata))
        })
    }

    pub fn services(&self) -> Informer<Service> {
        self.begin(&self.services, || {
            self.all::<Service>(resource::SERVICES).with_index(BY_NAMESPACE, |v| namespace_key(&v.metadata))
        })
    }

    pub fn endpoints(&self) -> Informer<Endpoints> {
        self.begin(&self.endpoints, || self.all(resource::ENDPOINTS))
    }

    pub fn endpoint_slices(&self) -> Informer<EndpointSlice> {
        self.begin(&self.endpoint_slices, || {
            self.all::<EndpointSlice>(resource::ENDPOINT_SLICES).with_index(BY_SERVICE, |v| {
                let service = v.metadata.labels.get("kubernetes.io/service-name");
                service.map(|name| format!("{}/{name}", v.metadata.namespace)).into_iter().collect()
            })
        })
    }

    pub fn namespaces(&self) -> Informer<Namespace> {
        self.begin(&self.namespaces, || self.all(resource::NAMESPACES))
    }

    pub fn service_accounts(&self) -> Informer<ServiceAccount> {
        self.begin(&self.service_accounts, || self.all(resource::SERVICE_ACCOUNTS))
    }

    /// Only the Secrets for service accounts' tokens; indexed by [`BY_ACCOUNT`].
    pub fn token_secrets(&self) -> Informer<TokenSecret> {
        let field_selector = "type=kubernetes.io/service-account-token".to_owned();
        self.begin(&self.token_secrets, || {
            self.some::<TokenSecret>(
                resource::SECRETS,
                InformerOptions { field_selector, ..InformerOptions::default() },
            )
            .with_index(BY_ACCOUNT, |v| {
                v.account().map(|name| format!("{}/{name}", v.metadata.namespace)).into_iter().collect()
            })
        })
    }

    /// Only the ConfigMaps `kube-root-ca.crt`.
    pub fn root_ca_config_maps(&self) -> Informer<ConfigMap> {
        let field_selector = "metadata.name=kube-root-ca.crt".to_owned();
        self.begin(&self.root_ca_config_maps, || {
            self.some(resource::CONFIG_MAPS, InformerOptions { field_selector, ..InformerOptions::default() })
        })
    }

    /// Only the leases of nodes.
    pub fn node_leases(&self) -> Informer<Lease> {
        let namespace = "kube-node-lease".to_owned();
        self.begin(&self.node_leases, || {
            self.some(resource::LEASES, InformerOptions { namespace, ..InformerOptions::default() })
        })
    }

    pub fn cluster_roles(&self) -> Informer<ClusterRole> {
        self.begin(&self.cluster_roles, || self.all(resource::CLUSTER_ROLES))
    }

    pub fn certificate_signing_requests(&self) -> Informer<Csr> {
        self.begin(&self.certificate_signing_requests, || self.all(resource::CERTIFICATE_SIGNING_REQUESTS))
    }

    pub fn persistent_volumes(&self) -> Informer<PersistentVolume> {
        self.begin(&self.persistent_volumes, || {
            self.all::<PersistentVolume>(resource::PERSISTENT_VOLUMES)
                .with_index(BY_CLASS, |v| vec![v.class().to_owned()])
        })
    }

    pub fn persistent_volume_claims(&self) -> Informer<PersistentVolumeClaim> {
        self.begin(&self.persistent_volume_claims, || {
            let pending = |v: &PersistentVolumeClaim| (!v.is_bound()).then(|| v.class().to_owned());
            self.all::<PersistentVolumeClaim>(resource::PERSISTENT_VOLUME_CLAIMS)
                .with_index(BY_CLASS, move |v| pending(v).into_iter().collect())
        })
    }

    pub fn storage_classes(&self) -> Informer<StorageClass> {
        self.begin(&self.storage_classes, || self.all(resource::STORAGE_CLASSES))
    }

    pub fn validating_policies(&self) -> Informer<Policy> {
        self.begin(&self.validating_policies, || self.all(POLICIES))
    }

    pub fn volume_attributes_classes(&self) -> Informer<VolumeAttributesClass> {
        self.begin(&self.volume_attributes_classes, || self.all(resource::VOLUME_ATTRIBUTES_CLASSES))
    }

    pub fn jobs(&self) -> Informer<Job> {
        self.begin(&self.jobs, || {
            self.all::<Job>(resource::JOBS)
                .with_index(BY_NAMESPACE, |v| namespace_key(&v.metadata))
                .with_index(BY_CONTROLLER, |v| controller_key(&v.metadata))
        })
    }

    pub fn cron_jobs(&self) -> Informer<CronJob> {
        self.begin(&self.cron_jobs, || self.all(resource::CRON_JOBS))
    }

    pub fn autoscalers(&self) -> Informer<HorizontalPodAutoscaler> {
        self.begin(&self.autoscalers, || self.all(resource::HORIZONTAL_POD_AUTOSCALERS))
    }

    pub fn stateful_sets(&self) -> Informer<StatefulSet> {
        self.begin(&self.stateful_sets, || {
            self.all::<StatefulSet>(resource::STATEFUL_SETS)
                .with_index(BY_NAMESPACE, |v| namespace_key(&v.metadata))
        })
    }

    pub fn resource_quotas(&self) -> Informer<ResourceQuota> {
        self.begin(&self.resource_quotas, || {
            self.all::<ResourceQuota>(resource::RESOURCE_QUOTAS)
                .with_index(BY_NAMESPACE, |v| namespace_key(&v.metadata))
        })
    }

    pub fn disruption_budgets(&self) -> Informer<PodDisruptionBudget> {
        self.begin(&self.disruption_budgets, || {
            self.all::<PodDisruptionBudget>(resource::POD_DISRUPTION_BUDGETS)
                .with_index(BY_NAMESPACE, |v| namespace_key(&v.metadata))
        })
    }
}
