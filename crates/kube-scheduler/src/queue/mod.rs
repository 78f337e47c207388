//! The pods that wait for a node. Those that may be tried are active, in the order of priority and time; those that
//! were rejected wait (unschedulable) until a change may have made room for them, and then, unless their backoff is
//! over, in backoff; those with gates are not tried at all.
//!
//! One task owns the queue, applies changes between two cycles and parks a rejected pod before it reads the next
//! change. So no change that comes while a pod is being tried can be lost, and none has to be recorded for it.
//!
//! A pod that preempts others is held until that is done: it would only preempt more.
//!
//! Deliberately absent: any order other than PrioritySort's.

mod heap;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use tokio::time::Instant;

use heap::{ActiveKey, BackoffKey, Heap};

use crate::framework::{PluginId, PluginSet};
use crate::pod::Pod;

/// Where a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    Active,
    Backoff,
    /// Backoff after an error (no plugin rejected the pod); never cut short.
    ErrorBackoff,
    Unschedulable,
    Gated,
    /// Being tried, or bound.
    InFlight,
}

impl Place {
    /// As `scheduler_pending_pods` names it.
    pub fn label(self) -> Option<&'static str> {
        match self {
            Self::Active => Some("active"),
            Self::Backoff | Self::ErrorBackoff => Some("backoff"),
            Self::Unschedulable => Some("unschedulable"),
            Self::Gated => Some("gated"),
            Self::InFlight => None,
        }
    }
}

/// A profile's plugin.
pub type Rejector = (usize, PluginId);

/// A pod and what was tried with it.
#[derive(Clone, Debug)]
pub struct Queued {
    pub pod: Arc<Pod>,
    /// Its profile, by place in the list of profiles.
    pub profile: usize,
    pub place: Place,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was tried first.
    pub first_attempt: Option<Instant>,
    /// When it came to where it is.
    pub since: Instant,
    /// Who rejected it last.
    pub rejected_by: PluginSet,
    rejections: u32,
    errors: u32,
    ticket: u64,
    hold: Hold,
}

/// Whether a pod may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    No,
    Held,
    /// It was to come back meanwhile.
    Missed,
}

/// Times of the queue.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub initial_backoff: Duration,
    pub max_backoff: Duration,
    /// After so long a pod that was rejected is tried again, whatever happened.
    pub max_unschedulable: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { initial_backoff: seconds(1), max_backoff: seconds(10), max_unschedulable: seconds(300) }
    }
}

/// The queue.
pub struct Queue {
    times: Times,
    pods: HashMap<CompactString, Queued>,
    active: Heap<ActiveKey>,
    backoff: Heap<BackoffKey>,
    error_backoff: Heap<BackoffKey>,
    waiting: HashMap<Rejector, HashSet<CompactString>>,
    counts: HashMap<&'static str, usize>,
    tickets: u64,
}

impl Queue {
    pub fn new(times: Times) -> Self {
        Self {
            times,
            pods: HashMap::new(),
            active: Heap::default(),
            backoff: Heap::default(),
            error_backoff: Heap::default(),
            waiting: HashMap::new(),
            counts: HashMap::new(),
            tickets: 0,
        }
    }

    pub fn get(&self, uid: &str) -> Option<&Queued> {
        self.pods.get(uid)
    }

    /// How many pods wait there; see [`Place::label`].
    pub fn count(&self, label: &'static str) -> usize {
        self.counts.get(label).copied().unwrap_or(0)
    }

    /// Adds a pod that was not known; `gated_by` keeps it from being tried.
    pub fn add(&mut self, pod: Arc<Pod>, profile: usize, gated_by: Option<PluginId>, now: Instant) {
        self.remove(&pod.uid);
        let mut rejected_by = PluginSet::default();
        gated_by.into_iter().for_each(|id| rejected_by.insert(id));
        let uid = pod.uid.clone();
        let queued = Queued {
            pod,
            profile,
            place: Place::InFlight,
            attempts: 0,
            first_attempt: None,
            since: now,
            rejected_by,
            rejections: 0,
            errors: 0,
            ticket: 0,
            hold: Hold::No,
        };
        self.pods.insert(uid.clone(), queued);
        self.put(&uid, if gated_by.is_some() { Place::Gated } else { Place::Active }, now);
    }

    /// Replaces the pod by what the API now says of it; it stays where it is.
    pub fn update(&mut self, pod: Arc<Pod>) {
        let Some(queued) = self.pods.get_mut(&pod.uid) else { return };
        let reorder = queued.place == Place::Active && queued.pod.priority != pod.priority;
        let (uid, since) = (pod.uid.clone(), queued.since);
        queued.pod = pod;
        if reorder {
            self.put(&uid, Place::Active, since);
        }
    }

    /// Forgets a pod: it is gone, or has its node.
    pub fn remove(&mut self, uid: &str) -> Option<Queued> {
        self.leave(uid);
        self.pods.remove(uid)
    }

    /// The next pod to try. With nothing active, one whose backoff is not over is taken, as upstream does, unless it
    /// waits after an error.
    pub fn pop(&mut self, now: Instant) -> Option<Queued> {
        self.flush_backoff(now);
        let pods = &self.pods;
        let is_there = |place: Place| {
            move |uid: &str, ticket: u64| {
                pods.get(uid).is_some_and(|q| q.ticket == ticket && q.place == place)
            }
        };
        let uid = self
            .active
            .pop(is_there(Place::Active))
            .or_else(|| self.backoff.pop(is_there(Place::Backoff)))?;
        self.leave(&uid);
        let queued = self.pods.get_mut(&uid)?;
        queued.place = Place::InFlight;
        queued.attempts += 1;
        queued.first_attempt.get_or_insert(now);
        Some(queued.clone())
    }

    /// Takes back a pod that was tried in vain. Without a plugin that rejected it, it is tried again after its
    /// backoff; else it waits for a change.
    pub fn park(&mut self, uid: &str, rejected_by: PluginSet, now: Instant) {
        self.leave(uid);
        let Some(queued) = self.pods.get_mut(uid) else { return };
        queued.rejected_by = rejected_by;
        if rejected_by.is_empty() {
            queued.errors += 1;
        } else {
            (queued.rejections, queued.errors) = (queued.rejections + 1, 0);
        }
        self.put(uid, if rejected_by.is_empty() { Place::ErrorBackoff } else { Place::Unschedulable }, now);
    }

    /// Brings a waiting pod back: it is tried when its backoff is over.
    pub fn activate(&mut self, uid: &str, now: Instant) {
        let Some(queued) = self.pods.get_mut(uid) else { return };
        if !matches!(queued.place, Place::Unschedulable | Place::Gated) {
            return;
        }
        if queued.hold != Hold::No {
            queued.hold = Hold::Missed;
            return;
        }
        let Some(queued) = self.pods.get(uid) else { return };
        let since = queued.since;
        if queued.place == Place::Gated || since + self.backoff_of(queued) <= now {
            self.put(uid, Place::Active, now);
        } else {
            self.put(uid, Place::Backoff, since);
        }
    }

    /// Keeps a parked pod from coming back until [`Queue::release`].
    pub fn hold(&mut self, uid: &str) {
        if let Some(queued) = self.pods.get_mut(uid) {
            queued.hold = Hold::Held;
        }
    }

    /// Ends [`Queue::hold`]; brings the pod back if it was to come back meanwhile, or `now_again`.
    pub fn release(&mut self, uid: &str, now_again: bool, now: Instant) {
        let Some(queued) = self.pods.get_mut(uid) else { return };
        let missed = std::mem::replace(&mut queued.hold, Hold::No) == Hold::Missed;
        if missed || now_again {
            self.activate(uid, now);
        }
    }

    /// Lets a pod wait behind a gate that it got back.
    pub fn gate(&mut self, uid: &str, by: PluginId, now: Instant) {
        self.leave(uid);
        if let Some(queued) = self.pods.get_mut(uid) {
            queued.rejected_by = PluginSet::default();
            queued.rejected_by.insert(by);
            self.put(uid, Place::Gated, now);
        }
    }

    /// Who rejected pods that wait.
    pub fn rejectors(&self) -> Vec<Rejector> {
        self.waiting.keys().copied().collect()
    }

    /// The pods that wait because of a rejector.
    pub fn waiting_for(&self, rejector: Rejector) -> Vec<Queued> {
        let uids = self.waiting.get(&rejector).into_iter().flatten();
        uids.filter_map(|uid| self.pods.get(uid)).cloned().collect()
    }

    /// Brings back the pods that have waited for too long.
    pub fn flush_unschedulable(&mut self, now: Instant) {
        let late = |q: &&Queued| {
            q.place == Place::Unschedulable
                && now.saturating_duration_since(q.since) >= self.times.max_unschedulable
        };
        let uids: Vec<_> = self.pods.values().filter(late).map(|q| q.pod.uid.clone()).collect();
        uids.iter().for_each(|uid| self.activate(uid, now));
    }

    /// When a backoff ends next that [`Queue::pop`] waits for.
    pub fn next_backoff(&mut self) -> Option<Instant> {
        let pods = &self.pods;
        self.error_backoff
            .peek(|uid, ticket| pods.get(uid).is_some_and(|q| q.ticket == ticket))
            .map(|key| key.ends)
    }

    fn flush_backoff(&mut self, now: Instant) {
        for place in [Place::Backoff, Place::ErrorBackoff] {
            loop {
                let pods = &self.pods;
                let heap = if place == Place::Backoff { &mut self.backoff } else { &mut self.error_backoff };
                let is_there = |uid: &str, ticket: u64| {
                    pods.get(uid).is_some_and(|q| q.ticket == ticket && q.place == place)
                };
                if heap.peek(is_there).is_none_or(|key| key.ends > now) {
                    break;
                }
                let Some(uid) = heap.pop(is_there) else { break };
                self.put(&uid, Place::Active, now);
            }
        }
    }

    /// One second after the first rejection, twice as long after each further one, ten seconds at most.
    fn backoff_of(&self, queued: &Queued) -> Duration {
        let failures = if queued.errors > 0 { queued.errors } else { queued.rejections };
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.times.initial_backoff.saturating_mul(factor).min(self.times.max_backoff)
    }

    fn leave(&mut self, uid: &str) {
        let Some(queued) = self.pods.get_mut(uid) else { return };
        queued.ticket = 0;
        if let Some(count) = queued.place.label().and_then(|label| self.counts.get_mut(label)) {
            *count -= 1;
        }
        if queued.place == Place::Unschedulable {
            for id in queued.rejected_by.iter() {
                let rejector = (queued.profile, id);
                if let Some(uids) = self.waiting.get_mut(&rejector) {
                    uids.remove(uid);
                    if uids.is_empty() {
                        self.waiting.remove(&rejector);
                    }
                }
            }
        }
        queued.place = Place::InFlight;
    }

    fn put(&mut self, uid: &str, place: Place, since: Instant) {
        self.leave(uid);
        self.tickets += 1;
        let ticket = self.tickets;
        let Some(queued) = self.pods.get(uid) else { return };
        let ends = since + self.backoff_of(queued);
        let uid = queued.pod.uid.clone();
        match place {
            Place::Active => self.active.push(
                ActiveKey { priority: queued.pod.priority, since, ticket },
                uid.clone(),
                ticket,
            ),
            Place::Backoff => self.backoff.push(BackoffKey { ends, ticket }, uid.clone(), ticket),
            Place::ErrorBackoff => self.error_backoff.push(BackoffKey { ends, ticket }, uid.clone(), ticket),
            Place::Unschedulable => {
                for id in queued.rejected_by.iter() {
                    self.waiting.entry((queued.profile, id)).or_default().insert(uid.clone());
                }
            }
            Place::Gated | Place::InFlight => {}
        }
        if let Some(label) = place.label() {
            *self.counts.entry(label).or_default() += 1;
        }
        if let Some(queued) = self.pods.get_mut(&uid) {
            (queued.place, queued.since, queued.ticket) = (place, since, ticket);
        }
    }
}

#[cfg(test)]
mod tests;
