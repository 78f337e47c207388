//! What a DaemonSet needs: pods on nodes that have none, an end to surplus, failed and outdated ones; its status.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use client::Time;
use compact_str::CompactString;

use super::nodes::{Fit, Placement, target_node};
use crate::views::workload::{DaemonSetStatus, IntOrPercent};
use crate::views::{DaemonSet, Node, Pod};

pub const HASH_LABEL: &str = "controller-revision-hash";
pub const GENERATION_LABEL: &str = "pod-template-generation";
pub const GENERATION_ANNOTATION: &str = "deprecated.daemonset.template.generation";

/// A pod to delete, and why where an Event tells it.
#[derive(Clone, Debug)]
pub struct Removal {
    pub pod: Arc<Pod>,
    /// Reason of the Event for a pod that ended by itself.
    pub ended: Option<&'static str>,
}

/// What to do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Names of nodes.
    pub create: Vec<CompactString>,
    pub delete: Vec<Removal>,
}

/// The nodes and the set's pods on them.
pub struct Snapshot<'a> {
    pub set: &'a DaemonSet,
    /// Hash of the present template's revision.
    pub hash: &'a str,
    pub now: Time,
    fits: BTreeMap<&'a str, Fit>,
    pods: HashMap<&'a str, Vec<&'a Arc<Pod>>>,
}

impl<'a> Snapshot<'a> {
    pub fn new(
        set: &'a DaemonSet,
        hash: &'a str,
        nodes: &'a [Arc<Node>],
        pods: &'a [Arc<Pod>],
        now: Time,
    ) -> Self {
        let placement = Placement::of(set);
        let fits = nodes.iter().map(|n| (n.metadata.name.as_str(), placement.fit(n))).collect();
        let mut by_node: HashMap<&str, Vec<&Arc<Pod>>> = HashMap::new();
        for pod in pods {
            by_node.entry(target_node(pod).unwrap_or_default()).or_default().push(pod);
        }
        for pods in by_node.values_mut() {
            pods.sort_by_key(|p| (p.metadata.creation_timestamp, p.metadata.name.clone()));
        }
        Self { set, hash, now, fits, pods: by_node }
    }

    fn pods_on(&self, node: &str) -> &[&'a Arc<Pod>] {
        self.pods.get(node).map_or(&[], Vec::as_slice)
    }

    fn available(&self, pod: &Pod) -> bool {
        pod.is_available(self.set.spec.min_ready_seconds, self.now)
    }

    fn is_updated(&self, pod: &Pod) -> bool {
        let labels = &pod.metadata.labels;
        let generation = self.set.metadata.annotations.get(GENERATION_ANNOTATION);
        labels.get(HASH_LABEL).is_some_and(|h| h == self.hash)
            || (generation.is_some() && labels.get(GENERATION_LABEL) == generation)
    }

    fn desired(&self) -> i32 {
        count(self.fits.values().filter(|f| f.run))
    }

    /// `maxSurge` and `maxUnavailable` in pods.
    fn limits(&self) -> (i32, i32) {
        let desired = self.desired();
        let update = self.set.spec.update_strategy.rolling_update.as_ref();
        let of = |v: Option<&IntOrPercent>| v.map_or(0, |v| v.of(desired, true));
        let surge = of(update.and_then(|u| u.max_surge.as_ref()));
        let unavailable = of(update.and_then(|u| u.max_unavailable.as_ref()));
        // One at least, or nothing would ever move.
        if surge == 0 && unavailable == 0 && desired > 0 { (0, 1) } else { (surge, unavailable) }
    }

    fn rolls(&self) -> bool {
        self.set.spec.update_strategy.kind != "OnDelete"
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> i32 {
    i32::try_from(items.count()).unwrap_or(i32::MAX)
}

/// Pods where they are missing and an end to those that do not belong.
pub fn manage(snapshot: &Snapshot<'_>) -> Plan {
    let mut plan = Plan::default();
    for (node, fit) in &snapshot.fits {
        manage_node(snapshot, node, *fit, &mut plan);
    }
    // Pods that no scheduler placed yet on nodes that are gone; those that ran there are the pod collector's.
    for (node, pods) in &snapshot.pods {
        if !snapshot.fits.contains_key(node) {
            let unscheduled =
                pods.iter().filter(|p| p.spec.node_name.is_empty() && !p.metadata.is_being_deleted());
            plan.delete.extend(unscheduled.map(|p| removal(p)));
        }
    }
    plan
}

fn removal(pod: &Arc<Pod>) -> Removal {
    Removal { pod: pod.clone(), ended: None }
}

fn manage_node(snapshot: &Snapshot<'_>, node: &str, fit: Fit, plan: &mut Plan) {
    let pods = snapshot.pods_on(node);
    if fit.run && pods.is_empty() {
        plan.create.push(node.into());
    } else if fit.stay {
        let mut running = Vec::new();
        for pod in pods.iter().filter(|p| !p.metadata.is_being_deleted()) {
            match &*pod.status.phase {
                "Failed" => plan.delete.push(Removal { pod: (*pod).clone(), ended: Some("FailedDaemonPod") }),
                "Succeeded" => {
                    plan.delete.push(Removal { pod: (*pod).clone(), ended: Some("SucceededDaemonPod") })
                }
                _ => running.push(*pod),
            }
        }
        plan.delete.extend(surplus(snapshot, &running).into_iter().map(removal));
    } else {
        plan.delete.extend(pods.iter().filter(|p| !p.metadata.is_being_deleted()).map(|p| removal(p)));
    }
}

/// All pods of a node but the oldest; with a surge all but the oldest of the old and of the new template.
fn surplus<'a>(snapshot: &Snapshot<'_>, running: &[&'a Arc<Pod>]) -> Vec<&'a Arc<Pod>> {
    if !(snapshot.rolls() && snapshot.limits().0 > 0) {
        return running.iter().skip(1).copied().collect();
    }
    let (new, old): (Vec<_>, Vec<_>) = running.iter().copied().partition(|p| snapshot.is_updated(p));
    let mut surplus: Vec<_> = new.iter().skip(1).chain(old.iter().skip(1)).copied().collect();
    // Once the new one is available the old one is done with.
    if let (Some(new), Some(old)) = (new.first(), old.first())
        && snapshot.available(new)
    {
        surplus.push(old);
    }
    surplus
}

/// Replaces outdated pods within the limits; only where each node has what [`manage`] wants.
pub fn roll(snapshot: &Snapshot<'_>) -> Plan {
    if !snapshot.rolls() {
        return Plan::default();
    }
    let (surge, unavailable) = snapshot.limits();
    if surge == 0 { replace(snapshot, unavailable) } else { overlap(snapshot, surge) }
}

/// A node's pod of an old template and its pod of the new one.
type OldAndNew<'a> = (Option<&'a Arc<Pod>>, Option<&'a Arc<Pod>>);

/// The pods of a node by template, or None where there are several of one.
fn old_and_new<'a>(snapshot: &Snapshot<'a>, node: &str) -> Option<OldAndNew<'a>> {
    let present = snapshot.pods_on(node).iter().copied().filter(|p| !p.metadata.is_being_deleted());
    let (new, old): (Vec<_>, Vec<_>) = present.partition(|p| snapshot.is_updated(p));
    (new.len() < 2 && old.len() < 2).then(|| (old.first().copied(), new.first().copied()))
}

/// Deletes old pods: those that are not available at once, others as far as the limit goes.
fn replace(snapshot: &Snapshot<'_>, limit: i32) -> Plan {
    let (mut down, mut broken, mut candidates) = (0, Vec::new(), Vec::new());
    for (node, _) in snapshot.fits.iter().filter(|(_, fit)| fit.run) {
        match old_and_new(snapshot, node) {
            Some((Some(old), None)) if !snapshot.available(old) => {
                down += 1;
                broken.push(removal(old));
            }
            Some((Some(old), None)) => candidates.push(removal(old)),
            Some((None, Some(new))) if snapshot.available(new) => {}
            _ => down += 1,
        }
    }
    let room = usize::try_from(limit - down).unwrap_or(0);
    broken.extend(candidates.into_iter().take(room));
    Plan { delete: broken, create: vec![] }
}

/// Makes new pods beside old ones, as many as the surge allows, and ends the old ones whose successor is available.
fn overlap(snapshot: &Snapshot<'_>, limit: i32) -> Plan {
    let (mut surging, mut plan, mut candidates) = (0, Plan::default(), Vec::new());
    for (node, _) in snapshot.fits.iter().filter(|(_, fit)| fit.run) {
        match old_and_new(snapshot, node) {
            None => surging += 1,
            Some((None, _)) => {}
            Some((Some(old), None)) if !snapshot.available(old) => plan.create.push((*node).into()),
            Some((Some(_), None)) => candidates.push(CompactString::from(*node)),
            Some((Some(old), Some(new))) if snapshot.available(new) => plan.delete.push(removal(old)),
            Some((Some(_), Some(_))) => surging += 1,
        }
    }
    let room = usize::try_from(limit - surging).unwrap_or(0);
    plan.create.extend(candidates.into_iter().take(room));
    plan
}

/// The status from what is there.
pub fn status(snapshot: &Snapshot<'_>, collisions: Option<i32>) -> DaemonSetStatus {
    let mut new = DaemonSetStatus {
        observed_generation: snapshot.set.metadata.generation,
        collision_count: collisions,
        conditions: snapshot.set.status.conditions.clone(),
        ..DaemonSetStatus::default()
    };
    for (node, fit) in &snapshot.fits {
        let pods = snapshot.pods_on(node);
        if !fit.run {
            new.number_misscheduled += i32::from(!pods.is_empty());
            continue;
        }
        new.desired_number_scheduled += 1;
        let Some(pod) = pods.first() else { continue };
        new.current_number_scheduled += 1;
        new.number_ready += i32::from(pod.is_ready());
        new.number_available += i32::from(snapshot.available(pod));
        // With a surge the newest shows how far the update is.
        let updated = pods.iter().any(|p| snapshot.is_updated(p));
        new.updated_number_scheduled += i32::from(updated);
    }
    new.number_unavailable = new.desired_number_scheduled - new.number_available;
    new
}
