//! One look at an autoscaler: what its target's scale, the metrics and the recent past make of it. Pure.

use client::Time;

use super::limits::{self, Bounds, Decision, History};
use crate::views::Condition;
use crate::views::autoscaling::{AutoscalerStatus, HorizontalPodAutoscaler, MetricStatus, ScalingRules};

pub const ABLE_TO_SCALE: &str = "AbleToScale";
pub const SCALING_ACTIVE: &str = "ScalingActive";
pub const SCALING_LIMITED: &str = "ScalingLimited";

/// What one metric asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub replicas: i32,
    /// For the Event, such as `cpu resource utilization (percentage of request)`.
    pub metric: String,
    pub status: MetricStatus,
}

/// Why a metric says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    pub reason: &'static str,
    /// For the condition.
    pub why: String,
    /// The same for the error of the whole look.
    pub error: String,
}

/// All metrics together.
#[derive(Clone, Debug)]
pub struct Sum {
    /// The largest number asked for, and by which metric; None where too little is known.
    pub asked: Option<(i32, String)>,
    pub statuses: Vec<MetricStatus>,
    /// Of the first that is unknown.
    pub unknown: Option<Unknown>,
    pub error: String,
}

/// `replicas`: what the scale wants now. An unknown metric could have asked for more, so nothing is scaled down.
pub fn sum(metrics: Vec<Result<Asked, Unknown>>, replicas: i32) -> Sum {
    let all = metrics.len();
    let mut sum = Sum { asked: None, statuses: Vec::new(), unknown: None, error: String::new() };
    let mut failed = 0;
    for metric in metrics {
        match metric {
            Ok(asked) => {
                if sum.asked.as_ref().is_none_or(|(most, _)| asked.replicas > *most) {
                    sum.asked = Some((asked.replicas, asked.metric));
                }
                sum.statuses.push(asked.status);
            }
            Err(unknown) => {
                failed += 1;
                // A place of its own in the list, so that it lines up with the spec.
                sum.statuses.push(MetricStatus::default());
                sum.unknown.get_or_insert(unknown);
            }
        }
    }
    if let Some(unknown) = &sum.unknown {
        let first = &unknown.error;
        sum.error = format!("invalid metrics ({failed} invalid out of {all}), first error is: {first}");
        if sum.asked.as_ref().is_none_or(|(most, _)| *most < replicas) {
            sum.asked = None;
        }
    }
    sum
}

/// The rules for up and down; both are there once the API server has defaulted them.
pub fn rules(autoscaler: &HorizontalPodAutoscaler) -> Option<(&ScalingRules, &ScalingRules)> {
    let behavior = autoscaler.spec.behavior.as_ref()?;
    Some((behavior.scale_up.as_ref()?, behavior.scale_down.as_ref()?))
}

/// Whether the target is at rest: scaled to zero by somebody, which switches the autoscaler off.
pub fn is_disabled(min: i32, replicas: i32) -> bool {
    replicas == 0 && min != 0
}

/// What the bounds alone make of a scale outside of them: the number of pods, and why.
pub fn out_of_bounds(min: i32, max: i32, replicas: i32) -> Option<(i32, &'static str)> {
    if replicas > max {
        Some((max, "Current number of replicas above Spec.MaxReplicas"))
    } else if replicas < min {
        Some((min, "Current number of replicas below Spec.MinReplicas"))
    } else {
        None
    }
}

/// Bounds what the metrics ask for, and says so in the conditions: the number of pods, and why.
pub fn bounded(
    status: &mut AutoscalerStatus,
    history: &mut History,
    bounds: &Bounds<'_>,
    replicas: i32,
    (asked, metric): &(i32, String),
    now: Time,
) -> (i32, String) {
    let reason = if *asked > replicas {
        format!("{metric} above target")
    } else if *asked < replicas {
        "All metrics below target".to_owned()
    } else {
        String::new()
    };
    let Decision { stabilized, limit, is_limited } = limits::decide(history, bounds, replicas, *asked, now.0);
    let (why, message) = stabilized.unwrap_or(("ReadyForNewScale", "recommended size matches current size"));
    set(status, ABLE_TO_SCALE, true, why, message, now);
    set(status, SCALING_LIMITED, is_limited, limit.reason, limit.message, now);
    (limit.replicas, reason)
}

/// Sets a condition; its time moves only when its status does.
pub fn set(
    status: &mut AutoscalerStatus,
    kind: &str,
    holds: bool,
    reason: &str,
    message: impl Into<String>,
    now: Time,
) {
    let mut new = Condition::new(kind, if holds { "True" } else { "False" }, reason, message, now);
    match status.conditions.iter_mut().find(|c| c.kind == kind) {
        Some(known) => {
            if known.status == new.status {
                new.last_transition_time = known.last_transition_time;
            }
            *known = new;
        }
        None => status.conditions.push(new),
    }
}
