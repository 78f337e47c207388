//! What becomes of the number of pods that the metrics ask for: recent recommendations hold it back, rules bound
//! how fast it may change, and the autoscaler's own bounds hold in the end. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::views::autoscaling::{ScalingPolicy, ScalingRules};

/// Without rules of its own an autoscaler at most doubles its target at a time, or takes it to this many.
const SMALL: i32 = 4;
const STEP: i32 = 2;

/// What was recommended and done of late, for one autoscaler.
#[derive(Clone, Debug, Default)]
pub struct History {
    recommendations: Vec<(Timestamp, i32)>,
    ups: Vec<Change>,
    downs: Vec<Change>,
}

/// By how many pods the target was changed.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: Timestamp,
    pods: i32,
}

/// A number of pods, and why it is not another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    pub replicas: i32,
    pub reason: &'static str,
    pub message: &'static str,
}

const fn limited(replicas: i32, reason: &'static str, message: &'static str) -> Limited {
    Limited { replicas, reason, message }
}

/// An autoscaler's bounds and rules.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'a> {
    pub min: i32,
    pub max: i32,
    /// Its own rules for up and down; None: the flags'.
    pub rules: Option<(&'a ScalingRules, &'a ScalingRules)>,
    /// For scaling down, where the rules name no window.
    pub stabilization: Duration,
}

/// From what is asked for to what is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// None: as asked for.
    pub stabilized: Option<(&'static str, &'static str)>,
    pub limit: Limited,
    /// Whether the limit changed anything.
    pub is_limited: bool,
}

/// Records the recommendation `asked` and bounds it. `current`: what the target's scale wants now.
pub fn decide(
    history: &mut History,
    bounds: &Bounds<'_>,
    current: i32,
    asked: i32,
    now: Timestamp,
) -> Decision {
    let (stable, why) = history.stabilize(bounds, current, asked, now);
    let limit = match bounds.rules {
        None => by_flags(bounds, current, stable),
        Some(rules) => by_rules(history, bounds, rules, current, stable, now),
    };
    let is_limited = limit.replicas != stable;
    Decision { stabilized: (stable != asked).then_some(why), limit, is_limited }
}

impl History {
    /// The recommendation that recent ones leave of `asked`, and why it is another one.
    fn stabilize(
        &mut self,
        bounds: &Bounds<'_>,
        current: i32,
        asked: i32,
        now: Timestamp,
    ) -> (i32, (&'static str, &'static str)) {
        const LOWER: (&str, &str) = (
            "ScaleUpStabilized",
            "recent recommendations were lower than current one, applying the lowest recent recommendation",
        );
        const HIGHER: (&str, &str) = (
            "ScaleDownStabilized",
            "recent recommendations were higher than current one, applying the highest recent recommendation",
        );
        let (up, down) = bounds.windows();
        let within = |window: Duration, at: Timestamp| at > now - window;
        self.recommendations.retain(|(at, _)| within(up.max(down), *at));
        let of = |window| self.recommendations.iter().filter(move |(at, _)| within(window, *at)).map(|r| r.1);
        let lowest = of(up).fold(asked, i32::min);
        let highest = of(down).fold(asked, i32::max);
        self.recommendations.push((now, asked));
        match bounds.rules {
            None => (highest, HIGHER),
            Some(_) => {
                let stable = current.max(lowest).min(highest);
                (stable, if asked >= current { LOWER } else { HIGHER })
            }
        }
    }

    /// Notes that the target was changed; only where there are rules that look at it.
    pub fn scaled(&mut self, bounds: &Bounds<'_>, from: i32, to: i32, now: Timestamp) {
        let Some((up, down)) = bounds.rules else { return };
        let (changes, rules) = if to > from { (&mut self.ups, up) } else { (&mut self.downs, down) };
        let longest = rules.policies.iter().map(|p| p.period_seconds).max().unwrap_or(0);
        changes.retain(|c| c.at > now - seconds(longest));
        changes.push(Change { at: now, pods: (to - from).abs() });
    }

    /// The number of pods when a policy's period began.
    fn at_start_of(&self, policy: &ScalingPolicy, current: i32, now: Timestamp) -> i32 {
        let period = seconds(policy.period_seconds);
        let sum = |changes: &[Change]| -> i32 {
            changes.iter().filter(|c| c.at > now - period).map(|c| c.pods).sum()
        };
        current - sum(&self.ups) + sum(&self.downs)
    }
}

impl Bounds<'_> {
    /// How long recommendations count for scaling up and down.
    fn windows(&self) -> (Duration, Duration) {
        let window = |rules: &ScalingRules| rules.stabilization_window_seconds.map(seconds);
        match self.rules {
            None => (Duration::ZERO, self.stabilization),
            Some((up, down)) => (window(up).unwrap_or_default(), window(down).unwrap_or(self.stabilization)),
        }
    }
}

fn seconds(n: i32) -> Duration {
    Duration::from_secs(u64::try_from(n).unwrap_or(0))
}

const WITHIN: (&str, &str) = ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_FEW: (&str, &str) =
    ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const TOO_MANY: (&str, &str) =
    ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const UP_LIMIT: (&str, &str) =
    ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const DOWN_LIMIT: (&str, &str) =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");

fn by_flags(bounds: &Bounds<'_>, current: i32, stable: i32) -> Limited {
    let fastest = current.saturating_mul(STEP).max(SMALL);
    let (most, (reason, message)) =
        if bounds.max > fastest { (fastest, UP_LIMIT) } else { (bounds.max, TOO_MANY) };
    if stable < bounds.min {
        limited(bounds.min, TOO_FEW.0, TOO_FEW.1)
    } else if stable > most {
        limited(most, reason, message)
    } else {
        limited(stable, WITHIN.0, WITHIN.1)
    }
}

fn by_rules(
    history: &History,
    bounds: &Bounds<'_>,
    (up, down): (&ScalingRules, &ScalingRules),
    current: i32,
    stable: i32,
    now: Timestamp,
) -> Limited {
    let start = |policy: &ScalingPolicy| history.at_start_of(policy, current, now);
    if stable > current {
        let fastest = fastest_up(up, current, start).max(current);
        let (most, (reason, message)) =
            if bounds.max > fastest { (fastest, UP_LIMIT) } else { (bounds.max, TOO_MANY) };
        if stable > most {
            return limited(most, reason, message);
        }
    } else if stable < current {
        let fastest = fastest_down(down, current, start).min(current);
        let (least, (reason, message)) =
            if bounds.min < fastest { (fastest, DOWN_LIMIT) } else { (bounds.min, TOO_FEW) };
        if stable < least {
            return limited(least, reason, message);
        }
    }
    limited(stable, WITHIN.0, WITHIN.1)
}

/// The most pods that the rules allow now. `start`: pods at the start of a policy's period.
fn fastest_up(rules: &ScalingRules, current: i32, start: impl Fn(&ScalingPolicy) -> i32) -> i32 {
    let allowed = rules.policies.iter().map(|policy| match &*policy.kind {
        "Pods" => start(policy).saturating_add(policy.value),
        _ => (f64::from(start(policy)) * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i32,
    });
    match &*rules.select_policy {
        "Disabled" => current,
        "Min" => allowed.min().unwrap_or(current),
        _ => allowed.max().unwrap_or(current),
    }
}

/// The fewest pods that the rules allow now.
fn fastest_down(rules: &ScalingRules, current: i32, start: impl Fn(&ScalingPolicy) -> i32) -> i32 {
    let allowed = rules.policies.iter().map(|policy| match &*policy.kind {
        "Pods" => start(policy).saturating_sub(policy.value),
        _ => (f64::from(start(policy)) * (1.0 - f64::from(policy.value) / 100.0)) as i32,
    });
    match &*rules.select_policy {
        "Disabled" => current,
        "Min" => allowed.max().unwrap_or(current),
        _ => allowed.min().unwrap_or(current),
    }
}
