//! ValidatingAdmissionPolicy (KEP-3488) and MutatingAdmissionPolicy (KEP-3962): policies that are bound, kept compiled
//! as policies and bindings change, and asked about each request.
//!
//! Deliberately absent: what a policy means (see `policy`), policies from manifests on disk, audit annotations as part
//! of an audit log (they are evaluated, and their failures count).

mod grants;
mod mutating;
mod params;
mod source;
#[cfg(test)]
mod tests;
mod validating;

use std::sync::Arc;

use api::Value;
use apimachinery::{GroupVersionResource, Status};
use apiserver::admission::Attributes;
use apiserver::resource::Objects;

use super::context::NAMESPACES;
use super::criteria;

pub use grants::ParamGrants;
pub use mutating::Mutating;
pub use source::Source;
pub use validating::Validating;

/// Requests about who may do what are never judged: a policy could lock everybody out.
fn is_excluded(resource: &GroupVersionResource) -> bool {
    let review = match &*resource.group {
        "authentication.k8s.io" => matches!(&*resource.resource, "selfsubjectreviews" | "tokenreviews"),
        "authorization.k8s.io" => matches!(
            &*resource.resource,
            "localsubjectaccessreviews"
                | "selfsubjectaccessreviews"
                | "selfsubjectrulesreviews"
                | "subjectaccessreviews"
        ),
        _ => false,
    };
    review || criteria::is_exempt(resource)
}

/// The namespace of a request, for `namespaceObject`; None where the object is in none, or is one.
async fn namespace_of(objects: &dyn Objects, a: &Attributes<'_>) -> Result<Option<Arc<Value>>, Status> {
    let is_namespace = &*a.kind.kind == "Namespace" && a.kind.group.is_empty();
    if a.namespace.is_empty() || is_namespace {
        return Ok(None);
    }
    if let Some(found) = objects.get(&NAMESPACES, "", a.namespace) {
        return Ok(Some(found.value));
    }
    Ok(Some(objects.get_latest(&NAMESPACES, "", a.namespace).await?.value))
}
