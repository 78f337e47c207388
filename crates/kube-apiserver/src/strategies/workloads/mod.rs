//! Kinds that make pods from a template: what their validation shares.

pub mod controllerrevision;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
pub mod job;
pub mod replicas;
pub mod statefulset;

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};

use super::fields::{Fields, map_at};
use super::{pod, selectors, validation};

/// In what the workloads differ.
#[derive(Clone, Copy, Default)]
pub struct Rules {
    /// Restart policies that the template may have.
    pub restart: &'static [&'static str],
    /// The selector is a map of labels, not a LabelSelector.
    pub plain_selector: bool,
    /// `spec.replicas` does not exist.
    pub no_replicas: bool,
}

/// Replicas, minReadySeconds, selector, template, and that the selector matches the template.
pub fn validate_workload(object: &Value, rules: &Rules) -> ErrorList {
    let mut errors = ErrorList::new();
    let (spec, path) = (map_at(object, &["spec"]), Path::new("spec"));
    // ReplicationControllers have these two rules in the table.
    let numbers: &[&str] = match (rules.plain_selector, rules.no_replicas) {
        (true, _) => &[],
        (false, true) => &["minReadySeconds"],
        (false, false) => &["replicas", "minReadySeconds"],
    };
    for name in numbers {
        validation::non_negative(&mut errors, spec.int(name).unwrap_or(0), &path.child(name));
    }
    selector(spec, &path.child("selector"), rules, &mut errors);
    match spec.sub("template") {
        None => errors.push(Error::required(&path.child("template"), "")),
        Some(template) => validate_template(template, &path.child("template"), rules.restart, &mut errors),
    }
    errors
}

fn selector(spec: &Map, path: &Path, rules: &Rules, errors: &mut ErrorList) {
    let labels = spec
        .sub("template")
        .and_then(|t| t.sub("metadata"))
        .and_then(|m| m.sub("labels"))
        .cloned()
        .unwrap_or_default();
    let at = Path::new("spec").child("template").child("metadata").child("labels");
    let mismatch = "`selector` does not match template `labels`";
    let shown = if labels.is_empty() { Value::Null } else { Value::Map(labels.clone()) };
    let Some(selector) = spec.sub("selector") else {
        errors.push(Error::required(path, ""));
        errors.push(Error::invalid(&at, &validation::Json(&shown), mismatch));
        return;
    };
    if rules.plain_selector {
        if selector.is_empty() {
            errors.push(Error::required(path, ""));
        } else if selector.iter().any(|(k, v)| labels.get(k) != Some(v)) {
            errors.push(Error::invalid(&at, &validation::Json(&shown), mismatch));
        }
        return;
    }
    let before = errors.len();
    selectors::validate(selector, path, errors);
    if errors.len() > before {
        let whole = Value::Map(selector.clone());
        errors.push(Error::invalid(path, &validation::Json(&whole), "invalid label selector"));
    } else if selector.list("matchExpressions").is_empty()
        && selector.sub("matchLabels").is_none_or(Map::is_empty)
    {
        errors.push(Error::invalid(
            path,
            &validation::Json(&Value::Map(selector.clone())),
            "empty selector is invalid for deployment",
        ));
    } else if !selectors::matches(selector, &labels) {
        errors.push(Error::invalid(&at, &validation::Json(&shown), mismatch));
    }
}

/// A pod template whose restart policy must be one of `restart` (any if empty).
pub fn validate_template(template: &Map, path: &Path, restart: &[&str], errors: &mut ErrorList) {
    if let Some(metadata) = template.sub("metadata") {
        validation::labels_and_annotations(metadata, &path.child("metadata"), errors);
    }
    let spec_path = path.child("spec");
    let Some(spec) = template.sub("spec") else {
        errors.push(Error::required(&spec_path, ""));
        return;
    };
    pod::validate::pod_spec(spec, &spec_path, errors);
    let policy = spec.text("restartPolicy");
    if !restart.is_empty() && !restart.contains(&policy) {
        errors.push(Error::not_supported(&spec_path.child("restartPolicy"), policy, restart));
    }
    if restart == ["Always"] && spec.has("activeDeadlineSeconds") {
        errors.push(Error::forbidden(
            &spec_path.child("activeDeadlineSeconds"),
            "activeDeadlineSeconds in ReplicaSet is not Supported",
        ));
    }
    if !spec.list("ephemeralContainers").is_empty() {
        errors.push(Error::forbidden(
            &spec_path.child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        ));
    }
}
