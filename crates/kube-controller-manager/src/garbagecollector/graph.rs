//! Who owns whom: the objects of every kind, as their watches last showed them, and what follows from a change.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use client::{ObjectMeta, OwnerReference, Resource};
use compact_str::CompactString;

pub const FOREGROUND: &str = "foregroundDeletion";
pub const ORPHAN: &str = "orphan";
/// Owners known to be absent that are remembered.
const ABSENT: usize = 500;

pub type Uid = CompactString;

/// An object.
#[derive(Clone, Debug)]
pub struct Object {
    pub kind: Arc<Resource>,
    pub namespace: CompactString,
    pub name: CompactString,
    pub uid: Uid,
    pub resource_version: CompactString,
    pub owners: Vec<OwnerReference>,
    pub finalizers: Vec<CompactString>,
    pub deleting: bool,
}

impl Object {
    pub fn new(kind: &Arc<Resource>, meta: &ObjectMeta) -> Self {
        Self {
            kind: kind.clone(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            owners: meta.owner_references.clone(),
            finalizers: meta.finalizers.clone(),
            deleting: meta.is_being_deleted(),
        }
    }

    fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|f| f == name)
    }

    /// It waits until its dependents are deleted (foreground).
    pub fn waits_for_dependents(&self) -> bool {
        self.deleting && self.has_finalizer(FOREGROUND)
    }

    /// Its dependents are to be let go before it is deleted.
    pub fn orphans_dependents(&self) -> bool {
        self.deleting && self.has_finalizer(ORPHAN)
    }

    pub fn policy(&self) -> client::Propagation {
        match () {
            () if self.has_finalizer(ORPHAN) => client::Propagation::Orphan,
            () if self.has_finalizer(FOREGROUND) => client::Propagation::Foreground,
            () => client::Propagation::Background,
        }
    }

    fn reference_fits(&self, owner: &OwnerReference, dependent: &Self) -> bool {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        self.kind.kind == owner.kind
            && self.kind.group == group
            && self.name == owner.name
            && (!self.kind.namespaced || self.namespace == dependent.namespace)
    }
}

/// Work that a change asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// See whether the object has to go.
    Delete(Uid),
    /// The same, a little later: its owner may only not have been seen yet.
    DeleteLater(Uid),
    /// Let the object's dependents go.
    Orphan(Uid),
}

/// How an object stands to one of its owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The owner is there.
    Solid,
    /// It is there and waits for this object to go.
    Waiting,
    Absent,
    /// The graph does not know: ask the server.
    Unknown,
}

/// What is to be done with an object, its owners being known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Nothing,
    /// Take off the references to these owners.
    Release(Vec<Uid>),
    /// Its owners wait for it and one of its dependents waits too: it must not block them.
    Unblock,
    Delete(client::Propagation),
}

/// The graph. Not synchronised by itself.
#[derive(Default)]
pub struct Graph {
    objects: HashMap<Uid, Object>,
    dependents: HashMap<Uid, HashSet<Uid>>,
    absent: HashSet<Uid>,
    absent_order: VecDeque<Uid>,
}

impl Graph {
    pub fn get(&self, uid: &str) -> Option<&Object> {
        self.objects.get(uid)
    }

    pub fn dependents(&self, uid: &str) -> Vec<&Object> {
        let found = self.dependents.get(uid).into_iter().flatten();
        found.filter_map(|uid| self.objects.get(uid)).collect()
    }

    /// The dependents that keep an owner from being deleted in the foreground.
    pub fn blocking(&self, uid: &str) -> Vec<&Object> {
        let blocks =
            |o: &&Object| o.owners.iter().any(|r| r.uid == uid && r.block_owner_deletion == Some(true));
        self.dependents(uid).into_iter().filter(blocks).collect()
    }

    /// An owner is known to be gone.
    pub fn note_absent(&mut self, uid: &Uid) {
        if self.absent.insert(uid.clone()) {
            self.absent_order.push_back(uid.clone());
            if self.absent_order.len() > ABSENT
                && let Some(oldest) = self.absent_order.pop_front()
            {
                self.absent.remove(&oldest);
            }
        }
    }

    /// An object has another version and is otherwise as it was.
    pub fn touch(&mut self, uid: &str, version: &CompactString) {
        if let Some(object) = self.objects.get_mut(uid) {
            object.resource_version.clone_from(version);
        }
    }

    /// An object was added or changed.
    pub fn upsert(&mut self, new: Object) -> Vec<Work> {
        let mut work = Vec::new();
        let old = self.objects.get(&new.uid);
        let owners_changed = old.is_none_or(|old| old.owners != new.owners);
        let (was_waiting, was_orphaning) =
            old.map_or((false, false), |o| (o.waits_for_dependents(), o.orphans_dependents()));
        if owners_changed {
            self.relink(&new, &mut work);
        }
        if new.orphans_dependents() && !was_orphaning {
            work.push(Work::Orphan(new.uid.clone()));
        }
        if new.waits_for_dependents() && !was_waiting {
            work.extend(self.dependents(&new.uid).into_iter().map(|d| Work::Delete(d.uid.clone())));
            work.push(Work::Delete(new.uid.clone()));
        }
        self.objects.insert(new.uid.clone(), new);
        work
    }

    /// Brings the owners' sets of dependents in line with new references.
    fn relink(&mut self, new: &Object, work: &mut Vec<Work>) {
        let old_owners = self.objects.get(&new.uid).map(|o| o.owners.clone()).unwrap_or_default();
        for gone in old_owners.iter().filter(|o| !new.owners.iter().any(|n| n.uid == o.uid)) {
            self.unlink(&gone.uid, &new.uid);
        }
        for owner in &old_owners {
            // An owner that this object no longer blocks may be able to go.
            let blocked = owner.block_owner_deletion == Some(true);
            let still = new.owners.iter().any(|n| n.uid == owner.uid && n.block_owner_deletion == Some(true));
            if blocked && !still && self.objects.get(&owner.uid).is_some_and(Object::waits_for_dependents) {
                work.push(Work::Delete(owner.uid.clone()));
            }
        }
        for owner in &new.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(new.uid.clone());
            match self.objects.get(&owner.uid) {
                Some(found) if found.waits_for_dependents() => work.push(Work::Delete(new.uid.clone())),
                Some(found) if found.reference_fits(owner, new) => {}
                _ if self.absent.contains(&owner.uid) => work.push(Work::Delete(new.uid.clone())),
                _ => work.push(Work::DeleteLater(new.uid.clone())),
            }
        }
    }

    fn unlink(&mut self, owner: &Uid, dependent: &Uid) {
        if let Some(set) = self.dependents.get_mut(owner) {
            set.remove(dependent);
            if set.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }

    /// An object is gone.
    pub fn remove(&mut self, uid: &Uid) -> Vec<Work> {
        let Some(old) = self.objects.remove(uid) else { return vec![] };
        self.note_absent(uid);
        let mut work: Vec<Work> =
            self.dependents(uid).into_iter().map(|d| Work::Delete(d.uid.clone())).collect();
        for owner in &old.owners {
            self.unlink(&owner.uid, uid);
            if self.objects.get(&owner.uid).is_some_and(Object::waits_for_dependents) {
                work.push(Work::Delete(owner.uid.clone()));
            }
        }
        work
    }

    /// How `object` stands to `owner`, as far as the graph knows.
    pub fn standing(&self, object: &Object, owner: &OwnerReference) -> Standing {
        match self.objects.get(&owner.uid) {
            Some(found) if !found.reference_fits(owner, object) => Standing::Unknown,
            Some(found) if found.waits_for_dependents() => Standing::Waiting,
            Some(_) => Standing::Solid,
            None if self.absent.contains(&owner.uid) => Standing::Absent,
            None => Standing::Unknown,
        }
    }

    /// What follows from the standings towards all owners (none of them unknown).
    pub fn verdict(&self, object: &Object, standings: &[(Uid, Standing)]) -> Verdict {
        let with = |wanted: Standing| {
            standings.iter().filter(move |(_, s)| *s == wanted).map(|(uid, _)| uid.clone())
        };
        if standings.is_empty() {
            return Verdict::Nothing;
        }
        if with(Standing::Solid).next().is_some() {
            let lost: Vec<Uid> = with(Standing::Absent).chain(with(Standing::Waiting)).collect();
            return if lost.is_empty() { Verdict::Nothing } else { Verdict::Release(lost) };
        }
        if with(Standing::Waiting).next().is_some() && self.dependents.contains_key(&object.uid) {
            let blocks = object.owners.iter().any(|o| o.block_owner_deletion == Some(true));
            if blocks && self.dependents(&object.uid).iter().any(|d| d.waits_for_dependents()) {
                return Verdict::Unblock;
            }
            return Verdict::Delete(client::Propagation::Foreground);
        }
        Verdict::Delete(object.policy())
    }
}
