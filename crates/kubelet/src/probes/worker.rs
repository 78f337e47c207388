//! One probe of one running container, until the container ends.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::check::{self, Outcome};
use super::{Inner, Kind};
use crate::events;

/// The first distance between early probes.
const EARLY: Duration = Duration::from_millis(50);
/// Tries of a probe that could not be carried out.
const TRIES: usize = 3;

pub(super) struct Worker {
    pub probes: Arc<Inner>,
    pub pod: Arc<Pod>,
    pub container: Container,
    pub kind: Kind,
    pub id: String,
    pub ip: String,
    pub began: Option<Timestamp>,
    pub started: Arc<Notify>,
}

/// Counts equal outcomes in a row against the thresholds. Pure.
#[derive(Debug, Default)]
pub(super) struct Streak {
    last: Option<bool>,
    run: i32,
}

impl Streak {
    /// Takes an outcome; gives the result once its threshold is reached.
    pub fn add(&mut self, success: bool, success_threshold: i32, failure_threshold: i32) -> Option<bool> {
        self.run = if self.last == Some(success) { self.run + 1 } else { 1 };
        self.last = Some(success);
        let threshold = if success { success_threshold } else { failure_threshold };
        (self.run >= threshold).then_some(success)
    }
}

/// When to probe: every period, and until the first success also soon after the start, at growing distances, so
/// that a container is taken for ready as soon as it is. Pure.
#[derive(Debug)]
pub(super) struct Pace {
    period: Duration,
    due: Instant,
    early: Option<Duration>,
}

impl Pace {
    pub fn new(kind: Kind, period: Duration, now: Instant) -> Self {
        Self { period, due: now, early: (kind != Kind::Liveness).then_some(EARLY) }
    }

    /// Whether the probe that begins now is a regular one.
    pub fn begin(&mut self, now: Instant) -> bool {
        let regular = now >= self.due;
        if regular {
            self.due = now + self.period;
        }
        regular
    }

    /// When the next one begins.
    pub fn next(&mut self, success: bool, now: Instant) -> Instant {
        if success {
            self.early = None;
        }
        match self.early {
            Some(early) if now + early < self.due => {
                self.early = Some(early * 2);
                now + early
            }
            _ => self.due,
        }
    }
}

fn positive(value: Option<i32>, default: i32) -> i32 {
    value.filter(|value| *value > 0).unwrap_or(default)
}

impl Worker {
    pub async fn run(self) {
        let Some(probe) = self.kind.of(&self.container).cloned() else { return };
        if self.kind != Kind::Startup && self.container.startup_probe.is_some() {
            self.wait_started().await;
        }
        self.initial_delay(positive(probe.initial_delay_seconds, 0)).await;
        let period = Duration::from_secs(u64::try_from(positive(probe.period_seconds, 10)).unwrap_or(10));
        let thresholds = (positive(probe.success_threshold, 1), positive(probe.failure_threshold, 3));
        let mut pace = Pace::new(self.kind, period, Instant::now());
        let mut streak = Streak::default();
        loop {
            let regular = pace.begin(Instant::now());
            let outcome = self.probe(&probe, regular).await;
            let success = outcome == Some(true);
            // what is looked at between the regular times only counts if it is good news
            let counted = if regular { outcome } else { outcome.filter(|_| success) };
            let result = counted.and_then(|success| streak.add(success, thresholds.0, thresholds.1));
            if let Some(result) = result {
                self.probes.record(&self.id, self.kind, result);
                // after this the container is restarted, or the startup probe has done its work
                if self.kind == Kind::Startup || (self.kind == Kind::Liveness && !result) {
                    return;
                }
            }
            tokio::time::sleep_until(pace.next(success, Instant::now())).await;
        }
    }

    async fn wait_started(&self) {
        loop {
            let notified = self.started.notified();
            if self.probes.has_started(&self.id) {
                return;
            }
            notified.await;
        }
    }

    async fn initial_delay(&self, seconds: i32) {
        let began = self.began.unwrap_or_else(Timestamp::now);
        let due = began + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let left = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
        if !left.is_zero() {
            tokio::time::sleep(left).await;
        }
    }

    /// Probes once; `None` if it could not be carried out. With `tell` what went wrong becomes an event.
    async fn probe(&self, probe: &k8s_openapi::api::core::v1::Probe, tell: bool) -> Option<bool> {
        let timeout = Duration::from_secs(u64::try_from(positive(probe.timeout_seconds, 1)).unwrap_or(1));
        let action = check::Action::of_probe(probe);
        let mut outcome = Outcome::Error(String::new());
        for _ in 0..TRIES {
            outcome =
                check::run(&self.probes.runtime, &self.container, &self.id, &self.ip, &action, timeout).await;
            if !matches!(outcome, Outcome::Error(_)) {
                break;
            }
        }
        let path = events::container_path(&self.pod, &self.container.name);
        let emit = |reason: &str, message: String| {
            if !tell {
                return;
            }
            self.probes.events.emit(&self.pod, events::Kind::Warning, reason, &message, &path);
        };
        match outcome {
            Outcome::Success => Some(true),
            Outcome::Warning(output) => {
                emit("ProbeWarning", format!("{} probe warning: {output}", self.kind.name()));
                Some(true)
            }
            Outcome::Failure(output) => {
                emit("Unhealthy", format!("{} probe failed: {output}", self.kind.name()));
                Some(false)
            }
            Outcome::Error(error) => {
                let message =
                    format!("{} probe errored and resulted in unknown state: {error}", self.kind.name());
                emit("Unhealthy", message);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_early_until_it_succeeds() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut pace = Pace::new(Kind::Readiness, Duration::from_millis(300), start);
        assert!(pace.begin(at(0)));
        assert_eq!(pace.next(false, at(0)), at(50));
        assert!(!pace.begin(at(50)));
        assert_eq!(pace.next(false, at(50)), at(150));
        assert!(!pace.begin(at(150)));
        assert_eq!(pace.next(false, at(150)), at(300));
        assert!(pace.begin(at(300)));
        assert_eq!(pace.next(true, at(300)), at(600));
        let mut liveness = Pace::new(Kind::Liveness, Duration::from_millis(300), start);
        assert!(liveness.begin(at(0)));
        assert_eq!(liveness.next(false, at(0)), at(300));
    }

    #[test]
    fn counts_in_a_row() {
        let mut streak = Streak::default();
        let got: Vec<_> = [true, false, false, true, false, false, false].map(|s| streak.add(s, 1, 3)).into();
        assert_eq!(got, [Some(true), None, None, Some(true), None, None, Some(false)]);
    }
}
