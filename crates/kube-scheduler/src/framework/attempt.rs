//! The filters of an attempt that found no node, for those who ask what would be if other pods were not there.

use std::sync::Arc;

use super::classes::Prepared;
use super::{PluginId, Rejection};
use crate::cache::{Cache, Moved, NodeInfo, Slot};
use crate::listers::Listers;
use crate::pod::Pod;

/// An attempt that failed.
pub struct Attempt<'a> {
    pub cache: &'a Cache,
    pub listers: &'a Listers,
    /// None where a plugin refused the pod before any node was looked at.
    prepared: Option<&'a mut Prepared>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(cache: &'a Cache, listers: &'a Listers, prepared: Option<&'a mut Prepared>) -> Self {
        Self { cache, listers, prepared }
    }

    /// A pod comes to a node (`by` 1) or leaves it (-1): `node` is a copy of the one in `slot`. Whoever changes
    /// something changes it back.
    pub fn shift(&mut self, slot: Slot, node: &mut NodeInfo, pod: &Arc<Pod>, by: i64) {
        match by {
            1 => node.add_pod(pod.clone()),
            _ => node.remove_pod(&pod.uid),
        }
        self.shift_elsewhere(slot, pod, by);
    }

    /// [`Attempt::shift`] for all but the node itself.
    pub fn shift_elsewhere(&mut self, slot: Slot, pod: &Arc<Pod>, by: i64) {
        if let Some(prepared) = &mut self.prepared {
            prepared.wide.moved(self.cache, &Moved { slot, pod: pod.clone(), by });
        }
    }

    /// Whether the pod fits a changed node, and still would if the pods that are nominated for it came.
    pub fn judge(&mut self, slot: Slot, node: &NodeInfo, pod: &Pod) -> Result<(), Rejection> {
        let Some(prepared) = &mut self.prepared else { return Ok(()) };
        prepared.judge_with_nominated(self.cache, slot, node, pod).map_err(|(_, why): (PluginId, _)| why)
    }
}
