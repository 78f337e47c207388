//! A node's health from its heartbeats, and the taints that follow from its conditions.

use client::Time;

use crate::views::{Condition, Node, Taint, condition};

pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that become taints while they are True.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
/// Conditions that the kubelet reports and that become Unknown with it.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Whether a node's Ready condition is True; None: it has none.
pub fn ready_status(node: &Node) -> Option<&str> {
    condition(&node.status.conditions, "Ready").map(|c| &*c.status)
}

pub fn is_ready(node: &Node) -> bool {
    ready_status(node) == Some("True")
}

/// The conditions to write for a node that has not been heard of for too long; None where they are told already.
pub fn unknown_conditions(node: &Node, now: Time) -> Option<Vec<Condition>> {
    let changed: Vec<Condition> = REPORTED
        .iter()
        .filter_map(|kind| {
            let Some(present) = condition(&node.status.conditions, kind) else {
                let mut new = Condition::new(
                    kind,
                    "Unknown",
                    "NodeStatusNeverUpdated",
                    "Kubelet never posted node status.",
                    now,
                );
                new.last_heartbeat_time = node.metadata.creation_timestamp;
                return Some(new);
            };
            if present.status == "Unknown" {
                return None;
            }
            let mut new = Condition::new(
                kind,
                "Unknown",
                "NodeStatusUnknown",
                "Kubelet stopped posting node status.",
                now,
            );
            new.last_heartbeat_time = present.last_heartbeat_time;
            Some(new)
        })
        .collect();
    (!changed.is_empty()).then_some(changed)
}

/// The NoExecute taint of a node that is not ready.
pub fn evicting_taint(node: &Node) -> Option<&'static str> {
    match ready_status(node) {
        Some("True") => None,
        Some("False") => Some(NOT_READY),
        Some(_) => Some(UNREACHABLE),
        None => None,
    }
}

/// The taints that the node is to have, or None if it has them. With `may_evict` false no NoExecute taint is added
/// where there was none of ours.
pub fn taints(node: &Node, may_evict: bool, now: Time) -> Option<Vec<Taint>> {
    let present = &node.spec.taints;
    let ours = |t: &Taint| {
        let by_condition = PRESSURES.iter().any(|(_, key)| t.key == *key)
            || [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&&*t.key);
        (t.effect == "NoSchedule" && by_condition)
            || (t.effect == "NoExecute" && [NOT_READY, UNREACHABLE].contains(&&*t.key))
    };
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    match ready_status(node) {
        Some("False") | None => wanted.push((NOT_READY, "NoSchedule")),
        Some("Unknown") => wanted.push((UNREACHABLE, "NoSchedule")),
        _ => {}
    }
    let pressing = PRESSURES
        .iter()
        .filter(|(kind, _)| condition(&node.status.conditions, kind).is_some_and(Condition::is_true));
    wanted.extend(pressing.map(|(_, key)| (*key, "NoSchedule")));
    if node.spec.unschedulable {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let evicted = present.iter().any(|t| t.effect == "NoExecute" && ours(t));
    if let Some(key) = evicting_taint(node).filter(|_| may_evict || evicted) {
        wanted.push((key, "NoExecute"));
    }
    let mut new: Vec<Taint> = present.iter().filter(|t| !ours(t)).cloned().collect();
    for (key, effect) in wanted {
        let taint = Taint { time_added: Some(now), ..Taint::new(key, effect) };
        new.push(present.iter().find(|t| t.is_like(&taint)).cloned().unwrap_or(taint));
    }
    let same = new.len() == present.len() && new.iter().all(|t| present.iter().any(|p| p.is_like(t)));
    (!same).then_some(new)
}

/// How fast nodes of a zone may get their NoExecute taint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many nodes a second.
    PerSecond(f32),
    /// Not at all: so many nodes are lost at once that it is likelier the network than the nodes.
    Stopped,
}

/// Settings of [`pace`].
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    pub normal: f32,
    pub reduced: f32,
    pub unhealthy_share: f32,
    pub large_cluster: usize,
}

/// The pace of one zone, with `ready` of `total` nodes, where `any_other_ready` tells of nodes in other zones.
pub fn pace(ready: usize, total: usize, any_other_ready: bool, rates: Rates) -> Pace {
    let lost = total - ready;
    if ready == 0 && total > 0 {
        return if any_other_ready { Pace::PerSecond(rates.normal) } else { Pace::Stopped };
    }
    if lost > 2 && lost as f32 / total as f32 >= rates.unhealthy_share {
        return if total > rates.large_cluster { Pace::PerSecond(rates.reduced) } else { Pace::Stopped };
    }
    Pace::PerSecond(rates.normal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(ready: &str, taints: &[(&str, &str)], unschedulable: bool) -> Node {
        let taints: Vec<_> =
            taints.iter().map(|(key, effect)| json!({"key": key, "effect": effect})).collect();
        let conditions = if ready.is_empty() {
            json!([])
        } else {
            json!([{"type": "Ready", "status": ready}, {"type": "DiskPressure", "status": "True"}])
        };
        serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"taints": taints, "unschedulable": unschedulable}, "status": {"conditions": conditions}})).unwrap()
    }

    fn told(node: &Node, may_evict: bool) -> Option<Vec<String>> {
        let short = |key: &str| key.trim_start_matches("node.kubernetes.io/").to_owned();
        let taints = taints(node, may_evict, Time::now())?;
        Some(taints.iter().map(|t| format!("{}:{}", short(&t.key), t.effect)).collect())
    }

    #[test]
    fn taints_follow_conditions() {
        let texts = |list: &[&str]| Some(list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(told(&node("True", &[], false), true), texts(&["disk-pressure:NoSchedule"]));
        let all = ["not-ready:NoSchedule", "disk-pressure:NoSchedule", "not-ready:NoExecute"];
        assert_eq!(told(&node("False", &[], false), true), texts(&all));
        assert_eq!(told(&node("False", &[], false), false), texts(&all[..2]));
        let present = [
            (NOT_READY, "NoSchedule"),
            (NOT_READY, "NoExecute"),
            ("node.kubernetes.io/disk-pressure", "NoSchedule"),
            ("own", "NoSchedule"),
        ];
        assert_eq!(told(&node("False", &present, false), false), None, "as it is");
        let swapped =
            ["own:NoSchedule", "unreachable:NoSchedule", "disk-pressure:NoSchedule", "unreachable:NoExecute"];
        assert_eq!(told(&node("Unknown", &present, false), false), texts(&swapped), "one for the other");
        assert_eq!(
            told(&node("True", &present, true), false),
            texts(&["own:NoSchedule", "disk-pressure:NoSchedule", "unschedulable:NoSchedule"])
        );
    }

    #[test]
    fn silence_makes_conditions_unknown() {
        let told = unknown_conditions(&node("True", &[], false), Time::now()).unwrap();
        let reasons: Vec<_> = told.iter().map(|c| (&*c.kind, &*c.reason)).collect();
        assert_eq!(reasons[0], ("Ready", "NodeStatusUnknown"));
        assert_eq!(reasons[1], ("MemoryPressure", "NodeStatusNeverUpdated"));
    }

    #[test]
    fn evictions_stop_when_too_much_is_lost() {
        let rates = Rates { normal: 0.1, reduced: 0.01, unhealthy_share: 0.55, large_cluster: 50 };
        for (ready, total, other, expected) in [
            (9, 10, false, Pace::PerSecond(0.1)),
            (4, 10, false, Pace::Stopped),
            (40, 100, false, Pace::PerSecond(0.01)),
            (0, 3, true, Pace::PerSecond(0.1)),
            (0, 3, false, Pace::Stopped),
            (1, 3, false, Pace::PerSecond(0.1)),
        ] {
            assert_eq!(pace(ready, total, other, rates), expected, "{ready} of {total}");
        }
    }
}
