//! The scheduler without its surroundings: changes go in, decisions come out. Everything here is synchronous and
//! owned by one task.

use std::collections::HashMap;
use std::sync::Arc;

use client::Event;
use compact_str::CompactString;
use tokio::time::Instant;

use crate::cache::{Cache, NodeInfo};
use crate::framework::{Change, Context, FitError, Outcome, PluginId, PluginSet, Preemption, Profile};
use crate::listers::Listers;
use crate::pod::{Class, Pod};
use crate::queue::{Place, Queue, Queued, Times};
use crate::views::{NodeView, PodView};

/// `reason` of the PodScheduled condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Unschedulable,
    Error,
}

impl Failure {
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unschedulable => "Unschedulable",
            Self::Error => "SchedulerError",
        }
    }
}

/// What becomes of a pod's `nominatedNodeName`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nomination {
    Keep,
    Clear,
    Set(CompactString),
}

/// What is to be done about a pod that was tried.
#[derive(Debug)]
pub enum Decision {
    /// Bind it; the answer goes to [`Core::bound`] or [`Core::not_bound`]. The pod has its node.
    Bind { queued: Queued, pod: Arc<Pod> },
    /// Tell why it got no node.
    Fail { queued: Queued, failure: Failure, message: String, nomination: Nomination },
    /// The same, and make room for it. It is held until [`Core::preempted`].
    Preempt { queued: Queued, message: String, preemption: Preemption, demoted: Vec<Arc<Pod>> },
    /// It is being deleted.
    Skip { queued: Queued },
    /// It has its node already.
    Nothing,
}

/// Queue, cache and profiles.
pub struct Core {
    profiles: Vec<Profile>,
    pub queue: Queue,
    pub cache: Cache,
    listers: Listers,
    /// Where the next cycle begins with the nodes.
    start: usize,
}

impl Core {
    pub fn new(profiles: Vec<Profile>, times: Times, listers: Listers) -> Self {
        Self { profiles, queue: Queue::new(times), cache: Cache::default(), listers, start: 0 }
    }

    pub fn profile(&self, at: usize) -> &Profile {
        &self.profiles[at]
    }

    /// A node came, changed or went.
    pub fn node_event(&mut self, event: &Event<NodeView>, now: Instant) {
        let (old, new) = match event {
            Event::Added(new) => (None, new),
            Event::Modified { old, new } if is_same_node(old, new) => return,
            Event::Modified { old, new } => (Some(old), new),
            Event::Deleted(node) => {
                self.cache.remove_node(&node.metadata.name);
                return self.change(&Change::node_deleted(), now);
            }
        };
        self.cache.set_node(new);
        if self.queue.count("unschedulable") == 0 {
            return;
        }
        let [before, after] = [old, Some(new)].map(|view| {
            view.map(|view| {
                let mut made = NodeInfo { name: view.metadata.name.clone(), ..NodeInfo::default() };
                made.set(view, &mut self.cache.symbols);
                made
            })
        });
        if let Some(after) = &after {
            self.change(&Change::node(before.as_ref(), after), now);
        }
    }

    /// A pod came, changed or went.
    pub fn pod_event(&mut self, event: &Event<PodView>, now: Instant) {
        let view = event.object();
        match event {
            Event::Modified { old, .. } if old.metadata.uid != view.metadata.uid => {
                self.pod_gone(&old.metadata.uid, now);
                self.pod_seen(view, now);
            }
            Event::Added(_) | Event::Modified { .. } => self.pod_seen(view, now),
            Event::Deleted(_) => self.pod_gone(&view.metadata.uid, now),
        }
    }

    fn pod_seen(&mut self, view: &PodView, now: Instant) {
        let uid = &view.metadata.uid;
        if !view.status.is_active() {
            return self.pod_gone(uid, now);
        }
        if view.spec.node_name.is_empty() && !self.profiles.iter().any(|p| p.name == view.spec.scheduler_name)
        {
            return;
        }
        let pod = Arc::new(Pod::from_view(view, &mut self.cache.symbols));
        if pod.is_assigned() {
            self.queue.remove(uid);
            self.cache.nominations.remove(uid);
            self.assigned_pod(pod, now);
        } else if let Some(profile) = self.profiles.iter().position(|p| p.name == pod.scheduler_name) {
            self.waiting_pod(pod, profile, now);
        }
    }

    fn assigned_pod(&mut self, pod: Arc<Pod>, now: Instant) {
        let known = self.cache.pod(&pod.uid).cloned().filter(|_| !self.cache.is_assumed(&pod.uid));
        self.cache.set_pod(pod.clone());
        match known {
            Some(old) => self.change(&Change::pod_changed(&old, &pod), now),
            None => self.change(&Change::pod_added(&pod), now),
        }
    }

    fn waiting_pod(&mut self, pod: Arc<Pod>, profile: usize, now: Instant) {
        let gated = self.profiles[profile].pre_enqueue(&pod).err().map(|(id, _)| id);
        self.nominate_as_told(&pod);
        let Some(known) = self.queue.get(&pod.uid) else {
            // Bound by us, and the API is behind.
            if !self.cache.is_assumed(&pod.uid) {
                self.queue.add(pod, profile, gated, now);
            }
            return;
        };
        let (old, place, rejected_by) = (known.pod.clone(), known.place, known.rejected_by);
        self.queue.update(pod.clone());
        match (place, gated) {
            (Place::InFlight, _) | (Place::Gated, Some(_)) => {}
            (_, Some(by)) => self.queue.gate(&pod.uid, by, now),
            (Place::Gated, None) => self.queue.activate(&pod.uid, now),
            (Place::Unschedulable, None) => self.own_change(&old, &pod, profile, rejected_by, now),
            _ => {}
        }
    }

    /// Follows what the API says of a nomination; one of ours that it does not know yet stays.
    fn nominate_as_told(&mut self, pod: &Arc<Pod>) {
        let nominations = &mut self.cache.nominations;
        let told_before = self.queue.get(&pod.uid).is_some_and(|q| !q.pod.nominated_node_name.is_empty());
        match nominations.node(&pod.uid).cloned() {
            _ if !pod.nominated_node_name.is_empty() => {
                nominations.set(pod.clone(), &pod.nominated_node_name);
            }
            Some(_) if told_before => nominations.remove(&pod.uid),
            Some(ours) => nominations.set(pod.clone(), &ours),
            None => {}
        }
    }

    fn own_change(&mut self, old: &Pod, pod: &Pod, profile: usize, rejected_by: PluginSet, now: Instant) {
        let change = Change::own(old, pod);
        if !change.kinds.is_none() && rejected_by.iter().any(|id| self.hint(profile, id, pod, &change)) {
            self.queue.activate(&pod.uid, now);
        }
    }

    fn pod_gone(&mut self, uid: &str, now: Instant) {
        let waited = self.queue.remove(uid).map(|q| self.as_nominated(q.pod));
        let nominated = waited.filter(|p| !p.nominated_node_name.is_empty());
        self.cache.nominations.remove(uid);
        if let Some(pod) = self.cache.remove_pod(uid).or(nominated) {
            self.change(&Change::pod_deleted(&pod), now);
        }
    }

    fn hint(&mut self, profile: usize, id: PluginId, pod: &Pod, change: &Change<'_>) -> bool {
        let mut symbols = std::mem::take(&mut self.cache.symbols);
        let context = &mut Context { cache: &self.cache, symbols: &mut symbols, listers: &self.listers };
        let hint = self.profiles[profile].hint(id, context, pod, change);
        self.cache.symbols = symbols;
        hint
    }

    /// Brings back the pods that may fit after a change. Pods of one class get one hint.
    pub fn change(&mut self, change: &Change<'_>, now: Instant) {
        if change.kinds.is_none() {
            return;
        }
        for (profile, id) in self.queue.rejectors() {
            if !self.profiles[profile].plugin(id).events().intersects(change.kinds) {
                continue;
            }
            let mut hints: HashMap<Class, bool> = HashMap::new();
            for queued in self.queue.waiting_for((profile, id)) {
                let known = hints.get(&queued.pod.class).copied();
                let hint = known.unwrap_or_else(|| self.hint(profile, id, &queued.pod, change));
                hints.insert(queued.pod.class.clone(), hint);
                if hint {
                    self.queue.activate(&queued.pod.uid, now);
                }
            }
        }
    }

    /// Tries the next pod.
    pub fn cycle(&mut self, now: Instant) -> Option<Decision> {
        let queued = self.queue.pop(now)?;
        let (pod, uid) = (queued.pod.clone(), queued.pod.uid.clone());
        if pod.is_being_deleted {
            self.queue.remove(&uid);
            return Some(Decision::Skip { queued });
        }
        if self.cache.pod(&uid).is_some() {
            self.queue.remove(&uid);
            return Some(Decision::Nothing);
        }
        let pod = self.as_nominated(pod);
        let profile = &mut self.profiles[queued.profile];
        Some(match profile.schedule(&mut self.cache, &self.listers, &pod, &mut self.start) {
            Outcome::Node(chosen) => self.place(queued, &chosen.node, now),
            Outcome::NoNodes => {
                self.queue.park(&uid, PluginSet::default(), now);
                Decision::Fail {
                    queued,
                    failure: Failure::Unschedulable,
                    message: "no nodes available to schedule pods".into(),
                    nomination: Nomination::Keep,
                }
            }
            Outcome::Unfit(error) => self.unfit(queued, *error, now),
        })
    }

    /// The pod with the node that we nominated it for, if the API does not tell of it yet.
    fn as_nominated(&self, pod: Arc<Pod>) -> Arc<Pod> {
        match self.cache.nominations.node(&pod.uid) {
            Some(node) if *node != pod.nominated_node_name => {
                Arc::new(Pod { nominated_node_name: node.clone(), ..(*pod).clone() })
            }
            _ => pod,
        }
    }

    fn unfit(&mut self, queued: Queued, error: FitError, now: Instant) -> Decision {
        let (uid, message) = (&queued.pod.uid, error.message());
        self.queue.park(uid, error.plugins, now);
        if let Some(preemption) = error.preemption {
            let nominations = &mut self.cache.nominations;
            nominations.set(queued.pod.clone(), &preemption.node);
            let lesser = |p: &&Arc<Pod>| p.priority < queued.pod.priority;
            let demoted: Vec<_> = nominations.on(&preemption.node).iter().filter(lesser).cloned().collect();
            demoted.iter().for_each(|p| nominations.remove(&p.uid));
            self.queue.hold(uid);
            return Decision::Preempt { queued, message, preemption, demoted };
        }
        let void = error.void_nomination && self.cache.nominations.node(uid).is_some();
        let nomination = if void { Nomination::Clear } else { Nomination::Keep };
        if void {
            self.cache.nominations.remove(uid);
        }
        Decision::Fail { queued, failure: Failure::Unschedulable, message, nomination }
    }

    /// The victims are told to go, or could not be.
    pub fn preempted(&mut self, pod: &Pod, done: bool, now: Instant) {
        if !done {
            self.cache.nominations.remove(&pod.uid);
        }
        self.queue.release(&pod.uid, !done, now);
    }

    /// Labels of namespaces, or what selects pods, changed: in a namespace, or everywhere.
    pub fn forget_counts(&mut self, namespace: Option<&str>) {
        self.profiles.iter_mut().for_each(|p| p.forget_counts(namespace));
    }

    fn place(&mut self, queued: Queued, node: &str, now: Instant) -> Decision {
        let mut pod = (*queued.pod).clone();
        pod.node_name = node.into();
        let pod = Arc::new(pod);
        self.cache.assume(pod.clone());
        match self.profiles[queued.profile].reserve(&pod, node) {
            Ok(()) => Decision::Bind { queued, pod },
            Err((id, rejection)) => {
                self.cache.forget(&pod.uid);
                let mut rejected_by = PluginSet::default();
                rejected_by.insert(id);
                self.queue.park(&pod.uid, rejected_by, now);
                let message = format!("0/1 nodes are available: 1 {}.", rejection.reasons.join(", "));
                let (failure, nomination) = (Failure::Unschedulable, Nomination::Keep);
                Decision::Fail { queued, failure, message, nomination }
            }
        }
    }

    /// The API took the binding.
    pub fn bound(&mut self, pod: &Pod) {
        self.queue.remove(&pod.uid);
        self.cache.finish_binding(&pod.uid, None);
    }

    /// The API refused the binding: the place is free again, and the pod is tried again after its backoff.
    pub fn not_bound(&mut self, profile: usize, pod: &Pod, now: Instant) {
        self.profiles[profile].unreserve(pod, &pod.node_name);
        if self.cache.forget(&pod.uid) {
            self.change(&Change::pod_deleted(pod), now);
        }
        self.queue.park(&pod.uid, PluginSet::default(), now);
    }
}

/// Nothing that scheduling reads is different: a heartbeat.
fn is_same_node(old: &NodeView, new: &NodeView) -> bool {
    old.spec == new.spec && old.status == new.status && old.metadata.labels == new.metadata.labels
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
