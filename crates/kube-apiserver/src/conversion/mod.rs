//! Conversions of built-in kinds between the version they are stored in and those they are served in. Most are a new
//! name; four are code: HorizontalPodAutoscaler v1 and v2, Event of both groups, CustomResourceDefinition v1 and the
//! v1beta1 it is stored as, and whatever else the table has no row for, which is refused by name.
//!
//! Deliberately absent: custom resources (see `crd`), beta versions that v1.37 does not serve by default.

mod converter;
mod event;
mod hpa;
mod hpa_metrics;

pub mod definition;

pub use converter::converter;

#[cfg(test)]
mod tests;

use api::canonical::{Found, canonicalize};
use api::{Value, schema};
use apimachinery::{GroupVersion, Status};

/// Changes an object into another version's fields; false: there is no such pair of versions.
type Step = fn(&mut Value, &GroupVersion, &GroupVersion) -> bool;

/// The code of a built-in resource. None: a new name is all.
fn coded(group: &str, resource: &str) -> Option<Step> {
    Some(match (group, resource) {
        ("autoscaling", "horizontalpodautoscalers") => hpa::convert,
        ("" | "events.k8s.io", "events") => event::convert,
        ("apiextensions.k8s.io", "customresourcedefinitions") => definition::convert,
        // The same fields in all its versions.
        ("resource.k8s.io", "devicetaintrules") => return None,
        ("resource.k8s.io", _) => refused,
        _ => return None,
    })
}

fn refused(_: &mut Value, _: &GroupVersion, _: &GroupVersion) -> bool {
    false
}

/// The object of a built-in resource in another version, in that version's canonical form. Error: 500 for a pair of
/// versions that is not built.
pub fn convert(
    group: &str,
    resource: &str,
    object: &Value,
    from: &GroupVersion,
    to: &GroupVersion,
) -> Result<Value, Status> {
    let mut object = object.clone();
    if from == to {
        return Ok(object);
    }
    let kind = object.str_at(&["kind"]).to_owned();
    if coded(group, resource).is_some_and(|step| !step(&mut object, from, to)) {
        return Err(Status::internal(format!("conversion of {kind} from {from} to {to} is not built")));
    }
    object.set_at(&["apiVersion"], to.to_string());
    // Even where only the name differs, the versions may differ in what Go always writes.
    if let Some(of) = schema::by_gvk(&to.group, &to.version, &kind) {
        let done = canonicalize(&mut object, &of, &mut Found::default());
        done.map_err(|error| Status::internal(format!("converting {kind} from {from} to {to}: {error}")))?;
    }
    Ok(object)
}
