//! Admission: the plugins of upstream under their names, in upstream's order, chosen by
//! `--enable-admission-plugins` and `--disable-admission-plugins`.
//!
//! Left out: the plugins of [`UNSUPPORTED`] (an error when asked for).

mod always;
mod certificates;
pub mod context;
pub mod criteria;
mod default_class;
pub mod evaluation;
mod limit_ranger;
mod namespace;
mod node_restriction;
mod pod_security;
pub mod policies;
mod priority;
mod quota;
mod runtime_class;
mod service_account;
mod storage;
mod taints;
mod tolerations;

use std::sync::Arc;

use apiserver::admission::Plugin;
use apiserver::resource::Objects;

use crate::authz::Authorization;
use crate::webhook::Webhooks;

/// Upstream's order; plugins run in it whatever the flags' order.
const ORDER: [&str; 39] = [
    "AlwaysAdmit",
    "NamespaceAutoProvision",
    "NamespaceLifecycle",
    "NamespaceExists",
    "LimitPodHardAntiAffinityTopology",
    "LimitRanger",
    "ServiceAccount",
    "NodeRestriction",
    "TaintNodesByCondition",
    "AlwaysPullImages",
    "ImagePolicyWebhook",
    "PodSecurity",
    "PodNodeSelector",
    "Priority",
    "DefaultTolerationSeconds",
    "PodTolerationRestriction",
    "EventRateLimit",
    "ExtendedResourceToleration",
    "DefaultStorageClass",
    "StorageObjectInUseProtection",
    "OwnerReferencesPermissionEnforcement",
    "PersistentVolumeClaimResize",
    "RuntimeClass",
    "CertificateApproval",
    "CertificateSigning",
    "ClusterTrustBundleAttest",
    "CertificateSubjectRestriction",
    "DefaultIngressClass",
    "DenyServiceExternalIPs",
    "PodTopologyLabels",
    "NodeDeclaredFeatureValidator",
    "PersistentVolumeLabel",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
    "ResourceQuota",
    "SecurityContextDeny",
    "AlwaysDeny",
];

/// On without being asked for. Those of upstream that are not built yet are not here.
const DEFAULT_ON: [&str; 23] = [
    "NamespaceLifecycle",
    "LimitRanger",
    "ServiceAccount",
    "TaintNodesByCondition",
    "PodSecurity",
    "Priority",
    "DefaultTolerationSeconds",
    "DefaultStorageClass",
    "StorageObjectInUseProtection",
    "PersistentVolumeClaimResize",
    "RuntimeClass",
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "ClusterTrustBundleAttest",
    "DefaultIngressClass",
    "PodTopologyLabels",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
    "NodeDeclaredFeatureValidator",
    "ResourceQuota",
];

/// Asking for one of these is an error: without it less is refused than its user believes.
const UNSUPPORTED: [&str; 9] = [
    "NamespaceAutoProvision",
    "LimitPodHardAntiAffinityTopology",
    "ImagePolicyWebhook",
    "PodNodeSelector",
    "PodTolerationRestriction",
    "EventRateLimit",
    "SecurityContextDeny",
    "PersistentVolumeLabel",
    "OwnerReferencesPermissionEnforcement",
];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0}-admission-plugins plugin {1:?} is unknown")]
    Unknown(&'static str, String),
    #[error("{0:?} in enable-admission-plugins and disable-admission-plugins overlapped")]
    Both(String),
    #[error("the admission plugin {0} is not supported yet")]
    Unsupported(String),
}

/// What the plugins work with.
pub struct Context {
    pub objects: Arc<dyn Objects>,
    pub authorization: Arc<Authorization>,
    pub webhooks: Arc<Webhooks>,
}

/// The names of the plugins to run, in order.
pub fn choose(enable: &[String], disable: &[String]) -> Result<Vec<&'static str>, Error> {
    for (list, what) in [(enable, "enable"), (disable, "disable")] {
        if let Some(unknown) = list.iter().find(|name| !ORDER.contains(&name.as_str())) {
            return Err(Error::Unknown(what, unknown.clone()));
        }
    }
    if let Some(both) = enable.iter().find(|name| disable.contains(name)) {
        return Err(Error::Both(both.clone()));
    }
    let has = |list: &[String], name: &str| list.iter().any(|n| n == name);
    if let Some(name) = enable.iter().find(|name| UNSUPPORTED.contains(&name.as_str())) {
        return Err(Error::Unsupported(name.clone()));
    }
    let on = |name: &&str| has(enable, name) || DEFAULT_ON.contains(name) && !has(disable, name);
    Ok(ORDER.into_iter().filter(on).collect())
}

/// The plugins of these names, and the checks that are always on.
pub fn plugins(names: &[&str], context: &Context) -> Vec<Arc<dyn Plugin>> {
    let check = crate::authz::rbac::escalation::EscalationCheck::new(context.authorization.clone());
    let grants = policies::ParamGrants::new(context.objects.clone(), context.authorization.clone());
    let mut plugins: Vec<Arc<dyn Plugin>> = names.iter().filter_map(|name| plugin(name, context)).collect();
    plugins.push(Arc::new(check));
    plugins.push(Arc::new(grants));
    plugins.push(Arc::new(certificates::PodCertificateSigning::new(context.authorization.clone())));
    plugins
}

fn plugin(name: &str, context: &Context) -> Option<Arc<dyn Plugin>> {
    let objects = context.objects.clone();
    let authorization = context.authorization.clone();
    Some(match name {
        "AlwaysAdmit" => Arc::new(always::AlwaysAdmit),
        "AlwaysDeny" => Arc::new(always::AlwaysDeny),
        "AlwaysPullImages" => Arc::new(always::AlwaysPullImages),
        "DenyServiceExternalIPs" => Arc::new(always::DenyServiceExternalIps),
        "NamespaceLifecycle" => Arc::new(namespace::Lifecycle::new(objects)),
        "NamespaceExists" => Arc::new(namespace::Exists::new(objects)),
        "LimitRanger" => Arc::new(limit_ranger::LimitRanger::new(objects)),
        "ServiceAccount" => Arc::new(service_account::ServiceAccount::new(objects)),
        "NodeRestriction" => Arc::new(node_restriction::NodeRestriction::new(objects, authorization)),
        "TaintNodesByCondition" => Arc::new(taints::TaintNodesByCondition),
        "PodSecurity" => Arc::new(pod_security::PodSecurity::new(objects)),
        "Priority" => Arc::new(priority::Priority::new(objects)),
        "DefaultTolerationSeconds" => Arc::new(tolerations::DefaultTolerationSeconds),
        "ExtendedResourceToleration" => Arc::new(tolerations::ExtendedResourceToleration),
        "DefaultStorageClass" => Arc::new(default_class::DefaultStorageClass::new(objects)),
        "DefaultIngressClass" => Arc::new(default_class::DefaultIngressClass::new(objects)),
        "StorageObjectInUseProtection" => Arc::new(storage::InUseProtection),
        "PersistentVolumeClaimResize" => Arc::new(storage::ClaimResize::new(objects)),
        "RuntimeClass" => Arc::new(runtime_class::RuntimeClass::new(objects)),
        "CertificateApproval" => Arc::new(certificates::Approval::new(objects, authorization)),
        "CertificateSigning" => Arc::new(certificates::Signing::new(objects, authorization)),
        "CertificateSubjectRestriction" => Arc::new(certificates::SubjectRestriction),
        "ClusterTrustBundleAttest" => Arc::new(certificates::Attest::new(authorization)),
        "ResourceQuota" => Arc::new(quota::ResourceQuota::new(objects)),
        "PodTopologyLabels" => Arc::new(taints::PodTopologyLabels::new(objects)),
        "MutatingAdmissionWebhook" => {
            Arc::new(crate::webhook::admission::Mutating::new(context.webhooks.clone()))
        }
        "ValidatingAdmissionWebhook" => {
            Arc::new(crate::webhook::admission::Validating::new(context.webhooks.clone()))
        }
        "MutatingAdmissionPolicy" => Arc::new(policies::Mutating::new(objects, authorization)),
        "ValidatingAdmissionPolicy" => Arc::new(policies::Validating::new(objects, authorization)),
        // NodeDeclaredFeatureValidator acts on gates that are off by default.
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
