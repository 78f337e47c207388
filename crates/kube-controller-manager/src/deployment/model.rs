//! The state that a Deployment's plan works on: its ReplicaSets as they will be once the actions so far are done.

use client::{ObjectMeta, StringMap, Time};
use compact_str::CompactString;

use crate::views::workload::{IntOrPercent, ReplicaSetStatus};
use crate::views::{Condition, Deployment, PodTemplate, ReplicaSet};

pub const REVISION: &str = "deployment.kubernetes.io/revision";
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
pub const HASH_LABEL: &str = "pod-template-hash";
const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// What the history annotation may hold, in bytes.
const HISTORY_LENGTH: usize = 2000;

/// One ReplicaSet of a Deployment.
#[derive(Clone, Debug)]
pub struct Set {
    pub name: CompactString,
    pub uid: CompactString,
    pub created: Option<Time>,
    pub replicas: i32,
    pub generation: i64,
    pub deleting: bool,
    pub min_ready_seconds: i32,
    pub annotations: StringMap,
    pub status: ReplicaSetStatus,
    pub is_new: bool,
}

impl Set {
    pub fn of(set: &ReplicaSet, is_new: bool) -> Self {
        let meta = &set.metadata;
        Self {
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            created: meta.creation_timestamp,
            replicas: set.replicas(),
            generation: meta.generation,
            deleting: meta.is_being_deleted(),
            min_ready_seconds: set.spec.min_ready_seconds,
            annotations: meta.annotations.clone(),
            status: set.status.clone(),
            is_new,
        }
    }

    /// The revision that the set carries; 0 where it has none.
    pub fn revision(&self) -> i64 {
        number(&self.annotations, REVISION).unwrap_or(0)
    }

    pub fn desired(&self) -> Option<i32> {
        number(&self.annotations, DESIRED_REPLICAS)
    }

    pub fn max_replicas(&self) -> Option<i32> {
        number(&self.annotations, MAX_REPLICAS)
    }
}

fn number<N: std::str::FromStr>(annotations: &StringMap, key: &str) -> Option<N> {
    annotations.get(key)?.parse().ok()
}

/// The numbers of a Deployment's strategy.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub replicas: i32,
    pub rolling: bool,
    pub max_surge: i32,
    pub max_unavailable: i32,
}

impl Limits {
    pub fn of(deployment: &Deployment) -> Self {
        let replicas = deployment.spec.replicas.unwrap_or(1);
        let rolling = deployment.spec.strategy.kind != "Recreate";
        let update = deployment.spec.strategy.rolling_update.as_ref();
        let of = |value: Option<&IntOrPercent>, up| value.map_or(0, |v| v.of(replicas, up));
        let max_surge = of(update.and_then(|u| u.max_surge.as_ref()), true);
        let mut max_unavailable = of(update.and_then(|u| u.max_unavailable.as_ref()), false);
        if max_surge == 0 && max_unavailable == 0 {
            // Validation refuses two zeros; two roundings down may still give them.
            max_unavailable = 1;
        }
        if !rolling {
            return Self { replicas, rolling, max_surge: 0, max_unavailable: 0 };
        }
        Self { replicas, rolling, max_surge, max_unavailable: max_unavailable.min(replicas) }
    }

    /// Pods that may exist at a time.
    pub fn max_total(self) -> i32 {
        self.replicas + self.max_surge
    }
}

/// The set whose template is the Deployment's, apart from the hash label; the oldest of several.
pub fn find_new(
    deployment: &Deployment,
    sets: &[impl std::ops::Deref<Target = ReplicaSet>],
) -> Option<usize> {
    let mut matching: Vec<usize> = (0..sets.len())
        .filter(|i| same_template(&sets[*i].spec.template, &deployment.spec.template))
        .collect();
    matching.sort_by(|a, b| {
        let age = |i: usize| (sets[i].metadata.creation_timestamp, sets[i].metadata.name.clone());
        age(*a).cmp(&age(*b))
    });
    matching.first().copied()
}

/// Equal apart from the hash label.
pub fn same_template(a: &PodTemplate, b: &PodTemplate) -> bool {
    a.metadata.labels.without(HASH_LABEL) == b.metadata.labels.without(HASH_LABEL)
        && a.metadata.annotations == b.metadata.annotations
        && a.metadata.finalizers == b.metadata.finalizers
        && a.spec == b.spec
}

/// The hash of a template in letters that are safe in names. It only has to be stable: sets are found by their
/// template, not by it.
pub fn template_hash(template: &PodTemplate, collisions: Option<i32>) -> String {
    let text = serde_json::to_string(template).unwrap_or_default();
    let mut hash = fnv(0x811c_9dc5, text.as_bytes());
    if let Some(collisions) = collisions {
        hash = fnv(hash, &collisions.to_le_bytes());
    }
    safe_encode(&hash.to_string())
}

fn fnv(hash: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Without vowels, so that no words come out.
pub fn safe_encode(text: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    text.bytes().map(|b| char::from(LETTERS[usize::from(b) % LETTERS.len()])).collect()
}

/// The annotations that a set gets from its Deployment and its revision, or None if it has them.
pub fn set_annotations(
    deployment: &ObjectMeta,
    present: &StringMap,
    revision: i64,
    limits: Limits,
    exists: bool,
) -> Option<StringMap> {
    let mut new = present.clone();
    let copied = deployment.annotations.iter().filter(|(key, _)| !is_own(key));
    for (key, value) in copied {
        if new.get(key) != Some(value) {
            new = new.with(key, value);
        }
    }
    let old = number::<i64>(present, REVISION).unwrap_or(0);
    if old < revision {
        if exists && present.contains_key(REVISION) {
            new = new.with(REVISION_HISTORY, &history(present, old));
        }
        new = new.with(REVISION, &revision.to_string());
    }
    if !exists {
        new = scale_annotations(&new, limits).unwrap_or(new);
    }
    (new != *present).then_some(new)
}

fn is_own(key: &str) -> bool {
    [LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS, ROLLBACK_TO].contains(&key)
}

fn history(present: &StringMap, old: i64) -> String {
    let known = present.get(REVISION_HISTORY).filter(|h| !h.is_empty());
    let mut revisions: Vec<String> =
        known.map(|h| h.split(',').map(str::to_owned).collect()).unwrap_or_default();
    revisions.push(old.to_string());
    while revisions.len() > 1 && revisions.join(",").len() > HISTORY_LENGTH {
        revisions.remove(0);
    }
    revisions.join(",")
}

/// The annotations with the present size, or None if they say it already.
pub fn scale_annotations(present: &StringMap, limits: Limits) -> Option<StringMap> {
    let (desired, max) = (limits.replicas.to_string(), limits.max_total().to_string());
    if present.get(DESIRED_REPLICAS) == Some(&desired) && present.get(MAX_REPLICAS) == Some(&max) {
        return None;
    }
    Some(present.with(DESIRED_REPLICAS, &desired).with(MAX_REPLICAS, &max))
}

/// Puts a condition in place; one of equal status and reason stays, one of equal status keeps its transition.
pub fn set_condition(conditions: &mut Vec<Condition>, mut new: Condition) {
    let present = conditions.iter().find(|c| c.kind == new.kind);
    if let Some(present) = present {
        if present.status == new.status && present.reason == new.reason {
            return;
        }
        if present.status == new.status {
            new.last_transition_time = present.last_transition_time;
        }
    }
    conditions.retain(|c| c.kind != new.kind);
    conditions.push(new);
}

/// A Deployment's condition, updated and changed now.
pub fn new_condition(kind: &str, status: &str, reason: &str, message: String, now: Time) -> Condition {
    Condition { last_update_time: Some(now), ..Condition::new(kind, status, reason, message, now) }
}
