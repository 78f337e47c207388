//! What all plugins need: names of resources, whether a plugin is meant, and refusals in upstream's form.

use std::sync::LazyLock;

use api::Value;
use apimachinery::{GroupResource, Status};
use apiserver::admission::Attributes;

macro_rules! resources {
    ($($name:ident = $group:literal $resource:literal;)*) => {
        $(pub static $name: LazyLock<GroupResource> = LazyLock::new(|| GroupResource::new($group, $resource));)*
    };
}

resources! {
    PODS = "" "pods";
    NODES = "" "nodes";
    NAMESPACES = "" "namespaces";
    SECRETS = "" "secrets";
    SERVICE_ACCOUNTS = "" "serviceaccounts";
    RESOURCE_QUOTAS = "" "resourcequotas";
    LIMIT_RANGES = "" "limitranges";
    PRIORITY_CLASSES = "scheduling.k8s.io" "priorityclasses";
    STORAGE_CLASSES = "storage.k8s.io" "storageclasses";
    INGRESS_CLASSES = "networking.k8s.io" "ingressclasses";
    RUNTIME_CLASSES = "node.k8s.io" "runtimeclasses";
    CERTIFICATE_REQUESTS = "certificates.k8s.io" "certificatesigningrequests";
    CSI_DRIVERS = "storage.k8s.io" "csidrivers";
}

/// The annotation of pods that mirror a manifest file of their node.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// True for this group, resource and subresource ("" for none), in any version.
pub fn is(a: &Attributes<'_>, group: &str, resource: &str, subresource: &str) -> bool {
    &*a.resource.resource == resource && &*a.resource.group == group && a.subresource == subresource
}

/// True for pods themselves.
pub fn is_pod(a: &Attributes<'_>) -> bool {
    is(a, "", "pods", "")
}

/// 403 in the words of admission: the object by its name, or by what its name will begin with.
pub fn forbidden(a: &Attributes<'_>, why: impl std::fmt::Display) -> Status {
    let meta = |field: &str| a.object.as_ref().map_or("", |o| o.str_at(&["metadata", field]));
    let name = [a.name, meta("name"), meta("generateName")].into_iter().find(|n| !n.is_empty());
    Status::forbidden(&a.resource.group_resource(), name.unwrap_or("Unknown!"), why)
}

/// Several reasons as Go prints an aggregate of errors.
pub fn aggregate(reasons: &[String]) -> String {
    match reasons {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

/// All containers of a pod's spec, with the name of their list.
pub fn containers(pod: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| pod.list_at(&["spec", list]).iter().map(move |c| (list, c)))
}

/// What in a pod names an object of another kind: for pods that must not.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct References {
    pub secrets: bool,
    pub config_maps: bool,
    pub claims: bool,
    pub tokens: bool,
}

pub fn references(pod: &Value) -> References {
    let mut found = References {
        secrets: !pod.list_at(&["spec", "imagePullSecrets"]).is_empty(),
        ..References::default()
    };
    for (_, container) in containers(pod) {
        for env in container.list_at(&["env"]) {
            found.secrets |= env.at(&["valueFrom", "secretKeyRef"]).is_some();
            found.config_maps |= env.at(&["valueFrom", "configMapKeyRef"]).is_some();
        }
        for from in container.list_at(&["envFrom"]) {
            found.secrets |= from.get("secretRef").is_some();
            found.config_maps |= from.get("configMapRef").is_some();
        }
    }
    for volume in pod.list_at(&["spec", "volumes"]) {
        found.secrets |= volume.get("secret").is_some();
        found.config_maps |= volume.get("configMap").is_some();
        found.claims |= volume.get("persistentVolumeClaim").is_some() || volume.get("ephemeral").is_some();
        for source in volume.list_at(&["projected", "sources"]) {
            found.secrets |= source.get("secret").is_some();
            found.config_maps |= source.get("configMap").is_some();
            found.tokens |= source.get("serviceAccountToken").is_some();
        }
        let by_driver = volume.as_map().into_iter().flat_map(api::Map::values);
        found.secrets |= by_driver
            .into_iter()
            .any(|v| v.get("secretRef").is_some() || v.get("nodePublishSecretRef").is_some());
        found.secrets |= volume.at(&["azureFile", "secretName"]).is_some();
    }
    found
}
