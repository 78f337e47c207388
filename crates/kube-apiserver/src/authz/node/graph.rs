//! Which node's pods refer to what: the index behind the node authorizer. Built from pods that are bound to a
//! node, and from the Secrets that persistent volumes name.

use std::collections::{HashMap, HashSet};

use api::Value;

type Name = Box<str>;

/// What a pod can refer to, and the pod itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Pod,
    Secret,
    ConfigMap,
    Claim,
    ServiceAccount,
    ResourceClaim,
}

/// An object in a namespace.
type Target = (Kind, Name, Name);

#[derive(Debug, PartialEq, Eq)]
struct PodRefs {
    node: Name,
    targets: HashSet<Target>,
}

#[derive(Debug, Default)]
pub struct Graph {
    pods: HashMap<(Name, Name), PodRefs>,
    /// For each target the nodes that have pods with it, and how many.
    nodes: HashMap<Target, HashMap<Name, usize>>,
    /// Secrets named by persistent volumes, with the volumes' names.
    volume_secrets: HashMap<(Name, Name), HashSet<Name>>,
    volumes: HashMap<Name, Vec<(Name, Name)>>,
}

fn identity(object: &Value) -> (Name, Name) {
    (object.str_at(&["metadata", "namespace"]).into(), object.str_at(&["metadata", "name"]).into())
}

impl Graph {
    pub fn set_pod(&mut self, pod: &Value) {
        let key = identity(pod);
        let node = pod.str_at(&["spec", "nodeName"]);
        if node.is_empty() {
            return self.remove_pod(pod);
        }
        let new = PodRefs { node: node.into(), targets: targets(pod) };
        if self.pods.get(&key) == Some(&new) {
            return;
        }
        self.remove_pod(pod);
        for target in &new.targets {
            *self.nodes.entry(target.clone()).or_default().entry(new.node.clone()).or_default() += 1;
        }
        self.pods.insert(key, new);
    }

    pub fn remove_pod(&mut self, pod: &Value) {
        let Some(old) = self.pods.remove(&identity(pod)) else { return };
        for target in &old.targets {
            let Some(nodes) = self.nodes.get_mut(target) else { continue };
            if let Some(count) = nodes.get_mut(&old.node) {
                *count -= 1;
                if *count == 0 {
                    nodes.remove(&old.node);
                }
            }
            if nodes.is_empty() {
                self.nodes.remove(target);
            }
        }
    }

    pub fn set_volume(&mut self, volume: &Value) {
        self.remove_volume(volume);
        let (_, name) = identity(volume);
        let secrets = volume_secrets(volume);
        for secret in &secrets {
            self.volume_secrets.entry(secret.clone()).or_default().insert(name.clone());
        }
        if !secrets.is_empty() {
            self.volumes.insert(name, secrets);
        }
    }

    pub fn remove_volume(&mut self, volume: &Value) {
        let (_, name) = identity(volume);
        for secret in self.volumes.remove(&name).unwrap_or_default() {
            if let Some(names) = self.volume_secrets.get_mut(&secret) {
                names.remove(&name);
                if names.is_empty() {
                    self.volume_secrets.remove(&secret);
                }
            }
        }
    }

    /// True if a pod on `node` refers to it (or is it).
    pub fn reaches(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        let target = (kind, namespace.into(), name.into());
        self.nodes.get(&target).is_some_and(|nodes| nodes.contains_key(node))
    }

    /// The persistent volumes that name a Secret.
    pub fn volumes_of_secret(&self, namespace: &str, name: &str) -> Vec<Name> {
        let names = self.volume_secrets.get(&(namespace.into(), name.into()));
        names.into_iter().flatten().cloned().collect()
    }
}

const MIRROR: &str = "kubernetes.io/config.mirror";

/// All that a pod refers to. A mirror pod refers to nothing: its node wrote it, and must gain nothing by it.
fn targets(pod: &Value) -> HashSet<Target> {
    let (namespace, name) = identity(pod);
    let mut found = HashSet::new();
    let mut add = |kind: Kind, name: &str| {
        if !name.is_empty() {
            found.insert((kind, namespace.clone(), Name::from(name)));
        }
    };
    add(Kind::Pod, &name);
    if pod.at(&["metadata", "annotations", MIRROR]).is_some() {
        return found;
    }
    add(Kind::ServiceAccount, pod.str_at(&["spec", "serviceAccountName"]));
    for secret in pod.list_at(&["spec", "imagePullSecrets"]) {
        add(Kind::Secret, secret.str_at(&["name"]));
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in pod.list_at(&["spec", list]) {
            container_targets(container, &mut add);
        }
    }
    for volume in pod.list_at(&["spec", "volumes"]) {
        volume_targets(volume, &name, &mut add);
    }
    for status in pod.list_at(&["status", "resourceClaimStatuses"]) {
        add(Kind::ResourceClaim, status.str_at(&["resourceClaimName"]));
    }
    for claim in pod.list_at(&["spec", "resourceClaims"]) {
        add(Kind::ResourceClaim, claim.str_at(&["resourceClaimName"]));
    }
    found
}

fn container_targets(container: &Value, add: &mut impl FnMut(Kind, &str)) {
    for env in container.list_at(&["env"]) {
        add(Kind::Secret, env.str_at(&["valueFrom", "secretKeyRef", "name"]));
        add(Kind::ConfigMap, env.str_at(&["valueFrom", "configMapKeyRef", "name"]));
    }
    for source in container.list_at(&["envFrom"]) {
        add(Kind::Secret, source.str_at(&["secretRef", "name"]));
        add(Kind::ConfigMap, source.str_at(&["configMapRef", "name"]));
    }
}

fn volume_targets(volume: &Value, pod: &str, add: &mut impl FnMut(Kind, &str)) {
    add(Kind::Secret, volume.str_at(&["secret", "secretName"]));
    add(Kind::ConfigMap, volume.str_at(&["configMap", "name"]));
    add(Kind::Claim, volume.str_at(&["persistentVolumeClaim", "claimName"]));
    if volume.get("ephemeral").is_some() {
        add(Kind::Claim, &format!("{pod}-{}", volume.str_at(&["name"])));
    }
    for source in volume.list_at(&["projected", "sources"]) {
        add(Kind::Secret, source.str_at(&["secret", "name"]));
        add(Kind::ConfigMap, source.str_at(&["configMap", "name"]));
    }
    add(Kind::Secret, volume.str_at(&["azureFile", "secretName"]));
    add(Kind::Secret, volume.str_at(&["csi", "nodePublishSecretRef", "name"]));
    for source in ["cephfs", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"] {
        add(Kind::Secret, volume.str_at(&[source, "secretRef", "name"]));
    }
}

/// Namespace and name of the Secrets in a persistent volume's source that a node may need.
fn volume_secrets(volume: &Value) -> Vec<(Name, Name)> {
    let claim = volume.str_at(&["spec", "claimRef", "namespace"]);
    let mut found = Vec::new();
    let mut add = |secret: Option<&Value>| {
        let Some(secret) = secret else { return };
        let namespace = secret.str_at(&["namespace"]);
        let namespace = if namespace.is_empty() { claim } else { namespace };
        found.push((namespace.into(), secret.str_at(&["name"]).into()));
    };
    for source in ["cephfs", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"] {
        add(volume.at(&["spec", source, "secretRef"]));
    }
    for reference in ["nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"] {
        add(volume.at(&["spec", "csi", reference]));
    }
    if let Some(azure) = volume.at(&["spec", "azureFile"]) {
        let namespace = azure.str_at(&["secretNamespace"]);
        let namespace = if namespace.is_empty() { claim } else { namespace };
        found.push((namespace.into(), azure.str_at(&["secretName"]).into()));
    }
    found
}
