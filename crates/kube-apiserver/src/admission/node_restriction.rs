//! NodeRestriction: what the node authorizer lets a kubelet write, it may write about itself only: its node
//! object (not its taints, only some labels), the status of its pods, mirror pods, tokens of its pods.

mod pod_certificates;

use std::sync::Arc;

use api::{Map, Value};
use apimachinery::Status;
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::auth;
use apiserver::resource::Objects;
use async_trait::async_trait;

use super::context::{CSI_DRIVERS, MIRROR, NODES, PODS, forbidden, references};
use crate::authz::{Authorization, node};

const LEASE_NAMESPACE: &str = "kube-node-lease";

pub struct NodeRestriction {
    objects: Arc<dyn Objects>,
    authorization: Arc<Authorization>,
}

type Verdict = Result<(), String>;

fn no(why: impl Into<String>) -> Verdict {
    Err(why.into())
}

fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

impl NodeRestriction {
    pub fn new(objects: Arc<dyn Objects>, authorization: Arc<Authorization>) -> Self {
        Self { objects, authorization }
    }

    fn check(&self, node: &str, a: &Attributes<'_>) -> Verdict {
        match (&*a.resource.group, &*a.resource.resource, a.subresource) {
            ("", "pods", "") => self.pod(node, a),
            ("", "pods", "status") => pod_status(node, a),
            ("", "pods", "eviction") => self.eviction(node, a),
            ("", "pods", other) => {
                no(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"))
            }
            ("", "nodes", _) => own_node(node, a),
            ("", "persistentvolumeclaims", "status") => claim_status(node, a),
            ("", "persistentvolumeclaims", _) => no("may only update PVC status"),
            ("", "serviceaccounts", "token") => self.token(node, a),
            ("coordination.k8s.io", "leases", _) => lease(node, a),
            ("storage.k8s.io", "csinodes", _) => csi_node(node, a),
            ("resource.k8s.io", "resourceslices", _) => resource_slice(node, a),
            ("certificates.k8s.io", "certificatesigningrequests", "") => certificate_request(a),
            _ => Ok(()),
        }
    }

    /// Refusals that another try may not meet are no 403.
    fn verdict(&self, node: &str, a: &Attributes<'_>) -> Result<(), Status> {
        if (&*a.resource.group, &*a.resource.resource) == ("certificates.k8s.io", "podcertificaterequests") {
            return self.pod_certificate_request(node, a);
        }
        self.check(node, a).map_err(|why| forbidden(a, why))
    }

    /// The pod that the request is about, as it is stored.
    fn stored_pod(&self, a: &Attributes<'_>, name: &str) -> Option<Arc<Value>> {
        a.old_object.clone().or_else(|| self.objects.get(&PODS, a.namespace, name).map(|o| o.value))
    }

    fn pod(&self, node: &str, a: &Attributes<'_>) -> Verdict {
        match a.operation {
            Operation::Create => a.object.as_ref().map_or(Ok(()), |pod| self.mirror_pod(node, pod)),
            Operation::Delete => match self.stored_pod(a, a.name) {
                Some(pod) if pod.str_at(&["spec", "nodeName"]) != node => {
                    no(format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
                }
                _ => Ok(()),
            },
            other => no(format!(
                "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
                word(other)
            )),
        }
    }

    fn mirror_pod(&self, node: &str, pod: &Value) -> Verdict {
        if pod.meta().annotation(MIRROR).is_none() {
            return no(format!(
                "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
            ));
        }
        if pod.str_at(&["spec", "nodeName"]) != node {
            return no(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
        }
        self.owner(node, pod)?;
        if !pod.str_at(&["spec", "serviceAccountName"]).is_empty() {
            return no(format!("node {node:?} can not create pods that reference a service account"));
        }
        let found = references(pod);
        let claims = found.claims || !pod.list_at(&["spec", "resourceClaims"]).is_empty();
        for (is, what) in [
            (found.secrets, "secrets"),
            (found.config_maps, "configmaps"),
            (found.tokens, "serviceaccount tokens"),
            (claims, "persistentvolumeclaims"),
        ] {
            if is {
                return no(format!("node {node:?} can not create pods that reference {what}"));
            }
        }
        Ok(())
    }

    fn owner(&self, node: &str, pod: &Value) -> Verdict {
        let owner = match pod.list_at(&["metadata", "ownerReferences"]) {
            [] => {
                return no(format!(
                    "node {node:?} can only create pods with an owner reference set to itself"
                ));
            }
            [owner] => owner,
            _ => {
                return no(format!(
                    "node {node:?} can only create pods with a single owner reference set to itself"
                ));
            }
        };
        let text = |field| owner.str_at(&[field]);
        if (text("apiVersion"), text("kind"), text("name")) != ("v1", "Node", node) {
            return no(format!("node {node:?} can only create pods with an owner reference set to itself"));
        }
        if owner.bool_at(&["controller"]) != Some(true) {
            return no(format!(
                "node {node:?} can only create pods with a controller owner reference set to itself"
            ));
        }
        if owner.bool_at(&["blockOwnerDeletion"]) == Some(true) {
            return no(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
        }
        let Some(stored) = self.objects.get(&NODES, "", node) else {
            return no(format!("node {node:?} not found"));
        };
        if stored.value.uid() != text("uid") {
            return no(format!(
                "node {node} UID mismatch: expected {} got {}",
                text("uid"),
                stored.value.uid()
            ));
        }
        Ok(())
    }

    fn eviction(&self, node: &str, a: &Attributes<'_>) -> Verdict {
        if a.operation != Operation::Create {
            return no(format!("unexpected operation {}", word(a.operation)));
        }
        let name = match a.name {
            "" => a.object.as_ref().map_or("", |o| o.name()),
            name => name,
        };
        match self.objects.get(&PODS, a.namespace, name) {
            Some(pod) if pod.value.str_at(&["spec", "nodeName"]) == node => Ok(()),
            Some(_) => no(format!("node {node} can only evict pods with spec.nodeName set to itself")),
            None => no(format!("could not find pod {name:?}")),
        }
    }

    fn token(&self, node: &str, a: &Attributes<'_>) -> Verdict {
        let Some(request) = a.object.as_ref().filter(|_| a.operation == Operation::Create) else {
            return Ok(());
        };
        let bound = |field| request.str_at(&["spec", "boundObjectRef", field]);
        if (bound("kind"), bound("apiVersion")) != ("Pod", "v1") {
            return no("node requested token not bound to a pod");
        }
        if bound("uid").is_empty() {
            return no("node requested token with a pod binding without a uid");
        }
        let Some(pod) = self.objects.get(&PODS, a.namespace, bound("name")) else {
            return no(format!("pod {:?} not found", bound("name")));
        };
        if pod.value.uid() != bound("uid") {
            return no(format!(
                "the UID in the bound object reference ({}) does not match the UID in record. The object might have been \
                 deleted and then recreated",
                bound("uid")
            ));
        }
        if pod.value.str_at(&["spec", "nodeName"]) != node {
            return no("node requested token bound to a pod scheduled on a different node");
        }
        self.token_audience(a, request, &pod.value)
    }

    /// A node asks for the audiences that its pod's volumes name, or that it may ask for (KEP-4412).
    fn token_audience(&self, a: &Attributes<'_>, request: &Value, pod: &Value) -> Verdict {
        let audience = match request.list_at(&["spec", "audiences"]) {
            [] => "",
            [one] => one.as_str().unwrap_or_default(),
            many => {
                return no(format!("node may only request 0 or 1 audiences, got {}", many.len()));
            }
        };
        if self.pod_names_audience(pod, audience) || self.may_request(a, audience) {
            return Ok(());
        }
        no(format!(
            "audience {audience:?} not found in pod spec volume, {} is not authorized to request this audience",
            a.cx.user.name
        ))
    }

    fn pod_names_audience(&self, pod: &Value, audience: &str) -> bool {
        let driver_names = |driver: &str| {
            let found = self.objects.get(&CSI_DRIVERS, "", driver);
            found.is_some_and(|d| {
                d.value
                    .list_at(&["spec", "tokenRequests"])
                    .iter()
                    .any(|t| t.str_at(&["audience"]) == audience)
            })
        };
        pod.list_at(&["spec", "volumes"]).iter().any(|volume| {
            let projected = volume.list_at(&["projected", "sources"]).iter().any(|source| {
                source.get("serviceAccountToken").is_some_and(|t| t.str_at(&["audience"]) == audience)
            });
            let driver = volume.str_at(&["csi", "driver"]);
            projected || !driver.is_empty() && driver_names(driver)
        })
    }

    fn may_request(&self, a: &Attributes<'_>, audience: &str) -> bool {
        self.authorization.allows(&auth::Attributes {
            user: &a.cx.user,
            verb: "request-serviceaccounts-token-audience",
            is_resource: true,
            path: "",
            group: "",
            version: "v1",
            resource: audience,
            subresource: "",
            namespace: a.namespace,
            name: a.name,
            label_selector: "",
            field_selector: "",
        })
    }
}

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation != Operation::Connect
    }

    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(node) = node::node_identity(&a.cx.user) else { return Ok(()) };
        if node.is_empty() {
            return Err(forbidden(a, format!("could not determine node from user {:?}", a.cx.user.name)));
        }
        self.verdict(node, a)
    }
}

fn pod_status(node: &str, a: &Attributes<'_>) -> Verdict {
    let (Operation::Update, Some(old)) = (a.operation, a.old_object.as_deref()) else {
        return no(format!("unexpected operation {:?}", word(a.operation)));
    };
    if old.str_at(&["spec", "nodeName"]) != node {
        return no(format!(
            "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
        ));
    }
    let labels = |o: &Value| o.at(&["metadata", "labels"]).cloned().unwrap_or(Value::map());
    if a.object.as_ref().is_some_and(|new| labels(new) != labels(old)) {
        return no(format!("node {node:?} cannot update labels through pod status"));
    }
    Ok(())
}

fn claim_status(node: &str, a: &Attributes<'_>) -> Verdict {
    if a.operation != Operation::Update {
        return no(format!("unexpected operation {:?}", word(a.operation)));
    }
    let (Some(new), Some(old)) = (&a.object, a.old_object.as_deref()) else { return Ok(()) };
    // What a node writes while it grows a file system.
    const OWN: [&str; 4] = ["capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"];
    let rest = |object: &Value| {
        let mut object = object.clone();
        OWN.iter().for_each(|field| drop(object.remove_at(&["status", field])));
        ["managedFields", "resourceVersion"].iter().for_each(|f| drop(object.remove_at(&["metadata", f])));
        object
    };
    if rest(new) != rest(old) {
        return no(format!(
            "node {node:?} is not allowed to update fields other than status.quantity and status.conditions"
        ));
    }
    Ok(())
}

fn own_node(node: &str, a: &Attributes<'_>) -> Verdict {
    let new = a.object.as_ref();
    let mut requested = a.name;
    if let (Operation::Create, Some(object)) = (a.operation, new) {
        let forbidden = forbidden_labels(&changed_labels(object, None));
        if !forbidden.is_empty() {
            return no(format!("node {node:?} is not allowed to set the following labels: {forbidden}"));
        }
        if requested.is_empty() {
            requested = object.name();
        }
    }
    if requested != node {
        return no(format!("node {node:?} is not allowed to modify node {requested:?}"));
    }
    let (Operation::Update, Some(object), Some(old)) = (a.operation, new, a.old_object.as_deref()) else {
        return Ok(());
    };
    if object.list_at(&["spec", "taints"]) != old.list_at(&["spec", "taints"]) {
        return no(format!("node {node:?} is not allowed to modify taints"));
    }
    if object.list_at(&["metadata", "ownerReferences"]) != old.list_at(&["metadata", "ownerReferences"]) {
        return no(format!("node {node:?} is not allowed to modify ownerReferences"));
    }
    let forbidden = forbidden_labels(&changed_labels(object, Some(old)));
    if forbidden.is_empty() {
        return Ok(());
    }
    no(format!("is not allowed to modify labels: {forbidden}"))
}

/// The keys whose value is new, other or gone.
fn changed_labels(new: &Value, old: Option<&Value>) -> Vec<String> {
    let empty = Map::new();
    let new = new.meta().labels().unwrap_or(&empty);
    let old = old.and_then(|o| o.meta().labels()).unwrap_or(&empty);
    let mut keys: Vec<String> =
        new.iter().filter(|(k, v)| old.get(k) != Some(v)).map(|(k, _)| k.to_string()).collect();
    keys.extend(old.keys().filter(|k| !new.contains_key(k)).map(ToString::to_string));
    keys
}

/// Of these keys, those that a kubelet must not touch, as one text.
fn forbidden_labels(keys: &[String]) -> String {
    let mut forbidden: Vec<&str> =
        keys.iter().map(String::as_str).filter(|key| !allowed_label(key)).collect();
    forbidden.sort_unstable();
    forbidden.join(", ")
}

/// Labels outside of Kubernetes' domains, and the ones that kubelets set themselves.
fn allowed_label(key: &str) -> bool {
    const OWN: [&str; 12] = [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "node.kubernetes.io/windows-build",
    ];
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let within =
        |suffix: &str| domain == suffix || domain.strip_suffix(suffix).is_some_and(|d| d.ends_with('.'));
    if within("node-restriction.kubernetes.io") {
        return false;
    }
    if !within("kubernetes.io") && !within("k8s.io") {
        return true;
    }
    OWN.contains(&key) || within("kubelet.kubernetes.io") || within("node.kubernetes.io")
}

fn lease(node: &str, a: &Attributes<'_>) -> Verdict {
    if a.namespace != LEASE_NAMESPACE {
        return no(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace"));
    }
    let name = a.object.as_ref().filter(|_| a.operation == Operation::Create).map_or(a.name, |o| o.name());
    if name == node {
        Ok(())
    } else {
        no("can only access node lease with the same name as the requesting node")
    }
}

fn csi_node(node: &str, a: &Attributes<'_>) -> Verdict {
    let name = a.object.as_ref().filter(|_| a.operation == Operation::Create).map_or(a.name, |o| o.name());
    if name == node {
        Ok(())
    } else {
        no("can only access CSINode with the same name as the requesting node")
    }
}

fn resource_slice(node: &str, a: &Attributes<'_>) -> Verdict {
    let slice = if a.operation == Operation::Create { a.object.as_ref() } else { a.old_object.as_deref() };
    match slice {
        Some(slice) if slice.str_at(&["spec", "nodeName"]) != node && a.operation == Operation::Create => {
            no("can only create ResourceSlice with the same NodeName as the requesting node")
        }
        Some(slice) if slice.str_at(&["spec", "nodeName"]) != node => {
            no("can only access ResourceSlice with the same NodeName as the requesting node")
        }
        _ => Ok(()),
    }
}

/// A node asks for certificates in its own name only.
fn certificate_request(a: &Attributes<'_>) -> Verdict {
    let Some(object) = a.object.as_ref().filter(|_| a.operation == Operation::Create) else { return Ok(()) };
    let signer = object.str_at(&["spec", "signerName"]);
    if !matches!(signer, "kubernetes.io/kubelet-serving" | "kubernetes.io/kube-apiserver-client-kubelet") {
        return Ok(());
    }
    match super::certificates::subject(object) {
        Some((name, _)) if name == a.cx.user.name => Ok(()),
        Some(_) => no(format!("can only create a node CSR with CN={}", a.cx.user.name)),
        None => no("unable to parse csr"),
    }
}
