//! Upstream's metrics.

use std::time::Duration;

use component_base::metrics::{
    Counter, CounterVec, Gauge, Histogram, HistogramVec, counter, exponential_buckets, gauge, histogram,
};

use super::core::Core;

/// The scheduler's metrics.
pub struct Metrics {
    pub attempts: CounterVec,
    pub attempt_seconds: HistogramVec,
    pub algorithm_seconds: Histogram,
    pub sli_seconds: HistogramVec,
    pub pod_attempts: Histogram,
    pending: [(&'static str, Gauge); 4],
    cache: [Gauge; 3],
    preemption_attempts: Counter,
    preemption_victims: Histogram,
}

impl Metrics {
    pub fn new() -> Self {
        let seconds = exponential_buckets(0.001, 2.0, 15);
        let pending = |queue| {
            gauge("scheduler_pending_pods", "Pods that wait, by the part of the queue", &[("queue", queue)])
        };
        let cache = |kind| {
            gauge("scheduler_cache_size", "Nodes, pods and assumed pods in the cache", &[("type", kind)])
        };
        Self {
            attempts: CounterVec::new(
                "scheduler_schedule_attempts_total",
                "Attempts to schedule pods, by result",
                &["result", "profile"],
            ),
            attempt_seconds: HistogramVec::new(
                "scheduler_scheduling_attempt_duration_seconds",
                "Seconds of an attempt, choosing and binding",
                &["result", "profile"],
                &seconds,
            ),
            algorithm_seconds: histogram(
                "scheduler_scheduling_algorithm_duration_seconds",
                "Seconds of choosing a node",
                &[],
                &seconds,
            ),
            sli_seconds: HistogramVec::new(
                "scheduler_pod_scheduling_sli_duration_seconds",
                "Seconds from the first attempt to the binding",
                &["attempts"],
                &exponential_buckets(0.01, 2.0, 20),
            ),
            pod_attempts: histogram(
                "scheduler_pod_scheduling_attempts",
                "Attempts until a pod is bound",
                &[],
                &exponential_buckets(1.0, 2.0, 5),
            ),
            pending: ["active", "backoff", "unschedulable", "gated"].map(|queue| (queue, pending(queue))),
            cache: ["nodes", "pods", "assumed_pods"].map(cache),
            preemption_attempts: counter(
                "scheduler_preemption_attempts_total",
                "Attempts to preempt pods",
                &[],
            ),
            preemption_victims: histogram(
                "scheduler_preemption_victims",
                "Victims of a preemption",
                &[],
                &exponential_buckets(1.0, 2.0, 7),
            ),
        }
    }

    /// An attempt ended: `scheduled`, `unschedulable` or `error`.
    pub fn attempt(&self, result: &str, profile: &str, took: Duration) {
        self.attempts.with(&[result, profile]).inc();
        self.attempt_seconds.with(&[result, profile]).observe(took.as_secs_f64());
    }

    /// Pods had to go for another.
    pub fn preemption(&self, victims: usize) {
        self.preemption_attempts.inc();
        self.preemption_victims.observe(victims as f64);
    }

    /// A pod got its node.
    pub fn scheduled(&self, attempts: u32, since_first: Duration) {
        let label = if attempts >= 15 { "15+".to_owned() } else { attempts.to_string() };
        self.sli_seconds.with(&[&label]).observe(since_first.as_secs_f64());
        self.pod_attempts.observe(f64::from(attempts));
    }

    /// Sizes of the queue and the cache.
    pub fn sizes(&self, core: &Core) {
        for (queue, gauge) in &self.pending {
            gauge.set(core.queue.count(queue) as f64);
        }
        let sizes = [core.cache.order().len(), core.cache.pods(), core.cache.assumed_pods()];
        for (gauge, size) in self.cache.iter().zip(sizes) {
            gauge.set(size as f64);
        }
    }
}
