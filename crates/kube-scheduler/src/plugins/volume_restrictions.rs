//! VolumeRestrictions: a claim that only one pod may use (`ReadWriteOncePod`, KEP-2485) is used by one pod.
//!
//! Deliberately absent: the in-tree disks of clouds, which no kubelet mounts any more.

use std::collections::HashSet;

use compact_str::CompactString;

use crate::cache::{Cache, Moved, Slot};
use crate::framework::events::Subject;
use crate::framework::{Change, ClusterFilter, Context, Kinds, Plugin, Point, Rejection};
use crate::pod::Pod;

pub const REASON: &str =
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";

pub struct VolumeRestrictions;

/// How many uses of the pod's exclusive claims there are, on any node.
struct Exclusive {
    namespace: CompactString,
    claims: HashSet<CompactString>,
    uses: i64,
}

impl Exclusive {
    fn count(&mut self, pod: &Pod, by: i64) {
        if pod.key.namespace() == self.namespace {
            let used = pod.spec().claims.iter().filter(|c| self.claims.contains(*c)).count();
            self.uses += by * i64::try_from(used).unwrap_or(i64::MAX);
        }
    }
}

impl ClusterFilter for Exclusive {
    fn filter(&self, _: Slot) -> Result<(), Rejection> {
        if self.uses > 0 { Err(Rejection::unschedulable(REASON)) } else { Ok(()) }
    }

    fn moved(&mut self, _: &Cache, moved: &Moved) {
        self.count(&moved.pod, moved.by);
    }
}

fn is_exclusive(context: &Context<'_>, pod: &Pod, claim: &str) -> bool {
    let claim = context.listers.claims.get(pod.key.namespace(), claim);
    claim.is_some_and(|c| c.spec.access_modes.iter().any(|m| m == "ReadWriteOncePod"))
}

impl Plugin for VolumeRestrictions {
    fn name(&self) -> &'static str {
        "VolumeRestrictions"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter]
    }

    fn cluster_filter(&self, context: &mut Context<'_>, pod: &Pod) -> Option<Box<dyn ClusterFilter>> {
        let exclusive = pod.spec().claims.iter().filter(|c| is_exclusive(context, pod, c));
        let claims: HashSet<_> = exclusive.cloned().collect();
        if claims.is_empty() {
            return None;
        }
        let mut made = Exclusive { namespace: pod.key.namespace().into(), claims, uses: 0 };
        for slot in context.cache.order() {
            context.cache.node(*slot).pods.iter().for_each(|p| made.count(p, 1));
        }
        Some(Box::new(made))
    }

    fn events(&self) -> Kinds {
        Kinds::ASSIGNED_POD_DELETE.and(Kinds::VOLUME)
    }

    fn is_schedulable_after(&self, _: &mut Context<'_>, pod: &Pod, change: &Change<'_>) -> bool {
        let Subject::PodDeleted(gone) = &change.subject else { return true };
        gone.key.namespace() == pod.key.namespace()
            && gone.spec().claims.iter().any(|c| pod.spec().claims.contains(c))
    }
}
