//! The pods of a job, from its template.

use client::StringMap;
use compact_str::CompactString;
use serde_json::{Value, json};

use super::plan::{FAILURES, IGNORED_FAILURES, INDEX, TRACKING};
use super::scale::NewPod;
use crate::control::PodShape;
use crate::views::batch::Job;
use crate::views::pod::RawSpec;

/// What a name that the server completes may begin with.
const LONGEST_PREFIX: usize = 58;
const VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// A job's template, made ready once for all pods of a sync.
pub struct Template<'a> {
    job: &'a Job,
    finalizers: Vec<CompactString>,
    /// With the index as an environment variable; None for jobs without indexes.
    spec: Option<Value>,
}

impl<'a> Template<'a> {
    pub fn of(job: &'a Job) -> Self {
        let template = &job.spec.template;
        let mut finalizers = template.metadata.finalizers.clone();
        if !finalizers.iter().any(|f| f == TRACKING) {
            finalizers.push(TRACKING.into());
        }
        let spec = job.is_indexed().then(|| with_variable(template.spec.text()));
        Self { job, finalizers, spec }
    }

    /// One pod.
    pub fn shape(&self, pod: &NewPod) -> PodShape {
        let (name, template) = (&self.job.metadata.name, &self.job.spec.template);
        let mut shape = PodShape {
            generate_name: format!("{name}-"),
            labels: template.metadata.labels.clone(),
            annotations: template.metadata.annotations.clone(),
            finalizers: self.finalizers.clone(),
            spec: template.spec.clone(),
        };
        if let (Some(index), Some(spec)) = (pod.index, &self.spec) {
            let text = index.to_string();
            shape.generate_name = prefix(name, index);
            shape.labels = shape.labels.with(INDEX, &text);
            shape.annotations = annotations(&shape.annotations.with(INDEX, &text), pod);
            let mut spec = spec.clone();
            spec["hostname"] = format!("{name}-{index}").into();
            shape.spec = RawSpec::from_value(&spec);
        }
        shape
    }
}

fn annotations(known: &StringMap, pod: &NewPod) -> StringMap {
    let Some((failures, ignored)) = pod.failures else { return known.clone() };
    let with = known.with(FAILURES, &failures.to_string());
    if ignored > 0 { with.with(IGNORED_FAILURES, &ignored.to_string()) } else { with }
}

fn prefix(name: &str, index: i32) -> String {
    let end = format!("-{index}-");
    let cut = name.len().min(LONGEST_PREFIX - end.len());
    format!("{}{end}", &name[..cut])
}

fn with_variable(spec: &str) -> Value {
    let mut spec: Value = serde_json::from_str(spec).unwrap_or_default();
    let source = json!({"fieldRef": {"fieldPath": format!("metadata.labels['{INDEX}']")}});
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            let variable = json!({"name": VARIABLE, "valueFrom": source});
            match container["env"].as_array_mut() {
                Some(env) if env.iter().any(|e| e["name"] == VARIABLE) => {}
                Some(env) => env.push(variable),
                None => container["env"] = json!([variable]),
            }
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_indexed_pod() {
        let job: Job =
            serde_json::from_value(json!({"metadata": {"name": "j"}, "spec": {"completionMode": "Indexed",
            "completions": 2, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
                {"name": "c", "env": [{"name": "X", "value": "y"}]}]}}}}))
            .unwrap();
        let shape = Template::of(&job).shape(&NewPod { index: Some(1), failures: Some((2, 1)) });
        assert_eq!((&*shape.generate_name, shape.labels.get(INDEX)), ("j-1-", Some("1")));
        assert_eq!(
            (
                shape.annotations.get(INDEX),
                shape.annotations.get(FAILURES),
                shape.annotations.get(IGNORED_FAILURES)
            ),
            (Some("1"), Some("2"), Some("1"))
        );
        assert_eq!(shape.finalizers, [TRACKING]);
        let spec: Value = serde_json::from_str(shape.spec.text()).unwrap();
        assert_eq!(spec["hostname"], "j-1");
        assert_eq!(spec["containers"][0]["env"][1]["name"], VARIABLE);
        assert_eq!(prefix(&"x".repeat(63), 12).len(), LONGEST_PREFIX);
    }
}
