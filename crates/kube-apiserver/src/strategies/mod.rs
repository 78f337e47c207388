//! What each kind adds to its row in the table: one strategy a kind, found by group and resource.
//!
//! Deliberately absent: custom resources (see `crd`), subresources that are endpoints (see `endpoints`).

pub mod cells;
pub mod corev1;
pub mod fields;
pub mod kind;
pub mod misc;
pub mod names;
pub mod networking;
pub mod pod;
pub mod policy;
pub mod quantities;
pub mod selectors;
pub mod service;
pub mod storage;
pub mod times;
pub mod validation;
pub mod workloads;

use std::sync::Arc;

use api::Value;
use apiserver::strategy::{Plain, Strategy};

use crate::allocators::ServiceAllocator;

/// What strategies need from the server.
#[derive(Clone, Default)]
pub struct Needs {
    /// Takes Services' addresses and ports; without one they are left as they are.
    pub services: Option<Arc<ServiceAllocator>>,
}

/// The strategy of a built-in resource.
pub fn of(group: &str, resource: &str, needs: &Needs) -> Arc<dyn Strategy> {
    let found = match group {
        "" => core_group(resource, needs),
        "apps" => apps(resource),
        "batch" => batch(resource),
        _ => others(group, resource),
    };
    found.unwrap_or_else(|| Arc::new(Plain))
}

fn core_group(resource: &str, needs: &Needs) -> Option<Arc<dyn Strategy>> {
    use corev1::{config, endpoints, event, namespace, node, quota};
    Some(match resource {
        "pods" => Arc::new(pod::Pod),
        "podtemplates" => Arc::new(pod::PodTemplate),
        "replicationcontrollers" => Arc::new(workloads::replicas::ReplicationController),
        "services" => Arc::new(service::Service { allocator: needs.services.clone() }),
        "namespaces" => Arc::new(namespace::Namespace),
        "nodes" => Arc::new(node::NODE),
        "configmaps" => Arc::new(config::CONFIG_MAP),
        "secrets" => Arc::new(config::SECRET),
        "serviceaccounts" => Arc::new(config::SERVICE_ACCOUNT),
        "endpoints" => Arc::new(endpoints::ENDPOINTS),
        "events" => Arc::new(event::EVENT),
        "resourcequotas" => Arc::new(quota::RESOURCE_QUOTA),
        "limitranges" => Arc::new(quota::LIMIT_RANGE),
        "persistentvolumes" => Arc::new(storage::persistentvolume::PERSISTENT_VOLUME),
        "persistentvolumeclaims" => Arc::new(storage::persistentvolumeclaim::PERSISTENT_VOLUME_CLAIM),
        "componentstatuses" => Arc::new(misc::COMPONENT_STATUS),
        _ => return None,
    })
}

fn apps(resource: &str) -> Option<Arc<dyn Strategy>> {
    Some(match resource {
        "deployments" => Arc::new(workloads::deployment::Deployment),
        "replicasets" => Arc::new(workloads::replicas::ReplicaSet),
        "daemonsets" => Arc::new(workloads::daemonset::DaemonSet),
        "statefulsets" => Arc::new(workloads::statefulset::StatefulSet),
        "controllerrevisions" => Arc::new(workloads::controllerrevision::ControllerRevision),
        _ => return None,
    })
}

fn batch(resource: &str) -> Option<Arc<dyn Strategy>> {
    Some(match resource {
        "jobs" => Arc::new(workloads::job::Job),
        "cronjobs" => Arc::new(workloads::cronjob::CronJob),
        _ => return None,
    })
}

fn others(group: &str, resource: &str) -> Option<Arc<dyn Strategy>> {
    use policy::{admission, flowcontrol, pdb, rbac};
    use storage::{classes, csi};
    if resource == "customresourcedefinitions" {
        return Some(Arc::new(crate::crd::CustomResourceDefinition));
    }
    if resource == "horizontalpodautoscalers" {
        return Some(Arc::new(policy::hpa::HorizontalPodAutoscaler));
    }
    let kind = match (group, resource) {
        ("events.k8s.io", "events") => corev1::event::EVENT,
        ("discovery.k8s.io", "endpointslices") => corev1::endpoints::ENDPOINT_SLICE,
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") => rbac::ROLE,
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => rbac::BINDING,
        ("policy", "poddisruptionbudgets") => pdb::POD_DISRUPTION_BUDGET,
        ("networking.k8s.io", "ingresses") => networking::INGRESS,
        ("networking.k8s.io", "ingressclasses") => networking::INGRESS_CLASS,
        ("networking.k8s.io", "networkpolicies") => networking::NETWORK_POLICY,
        ("networking.k8s.io", "ipaddresses") => networking::IP_ADDRESS,
        ("networking.k8s.io", "servicecidrs") => networking::SERVICE_CIDR,
        ("storage.k8s.io", "storageclasses") => classes::STORAGE_CLASS,
        ("storage.k8s.io", "volumeattributesclasses") => classes::VOLUME_ATTRIBUTES_CLASS,
        ("storage.k8s.io", "csidrivers") => csi::CSI_DRIVER,
        ("storage.k8s.io", "csinodes") => csi::CSI_NODE,
        ("storage.k8s.io", "csistoragecapacities") => csi::CSI_STORAGE_CAPACITY,
        ("storage.k8s.io", "volumeattachments") => csi::VOLUME_ATTACHMENT,
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations") => admission::MUTATING_WEBHOOKS,
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations") => admission::VALIDATING_WEBHOOKS,
        ("admissionregistration.k8s.io", "mutatingadmissionpolicies") => admission::MUTATING_POLICY,
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => admission::VALIDATING_POLICY,
        ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings") => admission::MUTATING_BINDING,
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings") => {
            admission::VALIDATING_BINDING
        }
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => flowcontrol::FLOW_SCHEMA,
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations") => flowcontrol::PRIORITY_LEVEL,
        ("scheduling.k8s.io", "priorityclasses") => flowcontrol::PRIORITY_CLASS,
        ("scheduling.k8s.io", "podgroups") => misc::POD_GROUP,
        ("scheduling.k8s.io", "compositepodgroups") => misc::COMPOSITE_POD_GROUP,
        ("scheduling.k8s.io", "workloads") => misc::WORKLOAD,
        ("coordination.k8s.io", "leases") => misc::LEASE,
        ("coordination.k8s.io", "leasecandidates") => misc::LEASE_CANDIDATE,
        ("certificates.k8s.io", "certificatesigningrequests") => misc::CERTIFICATE_SIGNING_REQUEST,
        ("certificates.k8s.io", "clustertrustbundles") => misc::CLUSTER_TRUST_BUNDLE,
        ("certificates.k8s.io", "podcertificaterequests") => misc::POD_CERTIFICATE_REQUEST,
        ("node.k8s.io", "runtimeclasses") => misc::RUNTIME_CLASS,
        ("apiregistration.k8s.io", "apiservices") => misc::API_SERVICE,
        ("resource.k8s.io", "resourceclaims") => misc::RESOURCE_CLAIM,
        ("resource.k8s.io", "resourceclaimtemplates") => misc::RESOURCE_CLAIM_TEMPLATE,
        ("resource.k8s.io", "deviceclasses") => misc::DEVICE_CLASS,
        ("resource.k8s.io", "resourceslices") => misc::RESOURCE_SLICE,
        ("resource.k8s.io", "devicetaintrules") => misc::DEVICE_TAINT_RULE,
        ("resource.k8s.io", "resourcepoolstatusrequests") => misc::RESOURCE_POOL_STATUS_REQUEST,
        ("storagemigration.k8s.io", _) => misc::STORAGE_VERSION_MIGRATION,
        ("internal.apiserver.k8s.io", _) => misc::STORAGE_VERSION,
        ("lifecycle.k8s.io", _) => misc::EVICTION_REQUEST,
        _ => return None,
    };
    Some(Arc::new(kind))
}

/// A field by its path, as text: what most field labels mean.
pub(crate) fn plain_field(object: &Value, label: &str) -> String {
    let path: Vec<&str> = label.split('.').collect();
    match object.at(&path) {
        Some(Value::String(s)) => s.to_string(),
        Some(Value::Bool(b)) => b.to_string(),
        Some(Value::Int(n)) => n.to_string(),
        // What is left out is Go's zero, which these three labels write.
        _ => match label {
            "spec.unschedulable" => "false".into(),
            "status.replicas" | "status.successful" => "0".into(),
            _ => String::new(),
        },
    }
}

#[cfg(test)]
mod tests;
