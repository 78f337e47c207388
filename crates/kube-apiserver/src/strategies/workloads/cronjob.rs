//! CronJobs.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use apiserver::request::RequestContext;
use apiserver::strategy::Strategy;
use async_trait::async_trait;
use jiff::Timestamp;

use super::super::fields::{self, Fields, map_at};
use super::super::{cells, pod, validation};

pub struct CronJob;

#[async_trait]
impl Strategy for CronJob {
    /// The defaults of the Job inside come when the Job is made, except those of its pods.
    fn default(&self, _version: &str, object: &mut Map) {
        let Some(spec) = object.sub_mut("spec") else { return };
        spec.default("concurrencyPolicy", "Allow");
        spec.default("suspend", false);
        spec.default("successfulJobsHistoryLimit", 3i64);
        spec.default("failedJobsHistoryLimit", 1i64);
        if let Some(t) =
            spec.sub_mut("jobTemplate").and_then(|t| t.sub_mut("spec")).and_then(|s| s.sub_mut("template"))
        {
            pod::defaults::template(t);
        }
        for rule in spec
            .sub_mut("jobTemplate")
            .and_then(|t| t.sub_mut("spec"))
            .and_then(|s| s.sub_mut("podFailurePolicy"))
            .into_iter()
            .flat_map(|p| p.items_mut("rules"))
        {
            rule.items_mut("onPodConditions").for_each(|c| c.default("status", "True"));
        }
    }

    fn prepare_for_create(&self, _cx: &RequestContext, object: &mut Map) {
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
        let schedule = spec.text("schedule");
        if !schedule.is_empty() && !is_schedule(schedule) {
            let detail = format!(
                "expected exactly 5 fields, found {}: [{schedule}]",
                schedule.split_whitespace().count()
            );
            errors.push(Error::invalid(&path.child("schedule"), schedule, detail));
        }
        for name in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
            validation::non_negative(&mut errors, spec.int(name).unwrap_or(0), &path.child(name));
        }
        let policy = spec.text("concurrencyPolicy");
        match policy {
            "Allow" | "Forbid" | "Replace" => {}
            "" => errors.push(Error::required(&path.child("concurrencyPolicy"), "")),
            _ => errors.push(Error::not_supported(
                &path.child("concurrencyPolicy"),
                policy,
                &["Allow", "Forbid", "Replace"],
            )),
        }
        let name = object.str_at(&["metadata", "name"]);
        if name.len() > 52 {
            errors.push(Error::invalid(
                &Path::new("metadata").child("name"),
                name,
                "must be no more than 52 characters",
            ));
        }
        let job = map_at(object, &["spec", "jobTemplate", "spec"]);
        let job_path = path.child("jobTemplate").child("spec");
        if job.flag("manualSelector") {
            let at = job_path.child("manualSelector");
            errors.push(Error::not_supported(&at, "true", &["nil", "false"]));
        }
        super::job::validate_spec(job, &job_path, &mut errors);
        errors
    }

    fn validate_update(&self, cx: &RequestContext, object: &Value, _old: &Value) -> ErrorList {
        self.validate(cx, object)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Option<Vec<Value>> {
        let last = object.str_at(&["status", "lastScheduleTime"]);
        let [names, images] =
            cells::containers(map_at(object, &["spec", "jobTemplate", "spec", "template", "spec"]));
        Some(vec![
            cells::name(object),
            object.str_at(&["spec", "schedule"]).into(),
            cells::or_none(object.str_at(&["spec", "timeZone"])),
            match object.bool_at(&["spec", "suspend"]) {
                None => "<unset>".into(),
                Some(true) => "True".into(),
                Some(false) => "False".into(),
            },
            Value::Int(object.list_at(&["status", "active"]).len() as i64),
            if last.is_empty() { "<none>".into() } else { cells::age_of(last, now) },
            cells::age(object, now),
            names,
            images,
            cells::selector(object, &["spec", "jobTemplate", "spec", "selector"]),
        ])
    }
}

/// Five fields, or a descriptor such as `@hourly` and `@every 1h`.
fn is_schedule(text: &str) -> bool {
    let text = text
        .strip_prefix("TZ=")
        .or(text.strip_prefix("CRON_TZ="))
        .and_then(|t| t.split_once(' '))
        .map_or(text, |t| t.1);
    if let Some(descriptor) = text.strip_prefix('@') {
        let every = descriptor.strip_prefix("every ");
        return every.is_some()
            || matches!(
                descriptor,
                "yearly" | "annually" | "monthly" | "weekly" | "daily" | "midnight" | "hourly"
            );
    }
    text.split_whitespace().count() == 5
}
