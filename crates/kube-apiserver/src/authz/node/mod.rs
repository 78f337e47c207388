//! The node authorizer: a kubelet reads what its own pods refer to, and writes its own node, pods and leases
//! (with the NodeRestriction admission plugin, which sees the objects).

mod graph;

use std::sync::Arc;

use apimachinery::GroupResource;
use apiserver::auth::{Attributes, Decision};
use apiserver::request::UserInfo;
use apiserver::resource::{Change, Objects};
use futures::StreamExt as _;
use parking_lot::RwLock;
use tokio::sync::watch;

use super::rbac::Rule;
use graph::{Graph, Kind};

const NODE_PREFIX: &str = "system:node:";
const NODE_GROUP: &str = "system:nodes";
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// The node that a user is: None if it is none, "" if it belongs to the nodes but has no proper name.
pub fn node_identity(user: &UserInfo) -> Option<&str> {
    let name = user.name.strip_prefix(NODE_PREFIX)?;
    user.in_group(NODE_GROUP).then_some(name)
}

pub struct NodeAuthorizer {
    graph: RwLock<Graph>,
    objects: Arc<dyn Objects>,
    rules: Vec<Rule>,
    synced: watch::Receiver<usize>,
}

type Opinion = Result<(), String>;

impl NodeAuthorizer {
    /// Follows pods and persistent volumes until dropped.
    pub fn start(objects: &Arc<dyn Objects>) -> Arc<Self> {
        let (tell, synced) = watch::channel(0);
        let authorizer = Arc::new(Self {
            graph: RwLock::default(),
            objects: objects.clone(),
            rules: node_rules(),
            synced,
        });
        let streams = ["pods", "persistentvolumes"].map(|resource| {
            objects.watch(&GroupResource::new("", resource)).map(move |change| (resource, change)).boxed()
        });
        let weak = Arc::downgrade(&authorizer);
        tokio::spawn(async move {
            let mut changes = futures::stream::select_all(streams);
            while let Some((resource, change)) = changes.next().await {
                let Some(authorizer) = weak.upgrade() else { return };
                match change {
                    Change::Synced => tell.send_modify(|n| *n += 1),
                    change => apply(&mut authorizer.graph.write(), resource == "pods", &change),
                }
            }
        });
        authorizer
    }

    pub async fn synced(&self) {
        let _ = self.synced.clone().wait_for(|n| *n >= 2).await;
    }

    pub fn decide(&self, a: &Attributes<'_>) -> Decision {
        let Some(node) = node_identity(a.user) else { return Decision::NoOpinion(String::new()) };
        if node.is_empty() {
            return Decision::NoOpinion(format!("unknown node for user {:?}", a.user.name));
        }
        let opinion = if a.is_resource { self.subdivided(node, a) } else { None };
        match opinion {
            Some(Ok(())) => Decision::Allow(String::new()),
            Some(Err(why)) => Decision::NoOpinion(why),
            None if self.rules.iter().any(|rule| rule.allows(a)) => Decision::Allow(String::new()),
            None => Decision::NoOpinion(String::new()),
        }
    }

    /// The resources of which a node sees only some; None for the others.
    fn subdivided(&self, node: &str, a: &Attributes<'_>) -> Option<Opinion> {
        Some(match (a.group, a.resource) {
            ("", "secrets") => self.read(node, Kind::Secret, a),
            ("", "configmaps") => self.read(node, Kind::ConfigMap, a),
            ("", "persistentvolumeclaims") if a.subresource == "status" => {
                self.update_status(node, Kind::Claim, a)
            }
            ("", "persistentvolumeclaims") => self.get(node, a, |s| s.reaches(node, Kind::Claim, a)),
            ("", "persistentvolumes") => self.get(node, a, |s| s.reaches_volume(node, a.name)),
            ("", "serviceaccounts") if a.subresource == "token" => self.create_token(node, a),
            ("", "serviceaccounts") => self.get(node, a, |s| s.reaches(node, Kind::ServiceAccount, a)),
            ("", "nodes") => own_node(node, a),
            ("", "pods") => self.pod(node, a),
            ("resource.k8s.io", "resourceclaims") => {
                self.get(node, a, |s| s.reaches(node, Kind::ResourceClaim, a))
            }
            ("resource.k8s.io", "resourceslices") => self.resource_slice(node, a),
            ("certificates.k8s.io", "podcertificaterequests") => self.pod_certificate_request(node, a),
            ("storage.k8s.io", "volumeattachments") => self.get(node, a, |s| s.attached_to(node, a.name)),
            ("storage.k8s.io", "csinodes") => own_csi_node(node, a),
            ("coordination.k8s.io", "leases") => own_lease(node, a),
            _ => return None,
        })
    }

    fn reaches(&self, node: &str, kind: Kind, a: &Attributes<'_>) -> bool {
        self.graph.read().reaches(node, kind, a.namespace, a.name)
    }

    /// A volume is reached by the claim that it is bound to.
    fn reaches_volume(&self, node: &str, name: &str) -> bool {
        let Some(volume) = self.objects.get(&GroupResource::new("", "persistentvolumes"), "", name) else {
            return false;
        };
        let claim = |field| volume.value.str_at(&["spec", "claimRef", field]);
        self.graph.read().reaches(node, Kind::Claim, claim("namespace"), claim("name"))
    }

    fn attached_to(&self, node: &str, name: &str) -> bool {
        let resource = GroupResource::new("storage.k8s.io", "volumeattachments");
        self.objects.get(&resource, "", name).is_some_and(|va| va.value.str_at(&["spec", "nodeName"]) == node)
    }

    fn read(&self, node: &str, kind: Kind, a: &Attributes<'_>) -> Opinion {
        if !matches!(a.verb, "get" | "list" | "watch") {
            return no("can only read resources of this type");
        }
        if !a.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if a.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        if a.name.is_empty() {
            return no("No Object name found");
        }
        let by_volume = || {
            let volumes = self.graph.read().volumes_of_secret(a.namespace, a.name);
            kind == Kind::Secret && volumes.iter().any(|v| self.reaches_volume(node, v))
        };
        related(node, self.reaches(node, kind, a) || by_volume())
    }

    fn get(&self, node: &str, a: &Attributes<'_>, reached: impl FnOnce(&Self) -> bool) -> Opinion {
        if a.verb != "get" {
            return no("can only get individual resources of this type");
        }
        if !a.subresource.is_empty() {
            return no("cannot get subresource");
        }
        if a.name.is_empty() {
            return no("No Object name found");
        }
        related(node, reached(self))
    }

    fn update_status(&self, node: &str, kind: Kind, a: &Attributes<'_>) -> Opinion {
        match a.verb {
            "update" | "patch" | "get" => related(node, self.reaches(node, kind, a)),
            _ => no("can only get/update/patch this type"),
        }
    }

    fn create_token(&self, node: &str, a: &Attributes<'_>) -> Opinion {
        if a.verb != "create" || a.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        related(node, self.reaches(node, Kind::ServiceAccount, a))
    }

    fn pod(&self, node: &str, a: &Attributes<'_>) -> Opinion {
        match (a.subresource, a.verb) {
            ("", "get") => related(node, !a.name.is_empty() && self.reaches(node, Kind::Pod, a)),
            ("", "list" | "watch") if selects(a.field_selector, "spec.nodeName", node) => Ok(()),
            ("", "list" | "watch") if !a.name.is_empty() && self.reaches(node, Kind::Pod, a) => Ok(()),
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            _ => no(""),
        }
    }

    /// What it creates is checked by NodeRestriction.
    fn pod_certificate_request(&self, node: &str, a: &Attributes<'_>) -> Opinion {
        if !a.subresource.is_empty() {
            return no("nodes may not access the status subresource of PodCertificateRequests");
        }
        match a.verb {
            "create" => Ok(()),
            "get" => {
                let resource = GroupResource::new("certificates.k8s.io", "podcertificaterequests");
                let request = self.objects.get(&resource, a.namespace, a.name);
                related(node, request.is_some_and(|r| r.value.str_at(&["spec", "nodeName"]) == node))
            }
            "list" | "watch" if selects(a.field_selector, "spec.nodeName", node) => Ok(()),
            "list" | "watch" => no("can only list/watch podcertificaterequests with nodeName field selector"),
            verb => Err(format!("nodes may not {verb} podcertificaterequests")),
        }
    }

    fn resource_slice(&self, node: &str, a: &Attributes<'_>) -> Opinion {
        if !a.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match a.verb {
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" => {
                let resource = GroupResource::new("resource.k8s.io", "resourceslices");
                let slice = self.objects.get(&resource, "", a.name);
                related(node, slice.is_some_and(|s| s.value.str_at(&["spec", "nodeName"]) == node))
            }
            "list" | "watch" | "deletecollection" if selects(a.field_selector, "spec.nodeName", node) => {
                Ok(())
            }
            "list" | "watch" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with spec.nodeName field selector")
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, \
                     delete, deletecollection",
            ),
        }
    }
}

fn apply(graph: &mut Graph, pods: bool, change: &Change) {
    match (pods, change) {
        (true, Change::Set { object, .. }) => graph.set_pod(&object.value),
        (true, Change::Deleted { old }) => graph.remove_pod(&old.value),
        (false, Change::Set { object, .. }) => graph.set_volume(&object.value),
        (false, Change::Deleted { old }) => graph.remove_volume(&old.value),
        (_, Change::Synced) => {}
    }
}

fn no(why: &str) -> Opinion {
    Err(why.to_owned())
}

fn related(node: &str, reached: bool) -> Opinion {
    if reached { Ok(()) } else { Err(format!("no relationship found between node '{node}' and this object")) }
}

/// True if one of the selector's requirements is `field=value`.
fn selects(selector: &str, field: &str, value: &str) -> bool {
    selector.split(',').any(|requirement| {
        let pair = requirement.split_once("==").or_else(|| requirement.split_once('='));
        pair.is_some_and(|(f, v)| f == field && v == value)
    })
}

fn own_node(node: &str, a: &Attributes<'_>) -> Opinion {
    match (a.subresource, a.verb) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        ("", "get" | "list" | "watch") if a.name == node => Ok(()),
        ("", "list" | "watch") if selects(a.field_selector, "metadata.name", node) => Ok(()),
        ("", "get" | "list" | "watch") => {
            let what = if a.name.is_empty() { "all nodes".to_owned() } else { format!("'{}'", a.name) };
            Err(format!("node '{node}' cannot read {what}, only its own Node object"))
        }
        _ => no(""),
    }
}

fn own_lease(node: &str, a: &Attributes<'_>) -> Opinion {
    match a.verb {
        "get" | "create" | "update" | "patch" | "delete" => {}
        _ => return no("can only get, create, update, patch, or delete a node lease"),
    }
    if a.namespace != LEASE_NAMESPACE {
        return Err(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace"));
    }
    if a.verb != "create" && a.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    Ok(())
}

fn own_csi_node(node: &str, a: &Attributes<'_>) -> Opinion {
    match a.verb {
        "get" | "create" | "update" | "patch" | "delete" => {}
        _ => return no("can only get, create, update, patch, or delete a CSINode"),
    }
    if !a.subresource.is_empty() {
        return no("cannot authorize CSINode subresources");
    }
    if a.verb != "create" && a.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    Ok(())
}

/// What every node may, whatever runs on it.
fn node_rules() -> Vec<Rule> {
    let split = |text: &str| text.split(',').map(Into::into).collect();
    let rule = |group: &str, resources: &str, verbs: &str| Rule {
        verbs: split(verbs),
        api_groups: split(group),
        resources: split(resources),
        ..Rule::default()
    };
    let read = "get,list,watch";
    vec![
        rule("authentication.k8s.io", "tokenreviews", "create"),
        rule("authorization.k8s.io", "subjectaccessreviews,localsubjectaccessreviews", "create"),
        rule("", "services", read),
        rule("", "endpoints", "get"),
        rule("", "events", "create,update,patch"),
        rule("events.k8s.io", "events", "create,update,patch"),
        rule("certificates.k8s.io", "certificatesigningrequests", "create,get,list,watch"),
        rule("certificates.k8s.io", "clustertrustbundles", read),
        rule("storage.k8s.io", "csidrivers", read),
        rule("node.k8s.io", "runtimeclasses", read),
    ]
}

#[cfg(test)]
mod tests;
