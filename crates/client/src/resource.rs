//! Which resource of the API a request is about, and the key of one object in it.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Namespace and name of an object: one shared string `namespace/name`, or `name` where there is no namespace.
/// Cloning costs a reference count.
#[derive(Clone)]
pub struct ObjectKey {
    text: Arc<str>,
}

impl ObjectKey {
    /// `namespace` is empty for cluster-scoped objects.
    pub fn new(namespace: &str, name: &str) -> Self {
        if namespace.is_empty() {
            return Self { text: name.into() };
        }
        let mut text = String::with_capacity(namespace.len() + 1 + name.len());
        text.push_str(namespace);
        text.push('/');
        text.push_str(name);
        Self { text: text.into() }
    }

    /// Empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.text.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    pub fn name(&self) -> &str {
        self.text.split_once('/').map_or(&*self.text, |(_, name)| name)
    }

    /// `namespace/name` or `name`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for ObjectKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text) || self.text == other.text
    }
}

impl Eq for ObjectKey {}

impl Hash for ObjectKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ObjectKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl Borrow<str> for ObjectKey {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl From<&str> for ObjectKey {
    /// From `namespace/name` or `name`.
    fn from(text: &str) -> Self {
        Self { text: text.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.text)
    }
}

/// A resource of the API: what its URL paths are made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// Empty for the core group.
    pub group: Cow<'static, str>,
    pub version: Cow<'static, str>,
    /// The plural in paths, such as `pods`.
    pub plural: Cow<'static, str>,
    pub kind: Cow<'static, str>,
    pub namespaced: bool,
}

impl Resource {
    /// A resource known when the program is built.
    pub const fn of(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
        namespaced: bool,
    ) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            plural: Cow::Borrowed(plural),
            kind: Cow::Borrowed(kind),
            namespaced,
        }
    }

    /// `v1`, or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The path of the collection (`name` empty), an object, or its subresource. An empty namespace on a
    /// namespaced resource means all namespaces.
    pub fn path(&self, namespace: &str, name: &str, subresource: &str) -> String {
        let mut path = String::with_capacity(96);
        if self.group.is_empty() {
            path.push_str("/api/");
        } else {
            path.push_str("/apis/");
            path.push_str(&self.group);
            path.push('/');
        }
        path.push_str(&self.version);
        if self.namespaced && !namespace.is_empty() {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        for part in [&*self.plural, name, subresource] {
            if !part.is_empty() {
                path.push('/');
                push_escaped(&mut path, part);
            }
        }
        path
    }
}

/// Percent-encodes what may not stand in a path segment (names of RBAC objects hold `:`, which may).
fn push_escaped(path: &mut String, part: &str) {
    for byte in part.bytes() {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b':'
            | b'@'
            | b'$'
            | b'+'
            | b'=' => {
                path.push(byte.into());
            }
            b'/' => path.push('/'),
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
}

macro_rules! resources {
    ($($name:ident = $group:literal $version:literal $plural:literal $kind:literal $namespaced:literal;)*) => {
        $(pub const $name: Resource = Resource::of($group, $version, $plural, $kind, $namespaced);)*
    };
}

resources! {
    PODS = "" "v1" "pods" "Pod" true;
    NODES = "" "v1" "nodes" "Node" false;
    SERVICES = "" "v1" "services" "Service" true;
    ENDPOINTS = "" "v1" "endpoints" "Endpoints" true;
    NAMESPACES = "" "v1" "namespaces" "Namespace" false;
    CONFIG_MAPS = "" "v1" "configmaps" "ConfigMap" true;
    SECRETS = "" "v1" "secrets" "Secret" true;
    EVENTS = "" "v1" "events" "Event" true;
    SERVICE_ACCOUNTS = "" "v1" "serviceaccounts" "ServiceAccount" true;
    PERSISTENT_VOLUMES = "" "v1" "persistentvolumes" "PersistentVolume" false;
    PERSISTENT_VOLUME_CLAIMS = "" "v1" "persistentvolumeclaims" "PersistentVolumeClaim" true;
    REPLICATION_CONTROLLERS = "" "v1" "replicationcontrollers" "ReplicationController" true;
    DEPLOYMENTS = "apps" "v1" "deployments" "Deployment" true;
    REPLICA_SETS = "apps" "v1" "replicasets" "ReplicaSet" true;
    DAEMON_SETS = "apps" "v1" "daemonsets" "DaemonSet" true;
    STATEFUL_SETS = "apps" "v1" "statefulsets" "StatefulSet" true;
    CONTROLLER_REVISIONS = "apps" "v1" "controllerrevisions" "ControllerRevision" true;
    JOBS = "batch" "v1" "jobs" "Job" true;
    ENDPOINT_SLICES = "discovery.k8s.io" "v1" "endpointslices" "EndpointSlice" true;
    LEASES = "coordination.k8s.io" "v1" "leases" "Lease" true;
    EVENTS_V1 = "events.k8s.io" "v1" "events" "Event" true;
    CLUSTER_ROLES = "rbac.authorization.k8s.io" "v1" "clusterroles" "ClusterRole" false;
    CERTIFICATE_SIGNING_REQUESTS = "certificates.k8s.io" "v1" "certificatesigningrequests" "CertificateSigningRequest" false;
    PRIORITY_CLASSES = "scheduling.k8s.io" "v1" "priorityclasses" "PriorityClass" false;
    RUNTIME_CLASSES = "node.k8s.io" "v1" "runtimeclasses" "RuntimeClass" false;
    STORAGE_CLASSES = "storage.k8s.io" "v1" "storageclasses" "StorageClass" false;
    VOLUME_ATTRIBUTES_CLASSES = "storage.k8s.io" "v1" "volumeattributesclasses" "VolumeAttributesClass" false;
    RESOURCE_QUOTAS = "" "v1" "resourcequotas" "ResourceQuota" true;
    CRON_JOBS = "batch" "v1" "cronjobs" "CronJob" true;
    HORIZONTAL_POD_AUTOSCALERS = "autoscaling" "v2" "horizontalpodautoscalers" "HorizontalPodAutoscaler" true;
    CSI_NODES = "storage.k8s.io" "v1" "csinodes" "CSINode" false;
    POD_DISRUPTION_BUDGETS = "policy" "v1" "poddisruptionbudgets" "PodDisruptionBudget" true;
    SERVICE_CIDRS = "networking.k8s.io" "v1" "servicecidrs" "ServiceCIDR" false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(PODS.path("", "", ""), "/api/v1/pods");
        assert_eq!(PODS.path("a", "b", "status"), "/api/v1/namespaces/a/pods/b/status");
        assert_eq!(DEPLOYMENTS.path("a", "", ""), "/apis/apps/v1/namespaces/a/deployments");
        assert_eq!(NODES.path("", "n1", ""), "/api/v1/nodes/n1");
        assert_eq!(
            CLUSTER_ROLES.path("", "system:a b", ""),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:a%20b"
        );
    }

    #[test]
    fn keys() {
        let key = ObjectKey::new("a", "b");
        assert_eq!((key.namespace(), key.name(), key.as_str()), ("a", "b", "a/b"));
        assert_eq!(ObjectKey::new("", "n").namespace(), "");
        assert_eq!(ObjectKey::from("a/b"), key);
    }
}
