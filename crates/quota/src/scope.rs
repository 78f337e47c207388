//! Which objects a quota with scopes is about.

use apimachinery::GroupResource;

use crate::object::{Object, Requirement, Spec, Term};
use crate::pod::is_best_effort;

/// Whether a quota counts this object: all of its scopes must hold.
pub fn matches(quota: &Spec, resource: &GroupResource, object: &Object) -> bool {
    let scopes = quota.scopes.iter().map(|scope| Requirement {
        scope_name: scope.clone(),
        operator: "Exists".into(),
        values: Vec::new(),
    });
    let selected = quota.scope_selector.iter().flat_map(|s| s.match_expressions.iter().cloned());
    let kind = if resource.group.is_empty() { &*resource.resource } else { "" };
    scopes.chain(selected).all(|scope| match kind {
        "pods" => pod(&scope, object),
        "persistentvolumeclaims" if scope.scope_name == "VolumeAttributesClass" => {
            named(&scope, object.spec.volume_attributes_class_name.as_deref().unwrap_or_default())
        }
        // Other objects have no scopes, and such quotas do not count them.
        _ => false,
    })
}

fn pod(scope: &Requirement, pod: &Object) -> bool {
    let terminating = pod.spec.active_deadline_seconds.is_some_and(|seconds| seconds >= 0);
    match &*scope.scope_name {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => is_best_effort(pod),
        "NotBestEffort" => !is_best_effort(pod),
        "PriorityClass" => named(scope, &pod.spec.priority_class_name),
        "CrossNamespacePodAffinity" => crosses(pod),
        _ => false,
    }
}

/// A name against the scope's selector; without one it only has to be there.
fn named(scope: &Requirement, name: &str) -> bool {
    let listed = scope.values.iter().any(|v| v == name);
    match &*scope.operator {
        "In" => !name.is_empty() && listed,
        "NotIn" => !listed,
        "DoesNotExist" => name.is_empty(),
        _ => !name.is_empty(),
    }
}

/// Whether the pod's affinity looks at other namespaces.
fn crosses(pod: &Object) -> bool {
    let names = |t: &Term| !t.namespaces.is_empty() || t.namespace_selector.is_some();
    let affinity = pod.spec.affinity.iter();
    affinity.flat_map(|a| a.pod_affinity.iter().chain(&a.pod_anti_affinity)).any(|terms| {
        terms.required.iter().any(names) || terms.preferred.iter().any(|w| names(&w.pod_affinity_term))
    })
}
