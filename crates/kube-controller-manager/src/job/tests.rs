//! Jobs and their pods, and what is planned for them.

use std::sync::Arc;

use client::Time;
use serde_json::{Value, json};

use super::backoff::Record;
use super::plan::{FAILURES, INDEX, Plan, Snapshot, TRACKING, plan};
use crate::views::Pod;
use crate::views::batch::Job;

fn now() -> Time {
    Time("2026-01-01T12:00:00Z".parse().unwrap())
}

fn job(spec: Value, status: Value) -> Job {
    let mut full = json!({"parallelism": 2, "completions": 3, "backoffLimit": 6, "completionMode": "NonIndexed",
        "podReplacementPolicy": "TerminatingOrFailed", "template": {"spec": {"restartPolicy": "Never"}}});
    spec.as_object().unwrap().iter().for_each(|(k, v)| full[k] = v.clone());
    let job =
        json!({"metadata": {"name": "j", "namespace": "n", "uid": "u"}, "spec": full, "status": status});
    serde_json::from_value(job).unwrap()
}

/// `a:Running`, `b:Failed@1` (index 1), `c:Succeeded-` (its finalizer is off), `d:Running!` (being deleted).
fn pods(text: &str) -> Vec<Arc<Pod>> {
    text.split_whitespace().map(pod).collect()
}

fn pod(text: &str) -> Arc<Pod> {
    let (name, rest) = text.split_once(':').unwrap();
    let tracked = !rest.ends_with('-');
    let rest = rest.trim_end_matches('-');
    let deleting = rest.ends_with('!');
    let (phase, index) =
        rest.trim_end_matches('!').split_once('@').unwrap_or((rest.trim_end_matches('!'), ""));
    let mut meta =
        json!({"name": name, "namespace": "n", "uid": name, "creationTimestamp": "2026-01-01T11:00:00Z"});
    if tracked {
        meta["finalizers"] = json!([TRACKING]);
    }
    if deleting {
        meta["deletionTimestamp"] = json!("2026-01-01T11:30:00Z");
    }
    if !index.is_empty() {
        meta["annotations"] = json!({INDEX: index});
    }
    let ended = json!([{"name": "c", "state": {"terminated": {"exitCode": 42, "finishedAt": "2026-01-01T11:00:00Z"}}}]);
    let statuses = if phase == "Failed" { ended } else { json!([]) };
    let status = json!({"phase": phase, "containerStatuses": statuses});
    Arc::new(serde_json::from_value(json!({"metadata": meta, "spec": {}, "status": status})).unwrap())
}

fn planned(job: &Job, pods: &[Arc<Pod>]) -> Plan {
    plan(&Snapshot { job, pods, backoff: Record::default(), now: now() })
}

/// In short: `+2` pods created (of indexes `+0,1`), `-a` deleted, `~b` released, `=KIND/REASON` conditions.
fn short(plan: &Plan) -> String {
    let mut out = Vec::new();
    let indexes: Vec<String> = plan.create.iter().filter_map(|p| p.index.map(|i| i.to_string())).collect();
    match (plan.create.len(), indexes.is_empty()) {
        (0, _) => {}
        (count, true) => out.push(format!("+{count}")),
        (_, false) => out.push(format!("+{}", indexes.join(","))),
    }
    out.extend(plan.delete.iter().map(|p| format!("-{}", p.metadata.name)));
    out.extend(plan.release.iter().map(|p| format!("~{}", p.metadata.name)));
    out.extend(plan.status.conditions.iter().map(|c| format!("={}/{}", c.kind, c.reason)));
    out.join(" ")
}

fn interim(kind: &str, reason: &str) -> Value {
    json!({"conditions": [{"type": kind, "status": "True", "reason": reason}], "startTime": "2026-01-01T11:00:00Z"})
}

#[test]
fn pods_come_and_go() {
    let indexed = json!({"completionMode": "Indexed"});
    let strict = json!({"podReplacementPolicy": "Failed"});
    for (spec, status, list, expected) in [
        (json!({}), json!({}), "", "+2"),
        (json!({}), json!({}), "a:Running b:Running", ""),
        (json!({}), json!({}), "a:Running c:Running b:Succeeded", "~b"),
        (json!({}), json!({"succeeded": 2}), "a:Running", ""),
        (json!({}), json!({"succeeded": 2}), "a:Pending b:Running", "-a"),
        (json!({}), json!({"succeeded": 3}), "", "=SuccessCriteriaMet/CompletionsReached"),
        (json!({"completions": null}), json!({}), "a:Running", "+1"),
        (json!({"completions": null}), json!({}), "a:Running b:Succeeded", "~b"),
        (json!({"completions": null}), json!({}), "b:Succeeded", "~b =SuccessCriteriaMet/CompletionsReached"),
        (json!({"parallelism": 0}), json!({}), "a:Running", "-a"),
        (json!({}), json!({}), "a:Running b:Running!", "+1 ~b"),
        (strict.clone(), json!({}), "a:Running b:Running!", ""),
        (json!({"suspend": true}), json!({}), "a:Running", "-a =Suspended/JobSuspended"),
        (indexed.clone(), json!({}), "", "+0,1"),
        (indexed.clone(), json!({"completedIndexes": "0"}), "a:Running@2", "+1"),
        (indexed.clone(), json!({}), "a:Running@0 b:Pending@0", "-b"),
        (indexed.clone(), json!({}), "a:Running@7", "-a"),
        (indexed, json!({}), "a:Failed@0 b:Running@1", "+0 ~a"),
    ] {
        let job = job(spec.clone(), status);
        assert_eq!(short(&planned(&job, &pods(list))), expected, "{spec} {list}");
    }
}

#[test]
fn how_jobs_end() {
    let (one, two) = (json!({"backoffLimit": 1}), json!({"failed": 1, "startTime": "2026-01-01T11:00:00Z"}));
    let deadline = json!({"activeDeadlineSeconds": 60});
    let rule = json!({"podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]}});
    let per_index = json!({"completionMode": "Indexed", "backoffLimitPerIndex": 0, "backoffLimit": 99, "maxFailedIndexes": 1});
    let success =
        json!({"completionMode": "Indexed", "successPolicy": {"rules": [{"succeededIndexes": "0"}]}});
    for (spec, status, list, expected) in [
        (one.clone(), two.clone(), "a:Running b:Failed", "-a ~a ~b =FailureTarget/BackoffLimitExceeded"),
        (deadline.clone(), two.clone(), "a:Running", "-a ~a =FailureTarget/DeadlineExceeded"),
        (rule, json!({}), "a:Running b:Failed", "-a ~a ~b =FailureTarget/PodFailurePolicy"),
        (per_index.clone(), json!({}), "a:Failed@0 b:Running@1", "+2 ~a"),
        (
            per_index.clone(),
            json!({}),
            "a:Failed@0 b:Failed@1",
            "~a ~b =FailureTarget/MaxFailedIndexesExceeded",
        ),
        (per_index, json!({"completedIndexes": "0,1"}), "a:Failed@2", "~a =FailureTarget/FailedIndexes"),
        (success, json!({}), "a:Succeeded@0 b:Running@1", "-b ~a ~b =SuccessCriteriaMet/SuccessPolicy"),
        (json!({}), interim("FailureTarget", "X"), "a:Running!", "~a =FailureTarget/X"),
        (json!({}), interim("FailureTarget", "X"), "a:Running!-", "=FailureTarget/X"),
        (json!({}), interim("FailureTarget", "X"), "a:Failed-", "=FailureTarget/X =Failed/X"),
        (json!({}), interim("SuccessCriteriaMet", "Y"), "a:Succeeded-", "=SuccessCriteriaMet/Y =Complete/Y"),
        (json!({}), interim("SuccessCriteriaMet", "Y"), "a:Succeeded", "~a =SuccessCriteriaMet/Y"),
    ] {
        let job = job(spec.clone(), status);
        assert_eq!(short(&planned(&job, &pods(list))), expected, "{spec} {list}");
    }
}

#[test]
fn ends_are_counted_in_two_steps() {
    let first = planned(&job(json!({}), json!({})), &pods("a:Succeeded b:Failed c:Running d:Running"));
    let uncounted = first.status.uncounted_terminated_pods.clone().unwrap();
    assert_eq!((uncounted.succeeded, uncounted.failed), (vec!["a".into()], vec!["b".into()]));
    assert_eq!((first.status.succeeded, first.status.failed, first.status.active), (0, 0, 2));
    let written = job(json!({}), json!(first.status));
    let between = planned(&written, &pods("a:Succeeded b:Failed- c:Running d:Running"));
    assert_eq!((between.status.succeeded, between.status.failed), (0, 1));
    assert_eq!(short(&between), "~a");
    let last = planned(&written, &pods("a:Succeeded- c:Running d:Running"));
    assert_eq!((last.status.succeeded, last.status.failed), (1, 1));
    assert_eq!(last.status.uncounted_terminated_pods, Some(Default::default()));
}

#[test]
fn indexes_are_counted_by_name() {
    let spec = json!({"completionMode": "Indexed", "completions": 5, "parallelism": 1});
    let found = planned(
        &job(spec, json!({"completedIndexes": "3"})),
        &pods("a:Succeeded@1 b:Succeeded@2 c:Running@0"),
    );
    assert_eq!((&*found.status.completed_indexes, found.status.succeeded), ("1-3", 3));
}

#[test]
fn an_index_waits_and_carries_its_failures_on() {
    let spec =
        json!({"completionMode": "Indexed", "completions": 2, "backoffLimitPerIndex": 3, "backoffLimit": 99});
    let mut failed = (*pod("a:Failed@0")).clone();
    failed.metadata.annotations = failed.metadata.annotations.with(FAILURES, "1");
    let all = [Arc::new(failed), pod("b:Running@1")];
    let found = planned(&job(spec.clone(), json!({})), &all);
    assert_eq!(found.create[0].failures, Some((2, 0)));
    assert!(found.release.is_empty(), "it holds the count until there is another pod");
    let soon = Time("2026-01-01T11:00:05Z".parse().unwrap());
    let job = job(spec, json!({}));
    let waiting = plan(&Snapshot { job: &job, pods: &all, backoff: Record::default(), now: soon });
    assert_eq!((waiting.create.len(), waiting.again.map(|d| d.as_secs())), (0, Some(15)));
}

#[test]
fn failures_hold_the_next_pod_back() {
    let soon = Time("2026-01-01T11:00:04Z".parse().unwrap());
    let job = job(json!({"parallelism": 1}), json!({}));
    let found = plan(&Snapshot { job: &job, pods: &pods("a:Failed"), backoff: Record::default(), now: soon });
    assert_eq!(
        (found.create.len(), found.again.map(|d| d.as_secs()), found.backoff.failures),
        (0, Some(6), 1)
    );
}

#[test]
fn suspension_is_told_once_and_starts_anew() {
    let resumed = job(
        json!({}),
        json!({"conditions": [{"type": "Suspended", "status": "True"}], "startTime": "2026-01-01T08:00:00Z"}),
    );
    let found = planned(&resumed, &[]);
    assert_eq!((short(&found), found.status.start_time), ("+2 =Suspended/JobResumed".into(), Some(now())));
    assert_eq!(found.events, [(false, "Resumed", "Job resumed".to_owned())]);
    assert!(planned(&job(json!({}), json!(found.status)), &[]).events.is_empty());
}

#[test]
fn the_end_is_told() {
    let mut status = interim("FailureTarget", "BackoffLimitExceeded");
    status["conditions"][0]["message"] = "m".into();
    let found = planned(&job(json!({}), status), &[]);
    assert_eq!(found.events, [(true, "BackoffLimitExceeded", "m".to_owned())]);
    let found = planned(&job(json!({}), interim("SuccessCriteriaMet", "CompletionsReached")), &[]);
    assert_eq!((found.events[0].1, found.status.completion_time), ("Completed", Some(now())));
}
