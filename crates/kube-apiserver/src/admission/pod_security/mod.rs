//! PodSecurity: the Pod Security Standards, by a namespace's `pod-security.kubernetes.io/*` labels (KEP-2579).
//! Without labels everything is allowed.
//!
//! Left out: older versions of the standards (the newest counts whatever version a label names), exemptions by
//! configuration file, and warnings about the pods that a namespace has when its labels change.

mod checks;

use std::sync::Arc;

use api::Value;
use apimachinery::Status;
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::resource::Objects;
use async_trait::async_trait;

use super::context::{NAMESPACES, containers, forbidden, is, is_pod};
pub use checks::violations;

const PREFIX: &str = "pod-security.kubernetes.io/";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    /// An unknown word counts as the strictest level.
    fn of(word: Option<&str>) -> Self {
        match word {
            None | Some("privileged") => Self::Privileged,
            Some("baseline") => Self::Baseline,
            Some(_) => Self::Restricted,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

pub struct PodSecurity {
    objects: Arc<dyn Objects>,
}

impl PodSecurity {
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects }
    }

    /// The words of a violation of the level that one mode's labels ask for; None if there is none.
    fn violation(&self, namespace: &Value, mode: &str, pod: &Value) -> Option<String> {
        let level = Level::of(namespace.meta().label(&format!("{PREFIX}{mode}")));
        let found = violations(level, pod);
        if found.is_empty() {
            return None;
        }
        let version = namespace.meta().label(&format!("{PREFIX}{mode}-version")).unwrap_or("latest");
        Some(format!(
            "violate{} PodSecurity \"{}:{version}\": {}",
            suffix(mode),
            level.word(),
            found.join(", ")
        ))
    }
}

fn suffix(mode: &str) -> &'static str {
    if mode == "enforce" { "s" } else { "" }
}

/// The template of a workload, as a pod; None for what has none.
fn template(a: &Attributes<'_>) -> Option<Value> {
    let object = a.object.as_ref().filter(|_| a.subresource.is_empty())?;
    let path: &[&str] = match (&*a.resource.group, &*a.resource.resource) {
        ("", "podtemplates") => &["template"],
        ("", "replicationcontrollers") | ("batch", "jobs") => &["spec", "template"],
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets") => &["spec", "template"],
        ("batch", "cronjobs") => &["spec", "jobTemplate", "spec", "template"],
        _ => return None,
    };
    object.at(path).cloned()
}

/// Whether an update of a pod changes anything that the standards look at.
fn significant(a: &Attributes<'_>) -> bool {
    let (Operation::Update, Some(new), Some(old)) = (a.operation, &a.object, a.old_object.as_deref()) else {
        return true;
    };
    let images = |pod: &Value| -> Vec<String> {
        containers(pod).map(|(_, c)| format!("{} {}", c.str_at(&["name"]), c.str_at(&["image"]))).collect()
    };
    images(new) != images(old)
}

#[async_trait]
impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        let pod = is_pod(a) || is(a, "", "pods", "ephemeralcontainers");
        let template = if pod { None } else { template(a) };
        let Some(subject) = template.as_ref().or(a.object.as_ref().filter(|_| pod)) else { return Ok(()) };
        let Some(namespace) = self.objects.get(&NAMESPACES, "", a.namespace) else { return Ok(()) };
        if pod && !significant(a) {
            return Ok(());
        }
        if pod && let Some(why) = self.violation(&namespace.value, "enforce", subject) {
            return Err(forbidden(a, why));
        }
        if let Some(why) = self.violation(&namespace.value, "warn", subject) {
            a.cx.warnings.add(format!("would {why}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
