//! What a Deployment needs next: which ReplicaSets to make, scale, annotate and delete, and its status.

use client::{StringMap, Time};
use compact_str::CompactString;

use super::model::{
    Limits, REVISION, Set, new_condition, scale_annotations, set_annotations, set_condition, template_hash,
};
use super::scaling;
use super::status;
use crate::views::Deployment;
use crate::views::workload::DeploymentStatus;

/// One step, in the order in which they are to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The ReplicaSet of the present template.
    Create {
        name: String,
        hash: String,
        replicas: i32,
        annotations: StringMap,
    },
    /// Other annotations or minReadySeconds; the size stays.
    Annotate {
        name: CompactString,
        annotations: StringMap,
        min_ready_seconds: i32,
    },
    Scale {
        name: CompactString,
        from: i32,
        to: i32,
        annotations: StringMap,
    },
    Delete {
        name: CompactString,
        uid: CompactString,
    },
}

/// Everything that a sync does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub actions: Vec<Action>,
    pub status: DeploymentStatus,
    /// The Deployment's own revision annotation, if it changes.
    pub revision: Option<String>,
    /// Seconds until a check of the progress deadline.
    pub again_after: Option<i64>,
}

/// The plan of one Deployment while it is made.
pub(super) struct Planner<'a> {
    pub deployment: &'a Deployment,
    pub limits: Limits,
    pub sets: Vec<Set>,
    pub now: Time,
    pub actions: Vec<Action>,
    pub status: DeploymentStatus,
    pub revision: Option<String>,
    pub counts_terminating: bool,
}

/// Plans one sync. `sets` are all ReplicaSets of the Deployment, the new one marked; `old_pods_run`: pods of old
/// sets are still there (asked of Recreate only).
pub fn plan(
    deployment: &Deployment,
    sets: Vec<Set>,
    old_pods_run: bool,
    counts_terminating: bool,
    now: Time,
) -> Plan {
    let limits = Limits::of(deployment);
    let status = deployment.status.clone();
    let mut planner = Planner {
        deployment,
        limits,
        sets,
        now,
        actions: vec![],
        status,
        revision: None,
        counts_terminating,
    };
    let again_after = planner.run(old_pods_run);
    Plan { actions: planner.actions, status: planner.status, revision: planner.revision, again_after }
}

impl Planner<'_> {
    fn run(&mut self, old_pods_run: bool) -> Option<i64> {
        if self.deployment.metadata.is_being_deleted() {
            self.find_or_create(false);
            self.status = status::calculate(self);
            return None;
        }
        self.check_paused();
        if self.deployment.spec.paused || self.is_scaling() {
            self.find_or_create(false);
            self.scale_all();
            if self.deployment.spec.paused {
                self.clean_up();
            }
            self.status = status::calculate(self);
            return None;
        }
        if self.limits.rolling {
            self.roll()
        } else {
            self.recreate(old_pods_run)
        }
        status::progress(self)
    }

    /// A set whose annotations tell another size than the Deployment's: it was scaled.
    fn is_scaling(&self) -> bool {
        let replicas = self.limits.replicas;
        self.sets.iter().any(|s| s.replicas > 0 && s.desired().is_some_and(|d| d != replicas))
    }

    fn check_paused(&mut self) {
        if !status::has_deadline(self.deployment) {
            return;
        }
        let present = self.status.conditions.iter().find(|c| c.kind == "Progressing");
        if present.is_some_and(|c| c.reason == "ProgressDeadlineExceeded") {
            return;
        }
        let was_paused = present.is_some_and(|c| c.reason == "DeploymentPaused");
        let (reason, message) = match (self.deployment.spec.paused, was_paused) {
            (true, false) => ("DeploymentPaused", "Deployment is paused"),
            (false, true) => ("DeploymentResumed", "Deployment is resumed"),
            _ => return,
        };
        let condition = new_condition("Progressing", "Unknown", reason, message.into(), self.now);
        set_condition(&mut self.status.conditions, condition);
    }

    pub(super) fn new_set(&self) -> Option<usize> {
        self.sets.iter().position(|s| s.is_new)
    }

    /// Brings revision and annotations of the new set up to date, or makes the set.
    fn find_or_create(&mut self, create: bool) {
        let newest_old = self.sets.iter().filter(|s| !s.is_new).map(Set::revision).max().unwrap_or(0);
        let revision = newest_old + 1;
        match self.new_set() {
            Some(at) => self.refresh(at, revision),
            None if create => self.create(revision),
            None => {}
        }
    }

    fn refresh(&mut self, at: usize, revision: i64) {
        let min_ready_seconds = self.deployment.spec.min_ready_seconds;
        let set = &mut self.sets[at];
        let annotations =
            set_annotations(&self.deployment.metadata, &set.annotations, revision, self.limits, true);
        if annotations.is_some() || set.min_ready_seconds != min_ready_seconds {
            set.annotations = annotations.unwrap_or_else(|| set.annotations.clone());
            set.min_ready_seconds = min_ready_seconds;
            let (name, annotations) = (set.name.clone(), set.annotations.clone());
            self.actions.push(Action::Annotate { name, annotations, min_ready_seconds });
        }
        let set = &self.sets[at];
        let (name, revision) =
            (set.name.clone(), set.annotations.get(REVISION).unwrap_or_default().to_owned());
        self.show_revision(&revision);
        let known = self.status.conditions.iter().any(|c| c.kind == "Progressing");
        if status::has_deadline(self.deployment) && !known {
            let message = format!("Found new replica set {name:?}");
            self.progressing("FoundNewReplicaSet", message);
        }
    }

    fn show_revision(&mut self, revision: &str) {
        if self.deployment.metadata.annotations.get(REVISION) != Some(revision) {
            self.revision = Some(revision.to_owned());
        }
    }

    fn progressing(&mut self, reason: &str, message: String) {
        let condition = new_condition("Progressing", "True", reason, message, self.now);
        set_condition(&mut self.status.conditions, condition);
    }

    fn create(&mut self, revision: i64) {
        let deployment = self.deployment;
        let hash = template_hash(&deployment.spec.template, deployment.status.collision_count);
        let name = format!("{}-{hash}", deployment.metadata.name);
        let replicas = self.new_set_size(0);
        let annotations =
            set_annotations(&deployment.metadata, &StringMap::default(), revision, self.limits, false)
                .unwrap_or_default();
        self.sets.push(Set {
            name: name.as_str().into(),
            uid: CompactString::default(),
            created: Some(self.now),
            replicas,
            generation: 1,
            deleting: false,
            min_ready_seconds: deployment.spec.min_ready_seconds,
            annotations: annotations.clone(),
            status: Default::default(),
            is_new: true,
        });
        self.actions.push(Action::Create { name: name.clone(), hash, replicas, annotations });
        self.show_revision(&revision.to_string());
        if status::has_deadline(deployment) {
            self.progressing("NewReplicaSetCreated", format!("Created new replica set {name:?}"));
        }
    }

    /// The size that the new set may have, being `present` now.
    fn new_set_size(&self, present: i32) -> i32 {
        if !self.limits.rolling {
            return self.limits.replicas;
        }
        let pods: i32 = self.sets.iter().map(|s| s.replicas).sum();
        let room = self.limits.max_total() - pods;
        if room <= 0 { present } else { present + room.min(self.limits.replicas - present) }
    }

    /// Scales a set, also where only its annotations differ. Whether its size changed.
    pub(super) fn scale(&mut self, at: usize, to: i32) -> bool {
        let set = &mut self.sets[at];
        let annotations = scale_annotations(&set.annotations, self.limits);
        let from = set.replicas;
        if from == to && annotations.is_none() {
            return false;
        }
        set.annotations = annotations.unwrap_or_else(|| set.annotations.clone());
        set.replicas = to;
        self.actions.push(Action::Scale {
            name: set.name.clone(),
            from,
            to,
            annotations: set.annotations.clone(),
        });
        from != to
    }

    fn roll(&mut self) {
        self.find_or_create(true);
        if self.grow_new() || self.shrink_old() {
            return;
        }
        self.clean_up_if_complete();
    }

    /// Brings the new set towards its size; it grows only as far as the surge allows.
    fn grow_new(&mut self) -> bool {
        let Some(at) = self.new_set() else { return false };
        let present = self.sets[at].replicas;
        if present == self.limits.replicas {
            return false;
        }
        let size =
            if present > self.limits.replicas { self.limits.replicas } else { self.new_set_size(present) };
        self.scale(at, size)
    }

    fn shrink_old(&mut self) -> bool {
        let scaled = scaling::shrink_old(&self.sets, self.limits);
        scaled.into_iter().fold(false, |any, (at, size)| self.scale(at, size) || any)
    }

    fn recreate(&mut self, old_pods_run: bool) {
        self.find_or_create(false);
        let old: Vec<usize> =
            (0..self.sets.len()).filter(|i| !self.sets[*i].is_new && self.sets[*i].replicas > 0).collect();
        let mut scaled = false;
        for at in old {
            scaled |= self.scale(at, 0);
        }
        if scaled || old_pods_run || self.sets.iter().any(|s| !s.is_new && s.status.replicas > 0) {
            return;
        }
        self.find_or_create_again();
        if let Some(at) = self.new_set() {
            self.scale(at, self.limits.replicas);
        }
        self.clean_up_if_complete();
    }

    fn find_or_create_again(&mut self) {
        if self.new_set().is_none() {
            self.find_or_create(true);
        }
    }

    /// After the Deployment was scaled, or while it is paused.
    fn scale_all(&mut self) {
        for (at, size) in scaling::rescale(&self.sets, self.limits, self.deployment.status.replicas) {
            self.scale(at, size);
        }
    }

    fn clean_up_if_complete(&mut self) {
        if status::is_complete(self.deployment, &self.deployment.status) {
            self.clean_up();
        }
    }

    /// Deletes the oldest sets beyond the history's limit, as far as they are empty and seen to be.
    fn clean_up(&mut self) {
        let Some(limit) = self.deployment.spec.revision_history_limit.filter(|l| *l != i32::MAX) else {
            return;
        };
        let mut old: Vec<&Set> = self.sets.iter().filter(|s| !s.is_new && !s.deleting).collect();
        let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        old.sort_by_key(|s| s.revision());
        let idle = |s: &&Set| {
            s.replicas == 0 && s.status.replicas == 0 && s.generation <= s.status.observed_generation
        };
        let delete = old.into_iter().take(surplus).filter(idle);
        self.actions.extend(delete.map(|s| Action::Delete { name: s.name.clone(), uid: s.uid.clone() }));
    }
}
