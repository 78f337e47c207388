//! Which thresholds are met and since when, what that makes of the node's conditions, and which pod goes first. Pure.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;

use super::thresholds::{Condition, Signal, Threshold};

/// What there is of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// What is left.
    pub available: i64,
    /// All of it.
    pub capacity: i64,
}

/// What is there of each signal.
pub type Observations = HashMap<Signal, Observation>;

/// What is remembered between two looks.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Since when thresholds are met, by their place in the list.
    since: BTreeMap<usize, Timestamp>,
    /// When a condition was last found.
    observed: BTreeMap<Condition, Timestamp>,
}

/// What one look finds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The conditions that the node has.
    pub conditions: Vec<Condition>,
    /// The threshold for which something is to be reclaimed, its place in the list.
    pub reclaim: Option<usize>,
}

/// Looks at thresholds. A threshold that was met stays so until its minimum reclaim is there, too; a condition stays for
/// `transition` after it was last found.
#[must_use]
pub fn look(
    thresholds: &[Threshold],
    observations: &Observations,
    memory: &mut Memory,
    transition: Duration,
    now: Timestamp,
) -> Verdict {
    let met = |threshold: &Threshold, before: bool| {
        let Some(observation) = observations.get(&threshold.signal) else { return before };
        let reclaim = if before { threshold.reclaim.of(observation.capacity) } else { 0 };
        let least = threshold.amount.of(observation.capacity) + reclaim;
        observation.available < least
    };
    let before = std::mem::take(&mut memory.since);
    for (index, threshold) in thresholds.iter().enumerate() {
        if met(threshold, before.contains_key(&index)) {
            memory.since.insert(index, before.get(&index).copied().unwrap_or(now));
            memory.observed.insert(threshold.signal.condition(), now);
        }
    }
    let past = |since: Timestamp| Duration::try_from(now.duration_since(since)).unwrap_or_default();
    memory.observed.retain(|_, last| *last == now || past(*last) < transition);
    let due = memory.since.iter().filter(|(index, since)| past(**since) >= thresholds[**index].grace);
    // memory first: it runs out fastest
    let reclaim = due.map(|(index, _)| *index).min_by_key(|index| {
        let signal = thresholds[*index].signal;
        (signal != Signal::Memory, signal)
    });
    Verdict { conditions: memory.observed.keys().copied().collect(), reclaim }
}

/// What counts when one pod is compared with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// What it uses.
    pub used: i64,
    /// What it requested.
    pub requested: i64,
    /// `spec.priority`
    pub priority: i32,
}

/// The order in which pods go, as places in `pods`: those over their request first, then the less important, then those
/// furthest over their request. Process ids are not requested, and there only priority and number count.
#[must_use]
pub fn rank(signal: Signal, pods: &[Usage]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pods.len()).collect();
    order.sort_by_key(|index| {
        let pod = &pods[*index];
        let by_request = signal != Signal::Processes && signal.resource() != "inodes";
        let requested = if by_request { pod.requested } else { 0 };
        let within = by_request && pod.used <= requested;
        (within, pod.priority, std::cmp::Reverse(pod.used - requested))
    });
    order
}

#[cfg(test)]
mod tests {
    use super::super::thresholds::Amount;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn threshold(signal: Signal, amount: i64, grace: u64, reclaim: i64) -> Threshold {
        Threshold {
            signal,
            amount: Amount::Absolute(amount),
            grace: Duration::from_secs(grace),
            hard: grace == 0,
            reclaim: Amount::Absolute(reclaim),
        }
    }

    fn seen(signal: Signal, available: i64) -> Observations {
        [(signal, Observation { available, capacity: 1000 })].into()
    }

    const TRANSITION: Duration = Duration::from_secs(300);

    #[test]
    fn a_soft_threshold_waits_and_a_condition_stays() {
        let list = [threshold(Signal::Memory, 100, 60, 0)];
        let mut memory = Memory::default();
        let mut look = |available, second| {
            look(&list, &seen(Signal::Memory, available), &mut memory, TRANSITION, at(second))
        };
        assert_eq!(look(200, 0), Verdict::default());
        let met = Verdict { conditions: vec![Condition::Memory], reclaim: None };
        assert_eq!(look(99, 10), met);
        assert_eq!(look(99, 69), met);
        assert_eq!(look(99, 70).reclaim, Some(0));
        assert_eq!(look(100, 80), met, "the condition stays");
        assert_eq!(look(100, 370), Verdict::default());
    }

    #[test]
    fn reclaims_a_little_more() {
        let list = [threshold(Signal::NodeDisk, 100, 0, 50)];
        let mut memory = Memory::default();
        let mut reclaim = |available| {
            look(&list, &seen(Signal::NodeDisk, available), &mut memory, TRANSITION, at(0)).reclaim
        };
        assert_eq!(reclaim(120), None);
        assert_eq!(reclaim(99), Some(0));
        assert_eq!(reclaim(120), Some(0));
        assert_eq!(reclaim(150), None);
    }

    #[test]
    fn memory_goes_first() {
        let list = [threshold(Signal::ImageDisk, 100, 0, 0), threshold(Signal::Memory, 100, 0, 0)];
        let mut all = seen(Signal::Memory, 1);
        all.extend(seen(Signal::ImageDisk, 1));
        let verdict = look(&list, &all, &mut Memory::default(), TRANSITION, at(0));
        assert_eq!(verdict.reclaim, Some(1));
        assert_eq!(verdict.conditions, [Condition::Disk, Condition::Memory]);
    }

    #[test]
    fn who_uses_more_than_it_asked_for_goes_first() {
        let pod = |used, requested, priority| Usage { used, requested, priority };
        let pods = [pod(90, 100, 0), pod(20, 10, 5), pod(30, 10, 0), pod(50, 10, 0), pod(900, 1000, -1)];
        assert_eq!(rank(Signal::Memory, &pods), [3, 2, 1, 4, 0]);
        assert_eq!(rank(Signal::Processes, &pods), [4, 0, 3, 2, 1]);
    }
}
