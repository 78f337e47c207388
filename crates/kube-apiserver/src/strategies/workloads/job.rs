//! Jobs: the selector and the labels that the server generates, and rows.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use apiserver::request::RequestContext;
use apiserver::strategy::Strategy;
use async_trait::async_trait;
use jiff::Timestamp;

use super::super::fields::{self, Fields, map_at};
use super::super::{cells, pod, times, validation};

pub struct Job;

const UID: &str = "batch.kubernetes.io/controller-uid";
const NAME: &str = "batch.kubernetes.io/job-name";
const OLD_UID: &str = "controller-uid";
const OLD_NAME: &str = "job-name";

/// Parts of the spec that have defaults; also of a CronJob's template.
pub fn defaults(spec: &mut Map) {
    // Neither given: a single pod. Only parallelism given: a work queue, without completions.
    if !spec.has("completions") && !spec.has("parallelism") {
        spec.insert("completions", 1i64);
    }
    spec.default("parallelism", 1i64);
    let limit = if spec.has("backoffLimitPerIndex") { i64::from(i32::MAX) } else { 6 };
    spec.default("backoffLimit", limit);
    spec.default("completionMode", "NonIndexed");
    spec.default("suspend", false);
    spec.default("manualSelector", false);
    let replacement = if spec.has("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    spec.default("podReplacementPolicy", replacement);
    for rule in spec.sub_mut("podFailurePolicy").into_iter().flat_map(|p| p.items_mut("rules")) {
        rule.items_mut("onPodConditions").for_each(|c| c.default("status", "True"));
    }
}

#[async_trait]
impl Strategy for Job {
    fn default(&self, _version: &str, object: &mut Map) {
        let labels = object
            .sub("spec")
            .and_then(|s| s.sub("template"))
            .and_then(|t| t.sub("metadata"))
            .and_then(|m| m.sub("labels"))
            .filter(|l| !l.is_empty())
            .cloned();
        let metadata = object.map_mut("metadata");
        if let (Some(labels), true) = (labels, metadata.sub("labels").is_none_or(Map::is_empty)) {
            metadata.insert("labels", labels);
        }
        if let Some(spec) = object.sub_mut("spec") {
            defaults(spec);
        }
        pod::defaults::template_of(object);
    }

    fn prepare_for_create(&self, _cx: &RequestContext, object: &mut Map) {
        generate_selector(object);
        object.insert("status", Value::map());
        fields::first_generation(object);
    }

    fn prepare_for_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        fields::keep_status_count_spec(object, old);
    }

    fn prepare_for_status_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        fields::keep_all_but_status(object, old);
    }

    fn validate(&self, _cx: &RequestContext, object: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let (spec, path) = (map_at(object, &["spec"]), Path::new("spec"));
        validate_spec(spec, &path, &mut errors);
        match spec.sub("selector") {
            None => {
                errors.push(Error::required(&path.child("selector"), ""));
                let labels = map_at(object, &["spec", "template", "metadata", "labels"]);
                let shown = if labels.is_empty() { Value::Null } else { Value::Map(labels.clone()) };
                let at = path.child("template").child("metadata").child("labels");
                errors.push(Error::invalid(
                    &at,
                    &validation::Json(&shown),
                    "`selector` does not match template `labels`",
                ));
            }
            Some(s) => {
                super::super::selectors::validate(s, &path.child("selector"), &mut errors);
                let labels = map_at(object, &["spec", "template", "metadata", "labels"]);
                if !super::super::selectors::matches(s, labels) {
                    let at = path.child("template").child("metadata").child("labels");
                    let shown = Value::Map(labels.clone());
                    errors.push(Error::invalid(
                        &at,
                        &validation::Json(&shown),
                        "`selector` does not match template `labels`",
                    ));
                }
            }
        }
        errors
    }

    fn validate_update(&self, cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(cx, object);
        for name in [
            "selector",
            "completionMode",
            "podFailurePolicy",
            "backoffLimitPerIndex",
            "managedBy",
            "successPolicy",
        ] {
            errors.extend(validation::immutable(object, old, &["spec", name]));
        }
        let indexed = object.str_at(&["spec", "completionMode"]) == "Indexed";
        if !indexed {
            errors.extend(validation::immutable(object, old, &["spec", "completions"]));
        }
        if !template_may_change(old) {
            errors.extend(validation::immutable(object, old, &["spec", "template"]));
        }
        errors
    }

    fn delete_warning(&self) -> Option<&str> {
        Some(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set \
             propagationPolicy=Orphan to suppress this warning",
        )
    }

    fn orphans_dependents_by_default(&self, _version: &str) -> bool {
        true
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Option<Vec<Value>> {
        let [names, images] = cells::template_containers(object);
        Some(vec![
            cells::name(object),
            status_word(object).into(),
            completions(object).into(),
            elapsed(object, now),
            cells::age(object, now),
            names,
            images,
            cells::selector(object, &["spec", "selector"]),
        ])
    }
}

/// A job that has not started, or is suspended, may still change its scheduling directives.
fn template_may_change(old: &Value) -> bool {
    old.bool_at(&["spec", "suspend"]).unwrap_or(false)
}

pub(super) fn validate_spec(spec: &Map, path: &Path, errors: &mut ErrorList) {
    for name in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
    ] {
        validation::non_negative(errors, spec.int(name).unwrap_or(0), &path.child(name));
    }
    if spec.text("completionMode") == "Indexed" && !spec.has("completions") {
        errors.push(Error::required(&path.child("completions"), "when completion mode is Indexed"));
    }
    let mode = spec.text("completionMode");
    if !matches!(mode, "" | "Indexed" | "NonIndexed") {
        errors.push(Error::not_supported(&path.child("completionMode"), mode, &["NonIndexed", "Indexed"]));
    }
    let empty = Map::new();
    let template = spec.sub("template").unwrap_or(&empty);
    let policy = template.sub("spec").map(|s| s.text("restartPolicy")).unwrap_or_default();
    super::validate_template(template, &path.child("template"), &[], errors);
    let at = path.child("template").child("spec").child("restartPolicy");
    match policy {
        "OnFailure" if spec.has("podFailurePolicy") => {
            errors.push(Error::invalid(
                &at,
                policy,
                "only \"Never\" is supported when podFailurePolicy is specified",
            ));
        }
        "OnFailure" | "Never" => {}
        "" | "Always" => errors.push(Error::required(&at, "valid values: \"OnFailure\", \"Never\"")),
        other => errors.push(Error::not_supported(&at, other, &["OnFailure", "Never"])),
    }
}

/// Labels the template by the job's uid and name, and selects by the uid, unless the user selects by hand.
fn generate_selector(object: &mut Map) {
    let manual = object.sub("spec").is_some_and(|s| s.flag("manualSelector"));
    if manual {
        return;
    }
    let (uid, name) = match object.sub("metadata") {
        Some(m) => (m.text("uid").to_owned(), m.text("name").to_owned()),
        None => return,
    };
    let generated = [(UID, &uid), (NAME, &name), (OLD_UID, &uid), (OLD_NAME, &name)];
    let own = object.sub("metadata").and_then(|m| m.sub("labels")).cloned();
    let spec = object.map_mut("spec");
    let labels = spec.map_mut("template").map_mut("metadata").map_mut("labels");
    // Labels that were taken from the template are the same map upstream, and so get what the template gets.
    let shared = own.is_some_and(|own| own == *labels);
    for (key, value) in generated {
        labels.insert(key, value.as_str());
    }
    let selected = spec.map_mut("selector").map_mut("matchLabels");
    if !selected.contains_key(UID) && !selected.contains_key(OLD_UID) {
        selected.insert(UID, uid.as_str());
    }
    if shared {
        let labels = object.map_mut("metadata").map_mut("labels");
        generated.iter().for_each(|(key, value)| drop(labels.insert(*key, value.as_str())));
    }
}

fn has_condition(object: &Value, kind: &str) -> bool {
    map_at(object, &["status"])
        .items("conditions")
        .any(|c| c.text("type") == kind && c.text("status") == "True")
}

fn status_word(object: &Value) -> &'static str {
    if has_condition(object, "Complete") {
        "Complete"
    } else if has_condition(object, "Failed") {
        "Failed"
    } else if map_at(object, &["metadata"]).has("deletionTimestamp") {
        "Terminating"
    } else if has_condition(object, "Suspended") {
        "Suspended"
    } else if has_condition(object, "FailureTarget") {
        "FailureTarget"
    } else if has_condition(object, "SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(object: &Value) -> String {
    let done = object.int_at(&["status", "succeeded"]).unwrap_or(0);
    match (object.int_at(&["spec", "completions"]), object.int_at(&["spec", "parallelism"])) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, Some(p)) if p > 1 => format!("{done}/1 of {p}"),
        (None, _) => format!("{done}/1"),
    }
}

fn elapsed(object: &Value, now: Timestamp) -> Value {
    let start = object.str_at(&["status", "startTime"]);
    let mut end = object.str_at(&["status", "completionTime"]).to_owned();
    if start.is_empty() {
        return "".into();
    }
    if end.is_empty()
        && let Some(c) = map_at(object, &["status"])
            .items("conditions")
            .find(|c| c.text("type") == "Failed" && c.text("status") == "True")
    {
        end = c.text("lastTransitionTime").to_owned();
    }
    match end.as_str() {
        "" => cells::age_of(start, now),
        end => times::between(start, end).unwrap_or_default().into(),
    }
}
