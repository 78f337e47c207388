//! How many pods each ReplicaSet of a Deployment is to have.

use super::model::{Limits, Set};

/// Sizes by the place of the set.
type Sizes = Vec<(usize, i32)>;

/// Which old sets shrink in a rolling update, and to what: first those pods that are not healthy, then as many as
/// can be spared.
pub fn shrink_old(sets: &[Set], limits: Limits) -> Sizes {
    let old: Vec<usize> =
        by_creation(sets, (0..sets.len()).filter(|i| !sets[*i].is_new && sets[*i].replicas > 0));
    if old.is_empty() {
        return vec![];
    }
    let total: i32 = sets.iter().map(|s| s.replicas).sum();
    let min_available = limits.replicas - limits.max_unavailable;
    let new_unavailable: i32 =
        sets.iter().filter(|s| s.is_new).map(|s| s.replicas - s.status.available_replicas).sum();
    let spare = total - min_available - new_unavailable;
    if spare <= 0 {
        return vec![];
    }
    let mut sizes: Vec<i32> = sets.iter().map(|s| s.replicas).collect();
    drop_unhealthy(sets, &old, &mut sizes, spare);
    let available: i32 = sets.iter().map(|s| s.status.available_replicas).sum();
    drop_spare(&old, &mut sizes, available - min_available);
    old.into_iter().filter(|i| sizes[*i] != sets[*i].replicas).map(|i| (i, sizes[i])).collect()
}

fn by_creation(sets: &[Set], places: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut places: Vec<usize> = places.collect();
    places.sort_by(|a, b| (sets[*a].created, &sets[*a].name).cmp(&(sets[*b].created, &sets[*b].name)));
    places
}

fn drop_unhealthy(sets: &[Set], old: &[usize], sizes: &mut [i32], mut spare: i32) {
    for &at in old {
        if spare <= 0 {
            break;
        }
        let unhealthy = sets[at].replicas - sets[at].status.available_replicas;
        let dropped = unhealthy.clamp(0, spare);
        sizes[at] -= dropped;
        spare -= dropped;
    }
}

fn drop_spare(old: &[usize], sizes: &mut [i32], mut spare: i32) {
    for &at in old {
        if spare <= 0 {
            break;
        }
        let dropped = sizes[at].min(spare);
        sizes[at] -= dropped;
        spare -= dropped;
    }
}

/// Sizes after the Deployment was scaled: one active set takes it all; a finished rollout empties the old sets;
/// else the difference is spread in proportion.
pub fn rescale(sets: &[Set], limits: Limits, deployed: i32) -> Sizes {
    if let Some(at) = active_or_latest(sets) {
        return vec![(at, limits.replicas)];
    }
    if sets.iter().any(|s| s.is_new && is_saturated(s, limits)) {
        let old = (0..sets.len()).filter(|i| !sets[*i].is_new && sets[*i].replicas > 0);
        return old.map(|i| (i, 0)).collect();
    }
    if limits.rolling { proportional(sets, limits, deployed) } else { vec![] }
}

/// The only set with pods; without any the new one, or the newest old one. None: several have pods.
fn active_or_latest(sets: &[Set]) -> Option<usize> {
    let mut active = (0..sets.len()).filter(|i| sets[*i].replicas > 0);
    match (active.next(), active.next()) {
        (Some(only), None) => Some(only),
        (Some(_), Some(_)) => None,
        (None, _) => {
            sets.iter().position(|s| s.is_new).or_else(|| by_creation(sets, 0..sets.len()).last().copied())
        }
    }
}

/// All pods are the new set's, and available.
fn is_saturated(new: &Set, limits: Limits) -> bool {
    new.replicas == limits.replicas
        && new.desired() == Some(limits.replicas)
        && new.status.available_replicas == limits.replicas
}

fn proportional(sets: &[Set], limits: Limits, deployed: i32) -> Sizes {
    let mut active: Vec<usize> = (0..sets.len()).filter(|i| sets[*i].replicas > 0).collect();
    let present: i32 = active.iter().map(|i| sets[*i].replicas).sum();
    let allowed = if limits.replicas > 0 { limits.max_total() } else { 0 };
    let to_add = allowed - present;
    // The largest first; of equal ones the newest when growing, the oldest when shrinking.
    let key = |i: usize| (std::cmp::Reverse(sets[i].replicas), sets[i].created, sets[i].name.clone());
    active.sort_by(|a, b| {
        let (a, b) = (key(*a), key(*b));
        let age = (&a.1, &a.2).cmp(&(&b.1, &b.2));
        a.0.cmp(&b.0).then(if to_add > 0 { age.reverse() } else { age })
    });
    let mut added = 0;
    let mut sizes: Sizes = Vec::with_capacity(active.len());
    for at in active {
        let share = share_of(&sets[at], limits, deployed, to_add, added);
        added += share;
        sizes.push((at, sets[at].replicas + share));
    }
    if let Some(first) = sizes.first_mut().filter(|_| to_add != 0) {
        first.1 = (first.1 + to_add - added).max(0);
    }
    sizes
}

/// What of `to_add` pods falls to a set, when `added` of them are given out.
fn share_of(set: &Set, limits: Limits, deployed: i32, to_add: i32, added: i32) -> i32 {
    if set.replicas == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let left = to_add - added;
    let share = fraction(set, limits, deployed);
    if to_add > 0 { share.min(left) } else { share.max(left) }
}

/// How far a set is from the share that it had of the Deployment's former size.
fn fraction(set: &Set, limits: Limits, deployed: i32) -> i32 {
    if limits.replicas == 0 {
        return -set.replicas;
    }
    let before = set.max_replicas().unwrap_or(deployed);
    if before == 0 {
        return 0;
    }
    let size = f64::from(set.replicas) * f64::from(limits.max_total()) / f64::from(before);
    size.round() as i32 - set.replicas
}
