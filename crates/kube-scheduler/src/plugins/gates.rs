//! SchedulingGates: a pod with gates is not queued (KEP-3521).

use crate::framework::{Kinds, Plugin, Point, Rejection};
use crate::pod::Pod;

pub struct SchedulingGates;

impl Plugin for SchedulingGates {
    fn name(&self) -> &'static str {
        "SchedulingGates"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreEnqueue]
    }

    fn pre_enqueue(&self, pod: &Pod) -> Result<(), Rejection> {
        if pod.gates.is_empty() {
            return Ok(());
        }
        Err(Rejection::unresolvable(format!("waiting for scheduling gates: [{}]", pod.gates.join(" "))))
    }

    fn events(&self) -> Kinds {
        Kinds::OWN_GATES_GONE
    }
}
