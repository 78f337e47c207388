//! Changes in the cluster that may let a pod fit which did not, by kind.

use crate::cache::NodeInfo;
use crate::pod::Pod;

/// A set of kinds of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    pub const NONE: Self = Self(0);
    pub const NODE_ADD: Self = Self(1);
    pub const NODE_ALLOCATABLE: Self = Self(1 << 1);
    pub const NODE_LABEL: Self = Self(1 << 2);
    /// Taints, or `spec.unschedulable`.
    pub const NODE_TAINT: Self = Self(1 << 3);
    pub const NODE_DELETE: Self = Self(1 << 4);
    pub const ASSIGNED_POD_ADD: Self = Self(1 << 5);
    pub const ASSIGNED_POD_DELETE: Self = Self(1 << 6);
    pub const ASSIGNED_POD_LABEL: Self = Self(1 << 7);
    pub const ASSIGNED_POD_SCALE_DOWN: Self = Self(1 << 8);
    pub const OWN_LABEL: Self = Self(1 << 9);
    pub const OWN_TOLERATION: Self = Self(1 << 10);
    pub const OWN_GATES_GONE: Self = Self(1 << 11);
    pub const OWN_SCALE_DOWN: Self = Self(1 << 12);
    /// Claims, volumes, storage classes.
    pub const VOLUME: Self = Self(1 << 13);
    /// Whatever happens: used for pods that no plugin rejected.
    pub const ALL: Self = Self(u32::MAX);

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// `kind` where `condition` holds.
    #[must_use]
    pub fn when(condition: bool, kind: Self) -> Self {
        if condition { kind } else { Self::NONE }
    }
}

/// What changed.
pub enum Subject<'a> {
    Node {
        old: Option<&'a NodeInfo>,
        new: &'a NodeInfo,
    },
    NodeDeleted,
    PodAdded(&'a Pod),
    PodChanged {
        old: &'a Pod,
        new: &'a Pod,
    },
    PodDeleted(&'a Pod),
    /// The waiting pod itself.
    Own {
        old: &'a Pod,
        new: &'a Pod,
    },
    /// A claim, a volume or a storage class.
    Volume,
}

/// A change, with the kinds that it is of.
pub struct Change<'a> {
    pub kinds: Kinds,
    /// As upstream's metrics name it.
    pub label: &'static str,
    pub subject: Subject<'a>,
}

impl<'a> Change<'a> {
    pub fn node(old: Option<&'a NodeInfo>, new: &'a NodeInfo) -> Self {
        let (kinds, label) = match old {
            None => (Kinds::NODE_ADD, "NodeAdd"),
            Some(old) => (node_kinds(old, new), "NodeUpdate"),
        };
        Self { kinds, label, subject: Subject::Node { old, new } }
    }

    pub fn pod_deleted(pod: &'a Pod) -> Self {
        Self {
            kinds: Kinds::ASSIGNED_POD_DELETE,
            label: "AssignedPodDelete",
            subject: Subject::PodDeleted(pod),
        }
    }

    pub fn pod_added(pod: &'a Pod) -> Self {
        Self { kinds: Kinds::ASSIGNED_POD_ADD, label: "AssignedPodAdd", subject: Subject::PodAdded(pod) }
    }

    pub fn pod_changed(old: &'a Pod, new: &'a Pod) -> Self {
        let kinds = Kinds::when(old.labels() != new.labels(), Kinds::ASSIGNED_POD_LABEL)
            .and(Kinds::when(is_smaller(old, new), Kinds::ASSIGNED_POD_SCALE_DOWN));
        Self { kinds, label: "AssignedPodUpdate", subject: Subject::PodChanged { old, new } }
    }

    pub fn own(old: &'a Pod, new: &'a Pod) -> Self {
        let kinds = Kinds::when(old.labels() != new.labels(), Kinds::OWN_LABEL)
            .and(Kinds::when(old.spec().tolerations != new.spec().tolerations, Kinds::OWN_TOLERATION))
            .and(Kinds::when(!old.gates.is_empty() && new.gates.is_empty(), Kinds::OWN_GATES_GONE))
            .and(Kinds::when(is_smaller(old, new), Kinds::OWN_SCALE_DOWN));
        Self { kinds, label: "UnscheduledPodUpdate", subject: Subject::Own { old, new } }
    }

    pub fn node_deleted() -> Self {
        Self { kinds: Kinds::NODE_DELETE, label: "NodeDelete", subject: Subject::NodeDeleted }
    }

    pub fn volume(label: &'static str) -> Self {
        Self { kinds: Kinds::VOLUME, label, subject: Subject::Volume }
    }
}

fn node_kinds(old: &NodeInfo, new: &NodeInfo) -> Kinds {
    Kinds::when(old.allocatable != new.allocatable, Kinds::NODE_ALLOCATABLE)
        .and(Kinds::when(old.labels != new.labels, Kinds::NODE_LABEL))
        .and(Kinds::when(
            old.taints != new.taints || old.unschedulable != new.unschedulable,
            Kinds::NODE_TAINT,
        ))
}

/// Whether the pod takes less of anything than before.
fn is_smaller(old: &Pod, new: &Pod) -> bool {
    let (old, new) = (&old.requests().requests, &new.requests().requests);
    old.milli_cpu > new.milli_cpu
        || old.memory > new.memory
        || old.ephemeral_storage > new.ephemeral_storage
        || old.scalars.iter().any(|(name, amount)| *amount > new.scalar(*name))
}
