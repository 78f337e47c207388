//! DefaultPreemption, as far as it is built: what it says where no pod could be preempted. Preempting is a later
//! issue; where it would have had candidates it says that.

use crate::cache::Cache;
use crate::framework::{FitError, Plugin, Point};
use crate::pod::Pod;

pub struct DefaultPreemption;

impl Plugin for DefaultPreemption {
    fn name(&self) -> &'static str {
        "DefaultPreemption"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PostFilter]
    }

    fn post_filter(&self, cache: &Cache, pod: &Pod, error: &FitError) -> Option<String> {
        let has_victims = |slot: u32| cache.node(slot).pods.iter().any(|p| p.priority < pod.priority);
        let candidates = error.rejected.iter().filter(|(_, r)| !r.unresolvable);
        let (with, without): (Vec<_>, Vec<_>) = candidates.partition(|(slot, _)| has_victims(*slot));
        let helpless = error.nodes - with.len() - without.len();
        let mut lines: Vec<String> = [
            (helpless, "Preemption is not helpful for scheduling"),
            (without.len(), "No preemption victims found for incoming pod"),
            (with.len(), "Preemption is not built in this scheduler yet"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, reason)| format!("{count} {reason}"))
        .collect();
        lines.sort_unstable();
        Some(format!("preemption: 0/{} nodes are available: {}.", error.nodes, lines.join(", ")))
    }
}
