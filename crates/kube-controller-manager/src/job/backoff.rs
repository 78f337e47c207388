//! How long a job waits after failures before it makes the next pod: 10 s, doubled by each failure since the last
//! success, at most 10 min.

use std::sync::Arc;
use std::time::Duration;

use client::Time;

use crate::views::Pod;

const FIRST: u64 = 10;
const LONGEST: u64 = 600;

/// The failures of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Since the last success.
    pub failures: u32,
    pub last: Option<Time>,
}

impl Record {
    /// With pods that were not counted before.
    pub fn after(&self, succeeded: &[&Arc<Pod>], failed: &[&Arc<Pod>]) -> Self {
        let last_success = succeeded.iter().filter_map(|p| finished_at(p)).max();
        let failures: Vec<_> = failed
            .iter()
            .filter_map(|p| finished_at(p))
            .filter(|t| last_success.is_none_or(|s| *t > s))
            .collect();
        let (known, last) = if succeeded.is_empty() { (self.failures, self.last) } else { (0, None) };
        let failures_now = u32::try_from(failures.len()).unwrap_or(u32::MAX);
        Self { failures: known.saturating_add(failures_now), last: failures.into_iter().max().or(last) }
    }
}

/// When a pod ended, as far as can be told.
pub fn finished_at(pod: &Pod) -> Option<Time> {
    let ended = |c: &crate::views::pod::ContainerStatus| c.state.terminated.as_ref()?.finished_at;
    let last = pod.status.container_statuses.iter().filter_map(ended).max();
    let unready = || pod.ready_condition().filter(|c| !c.is_true()).and_then(|c| c.last_transition_time);
    last.or_else(unready).or(pod.metadata.deletion_timestamp).or(pod.metadata.creation_timestamp)
}

/// What is left of the wait after so many failures.
pub fn remaining(failures: u32, last: Option<Time>, now: Time) -> Duration {
    let (Some(last), Some(doublings)) = (last, failures.checked_sub(1)) else { return Duration::ZERO };
    let wait = FIRST.saturating_mul(1 << doublings.min(10)).min(LONGEST);
    let passed = u64::try_from(now.seconds() - last.seconds()).unwrap_or(0);
    Duration::from_secs(wait.saturating_sub(passed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    fn pod(second: i64) -> Arc<Pod> {
        let state = json!({"terminated": {"finishedAt": at(second)}});
        let status = json!({"containerStatuses": [{"state": state}]});
        Arc::new(serde_json::from_value(json!({"status": status})).unwrap())
    }

    #[test]
    fn failures_since_the_last_success() {
        let (one, two, three) = (pod(1), pod(2), pod(3));
        let first = Record::default().after(&[], &[&one, &two]);
        assert_eq!(first, Record { failures: 2, last: Some(at(2)) });
        assert_eq!(first.after(&[], &[&three]), Record { failures: 3, last: Some(at(3)) });
        assert_eq!(first.after(&[&two], &[&one, &three]), Record { failures: 1, last: Some(at(3)) });
        assert_eq!(first.after(&[&three], &[]), Record::default());
    }

    #[test]
    fn waits_double() {
        for (failures, passed, expected) in
            [(0, 0, 0), (1, 0, 10), (1, 4, 6), (2, 0, 20), (4, 0, 80), (40, 0, 600)]
        {
            assert_eq!(
                remaining(failures, Some(at(100)), at(100 + passed)).as_secs(),
                expected,
                "{failures}"
            );
        }
    }
}
