//! What a CronJob needs now: a Job that is due, the end of others, and its status.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use client::Time;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::schedule::{self, Schedule};
use crate::views::batch::{CronJob, CronJobStatus, Job};

/// After the time that is due, so that it lies in the past for sure.
const DELTA: Duration = Duration::from_millis(100);

/// An Event: warning, reason, message.
pub type Told = (bool, &'static str, String);

/// What is to be done, in this order; the created job's reference then goes into the status.
#[derive(Debug, Default)]
pub struct Plan {
    pub events: Vec<Told>,
    /// Running jobs that the new one replaces.
    pub replace: Vec<Arc<Job>>,
    /// Ended jobs beyond the history's limits.
    pub forget: Vec<Arc<Job>>,
    /// The time of the job to create.
    pub create: Option<Timestamp>,
    pub status: CronJobStatus,
    pub again: Option<Duration>,
}

/// The name of the job of a time: in minutes, as none is due more often.
pub fn job_name(cron_job: &CronJob, time: Timestamp) -> String {
    format!("{}-{}", cron_job.metadata.name, time.as_second() / 60)
}

/// The time zone of the CronJob, as its `timeZone` says.
pub fn zone_of(cron_job: &CronJob) -> Result<TimeZone, schedule::ScheduleError> {
    cron_job.spec.time_zone.as_deref().filter(|z| !z.is_empty()).map_or(Ok(TimeZone::UTC), schedule::zone)
}

/// `jobs` are those that the CronJob manages.
pub fn plan(cron_job: &CronJob, jobs: &[Arc<Job>], now: Timestamp) -> Plan {
    let mut plan = Plan { status: cron_job.status.clone(), ..Plan::default() };
    note_ends(jobs, &mut plan);
    note_missing(jobs, &mut plan);
    plan.forget = surplus(cron_job, jobs);
    if !cron_job.metadata.is_being_deleted() {
        schedule_next(cron_job, jobs, now, &mut plan);
    }
    plan
}

fn note_ends(jobs: &[Arc<Job>], plan: &mut Plan) {
    for job in jobs {
        let meta = &job.metadata;
        let at = plan.status.active.iter().position(|r| r.uid == meta.uid);
        match (at, job.finished()) {
            (None, None) => {
                let message =
                    format!("Saw a job that the controller did not create or forgot: {}", meta.name);
                plan.events.push((true, "UnexpectedJob", message));
            }
            (Some(at), Some(end)) => {
                plan.status.active.remove(at);
                let message = format!("Saw completed job: {}, condition: {}", meta.name, end.kind);
                plan.events.push((false, "SawCompletedJob", message));
            }
            _ => {}
        }
        if job.has("Complete") && job.status.completion_time > plan.status.last_successful_time {
            plan.status.last_successful_time = job.status.completion_time;
        }
    }
}

fn note_missing(jobs: &[Arc<Job>], plan: &mut Plan) {
    let known: HashSet<&str> = jobs.iter().map(|j| j.metadata.uid.as_str()).collect();
    let Plan { status, events, .. } = plan;
    status.active.retain(|reference| {
        let there = known.contains(reference.uid.as_str());
        if !there {
            events.push((false, "MissingJob", format!("Active job went missing: {}", reference.name)));
        }
        there
    });
}

/// The oldest ended jobs beyond the limits.
fn surplus(cron_job: &CronJob, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let limits = [
        ("Complete", cron_job.spec.successful_jobs_history_limit),
        ("Failed", cron_job.spec.failed_jobs_history_limit),
    ];
    let mut gone = Vec::new();
    for (kind, limit) in limits {
        let Some(limit) = limit.and_then(|n| usize::try_from(n).ok()) else { continue };
        let ended =
            |j: &&Arc<Job>| j.finished().is_some_and(|c| c.kind == kind) && !j.metadata.is_being_deleted();
        let mut ended: Vec<_> = jobs.iter().filter(ended).cloned().collect();
        ended.sort_by_key(|j| (j.status.start_time, j.metadata.name.clone()));
        let surplus = ended.len().saturating_sub(limit);
        gone.extend(ended.into_iter().take(surplus));
    }
    gone
}

fn schedule_next(cron_job: &CronJob, jobs: &[Arc<Job>], now: Timestamp, plan: &mut Plan) {
    let spec = &cron_job.spec;
    let zone = match zone_of(cron_job) {
        Ok(zone) => zone,
        Err(e) => {
            let name = spec.time_zone.as_deref().unwrap_or_default();
            plan.events.push((true, "UnknownTimeZone", format!("invalid timeZone: {name:?}: {e}")));
            return;
        }
    };
    if spec.suspend {
        return;
    }
    let schedule = match Schedule::parse(&spec.schedule, zone) {
        Ok(schedule) => schedule,
        Err(e) => {
            let message = format!("unparseable schedule: {:?} : {e}", spec.schedule);
            plan.events.push((true, "UnparseableSchedule", message));
            return;
        }
    };
    plan.again = schedule
        .next(now)
        .map(|next| Duration::try_from(next.duration_since(now)).unwrap_or_default() + DELTA);
    let Some(due) = due(cron_job, &schedule, now, plan) else { return };
    let name = job_name(cron_job, due);
    let active = &plan.status.active;
    if active.iter().any(|r| r.name == name) || cron_job.status.last_schedule_time == Some(Time(due)) {
        return;
    }
    if spec.concurrency_policy == "Forbid" && !active.is_empty() {
        let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
        plan.events.push((false, "JobAlreadyActive", message.into()));
        return;
    }
    if spec.concurrency_policy == "Replace" {
        let is_active = |j: &&Arc<Job>| active.iter().any(|r| r.uid == j.metadata.uid);
        plan.replace = jobs.iter().filter(is_active).cloned().collect();
        plan.status.active.clear();
    }
    plan.status.last_schedule_time = Some(Time(due));
    plan.create = Some(due);
}

/// The time for which there is no job yet and which is not too long ago.
fn due(cron_job: &CronJob, schedule: &Schedule, now: Timestamp, plan: &mut Plan) -> Option<Timestamp> {
    let created = cron_job.metadata.creation_timestamp.map(|t| t.0);
    let since = cron_job.status.last_schedule_time.map(|t| t.0).or(created)?;
    let (due, many) = schedule.latest(since, now)?;
    if many {
        let message =
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.events.push((true, "TooManyMissedTimes", message.into()));
    }
    let deadline = cron_job.spec.starting_deadline_seconds;
    if deadline.is_some_and(|seconds| due.as_second() + seconds < now.as_second()) {
        let shown = due.strftime("%a, %d %b %Y %H:%M:%S +0000");
        plan.events.push((true, "MissSchedule", format!("Missed scheduled time to start a job: {shown}")));
        return None;
    }
    Some(due)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn cron_job(spec: Value, status: Value) -> CronJob {
        let mut full = json!({"schedule": "*/5 * * * *", "concurrencyPolicy": "Allow"});
        spec.as_object().unwrap().iter().for_each(|(k, v)| full[k] = v.clone());
        let meta =
            json!({"name": "c", "namespace": "n", "uid": "u", "creationTimestamp": "2026-01-01T10:01:00Z"});
        serde_json::from_value(json!({"metadata": meta, "spec": full, "status": status})).unwrap()
    }

    /// `end` is the kind of its last condition, or empty.
    fn job(name: &str, end: &str) -> Arc<Job> {
        let conditions = if end.is_empty() { json!([]) } else { json!([{"type": end, "status": "True"}]) };
        let status = json!({"conditions": conditions, "startTime": format!("2026-01-01T10:0{name}:00Z"),
            "completionTime": "2026-01-01T10:06:00Z"});
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "uid": name}, "status": status}))
                .unwrap(),
        )
    }

    fn active(names: &[&str]) -> Value {
        json!({"active": names.iter().map(|n| json!({"name": n, "uid": n})).collect::<Vec<_>>()})
    }

    /// In short: `+TIME`, `-JOB` replaced, `x JOB` forgotten, `!REASON`.
    fn short(plan: &Plan) -> String {
        let mut out: Vec<String> = plan.events.iter().map(|e| format!("!{}", e.1)).collect();
        out.extend(plan.replace.iter().map(|j| format!("-{}", j.metadata.name)));
        out.extend(plan.forget.iter().map(|j| format!("x{}", j.metadata.name)));
        out.extend(plan.create.map(|t| format!("+{}", t.strftime("%H:%M"))));
        out.join(" ")
    }

    #[test]
    fn what_is_due() {
        let last = json!({"lastScheduleTime": "2026-01-01T10:05:00Z"});
        for (spec, status, now, expected) in [
            (json!({}), json!({}), "10:04:00", ""),
            (json!({}), json!({}), "10:05:00", "+10:05"),
            (json!({}), last.clone(), "10:06:00", ""),
            (json!({}), last.clone(), "10:17:00", "+10:15"),
            (json!({"suspend": true}), json!({}), "10:05:00", ""),
            (json!({"startingDeadlineSeconds": 30}), last.clone(), "10:10:20", "+10:10"),
            (json!({"startingDeadlineSeconds": 30}), last.clone(), "10:11:00", "!MissSchedule"),
            (json!({"schedule": "x"}), json!({}), "10:05:00", "!UnparseableSchedule"),
            (json!({"timeZone": "No/Where"}), json!({}), "10:05:00", "!UnknownTimeZone"),
            (json!({"schedule": "* * * * *"}), last, "23:00:00", "!TooManyMissedTimes +23:00"),
        ] {
            let found = plan(&cron_job(spec.clone(), status), &[], at(&format!("2026-01-01T{now}Z")));
            assert_eq!(short(&found), expected, "{spec} {now}");
        }
    }

    #[test]
    fn running_jobs_decide_with_the_policy() {
        let (now, jobs) = (at("2026-01-01T10:05:30Z"), [job("1", "")]);
        for (policy, expected) in
            [("Allow", "+10:05"), ("Forbid", "!JobAlreadyActive"), ("Replace", "-1 +10:05")]
        {
            let found = plan(&cron_job(json!({"concurrencyPolicy": policy}), active(&["1"])), &jobs, now);
            assert_eq!(short(&found), expected);
            assert_eq!(found.again.map(|d| d.as_millis()), Some(270_100));
        }
    }

    #[test]
    fn ends_and_history() {
        let spec = json!({"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 0, "suspend": true});
        let jobs =
            [job("1", "Complete"), job("2", "Complete"), job("3", "Failed"), job("4", ""), job("5", "")];
        let found = plan(&cron_job(spec, active(&["2", "4", "9"])), &jobs, at("2026-01-01T10:07:00Z"));
        assert_eq!(short(&found), "!SawCompletedJob !UnexpectedJob !MissingJob x1 x3");
        assert_eq!(found.status.active.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["4"]);
        assert_eq!(found.status.last_successful_time, Some(Time(at("2026-01-01T10:06:00Z"))));
    }
}
