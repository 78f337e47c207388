//! What metrics ask for, what rules leave of it, and what the conditions say.

use std::sync::Arc;
use std::time::Duration;

use client::Time;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::limits::{Bounds, History, decide};
use super::plan::{Asked, Unknown, out_of_bounds, sum};
use super::usage::{Goal, Grace, Look, Proposal, Sample, Samples, Tolerance, UsageError};
use crate::views::Pod;
use crate::views::autoscaling::{MetricStatus, ScalingRules};

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn ago(seconds: u64) -> Timestamp {
    now() - Duration::from_secs(seconds)
}

/// `a` a ready pod that requests a processor, `ap` pending, `au` not ready for a minute, `as` started a minute ago and
/// ready since, `ad` being deleted, `af` failed, `an` without a request.
fn pods(text: &str) -> Vec<Arc<Pod>> {
    text.split_whitespace().map(pod).collect()
}

fn pod(text: &str) -> Arc<Pod> {
    let (name, marks) = text.split_at(1);
    let has = |mark| marks.contains(mark);
    let mut meta = json!({"name": name, "namespace": "n"});
    if has('d') {
        meta["deletionTimestamp"] = json!(Time(now()));
    }
    let requests = if has('n') { json!({}) } else { json!({"cpu": "1"}) };
    let phase = match (has('p'), has('f')) {
        (true, _) => "Pending",
        (_, true) => "Failed",
        _ => "Running",
    };
    let start = ago(if has('s') { 60 } else { 3600 });
    // Never was ready: unready since it started.
    let changed = if has('s') || has('u') { start } else { ago(3000) };
    let ready = json!({"type": "Ready", "status": if has('u') { "False" } else { "True" }, "lastTransitionTime": Time(changed)});
    let spec = json!({"containers": [{"name": "c", "resources": {"requests": requests}}]});
    let status = json!({"phase": phase, "startTime": Time(start), "conditions": [ready]});
    Arc::new(serde_json::from_value(json!({"metadata": meta, "spec": spec, "status": status})).unwrap())
}

/// `a=500`: thousandths, measured just now over half a minute.
fn samples(text: &str) -> Samples {
    let one = |part: &str| {
        let (pod, value) = part.split_once('=').unwrap();
        let sample = Sample { value: value.parse().unwrap(), at: now(), window: Duration::from_secs(30) };
        (pod.into(), sample)
    };
    text.split_whitespace().map(one).collect()
}

fn look<'a>(pods: &'a [Arc<Pod>], replicas: i32) -> Look<'a> {
    Look {
        pods,
        resource: Some("cpu"),
        container: "",
        replicas,
        tolerance: Tolerance { down: 0.1, up: 0.1 },
        grace: Grace {
            cpu_initialization: Duration::from_secs(300),
            initial_readiness: Duration::from_secs(30),
        },
        now: now(),
    }
}

#[test]
fn utilization_asks_for_pods() {
    // Pods, samples, target in percent, replicas asked for, utilization.
    let cases = [
        ("a b", "a=500 b=500", 50, 2, 50),
        ("a b", "a=540 b=540", 50, 2, 54),
        ("a b", "a=1000 b=1000", 50, 4, 100),
        ("a b c", "a=100 b=100 c=100", 50, 1, 10),
        // A missing pod is taken at its whole request when scaling down, at nothing when scaling up.
        ("a b", "a=100", 50, 2, 10),
        ("a b", "a=1000", 30, 4, 100),
        ("a b c d", "a=60 b=60 c=60", 10, 4, 6),
        // A pending pod counts as idle when scaling up, and not at all when scaling down.
        ("a bp", "a=1000", 25, 4, 100),
        ("a b cp", "a=100 b=100", 50, 1, 10),
        // The careful ratio turns the direction: nothing happens.
        ("a bp", "a=600", 50, 2, 60),
        // Neither pods that go nor failed ones count.
        ("a bd cf", "a=1000 b=5000", 50, 2, 100),
        // A pod that has just become ready was measured before that.
        ("a bs", "a=250 b=250", 50, 1, 25),
        ("a bu", "a=1000 b=1000", 25, 4, 100),
    ];
    for (list, measured, target, replicas, utilization) in cases {
        let pods = pods(list);
        let current = i32::try_from(pods.len()).unwrap();
        let found = look(&pods, current).by_pods(samples(measured), Goal::Utilization(target)).unwrap();
        assert_eq!(
            (found.replicas, found.utilization),
            (replicas, Some(utilization)),
            "{list} {measured} {target}"
        );
    }
}

#[test]
fn processor_time_from_before_readiness_does_not_count() {
    let pods = pods("a bs");
    let mut measured = samples("a=1000 b=1000");
    let early = ago(45);
    measured.get_mut("b").unwrap().at = early;
    // Ready for a minute, a window of half a minute: measured 45 s ago it covers the start.
    let found = look(&pods, 2).by_pods(measured, Goal::Utilization(25)).unwrap();
    assert_eq!((found.replicas, found.utilization), (4, Some(100)));
}

#[test]
fn averages_ask_for_pods() {
    let pods = pods("a b c");
    let plain = |look: Look<'_>, text: &str| look.by_pods(samples(text), Goal::Average(10_000)).unwrap();
    let look = || Look { resource: None, ..look(&pods, 3) };
    assert_eq!(plain(look(), "a=20000 b=20000 c=20000").replicas, 6);
    assert_eq!(plain(look(), "a=1000 b=1000 c=1000").replicas, 1);
    // The one that is missing is taken to be on target.
    assert_eq!(plain(look(), "a=1000 b=1000").replicas, 2);
    assert_eq!(
        plain(look(), "a=10000 b=10000 c=10001"),
        Proposal { replicas: 3, utilization: None, value: 10_000 }
    );
}

#[test]
fn what_stops_a_look_has_upstreams_words() {
    let none = pods("");
    let error = look(&none, 1).by_pods(samples("a=1"), Goal::Average(1)).unwrap_err();
    assert_eq!(error, UsageError::EmptySelection);
    let pending = pods("ap");
    let error = look(&pending, 1).by_pods(samples("a=1"), Goal::Average(1)).unwrap_err();
    assert_eq!(error.to_string(), "did not receive metrics for targeted pods (pods might be unready)");
    let without = pods("a bn");
    let error = look(&without, 1).by_pods(samples("a=1 b=1"), Goal::Utilization(1)).unwrap_err();
    assert_eq!(error.to_string(), "missing request for cpu in container c of Pod b");
    let known = pods("a");
    let error = look(&known, 1).by_pods(samples("z=1"), Goal::Utilization(1)).unwrap_err();
    assert_eq!(error, UsageError::Unmatched);
}

#[test]
fn values_ask_for_pods() {
    let pods = pods("a b cu");
    let look = |replicas| look(&pods, replicas);
    // Only ready pods are multiplied.
    assert_eq!(look(3).by_value(20_000, 10_000).replicas, 4);
    assert_eq!(look(3).by_value(10_500, 10_000).replicas, 3);
    assert_eq!(look(0).by_value(25_000, 10_000).replicas, 3);
    assert_eq!(
        look(3).by_average(45_000, 10_000, 3),
        Proposal { replicas: 5, utilization: None, value: 15_000 }
    );
    assert_eq!(look(3).by_average(31_000, 10_000, 3).replicas, 3);
}

fn rules(value: Value) -> ScalingRules {
    serde_json::from_value(value).unwrap()
}

fn bounds<'a>(rules: Option<(&'a ScalingRules, &'a ScalingRules)>) -> Bounds<'a> {
    Bounds { min: 1, max: 20, rules, stabilization: Duration::from_secs(300) }
}

#[test]
fn without_rules_steps_are_bounded() {
    // Now, asked for, done, why.
    let cases = [
        (1, 3, 3, "DesiredWithinRange"),
        (1, 10, 4, "ScaleUpLimit"),
        (5, 30, 10, "ScaleUpLimit"),
        (15, 30, 20, "TooManyReplicas"),
        (5, 0, 1, "TooFewReplicas"),
    ];
    for (current, asked, done, why) in cases {
        let found = decide(&mut History::default(), &bounds(None), current, asked, now());
        assert_eq!((found.limit.replicas, found.limit.reason), (done, why), "{current} {asked}");
        assert_eq!(found.is_limited, done != asked);
    }
}

#[test]
fn recent_recommendations_hold_a_scaling_down() {
    let mut history = History::default();
    let bounds = bounds(None);
    let at = |seconds| now() + Duration::from_secs(seconds);
    assert_eq!(decide(&mut history, &bounds, 8, 8, at(0)).limit.replicas, 8);
    let held = decide(&mut history, &bounds, 8, 2, at(60));
    assert_eq!((held.limit.replicas, held.stabilized.unwrap().0), (8, "ScaleDownStabilized"));
    assert_eq!(decide(&mut history, &bounds, 8, 3, at(200)).limit.replicas, 8);
    // The 8 is more than five minutes old; of 2 and 3 the larger counts.
    assert_eq!(decide(&mut history, &bounds, 8, 2, at(301)).limit.replicas, 3);
}

#[test]
fn rules_bound_the_pace() {
    let up = rules(json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 60}, {"type": "Percent", "value": 50, "periodSeconds": 60}]}));
    let down = rules(json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
        {"type": "Percent", "value": 50, "periodSeconds": 60}]}));
    let mut history = History::default();
    let both = bounds(Some((&up, &down)));
    let first = decide(&mut history, &both, 4, 20, now());
    assert_eq!((first.limit.replicas, first.limit.reason), (8, "ScaleUpLimit"));
    history.scaled(&both, 4, 8, now());
    // Within the same minute the four pods are spent: ten seconds later nothing more, after a minute four again.
    let soon = now() + Duration::from_secs(10);
    assert_eq!(decide(&mut history, &both, 8, 20, soon).limit.replicas, 8);
    let later = now() + Duration::from_secs(61);
    assert_eq!(decide(&mut history, &both, 8, 20, later).limit.replicas, 12);
    let halved = decide(&mut history, &both, 12, 1, later);
    assert_eq!((halved.limit.replicas, halved.limit.reason), (6, "ScaleDownLimit"));

    let never = rules(
        json!({"selectPolicy": "Disabled", "policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}]}),
    );
    let stuck = bounds(Some((&up, &never)));
    assert_eq!(decide(&mut History::default(), &stuck, 12, 1, now()).limit.replicas, 12);
}

#[test]
fn the_largest_answer_counts_and_unknown_ones_stop_scaling_down() {
    let asked = |replicas: i32| {
        Ok(Asked { replicas, metric: format!("m{replicas}"), status: MetricStatus::default() })
    };
    let unknown = || Err(Unknown { reason: "R", why: "w".into(), error: "e".into() });
    let of = |list: Vec<Result<Asked, Unknown>>| sum(list, 4).asked;
    assert_eq!(of(vec![asked(3), asked(5)]), Some((5, "m5".into())));
    assert_eq!(of(vec![asked(3), unknown()]), None);
    assert_eq!(of(vec![unknown(), asked(5)]), Some((5, "m5".into())));
    let none = sum(vec![unknown(), unknown()], 4);
    assert_eq!((none.asked, none.statuses.len()), (None, 2));
    assert_eq!(none.error, "invalid metrics (2 invalid out of 2), first error is: e");
}

#[test]
fn a_scale_outside_of_the_bounds_needs_no_metrics() {
    assert_eq!(out_of_bounds(2, 5, 7), Some((5, "Current number of replicas above Spec.MaxReplicas")));
    assert_eq!(out_of_bounds(2, 5, 1), Some((2, "Current number of replicas below Spec.MinReplicas")));
    assert_eq!(out_of_bounds(2, 5, 2), None);
}
