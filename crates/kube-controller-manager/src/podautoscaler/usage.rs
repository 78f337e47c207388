//! How many pods a metric asks for: pure. Pods without samples, not ready yet or just started are counted so that
//! they can slow a scaling down, never turn its direction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use jiff::Timestamp;

use crate::views::Pod;

/// What a metric was for one pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// In thousandths.
    pub value: i64,
    pub at: Timestamp,
    /// What it is an average over.
    pub window: Duration,
}

/// By the pods' names.
pub type Samples = BTreeMap<CompactString, Sample>;

/// By how much a ratio may lie off 1 without a change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    pub down: f64,
    pub up: f64,
}

impl Tolerance {
    fn holds(self, ratio: f64) -> bool {
        (1.0 - self.down..=1.0 + self.up).contains(&ratio)
    }
}

/// How long after its start a pod's readiness and processor time tell little.
#[derive(Clone, Copy, Debug)]
pub struct Grace {
    pub cpu_initialization: Duration,
    pub initial_readiness: Duration,
}

/// What each pod should use on average.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// Percent of the request.
    Utilization(i32),
    /// In thousandths.
    Average(i64),
}

/// What a metric asks for, and what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proposal {
    pub replicas: i32,
    /// Percent of the request, for [`Goal::Utilization`].
    pub utilization: Option<i32>,
    /// In thousandths: an average over the pods, or the value itself.
    pub value: i64,
}

/// Why there is no proposal, in upstream's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    #[error("no pods returned by selector while calculating replica count")]
    EmptySelection,
    #[error("did not receive metrics for targeted pods (pods might be unready)")]
    Unmeasured,
    #[error("missing request for {resource} in container {container} of Pod {pod}")]
    Unrequested { resource: String, container: String, pod: String },
    #[error("no metrics returned matched known pods")]
    Unmatched,
}

/// The pods of a target, seen through one metric.
pub struct Look<'a> {
    pub pods: &'a [Arc<Pod>],
    /// The resource measured; None for metrics by name.
    pub resource: Option<&'a str>,
    /// Only this container of each pod, unless empty.
    pub container: &'a str,
    /// What the target's scale wants now.
    pub replicas: i32,
    pub tolerance: Tolerance,
    pub grace: Grace,
    pub now: Timestamp,
}

#[derive(Debug, Default, PartialEq)]
struct Groups<'a> {
    ready: usize,
    unready: Vec<&'a str>,
    missing: Vec<&'a str>,
    ignored: Vec<&'a str>,
}

/// The relation of use to goal over samples.
struct Ratio {
    ratio: f64,
    utilization: Option<i32>,
    average: i64,
}

impl<'a> Look<'a> {
    /// What an average over the pods asks for.
    pub fn by_pods(&self, mut samples: Samples, goal: Goal) -> Result<Proposal, UsageError> {
        if self.pods.is_empty() {
            return Err(UsageError::EmptySelection);
        }
        let groups = self.group(&samples);
        samples.retain(|pod, _| !groups.ignored.contains(&&**pod) && !groups.unready.contains(&&**pod));
        if samples.is_empty() {
            return Err(UsageError::Unmeasured);
        }
        let requests = match goal {
            Goal::Utilization(_) => self.requests()?,
            Goal::Average(_) => BTreeMap::new(),
        };
        let seen = ratio(&samples, &requests, goal)?;
        let with = |replicas| Proposal { replicas, utilization: seen.utilization, value: seen.average };
        let up_with_unready = !groups.unready.is_empty() && seen.ratio > 1.0;
        if !up_with_unready && groups.missing.is_empty() {
            let ready = i32::try_from(groups.ready).unwrap_or(i32::MAX);
            let held = self.tolerance.holds(seen.ratio);
            return Ok(with(if held { self.replicas } else { ceil(seen.ratio * f64::from(ready)) }));
        }
        for pod in &groups.missing {
            if let Some(value) = assumed(goal, requests.get(pod).copied(), seen.ratio) {
                samples.insert((*pod).into(), self.sample(value));
            }
        }
        for pod in groups.unready.iter().filter(|_| up_with_unready) {
            samples.insert((*pod).into(), self.sample(0));
        }
        let careful = ratio(&samples, &requests, goal)?.ratio;
        let turned = (seen.ratio < 1.0 && careful > 1.0) || (seen.ratio > 1.0 && careful < 1.0);
        if self.tolerance.holds(careful) || turned {
            return Ok(with(self.replicas));
        }
        let replicas = ceil(careful * samples.len() as f64);
        let turned =
            (careful < 1.0 && replicas > self.replicas) || (careful > 1.0 && replicas < self.replicas);
        Ok(with(if turned { self.replicas } else { replicas }))
    }

    /// What a value of an object, or of anything outside the cluster, asks for: `goal` is for all pods together.
    pub fn by_value(&self, value: i64, goal: i64) -> Proposal {
        let ratio = value as f64 / goal as f64;
        let replicas = if self.replicas == 0 {
            ceil(ratio)
        } else if self.tolerance.holds(ratio) {
            self.replicas
        } else {
            ceil(
                ratio
                    * self.pods.iter().filter(|p| p.status.phase == "Running" && p.is_ready()).count() as f64,
            )
        };
        Proposal { replicas, utilization: None, value }
    }

    /// The same, where `goal` is for one pod; `there`: how many there are.
    pub fn by_average(&self, value: i64, goal: i64, there: i32) -> Proposal {
        let ratio = value as f64 / (goal as f64 * f64::from(there));
        let replicas = if self.tolerance.holds(ratio) { there } else { ceil(value as f64 / goal as f64) };
        let average = if there == 0 { value } else { (value as f64 / f64::from(there)).ceil() as i64 };
        Proposal { replicas, utilization: None, value: average }
    }

    fn sample(&self, value: i64) -> Sample {
        Sample { value, at: self.now, window: Duration::ZERO }
    }

    fn group(&self, samples: &Samples) -> Groups<'a> {
        let mut groups = Groups::default();
        for pod in self.pods {
            let name = pod.metadata.name.as_str();
            if pod.metadata.is_being_deleted() || pod.status.phase == "Failed" {
                groups.ignored.push(name);
            } else if pod.status.phase == "Pending" {
                groups.unready.push(name);
            } else {
                match samples.get(name) {
                    None => groups.missing.push(name),
                    Some(sample) if self.resource == Some("cpu") && self.is_unready(pod, sample) => {
                        groups.unready.push(name);
                    }
                    Some(_) => groups.ready += 1,
                }
            }
        }
        groups
    }

    /// Whether processor time says nothing yet: a pod that is still starting uses more than it will.
    fn is_unready(&self, pod: &Pod, sample: &Sample) -> bool {
        let (Some(ready), Some(start)) = (pod.ready_condition(), pod.status.start_time) else { return true };
        let changed = ready.last_transition_time.map_or(Timestamp::MIN, |t| t.0);
        let not_ready = ready.status == "False";
        if start.0 + self.grace.cpu_initialization > self.now {
            return not_ready || sample.at < changed + sample.window;
        }
        not_ready && start.0 + self.grace.initial_readiness > changed
    }

    /// What each pod requests of the resource, in thousandths.
    fn requests(&self) -> Result<BTreeMap<&'a str, i64>, UsageError> {
        let resource = self.resource.unwrap_or_default();
        let of = |pod: &'a Arc<Pod>| {
            let name = pod.metadata.name.as_str();
            pod.requests(resource, self.container).map(|sum| (name, sum)).map_err(|container| {
                UsageError::Unrequested {
                    resource: resource.into(),
                    container: container.into(),
                    pod: name.into(),
                }
            })
        };
        self.pods.iter().map(of).collect()
    }
}

/// What a pod without a sample is taken to use, so that it holds the scaling back.
fn assumed(goal: Goal, request: Option<i64>, ratio: f64) -> Option<i64> {
    if ratio >= 1.0 {
        return (ratio > 1.0).then_some(0);
    }
    match goal {
        Goal::Utilization(percent) => Some(request.unwrap_or(0) * i64::from(percent.max(100)) / 100),
        Goal::Average(value) => Some(value),
    }
}

fn ratio(samples: &Samples, requests: &BTreeMap<&str, i64>, goal: Goal) -> Result<Ratio, UsageError> {
    let total: i64 = samples.values().map(|s| s.value).sum();
    let count = samples.len() as i64;
    match goal {
        Goal::Average(goal) => {
            let average = total / count;
            Ok(Ratio { ratio: average as f64 / goal as f64, utilization: None, average })
        }
        Goal::Utilization(goal) => {
            let known = || samples.iter().filter_map(|(pod, s)| Some((s.value, *requests.get(&**pod)?)));
            let (used, requested) = known().fold((0, 0), |(u, r), (used, request)| (u + used, r + request));
            if requested == 0 {
                return Err(UsageError::Unmatched);
            }
            let percent = i32::try_from(used * 100 / requested).unwrap_or(i32::MAX);
            let average = used / known().count() as i64;
            Ok(Ratio { ratio: f64::from(percent) / f64::from(goal), utilization: Some(percent), average })
        }
    }
}

fn ceil(pods: f64) -> i32 {
    // What is beyond i32 saturates.
    pods.ceil() as i32
}
